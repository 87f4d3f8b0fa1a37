"""A model says what its foreground is: in its card, in what it makes, and in what is made of it."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import pixelcam
from pixelcam.errors import CheckpointError, ConfigError
from pixelcam.export.results import summarize
from pixelcam.model import ModelCard, file_sha256, load_checkpoint, read_card, save_checkpoint
from pixelcam.model.checkpoint import BEFORE, check_foreground_name, name_foreground
from pixelcam.model.registry import foreground_name_of, register_model, resolve_model

CARD = ModelCard("mobilenetv2_035", ("benign", "malignant"), 96, levels=(0, 1, 2), foreground_name="tumour")


@pytest.fixture
def saved(tmp_path, user_folder):
    torch.manual_seed(0)
    path = tmp_path / "model.safetensors"
    save_checkpoint(path, CARD.build(), CARD)
    return path


def card_text(path, text):
    """Write a checkpoint's tensors again beside other metadata."""
    save_file(load_file(path), path, metadata={"format": "pixelcam-1", "card": text})


def test_the_card_keeps_it_and_older_cards_open_without(saved):
    assert read_card(saved).foreground_name == "tumour"
    values = dataclasses.asdict(CARD)
    del values["foreground_name"]
    card_text(saved, json.dumps(values))
    assert load_checkpoint(saved)[1].foreground_name == ""


def test_the_starter_is_of_glands_and_so_is_what_was_fine_tuned_from_it(saved):
    path = resolve_model("starter")
    assert read_card(path).foreground_name == "glands"
    assert file_sha256(path) in BEFORE
    values = {**dataclasses.asdict(CARD), "parent": file_sha256(path), "foreground_name": ""}
    card_text(saved, json.dumps(values))
    assert read_card(saved).foreground_name == "glands"


@pytest.mark.parametrize("name", [7, ["glands"], "g" * 41, "two\nlines", " glands", "bell\a"])
def test_what_cannot_be_shown_is_damage(saved, name):
    card_text(saved, json.dumps({**dataclasses.asdict(CARD), "foreground_name": name}))
    with pytest.raises(CheckpointError, match="incomplete or damaged"):
        read_card(saved)
    if isinstance(name, str):
        with pytest.raises(ConfigError, match="at most 40 characters"):
            check_foreground_name(name)


def test_naming_it_changes_no_byte_of_the_tensors(saved, tmp_path):
    named = tmp_path / "named.safetensors"
    name_foreground(saved, named, "Drüsen des Kolons")
    assert read_card(named) == dataclasses.replace(CARD, foreground_name="Drüsen des Kolons")
    before, after = load_file(saved), load_file(named)
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)
    size = [int.from_bytes(path.read_bytes()[:8], "little") for path in (saved, named)]
    assert saved.read_bytes()[8 + size[0] :] == named.read_bytes()[8 + size[1] :]
    assert size[1] % 8 == 0
    with safe_open(named, framework="pt") as file:
        assert file.metadata()["format"] == "pixelcam-1"


def test_a_model_is_added_with_another_name_of_its_foreground(saved):
    assert read_card(register_model(saved, "as-it-is").path).foreground_name == "tumour"
    entry = register_model(saved, "renamed", "nests")
    assert read_card(entry.path).foreground_name == "nests"
    assert foreground_name_of("renamed", file_sha256(entry.path)) == "nests"
    assert foreground_name_of("renamed", "0" * 64) == ""
    assert foreground_name_of("gone", next(iter(BEFORE))) == "glands"
    with pytest.raises(ConfigError, match="at most 40 characters"):
        register_model(saved, "third", "n" * 50)
    assert not (entry.path.parent / "third.safetensors").exists()


def test_a_result_and_its_summary_say_it(saved):
    image = np.random.default_rng(0).integers(0, 255, (96, 96, 3), np.uint8)
    result = pixelcam.load(saved, "cpu").localize(image)
    assert result.foreground_name == "tumour"
    assert summarize(result, "map.tif")["foreground_name"] == "tumour"
    assert "foreground_name" not in summarize(dataclasses.replace(result, foreground_name=""), "map.tif")
