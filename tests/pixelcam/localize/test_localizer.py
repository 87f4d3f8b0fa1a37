"""Localizing images of any size."""

import dataclasses

import numpy as np
import pytest
import skimage
import torch
from PIL import Image

import pixelcam
from pixelcam.errors import CancelledError, CheckpointError, DeviceError, ImageError, ModelNotFoundError
from pixelcam.events import Stop
from pixelcam.localize import localizer as module
from pixelcam.model import save_checkpoint
from pixelcam.slides import Slide
from tests.synthetic import tissue

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def large():
    """A picture of 200 x 330 pixels: no multiple of any stride."""
    return Slide.from_array(np.hstack([tissue("crowded", seed, 200)[0] for seed in (1, 2)])[:, :330], mpp=0.5)


@pytest.fixture
def small_tiles(monkeypatch):
    monkeypatch.setattr(module, "CORE", 64)
    monkeypatch.setattr(module, "CONTEXT", 64)


def spot_image(row, column, shape=(160, 192), radius=10):
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    light = np.exp(-((rows - row) ** 2 + (columns - column) ** 2) / (2 * radius**2))
    return np.repeat((light[..., None] * 255).round().astype(np.uint8), 3, axis=2)


def centroid(foreground):
    light = np.maximum(foreground - foreground.mean(), 0)
    rows, columns = np.mgrid[: light.shape[0], : light.shape[1]]
    return np.array([(light * rows).sum(), (light * columns).sum()]) / light.sum()


@pytest.mark.parametrize("shape", [(1, 1), (7, 2000), (33, 65), (64, 64), (2, 31)])
@pytest.mark.parametrize("kind", ["shallow", "transformer"])
def test_a_map_has_the_size_of_its_image_whatever_that_is(request, kind, shape):
    image = np.random.default_rng(0).integers(0, 255, (*shape, 3), dtype=np.uint8)
    found = request.getfixturevalue(kind).localize(image)
    assert (found.height, found.width) == found.foreground.shape == shape
    assert found.foreground.dtype == np.float32
    assert np.isfinite(found.foreground).all()
    assert found.foreground.min() >= 0
    assert found.foreground.max() <= 1
    assert list(found.classes) == ["dark", "bright"]
    assert sum(found.classes.values()) == pytest.approx(1)
    assert (found.scale, found.translate) == ((1.0, 1.0), (0.0, 0.0))


def test_the_same_image_gives_the_same_map_to_the_bit(shallow, large):
    first, second = shallow.localize(large), shallow.localize(large)
    assert np.array_equal(first.foreground, second.foreground)
    assert first.classes == second.classes


def test_an_image_in_tiles_gives_the_map_of_the_whole_where_tiles_see_enough(shallow, large, small_tiles):
    assert len(shallow.plan_tiles(shallow.working_image(large))) > 4
    tiled = shallow.localize(large)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "CORE", 1024)
        assert len(shallow.plan_tiles(shallow.working_image(large))) == 1
        whole = shallow.localize(large)
    assert whole.foreground.std() > 0.05
    np.testing.assert_allclose(tiled.foreground, whole.foreground, atol=1e-4)


def test_a_model_that_sees_further_than_its_tiles_differs_little(deep, large, small_tiles):
    tiled = deep.localize(large).foreground
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "CORE", 1024)
        whole = deep.localize(large).foreground
    assert whole.std() > 0.05
    # Half the context that is used in earnest; zeros beyond a tile's rim reach its core faintly.
    assert np.abs(tiled - whole).max() < 0.02
    assert np.abs(tiled - whole).mean() < 0.002


def test_the_starters_map_does_not_show_where_tiles_meet(monkeypatch):
    image = np.tile(skimage.data.immunohistochemistry()[:300], (1, 4, 1))
    slide = Slide.from_array(image, mpp=0.75)
    starter = module.load("starter", "cpu")
    assert len(starter.plan_tiles(starter.working_image(slide))) == 2
    tiled = starter.localize(slide).foreground
    monkeypatch.setattr(module, "CORE", 4096)
    whole = starter.localize(slide).foreground
    assert whole.std() > 0.2
    assert np.abs(tiled - whole).max() < 0.1
    assert np.abs(tiled - whole)[:, 1200:1360].mean() < 0.01


def test_a_map_that_memory_cannot_hold_is_refused_before_the_work(shallow, large, monkeypatch):
    def full(*arguments):
        raise MemoryError

    events = []
    monkeypatch.setattr(module.np, "empty", full)
    with pytest.raises(ImageError, match=r"needs 0\.0 GB of memory; close other programs"):
        shallow.localize(large, on_event=events.append)
    assert events == []


def test_class_probabilities_of_tiles_are_near_those_of_the_whole(deep, large, small_tiles):
    tiled = deep.localize(large).classes
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "CORE", 1024)
        whole = deep.localize(large).classes
    assert tiled["bright"] == pytest.approx(whole["bright"], abs=0.02)


@pytest.mark.parametrize("place", [(80, 96), (61, 117), (90.5, 70.25)])
def test_the_map_and_its_mirror_image_meet_on_what_they_show(lightmeter, place):
    # Weights that look evenly at all they see look to one side, as far as the padding goes: averaged over
    # mirror images that must vanish, or the map would be off by the way it is enlarged and placed.
    image = spot_image(*place)
    last = np.array(image.shape[:2]) - 1
    plain = centroid(lightmeter.localize(Slide.from_array(image, mpp=0.5)).foreground)
    turned = centroid(lightmeter.localize(Slide.from_array(image[::-1, ::-1].copy(), mpp=0.5)).foreground)
    np.testing.assert_allclose((plain + last - turned) / 2, place, atol=0.3)


def test_the_map_moves_as_the_image_does_across_the_seams_of_tiles(lightmeter, small_tiles):
    places = [np.array([80, 60 + 13 * step]) for step in range(6)]
    shape = (160, 224)
    found = [
        centroid(lightmeter.localize(Slide.from_array(spot_image(*place, shape), mpp=0.5)).foreground)
        for place in places
    ]
    for place, before in zip(found[1:], found, strict=False):
        np.testing.assert_allclose(place - before, [0, 13], atol=0.5)


def test_a_finer_scan_of_the_same_field_gives_the_same_map_in_more_pixels(lightmeter):
    coarse = spot_image(71, 90)
    fine = np.asarray(Image.fromarray(coarse).resize((384, 320), Image.Resampling.BICUBIC))
    small = lightmeter.localize(Slide.from_array(coarse, mpp=0.5))
    large = lightmeter.localize(Slide.from_array(fine, mpp=0.25))
    assert large.foreground.shape == (320, 384)
    halved = large.foreground.reshape(160, 2, 192, 2).mean(axis=(1, 3))
    assert small.foreground.max() - small.foreground.min() > 0.3
    np.testing.assert_allclose(halved, small.foreground, atol=0.02)


def test_an_image_far_coarser_than_the_model_is_enlarged_within_reason(lightmeter):
    working = lightmeter.working_image(Slide.from_array(np.zeros((10, 20, 3), np.uint8), mpp=50))
    assert working.shape == (80, 160)


def test_an_image_of_unknown_pixel_size_is_taken_for_one_field_of_view(shallow):
    def working(shape):
        return shallow.working_image(Slide.from_array(np.zeros((*shape, 3), np.uint8))).shape

    assert working((48, 50)) == (48, 50)  # never enlarged
    assert working((2000, 3000)) == (2000, 3000)  # 0.5 microns, the model's own pixel size, at the least


def test_cancelling_ends_before_the_next_tile(shallow, large, small_tiles):
    events = []
    with pytest.raises(CancelledError):
        shallow.localize(
            large,
            on_event=events.append,
            should_stop=lambda: Stop.DISCARD if len(events) >= 3 else Stop.NO,
        )
    assert [event.kind for event in events] == ["started", "step", "step"]


def test_events_count_the_tiles(shallow, large, small_tiles):
    events = []
    shallow.localize(large, on_event=events.append)
    total = events[0].total
    assert [event.step for event in events if event.kind == "step"] == list(range(1, total + 1))
    assert events[-1].kind == "done"
    assert {event.stage for event in events} == {"localize"}


def test_a_batch_is_what_its_images_are_one_by_one(shallow):
    images = np.stack([tissue("round", seed, 64)[0] for seed in (1, 2, 3)])
    classes, maps = shallow.predict_batch(images)
    assert classes.shape == (3, 2)
    assert maps.shape == (3, 64, 64)
    np.testing.assert_allclose(classes.sum(1), 1, atol=1e-6)
    for index in range(3):
        alone = shallow.localize(Slide.from_array(images[index], mpp=0.5))
        np.testing.assert_allclose(maps[index], alone.foreground, atol=1e-5)
        np.testing.assert_allclose(classes[index], list(alone.classes.values()), atol=1e-5)


def test_a_released_model_works_again_and_can_still_be_trained(shallow, large):
    before = shallow.localize(large).foreground
    shallow.release()
    assert np.array_equal(shallow.localize(large).foreground, before)
    shallow.network(torch.rand(1, 3, 64, 64)).pixel_logits.sum().backward()
    shallow.network.zero_grad()


def test_a_model_whose_answer_is_not_a_number_says_so(shallow, large):
    head = shallow.network.pixel_head.convolutions[0]
    kept = head.weight.detach().clone()
    with torch.no_grad():
        head.weight.fill_(torch.nan)
    with pytest.raises(ImageError, match="not numbers"):
        shallow.localize(large)
    with torch.no_grad():
        head.weight.copy_(kept)


def test_a_model_is_loaded_by_file_and_takes_files_arrays_and_slides(shallow, tmp_path):
    path = tmp_path / "made.safetensors"
    card = dataclasses.replace(shallow.card, name="made", threshold=0.3)
    digest = save_checkpoint(path, shallow.network, card)
    loaded = pixelcam.load(path, device="cpu")
    pixels = tissue("round", 5, 64)[0]
    Image.fromarray(pixels).save(tmp_path / "field.png")
    results = [loaded.localize(image) for image in (tmp_path / "field.png", pixels, Slide.from_array(pixels))]
    assert [result.image_name for result in results] == ["field", "image", "image"]
    assert [result.image_file for result in results] == ["field.png", "", ""]
    for result in results:
        assert np.array_equal(result.foreground, results[0].foreground)
        assert (result.model.name, result.model.sha256, result.threshold) == ("made", digest, 0.3)


def test_what_cannot_be_loaded_says_why(tmp_path):
    with pytest.raises(ModelNotFoundError):
        pixelcam.load("nonesuch")
    (tmp_path / "x.safetensors").write_bytes(b"x")
    with pytest.raises(CheckpointError):
        pixelcam.load(tmp_path / "x.safetensors")
    with pytest.raises(DeviceError):
        pixelcam.load(tmp_path / "x.safetensors", device="abacus")
