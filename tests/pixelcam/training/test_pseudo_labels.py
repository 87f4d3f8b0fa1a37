"""The default recipe: eigen maps as soft labels, renewed in rounds; soft labels; the certain sampler."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from pixelcam.datasets import open_dataset
from pixelcam.errors import CancelledError
from pixelcam.events import Stop
from pixelcam.model import file_sha256
from pixelcam.seeds.samplers import SamplerSettings, draw_seeds
from pixelcam.training import TrainSettings, train
from pixelcam.training.glass import CERTAINTY
from pixelcam.training.losses import partial_cross_entropy, soft_cross_entropy
from pixelcam.training.pseudo_labels import soft_labels
from pixelcam.training.setup import plan_card
from tests.synthetic import write_folder

pytestmark = pytest.mark.usefixtures("one_thread")

STAGES = ("joint", "joint-2")


@pytest.fixture(scope="module")
def settings(folder_root):
    return TrainSettings(
        dataset="folder",
        root=folder_root,
        encoder="test_efficientnet",
        input_size=64,
        epochs_classifier=1,
        epochs_joint=1,
        rounds=2,
        batch=8,
        device="cpu",
    )


@pytest.fixture(scope="module")
def whole(settings, tmp_path_factory):
    run, events = tmp_path_factory.mktemp("run") / "whole", []
    train(settings, run, on_event=events.append)
    return run, events


def digest(run):
    return file_sha256(run / "checkpoints" / "last.safetensors")


def test_glass_in_the_training_images_is_background_whatever_the_teacher_says(settings, tmp_path):
    root = write_folder(tmp_path / "data", per_class=3, size=96)
    for path in [*root.glob("crowded/*.png"), *root.glob("round/*.png")]:
        pixels = np.asarray(Image.open(path).convert("RGB")).copy()
        pixels[:, :48] = 248
        Image.fromarray(pixels).save(path)
    maps = []
    for glass in (0.0, 0.25):
        changed = dataclasses.replace(settings, root=root, rounds=1, glass=glass, teacher="layercam")
        train(changed, tmp_path / str(glass))
        maps.append(load_file(tmp_path / str(glass) / "state" / "maps-joint.safetensors")["maps"].float())
    half = maps[0].shape[-1] // 2
    there, here = (
        (slice(None), slice(None), slice(half - 1)),
        (slice(None), slice(None), slice(half + 1, None)),
    )
    assert maps[0][there].max() > CERTAINTY + 0.05
    assert maps[1][there].max() <= CERTAINTY + 1e-3
    torch.testing.assert_close(maps[1][here], maps[0][here])


def test_rounds_follow_each_other_each_with_maps_of_its_own(whole):
    run, events = whole
    assert [e.stage for e in events if e.kind == "epoch"] == ["classifier", *STAGES]
    first, second = (load_file(run / "state" / f"maps-{stage}.safetensors")["maps"] for stage in STAGES)
    assert first.shape == second.shape
    assert not torch.equal(first, second)
    for maps in (first, second):
        assert float(maps.min()) >= 0
        assert float(maps.max()) <= 1
        assert float(maps.float().mean()) == pytest.approx(0.5, abs=0.02)
    joint = [e.metrics for e in events if e.kind == "epoch" and e.stage != "classifier"]
    assert all(0 < metrics["pixel_loss"] < 1 for metrics in joint)


@pytest.mark.parametrize("stage", ["classifier", "eigen", *STAGES])
def test_a_run_stopped_anywhere_goes_on_to_the_same_weights(settings, whole, tmp_path, stage):
    seen = []
    train(
        settings,
        tmp_path / "run",
        on_event=seen.append,
        should_stop=lambda: Stop.KEEP if seen and seen[-1].stage == stage else Stop.NO,
    )
    assert [e.stage for e in seen if e.kind == "epoch"] != ["classifier", *STAGES]
    train(settings, tmp_path / "run")
    assert digest(tmp_path / "run") == digest(whole[0])


def test_cancelling_while_eigen_maps_are_made_leaves_no_weights(settings, tmp_path):
    seen = []
    with pytest.raises(CancelledError):
        train(
            settings,
            tmp_path / "run",
            on_event=seen.append,
            should_stop=lambda: Stop.DISCARD if seen and seen[-1].stage == "eigen" else Stop.NO,
        )
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_a_class_map_is_brought_to_the_scale_of_soft_labels(settings, tmp_path):
    train(dataclasses.replace(settings, teacher="cam", rounds=1), tmp_path / "run")
    maps = load_file(tmp_path / "run" / "state" / "maps-joint.safetensors")["maps"].float()
    assert float(maps.mean()) == pytest.approx(0.5, abs=0.01)
    assert float(maps.std()) == pytest.approx(1 / 8, rel=0.05)


def test_the_card_tells_the_pixel_size_of_what_training_shows(settings):
    dataset = open_dataset("folder", settings.root, "train")
    with Image.open(dataset.samples[0].image) as picture:
        width, height = picture.size
    assert width == height
    for view in (64, 96):
        card = plan_card(dataclasses.replace(settings, mpp=0.5, view_size=view), dataset)
        # Crops of half to all of an image's side, enlarged to the view.
        assert card.mpp == pytest.approx(0.5 * width * 0.75 / view)


def test_soft_labels_are_probabilities_and_nothing_in_images_without_a_region():
    maps = torch.tensor([[[0.5, 0.5 + 1 / 8]], [[0.9, 0.9]]])
    found = soft_labels(maps, torch.tensor([False, True]))
    assert found[0, 0].tolist() == pytest.approx([0.5, 1 / (1 + math.exp(-2))])
    assert not found[1].any()


def test_the_soft_loss_is_the_mean_of_the_partial_loss_over_drawn_labels():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(1, 2, 4, 4, generator=generator)
    foreground = torch.rand(1, 4, 4, generator=generator)
    drawn = [
        partial_cross_entropy(logits, 1 + (torch.rand(1, 4, 4, generator=generator) < foreground).long())
        for _ in range(3000)
    ]
    assert float(soft_cross_entropy(logits, foreground)) == pytest.approx(
        float(torch.stack(drawn).mean()), abs=0.02
    )


def test_the_certain_sampler_draws_no_more_than_is_certain():
    maps = torch.full((2, 4, 4), 0.5)
    maps[0, 0, :3], maps[0, 3, :2] = 0.7, 0.3
    labels = draw_seeds(maps, SamplerSettings("certain", 10, certain=0.1), torch.Generator().manual_seed(0))
    assert [int((labels[0] == value).sum()) for value in (1, 2)] == [2, 3]
    assert not labels[1].any()
    assert (labels[0, 0, :3] == 2).all()
