"""Checkpoints: one file that says all of itself, or a sentence that says why not."""

import copy
import dataclasses
import json
import pickle

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from pixelcam.errors import CheckpointError, OutputError
from pixelcam.model import ModelCard, checkpoint, file_sha256, load_checkpoint, read_card, save_checkpoint

pytestmark = pytest.mark.usefixtures("one_thread")

CARD = ModelCard(
    encoder="test_efficientnet",
    classes=("benign", "malignant", "Ødem"),
    input_size=64,
    name="tiny",
    levels=(1, 2, -1),
    mpp=0.5,
    threshold=0.4,
    regionless=("benign",),
    trained_on="made tissue",
    training={"epochs": 3, "levels": [1, 2]},
    metrics={"pxap": 71.25},
    parent="ab" * 32,
    licence="BSD-3-Clause",
)


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return CARD.build().eval()


@pytest.fixture
def saved(network, tmp_path):
    path = tmp_path / "tiny.safetensors"
    save_checkpoint(path, network, CARD)
    return path


def rewrite(path, change):
    """Change the tensors or the metadata of a checkpoint in place."""
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    tensors = load_file(path)
    change(tensors, metadata)
    save_file(tensors, path, metadata=metadata)


def change_card(path, **values):
    def change(tensors, metadata):
        metadata["card"] = json.dumps({**json.loads(metadata["card"]), **values})

    rewrite(path, change)


def test_a_checkpoint_gives_back_the_same_network_and_card(network, saved):
    loaded, card = load_checkpoint(saved)
    assert card == dataclasses.replace(CARD, training={"epochs": 3, "levels": [1, 2]})
    assert not loaded.training
    for key, value in network.state_dict().items():
        assert torch.equal(loaded.state_dict()[key], value), key
    images = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        for found, wanted in zip(loaded(images), network(images), strict=True):
            assert torch.equal(found, wanted)


def test_half_precision_halves_the_file_and_is_read_as_single(network, saved, tmp_path):
    path = tmp_path / "half.safetensors"
    save_checkpoint(path, network, CARD, half=True)
    assert path.stat().st_size < 0.6 * saved.stat().st_size
    loaded, _ = load_checkpoint(path)
    for key, value in network.state_dict().items():
        found = loaded.state_dict()[key]
        assert found.dtype == value.dtype
        torch.testing.assert_close(found, value.half().float() if value.is_floating_point() else value)


def test_the_card_can_be_read_by_any_reader_of_safetensors(saved):
    with safe_open(saved, framework="np") as file:
        metadata = file.metadata()
    assert metadata["format"] == "pixelcam-1"
    card = json.loads(metadata["card"])
    assert (card["encoder"], card["classes"], card["mpp"]) == ("test_efficientnet", list(CARD.classes), 0.5)
    assert read_card(saved).threshold == 0.4


def test_the_same_network_gives_the_same_bytes(network, saved, tmp_path):
    for index in range(3):  # the library orders metadata by a hash that differs from call to call
        again = tmp_path / f"{index}.safetensors"
        assert save_checkpoint(again, network, CARD) == file_sha256(saved)
        assert again.read_bytes() == saved.read_bytes()


def test_settings_of_a_later_version_are_passed_over(saved):
    change_card(saved, colour="mauve")
    assert load_checkpoint(saved)[1].name == "tiny"


def test_a_checkpoint_of_before_there_were_image_heads_loads_unchanged(network, saved):
    def forget(_, metadata):
        values = json.loads(metadata["card"])
        metadata["card"] = json.dumps(
            {k: v for k, v in values.items() if k not in ("image_head", "multi_label")}
        )

    rewrite(saved, forget)
    loaded, card = load_checkpoint(saved)
    assert (card.image_head, card.multi_label) == ("average", False)
    images = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        assert torch.equal(loaded(images).class_logits, network(images).class_logits)


class Trap:
    def __reduce__(self):
        return (pytest.fail, ("it was unpickled",))


@pytest.mark.parametrize("how", ["torch", "pickle", "named safetensors"])
def test_a_pickle_is_refused_without_being_opened(tmp_path, how):
    path = tmp_path / ("model.safetensors" if how == "named safetensors" else "model.pt")
    if how == "pickle":
        path.write_bytes(pickle.dumps(Trap()))
    else:
        torch.save({"weights": Trap()}, path)
    with pytest.raises(CheckpointError, match="pickled"):
        load_checkpoint(path)


def truncate(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def cut_header(path):
    path.write_bytes(path.read_bytes()[:100])


def empty(path):
    path.write_bytes(b"")


def remove(path):
    path.unlink()


def plain(path):
    save_file(load_file(path), path)


def other_encoder(path):
    change_card(path, encoder="test_resnet")


def other_classes(path):
    change_card(path, classes=["a", "b"])


def other_levels(path):
    change_card(path, levels=[0, 1, 2])


def unknown_encoder(path):
    change_card(path, encoder="resnet5000")


def unknown_level(path):
    change_card(path, levels=[77])


def not_numbers(path):
    rewrite(path, lambda tensors, _: tensors["image_head.classify.bias"].fill_(torch.nan))


def lost_tensor(path):
    rewrite(path, lambda tensors, _: tensors.pop("image_head.classify.bias"))


def no_card(path):
    rewrite(path, lambda _, metadata: metadata.pop("card"))


def card_of_no_mapping(path):
    rewrite(path, lambda _, metadata: metadata.update(card="[1]"))


def card_of_no_json(path):
    rewrite(path, lambda _, metadata: metadata.update(card="{"))


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (remove, ("no model file",)),
        (empty, ("not a whole safetensors file",)),
        (truncate, ("not a whole safetensors file",)),
        (cut_header, ("not a whole safetensors file",)),
        (plain, ("no PixelCAM metadata", "--weights")),
        (other_encoder, ("does not fit its encoder test_resnet", "another network")),
        (other_classes, ("shape (3, 256) instead of (2, 256)",)),
        (other_levels, ("does not fit",)),
        (unknown_encoder, ("resnet5000",)),
        (unknown_level, ("77",)),
        (not_numbers, ("not numbers",)),
        (lost_tensor, ("1 tensors are missing",)),
        (no_card, ("incomplete or damaged",)),
        (card_of_no_mapping, ("incomplete or damaged",)),
        (card_of_no_json, ("incomplete or damaged",)),
    ],
)
def test_a_file_that_does_not_fit_is_refused_in_one_sentence(saved, spoil, words):
    spoil(saved)
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(saved)
    for word in words:
        assert word in str(caught.value)
    assert "\n" not in str(caught.value)
    assert str(caught.value).endswith(".")


@pytest.mark.parametrize(
    "values",
    [
        {"image_head": 3},
        {"multi_label": "yes"},
        {"classes": ["one"]},
        {"classes": "ab"},
        {"classes": [1, 2]},
        {"threshold": 1.5},
        {"input_size": 2},
        {"input_size": "large"},
        {"levels": ["last"]},
        {"levels": None},
        {"mean": [0.5]},
        {"std": None},
        {"encoder": 50},
        {"classes": ["one", "one"]},
        {"mpp": 0},
        {"mpp": "0.5"},
        {"mpp": float("nan")},
    ],
)
def test_a_card_out_of_range_is_refused(saved, values):
    change_card(saved, **values)
    with pytest.raises(CheckpointError, match="incomplete or damaged"):
        load_checkpoint(saved)


@pytest.mark.parametrize("part", ["save_file", "_sort_metadata"])
def test_an_older_file_stays_whole_when_writing_fails(network, saved, monkeypatch, part):
    before = saved.read_bytes()

    def fail(first, *rest, **options):
        target = rest[0] if rest else first
        target.write_bytes(b"half a file")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, part, fail)
    with pytest.raises(OutputError, match="disk is full"):
        save_checkpoint(saved, network, CARD)
    assert saved.read_bytes() == before
    assert list(saved.parent.iterdir()) == [saved]


def test_what_is_too_large_for_half_precision_stays_single(network, tmp_path):
    large = copy.deepcopy(network)
    name, norm = next((n, m) for n, m in large.named_modules() if hasattr(m, "running_var"))
    norm.running_var[0] = 1e5
    save_checkpoint(tmp_path / "a.safetensors", large, CARD, half=True)
    loaded, _ = load_checkpoint(tmp_path / "a.safetensors")
    assert float(loaded.get_submodule(name).running_var[0]) == 1e5
