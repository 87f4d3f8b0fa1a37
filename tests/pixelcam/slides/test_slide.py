"""A slide from memory holds what it was given, or says why it cannot."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from PIL import Image

from pixelcam.errors import ImageError
from pixelcam.slides import Slide, hash_file, open_slide


@pytest.fixture
def rgb():
    return np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)


def test_rgb_is_kept(rgb):
    slide = Slide.from_array(rgb, name="field", mpp=0.5)
    np.testing.assert_array_equal(slide.read(), rgb)
    assert (slide.name, slide.path, slide.mpp) == ("field", None, 0.5)
    assert (slide.height, slide.width, slide.downsamples) == (20, 30, ((1.0, 1.0),))


def test_gray_in_each_shape_is_repeated(rgb):
    gray = rgb[..., 0]
    for array in (gray, gray[..., np.newaxis]):
        pixels = Slide.from_array(array).read()
        np.testing.assert_array_equal(pixels, np.stack([gray] * 3, axis=-1))


def test_channels_first_counts_only_where_it_is_clear(rgb):
    np.testing.assert_array_equal(Slide.from_array(np.moveaxis(rgb, -1, 0)).read(), rgb)
    assert Slide.from_array(np.zeros((3, 5, 4), np.uint8)).read().shape == (3, 5, 3)


@pytest.mark.parametrize(
    ("array", "value"),
    [
        (np.array([[True, False]]), 255),
        (np.array([[1.0, 0.0]]), 255),
        (np.array([[0.5, 0.0]], np.float16), 128),
        (np.array([[65535, 0]], np.uint16), 255),
        (np.array([[4095, 0]], np.uint16), 255),
        (np.array([[200, 0]], np.int64), 200),
        (np.array([[0, 0]], np.uint16), 0),
    ],
)
def test_other_types_are_scaled(array, value):
    assert Slide.from_array(array).read()[0, 0].tolist() == [value] * 3


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.int64, np.float32])
def test_alpha_is_laid_on_white(kind):
    white = 1 if kind is np.float32 else 65535 if kind is np.uint16 else 255
    array = np.zeros((1, 2, 4), kind)
    array[0, 0, 3] = white
    assert Slide.from_array(array).read()[0, :, 0].tolist() == [0, 255]


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.zeros((0, 5, 3), np.uint8), "is empty"),
        (np.zeros((5, 5, 2), np.uint8), "2 channels"),
        (np.zeros((5, 5, 5), np.uint8), "5 channels"),
        (np.zeros((2, 5, 5, 3), np.uint8), "4 dimensions"),
        (np.zeros(5, np.uint8), "1 dimensions"),
        (np.uint8(3), "0 dimensions"),
        (np.full((5, 5), np.nan), "25 NaN"),
        (np.full((5, 5), 255.0), "from 255 to 255"),
        (np.full((5, 5), -1), "from -1"),
        (np.full((5, 5), "a"), "type <U1"),
    ],
)
def test_what_is_no_image_is_refused_in_one_sentence(array, words):
    with pytest.raises(ImageError, match=words) as caught:
        Slide.from_array(array, name="layer")
    assert str(caught.value).startswith("layer ")
    assert str(caught.value).endswith(".")


def test_the_fingerprint_is_that_of_the_file(rgb, tmp_path):
    Image.fromarray(rgb).save(tmp_path / "a.png")
    expected = hashlib.sha256((tmp_path / "a.png").read_bytes()).hexdigest()
    assert open_slide(tmp_path / "a.png").fingerprint == expected
    assert Slide.from_array(rgb, path=tmp_path / "a.png").fingerprint == expected
    assert hash_file(tmp_path / "a.png") == expected


def test_the_fingerprint_of_memory_tells_pixels_and_shape_apart(rgb):
    prints = {Slide.from_array(a).fingerprint for a in (rgb, rgb.copy(), 255 - rgb, rgb.reshape(30, 20, 3))}
    assert len(prints) == 3


def test_the_fingerprint_of_a_file_that_is_gone_says_so(rgb, tmp_path):
    with pytest.raises(ImageError, match=r"gone\.png cannot be read"):
        _ = Slide.from_array(rgb, path=tmp_path / "gone.png").fingerprint


@pytest.mark.parametrize("mpp", [0, -0.5, float("nan"), float("inf")])
def test_a_pixel_size_that_is_none_is_refused(mpp):
    with pytest.raises(ImageError, match="micrometres: give one above 0"):
        Slide.from_array(np.zeros((4, 4, 3), np.uint8), mpp=mpp)
