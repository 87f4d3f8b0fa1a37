"""What runs on a GPU runs there whole: on a pretended one, which fails where tensors of two devices meet."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

import pixelcam
from pixelcam.datasets import open_dataset
from pixelcam.evaluation import evaluate
from pixelcam.export import SeedImage, SeedSidecar, write_seeds
from pixelcam.refine import Refiner, extract_features
from pixelcam.slides import open_slide
from pixelcam.training import FinetuneSettings, TrainSettings, engine, finetune, train
from tests.pretended_gpu import pretended_gpu
from tests.synthetic import tissue, write_folder

pytestmark = pytest.mark.usefixtures("gpu")
GPU = "cuda:0"


@pytest.fixture
def gpu(monkeypatch):
    with pretended_gpu(monkeypatch) as device:
        yield device


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_folder(tmp_path_factory.mktemp("data"), per_class=8, size=64, divided=True)


@pytest.fixture(scope="module")
def picture():
    return tissue("round", 3, 96)


def last_loss(data, run, **more):
    """Train for an epoch of each stage and return the loss of the last one."""
    settings = {
        "dataset": "folder", "root": data, "encoder": "test_efficientnet", "input_size": 64, "view_size": 64,
        "batch": 8, "epochs_classifier": 1, "epochs_joint": 1, "teacher_scales": (1.0,),
        "teacher_flips": False, **more,
    }  # fmt: skip
    losses = []

    def heard(event):
        if event.kind == "epoch":
            losses.append(event.metrics["loss"])

    train(TrainSettings.from_dict(settings), run, on_event=heard)
    return losses[-1]


def test_it_fails_as_a_gpu_does(gpu):
    there, here = torch.ones(2, device=gpu), torch.ones(2)
    assert (there + 1).device == here.to(gpu).device == gpu
    assert (there + torch.tensor(1.0)).cpu().tolist() == [2, 2]
    with pytest.raises(RuntimeError, match="two devices"):
        there + here
    with pytest.raises(RuntimeError, match="numpy"):
        there.numpy()
    with pytest.raises(TypeError, match="float64"):
        there.to(torch.float64)


@pytest.mark.parametrize("views", [1, 4])
def test_the_starter_localizes_as_on_the_cpu(views, picture):
    there, here = (pixelcam.load("starter", name, views=views).localize(picture[0]) for name in (GPU, "cpu"))
    np.testing.assert_allclose(there.foreground, here.foreground, atol=1e-6)
    assert there.familiarity == pytest.approx(here.familiarity, abs=1e-6)
    assert there.classes == pytest.approx(here.classes, abs=1e-6)


def test_the_map_follows_seeds_and_a_model_learns_from_them(picture, tmp_path):
    pixels, mask = picture
    Image.fromarray(pixels).save(tmp_path / "round.png")
    slide, labels = open_slide(tmp_path / "round.png"), np.where(mask, 2, 1).astype(np.uint8)
    labels[::3] = 0
    there, here = (
        Refiner(extract_features(pixelcam.load("starter", name), slide)).refine(labels)
        for name in (GPU, "cpu")
    )
    np.testing.assert_allclose(there.foreground, here.foreground, atol=1e-5)
    write_seeds(tmp_path / "seeds", labels, SeedSidecar(SeedImage.of(slide)))
    settings = FinetuneSettings(tmp_path / "seeds", epochs=1, steps=2, crop=64, device=GPU)
    finetune(settings, tmp_path / "run")
    tuned = pixelcam.load(tmp_path / "run" / "checkpoints" / "best-loc.safetensors", GPU)
    assert tuned.localize(slide).foreground.shape == mask.shape


@pytest.mark.parametrize(
    "more",
    [
        {"rounds": 2},
        {"pixel_loss": "partial", "teacher": "layercam", "half": True},
        {"teacher": "negev", "teacher_epochs": 1},
        {"teacher": "maxmin", "teacher_epochs": 1},
        {"teacher": "deep-mil", "image_head": "attention"},
        {"encoder": "test_vit", "input_size": 80, "view_size": 80, "teacher": "ts-cam"},
        {"encoder": "test_vit", "input_size": 80, "view_size": 80, "teacher": "attention"},
    ],
    ids=lambda more: more.get("teacher", "eigen"),
)
def test_a_model_is_trained_and_measured(more, data, tmp_path):
    assert np.isfinite(last_loss(data, tmp_path / "run", device=GPU, **more))
    trained = pixelcam.load(tmp_path / "run" / "checkpoints" / "last.safetensors", GPU)
    assert evaluate(trained, open_dataset("folder", data, "valcl", 0)).pxap is not None


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"teacher": "maxmin", "teacher_epochs": 1},
        {"encoder": "test_vit", "input_size": 80, "view_size": 80},
    ],
    ids=["cnn", "trained-teacher", "transformer"],
)
def test_in_halved_numbers_a_model_learns_much_the_same(more, data, tmp_path, monkeypatch):
    plain = last_loss(data, tmp_path / "plain", device="cpu", **more)
    monkeypatch.setattr(engine, "mixed_precision", lambda device: torch.autocast("cpu", dtype=torch.bfloat16))
    halved = last_loss(data, tmp_path / "halved", device="cpu", **more)
    assert halved != plain
    assert halved == pytest.approx(plain, abs=0.05)
