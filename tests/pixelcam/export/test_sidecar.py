"""A sidecar is read back as it was written, or refused in one sentence."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from pixelcam.errors import SeedsError
from pixelcam.export.sidecar import SeedCounts, SeedImage, SeedSidecar
from pixelcam.localize import ModelRef
from pixelcam.slides import Slide

FULL = SeedSidecar(
    image=SeedImage("field µ", "/images/field µ.png", "../images/field µ.png", "ab" * 32, 30, 20, 0.5),
    level=1,
    scale=(2.0, 2.0),
    translate=(0.5, 0.5),
    model=ModelRef("starter", "cd" * 32),
    threshold=0.4,
    predicted="normal",
    corrected_label="adenoma",
    reviewer="Dr. Ñ",
    started="2026-11-21T10:00:00+01:00",
    saved="2026-11-21T10:42:07+01:00",
    counts=SeedCounts(10, 20),
    file="field µ.seeds.png",
)


def test_everything_is_read_back():
    assert SeedSidecar.from_json(FULL.to_json(), "a") == FULL
    bare = SeedSidecar(FULL.image)
    assert SeedSidecar.from_json(bare.to_json(), "a") == bare


def test_the_file_says_what_the_labels_mean_and_of_which_version_it_is():
    values = json.loads(FULL.to_json())
    assert values["version"] == 1
    assert values["labels"] == {"0": "unlabelled", "1": "background", "2": "foreground"}
    assert values["counts"] == {"foreground": 10, "background": 20}
    assert values["model"] == {"name": "starter", "sha256": "cd" * 32}


def test_the_shape_follows_the_scale():
    assert FULL.shape == (10, 15)
    assert replace(FULL, scale=(1.0, 1.0)).shape == (20, 30)
    assert replace(FULL, scale=(999.0, 999.0)).shape == (1, 1)


def test_a_slide_is_described(tmp_path):
    slide = Slide.from_array(np.zeros((20, 30, 3), np.uint8), name="field", mpp=0.5)
    assert SeedImage.of(slide) == SeedImage("field", "", "", slide.fingerprint, 30, 20, 0.5)


def test_what_a_later_writer_added_is_passed_over():
    values = json.loads(FULL.to_json())
    values["novel"] = values["image"]["novel"] = values["model"]["novel"] = 3
    assert SeedSidecar.from_json(json.dumps(values), "a") == FULL


def test_a_newer_version_asks_for_an_update():
    text = FULL.to_json().replace('"version": 1', '"version": 2')
    with pytest.raises(SeedsError, match="a newer version of napari-pixelcam; update"):
        SeedSidecar.from_json(text, "a.seeds.json")


@pytest.mark.parametrize("name", ["version", "image", "labels", "counts", "file"])
def test_a_missing_entry_is_refused(name):
    values = json.loads(FULL.to_json())
    del values[name]
    with pytest.raises(SeedsError, match=r"^a\.seeds\.json is damaged"):
        SeedSidecar.from_json(json.dumps(values), "a.seeds.json")


@pytest.mark.parametrize(
    "changes",
    [
        {"labels": {"0": "background", "1": "foreground"}},
        {"image": None},
        {"image": {"name": "x"}},
        {"scale": [0, 1]},
        {"scale": 2},
        {"translate": "here"},
        {"model": {"name": "x"}},
        {"version": "newest"},
        {"counts": []},
        {"counts": {"foreground": "many"}},
        {"scale": [float("nan"), 1]},
        {"scale": [float("inf"), 1]},
        {"scale": [10**400, 1]},
        {"saved": 20200101},
        {"reviewer": ["Ann"]},
        {"threshold": "half"},
        {"predicted": {}},
        {"level": True},
    ],
)
def test_a_wrong_entry_is_refused(changes):
    values = json.loads(FULL.to_json()) | changes
    with pytest.raises(SeedsError, match=r"^a\.seeds\.json is damaged"):
        SeedSidecar.from_json(json.dumps(values), "a.seeds.json")


@pytest.mark.parametrize("name", ["fingerprint", "width", "height"])
def test_an_image_without_size_or_fingerprint_is_refused(name):
    values = json.loads(FULL.to_json())
    values["image"][name] = 0
    with pytest.raises(SeedsError, match="is damaged"):
        SeedSidecar.from_json(json.dumps(values), "a")


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "3", '{"version": NaN}'])
def test_what_is_no_sidecar_is_refused(text):
    with pytest.raises(SeedsError, match="is damaged or no seeds sidecar"):
        SeedSidecar.from_json(text, "a")
