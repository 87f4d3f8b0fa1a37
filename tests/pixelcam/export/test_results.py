"""The three files of a localization say the same, and appear together."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import tifffile

from pixelcam.errors import OutputError
from pixelcam.export import results
from pixelcam.export.geojson import geojson_to_mask
from pixelcam.export.reading import read_localization
from pixelcam.export.results import export_localization, safe_stem, write_summary


@pytest.fixture
def result(localize):
    return localize(
        np.linspace(0, 1, 48, dtype=np.float32).reshape(6, 8),
        mpp=0.5,
        image_file="field.png",
        fingerprint="cd" * 32,
    )


def test_three_files_are_written_under_the_images_stem(result, tmp_path):
    written = export_localization(result, tmp_path / "out")
    assert {key: path.name for key, path in written.items()} == {
        "foreground": "field.fg.ome.tif",
        "regions": "field.geojson",
        "summary": "field.json",
    }
    assert sorted((tmp_path / "out").iterdir()) == sorted(written.values())


def test_the_summary_has_exactly_the_promised_entries(result, tmp_path):
    path = export_localization(result, tmp_path)["summary"]
    summary = json.loads(path.read_text())
    mark = summary.pop("pixelcam")
    assert mark["image"] == {
        "name": "field",
        "file": "field.png",
        "fingerprint": "cd" * 32,
        "width": 8,
        "height": 6,
        "mpp": 0.5,
    }
    assert summary == {
        "classes": {"adenocarcinoma": 0.75, "normal": 0.25},
        "predicted": "adenocarcinoma",
        "threshold": 0.5,
        "foreground_fraction": 0.5,
        "model": {"name": "starter", "sha256": "ab" * 32},
        "image": {"width": 8, "height": 6, "mpp": 0.5},
        "fg": {"file": "field.fg.ome.tif", "scale": [1.0, 1.0], "translate": [0.0, 0.0]},
    }


def test_what_the_model_knows_of_the_image_is_kept_and_said_where_that_is_little(result, tmp_path):
    for familiarity, words in ((0.75, set()), (0.125, {"caution"})):
        known = dataclasses.replace(result, familiarity=familiarity)
        path = export_localization(known, tmp_path)["summary"]
        summary = json.loads(path.read_text())
        assert summary["familiarity"] == familiarity
        assert {"caution"} & set(summary) == words
        assert read_localization(path).familiarity == familiarity
    assert summary["caution"] == known.caution
    assert read_localization(export_localization(result, tmp_path)["summary"]).familiarity is None


def test_numpy_numbers_and_an_unknown_pixel_size_are_written(localize, tmp_path):
    result = localize(np.ones((2, 2)), classes={"größe": np.float32(1)}, threshold=np.float32(0.25))
    write_summary(tmp_path / "a.json", result, "a.fg.ome.tif")
    summary = json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))
    assert summary["image"]["mpp"] is None
    assert summary["classes"] == {"größe": 1.0}
    assert summary["threshold"] == 0.25


def test_the_files_agree_at_a_given_threshold(result, tmp_path):
    written = export_localization(result, tmp_path, threshold=0.8)
    summary = json.loads(written["summary"].read_text())
    foreground = tifffile.imread(written["foreground"])
    mask = geojson_to_mask(written["regions"], foreground.shape)
    np.testing.assert_array_equal(mask, foreground >= np.float32(summary["threshold"]))
    assert summary["threshold"] == 0.8
    assert summary["foreground_fraction"] == mask.mean()


@pytest.mark.parametrize("failing", ["save_foreground", "save_geojson"])
def test_a_full_disk_leaves_all_old_files(result, tmp_path, monkeypatch, failing):
    before = dataclasses.replace(result, foreground=np.ones((6, 8), np.float32))
    written = export_localization(before, tmp_path)
    before = {path: path.read_bytes() for path in written.values()}

    def fill_up(path, *_):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(results, failing, fill_up)
    with pytest.raises(OutputError, match="the disk is full"):
        export_localization(result, tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_names_that_no_file_can_have_are_changed():
    assert safe_stem("plain name [1]") == "plain name [1]"
    assert "/" not in safe_stem("a/b")
    assert safe_stem("tab\there") == "tab_here"
    for name in ("", ".", "..", "  "):
        assert safe_stem(name) == "image"


def test_a_result_of_several_labels_is_exported_like_any_other(localize, tmp_path):
    found = localize(np.linspace(0, 1, 48, dtype=np.float32).reshape(6, 8))
    several = dataclasses.replace(found, classes={"necrosis": 0.8, "tumour": 0.9, "fat": 0.1})
    written = export_localization(several, tmp_path)
    summary = json.loads(written["summary"].read_text())
    assert summary["classes"] == {"necrosis": 0.8, "tumour": 0.9, "fat": 0.1}
    assert summary["predicted"] == "tumour"
    assert '"name":"tumour"' in written["regions"].read_text().replace(" ", "")
