"""A finished model is taught which images are like those that it was trained on."""

import dataclasses

import numpy as np
import pytest
import torch

import pixelcam
from pixelcam.datasets import open_dataset
from pixelcam.errors import CancelledError
from pixelcam.events import Stop
from pixelcam.model import file_sha256, load_checkpoint, save_checkpoint
from pixelcam.training import TrainSettings, train
from pixelcam.training.familiarity import STAGE, add_familiarity

pytestmark = pytest.mark.usefixtures("one_thread")

NAMES = ("best-cl", "best-loc", "last")


@pytest.fixture
def bare(trained_model, tmp_path):
    """The trained model without what tells it what is familiar."""
    network, card = load_checkpoint(trained_model)
    network.familiarity = None
    save_checkpoint(tmp_path / "bare.safetensors", network, card, half=True)
    return tmp_path / "bare.safetensors"


def splits(root):
    return [open_dataset("folder", root, split) for split in ("train", "valcl")]


def test_training_leaves_models_that_tell_their_tissue_from_a_picture_of_something_else(
    trained_run, learning_root
):
    squares = np.kron(np.indices((12, 12)).sum(axis=0) % 2, np.full((8, 8), 255))
    board = np.repeat(squares[..., None], 3, axis=2).astype(np.uint8)
    for name in NAMES:
        localizer = pixelcam.load(trained_run / "checkpoints" / f"{name}.safetensors", device="cpu")
        test = open_dataset("folder", learning_root, "test").samples
        own = [localizer.localize(sample.image).familiarity for sample in test]
        assert np.mean(own) > 0.7
        assert localizer.localize(board).familiarity < 0.05
        assert max(localizer.localize(board).classes.values()) < 0.55  # of two classes


def test_adding_it_changes_nothing_else(bare, learning_root, tmp_path):
    out, events = tmp_path / "out.safetensors", []
    assert add_familiarity(bare, out, *splits(learning_root), device="cpu", on_event=events.append)
    (before, card), (after, new_card) = load_checkpoint(bare), load_checkpoint(out)
    assert new_card == card
    assert after.familiarity is not None
    for key, value in before.state_dict().items():
        assert torch.equal(after.state_dict()[key], value), key
    assert out.stat().st_size < 1.5 * bare.stat().st_size  # half precision stays half
    steps = [event for event in events if event.kind == "step"]
    assert {event.stage for event in steps} == {STAGE}
    assert steps[-1].step == steps[-1].total


def test_the_same_images_give_the_same_bytes(bare, learning_root, tmp_path):
    outs = [tmp_path / name for name in ("one.safetensors", "two.safetensors")]
    for out in outs:
        add_familiarity(bare, out, *splits(learning_root), device="cpu")
    assert file_sha256(outs[0]) == file_sha256(outs[1])


def test_with_too_few_images_nothing_is_written(bare, learning_root, tmp_path):
    training, held_out = splits(learning_root)
    few = dataclasses.replace(held_out, samples=held_out.samples[:4])
    assert not add_familiarity(bare, tmp_path / "out.safetensors", training, few, device="cpu")
    assert not (tmp_path / "out.safetensors").exists()


def test_a_pixel_head_on_the_final_map_alone_has_nothing_to_tell_by(bare, learning_root, tmp_path):
    _, card = load_checkpoint(bare)
    card = dataclasses.replace(card, levels=(-1,))
    save_checkpoint(tmp_path / "final.safetensors", card.build(), card)
    path = tmp_path / "final.safetensors"
    assert not add_familiarity(path, path, *splits(learning_root), device="cpu")
    assert pixelcam.load(path, device="cpu").localize(np.zeros((64, 64, 3), np.uint8)).familiarity is None


def small(root):
    return TrainSettings(
        dataset="folder",
        root=root,
        encoder="test_efficientnet",
        input_size=64,
        view_size=64,
        teacher="layercam-abs",
        epochs_classifier=1,
        epochs_joint=0,
        batch=8,
        device="cpu",
    )


def stop_within(events, wish):
    return lambda: wish if events and events[-1].stage == STAGE and events[-1].kind == "step" else Stop.NO


def test_stopping_meanwhile_keeps_the_trained_models(learning_root, tmp_path):
    events, run = [], tmp_path / "run"
    train(small(learning_root), run, on_event=events.append, should_stop=stop_within(events, Stop.KEEP))
    assert events[-1].kind == "done"
    networks = [load_checkpoint(run / "checkpoints" / f"{name}.safetensors")[0] for name in NAMES]
    assert [network.familiarity for network in networks] == [None] * 3
    train(small(learning_root), run)  # goes on where it was stopped
    for name in NAMES:
        assert load_checkpoint(run / "checkpoints" / f"{name}.safetensors")[0].familiarity is not None


def test_cancelling_meanwhile_discards_them(learning_root, tmp_path):
    events, run = [], tmp_path / "run"
    with pytest.raises(CancelledError):
        train(
            small(learning_root), run, on_event=events.append, should_stop=stop_within(events, Stop.DISCARD)
        )
    assert not (run / "checkpoints").exists()
