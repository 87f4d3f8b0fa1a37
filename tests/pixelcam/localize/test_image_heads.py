"""Every image head on images larger than a tile, and models of several labels an image."""

import numpy as np
import pytest
import torch
from torch import nn

import pixelcam
from pixelcam.localize import localizer as module
from pixelcam.model import IMAGE_HEADS, save_checkpoint
from pixelcam.slides import Slide
from tests.pixelcam.networks import louder, made_localizer
from tests.synthetic import tissue

pytestmark = pytest.mark.usefixtures("one_thread")


class _Patchwise(nn.Module):
    """An encoder each of whose cells sees its own pixels only: tiles give the features of the whole."""

    def __init__(self, encoder):
        super().__init__()
        self.info = encoder.info
        stride = int(encoder.info.grid(-1).stride)
        self.look = nn.Conv2d(3, encoder.info.final_channels, stride, stride)

    def forward(self, images, levels=()):
        final = torch.tanh(4 * self.look(images))
        return final, [final for _ in levels]

    def forward_each(self, images, levels, work):
        final, maps = self(images, levels)
        return final, [each(found) for each, found in zip(work, maps, strict=True)]


def patchwise(network):
    network.encoder = _Patchwise(network.encoder)
    nn.init.normal_(network.image_head.classify.weight)
    if hasattr(network.image_head, "score"):
        nn.init.normal_(network.image_head.score.weight)
    return network


@pytest.fixture
def large():
    """A picture of 200 x 330 pixels: no multiple of any stride."""
    return Slide.from_array(np.hstack([tissue("crowded", seed, 200)[0] for seed in (1, 2)])[:, :330], mpp=0.5)


def in_tiles_and_whole(localizer, image, monkeypatch):
    """The localization of an image in many tiles and in one."""
    monkeypatch.setattr(module, "CORE", 64)
    monkeypatch.setattr(module, "CONTEXT", 32)
    assert len(localizer.plan_tiles(localizer.working_image(image))) == 24
    tiled = localizer.localize(image)
    monkeypatch.setattr(module, "CORE", 1024)
    assert len(localizer.plan_tiles(localizer.working_image(image))) == 1
    return tiled, localizer.localize(image)


@pytest.mark.parametrize(("multi_label", "views"), [(False, 1), (True, 1), (False, 4)])
@pytest.mark.parametrize("head", sorted(IMAGE_HEADS))
def test_the_classes_of_tiles_are_those_of_the_whole_where_features_are_equal(
    head, multi_label, views, large, monkeypatch
):
    localizer = made_localizer(
        "test_resnet",
        patchwise,
        views,
        classes=("a", "b", "c"),
        mpp=0.5,
        image_head=head,
        multi_label=multi_label,
    )
    tiled, whole = in_tiles_and_whole(localizer, large, monkeypatch)
    assert max(whole.classes.values()) - min(whole.classes.values()) > 0.01
    assert tiled.classes == pytest.approx(whole.classes, abs=1e-6)
    np.testing.assert_allclose(tiled.foreground, whole.foreground, atol=1e-5)


@pytest.mark.parametrize("head", sorted(IMAGE_HEADS))
def test_a_model_of_any_head_is_saved_loaded_and_used_on_a_large_image(head, large, tmp_path, monkeypatch):
    made = made_localizer("test_efficientnet", louder, levels=(1, 2), mpp=0.5, image_head=head)
    save_checkpoint(tmp_path / "made.safetensors", made.network, made.card)
    loaded = pixelcam.load(tmp_path / "made.safetensors", device="cpu")
    tiled, whole = in_tiles_and_whole(loaded, large, monkeypatch)
    assert whole.classes == pytest.approx(made.localize(large).classes)
    assert tiled.foreground.shape == (200, 330)
    assert sum(tiled.classes.values()) == pytest.approx(1)
    assert tiled.classes["bright"] == pytest.approx(whole.classes["bright"], abs=0.05)


def test_the_surroundings_that_a_tile_sees_do_not_count_twice(monkeypatch):
    # Light in the overlap of tiles only: were contexts pooled too, the classes would shift.
    pixels = np.zeros((64, 256, 3), np.uint8)
    pixels[:, 64:96] = 255
    localizer = made_localizer("test_resnet", patchwise, mpp=0.5)
    image = Slide.from_array(pixels, mpp=0.5)
    monkeypatch.setattr(module, "CORE", 64)
    monkeypatch.setattr(module, "CONTEXT", 32)
    assert len(localizer.plan_tiles(localizer.working_image(image))) == 4
    tiled = localizer.localize(image).classes
    monkeypatch.setattr(module, "CORE", 1024)
    assert tiled == pytest.approx(localizer.localize(image).classes, abs=1e-6)


def test_classes_of_a_multi_label_model_have_probabilities_of_their_own(large):
    def certain(network):
        nn.init.zeros_(network.image_head.classify.weight)
        network.image_head.classify.bias.data = torch.tensor([2.0, 3.0, -4.0])
        return network

    made = made_localizer("test_resnet", certain, classes=("a", "b", "c"), multi_label=True)
    found = made.localize(large)
    wanted = {name: 1 / (1 + np.exp(-x)) for name, x in zip("abc", (2, 3, -4), strict=True)}
    assert found.classes == pytest.approx(wanted)
    assert found.predicted == "b"
    assert found.present == ("a", "b")
    batch, _ = made.predict_batch(np.zeros((2, 64, 64, 3), np.uint8))
    np.testing.assert_allclose(batch, [list(wanted.values())] * 2, rtol=1e-5)
