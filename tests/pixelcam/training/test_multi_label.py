"""Training and fine-tuning where an image has any number of labels, and with every image head."""

import dataclasses

import numpy as np
import pytest
import torch
from PIL import Image

import pixelcam
from pixelcam.datasets import open_dataset
from pixelcam.evaluation import evaluate
from pixelcam.export import SeedImage, SeedSidecar, write_seeds
from pixelcam.localize import localizer as localizer_module
from pixelcam.model import IMAGE_HEADS, load_checkpoint, read_card
from pixelcam.slides import Slide, open_slide
from pixelcam.training import FinetuneSettings, TrainSettings, finetune, train
from pixelcam.training.data import load_stack
from tests.synthetic import tissue, write_labelled

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write_labelled(tmp_path_factory.mktemp("labelled"), number=32, size=64)


@pytest.fixture(scope="module")
def settings(root):
    return TrainSettings(
        dataset="folder",
        root=root,
        encoder="test_efficientnet",
        input_size=64,
        augment="paper",
        view_size=64,
        teacher="layercam-abs",
        teacher_margin=0,
        pixel_loss="partial",
        sampler="extremes",
        seeds=10,
        epochs_classifier=3,
        epochs_joint=1,
        batch=10,
        rate_classifier=0.02,
        dropout=0.0,
        device="cpu",
        name="labelled",
    )


@pytest.fixture(scope="module")
def trained(settings, tmp_path_factory):
    """The best checkpoint and the events of a run."""
    run, events = tmp_path_factory.mktemp("run") / "whole", []
    train(settings, run, on_event=events.append)
    return run / "checkpoints" / "best-cl.safetensors", events


def test_the_labels_of_a_stack_are_rows_of_zeros_and_ones(root):
    dataset = open_dataset("folder", root, "train")
    stack = load_stack(dataset, 16)
    assert (stack.labels.shape, stack.labels.dtype) == ((20, 2), torch.float32)
    for row, empty, sample in zip(stack.labels, stack.regionless, dataset.samples, strict=True):
        assert tuple(np.flatnonzero(row.numpy())) == sample.labels
        assert bool(empty) == (not sample.labels)
    assert 0 < int(stack.regionless.sum()) < 20


def test_a_multi_label_model_is_trained_from_a_table_to_its_checkpoint(trained, root):
    path, events = trained
    card = read_card(path)
    assert card.multi_label
    assert card.classes == ("crowded", "round")
    assert {"valcl_accuracy", "valpx_pxap"} <= set(card.metrics)
    losses = [event.metrics["class_loss"] for event in events if event.kind == "epoch"]
    assert losses[2] < losses[0] < 1.5
    found = pixelcam.load(path, "cpu").localize(tissue("crowded", 5, 64)[0])
    assert set(found.present) <= set(card.classes)
    figures = evaluate(pixelcam.load(path, "cpu"), open_dataset("folder", root, "test")).to_json()
    assert 0 < figures["label_map"] <= 100
    assert 0 <= figures["accuracy"] <= 100


def test_images_without_labels_give_background_seeds_only(trained):
    _, events = trained
    counts = next(event.metrics for event in events if event.kind == "epoch" and event.stage == "joint")
    # A fourth of the images has no label, and so no foreground.
    assert 0 < counts["foreground_seeds"] < 0.9 * counts["background_seeds"]
    assert not any(event.kind == "warning" for event in events), "their maps are constant by right"


def test_the_same_table_gives_the_same_model_to_the_bit(settings, tmp_path):
    quick = dataclasses.replace(settings, epochs_classifier=1)
    for run in ("first", "second"):
        train(quick, tmp_path / run)
    first, second = (tmp_path / run / "checkpoints" / "last.safetensors" for run in ("first", "second"))
    assert first.read_bytes() == second.read_bytes()


@pytest.mark.parametrize(
    ("head", "teacher"),
    [("average", "cam"), ("max", "layercam"), ("lse", "grad-cam"), ("attention", "deep-mil")],
)
def test_every_image_head_is_trained_saved_and_used_on_an_image_larger_than_a_tile(
    settings, head, teacher, tmp_path, monkeypatch
):
    changed = dataclasses.replace(settings, image_head=head, teacher=teacher, epochs_classifier=1)
    train(changed, tmp_path / "run")
    path = tmp_path / "run" / "checkpoints" / "best-loc.safetensors"
    network, card = load_checkpoint(path)
    assert card.image_head == head
    assert type(network.image_head) is IMAGE_HEADS[head]
    monkeypatch.setattr(localizer_module, "CORE", 64)
    monkeypatch.setattr(localizer_module, "CONTEXT", 32)
    localizer = pixelcam.load(path, "cpu")
    image = np.hstack([tissue(kind, 3, 160)[0] for kind in ("crowded", "round")])
    slide = Slide.from_array(image)
    assert len(localizer.plan_tiles(localizer.working_image(slide))) > 1
    found = localizer.localize(slide)
    assert found.foreground.shape == (160, 320)
    assert all(0 < probability < 1 for probability in found.classes.values())


def test_a_multi_label_model_learns_a_reviewers_strokes_and_the_label_that_is_named(trained, tmp_path):
    path, _ = trained
    pixels, _ = tissue("crowded", 11, 96)
    Image.fromarray(pixels).save(tmp_path / "field.png")
    labels = np.zeros((96, 96), np.uint8)
    labels[10:14, 10:40], labels[60:64, 10:40] = 2, 1
    sidecar = SeedSidecar(SeedImage.of(open_slide(tmp_path / "field.png")), corrected_label="crowded")
    write_seeds(tmp_path / "seeds", labels, sidecar)
    changes = FinetuneSettings(
        tmp_path / "seeds", str(path), epochs=2, steps=4, crop=64, batch=2, label_weight=2.0, device="cpu"
    )
    finetune(changes, tmp_path / "run")
    tuned = tmp_path / "run" / "checkpoints" / "last.safetensors"
    assert read_card(tuned).multi_label
    before, after = (pixelcam.load(model, "cpu").localize(pixels).classes for model in (path, tuned))
    assert after["crowded"] > before["crowded"]
    (bias,), (other,) = ([load_checkpoint(model)[0].image_head.classify.bias] for model in (path, tuned))
    assert torch.allclose(bias[1], other[1], rtol=1e-3, atol=1e-5), "of the label round nothing was said"
    assert not torch.allclose(bias[0], other[0], rtol=1e-3, atol=1e-5)
