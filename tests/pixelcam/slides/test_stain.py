"""An image that is no stained tissue in bright light is told, and stained tissue is not."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import skimage.data

from pixelcam.slides import Slide, open_slide
from pixelcam.slides.stain import stain_caution

DATA = os.environ.get("PIXELCAM_TEST_DATA")
needs_data = pytest.mark.skipif(
    DATA is None,
    reason="PIXELCAM_TEST_DATA names no folder with real images, so the alarm goes untried on them",
)
BROWN = skimage.data.immunohistochemistry()


def caution(pixels):
    return stain_caution(Slide.from_array(pixels))


def tissue(pink=(225, 170, 205), purple=(120, 80, 160), glass=(243, 241, 244), side=300):
    """Pink tissue with purple nuclei on glass, with a camera's noise."""
    random = np.random.default_rng(0)
    y, x = np.mgrid[:side, :side]
    pixels = np.where(((y - 150) ** 2 + (x - 150) ** 2 < 120**2)[..., None], pink, glass).astype(float)
    nuclei = (y % 23 - 11) ** 2 + (x % 19 - 9) ** 2 < 25
    pixels[nuclei & (pixels[..., 1] == pink[1])] = purple
    return np.clip(pixels + random.normal(0, 3, pixels.shape), 0, 255).astype(np.uint8)


def spots(colour, ground=6, side=300):
    """Bright spots of a colour on a dark ground."""
    y, x = np.mgrid[:side, :side]
    shade = np.exp(-((y % 30 - 15) ** 2 + (x % 30 - 15) ** 2) / 40.0)
    noise = np.random.default_rng(1).normal(0, 1.5, (side, side, 3))
    return np.clip(ground + shade[..., None] * np.array(colour) + noise, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("name", ["pink and purple", "pale", "dark", "without glass", "brown", "tilted"])
def test_stained_tissue_in_bright_light_is_not_told(name):
    pixels = {
        "pink and purple": tissue(),
        "pale": tissue(pink=(240, 225, 236), purple=(190, 170, 205)),
        "dark": tissue(pink=(150, 70, 120), purple=(60, 25, 80), glass=(190, 170, 185)),
        "without glass": tissue()[100:200, 100:200],
        "brown": BROWN,
        "tilted": tissue(glass=(238, 232, 215)),
    }[name]
    assert caution(pixels) == ""


@pytest.mark.parametrize("colour", [(0, 0, 220), (0, 200, 0), (230, 30, 0), (200, 200, 200), (30, 60, 255)])
@pytest.mark.parametrize("ground", [0, 6, 30])
def test_bright_spots_on_a_dark_ground_are_no_stained_tissue(colour, ground):
    assert "has a dark ground, as fluorescence has" in caution(spots(colour, ground))


def test_three_channels_of_fluorescence_are_no_stained_tissue():
    layers = [np.roll(spots((200, 0, 0)), 10 * n, axis=n % 2)[..., 0] for n in range(3)]
    assert "has a dark ground" in caution(np.dstack(layers))


@pytest.mark.parametrize("pixels", [BROWN, tissue()])
def test_gray_and_inverted_copies_are_told(pixels):
    assert "has no colours, so it is no H&E" in caution(pixels.mean(axis=2).astype(np.uint8))
    inverted = caution(255 - pixels)
    assert "has a dark ground" in inverted or "the colours of a negative" in inverted


def test_a_negative_without_its_ground_is_told_by_its_colours():
    assert "the colours of a negative" in caution(255 - tissue()[100:200, 100:200])


@pytest.mark.parametrize("shade", [0, 120, 243, 255])
def test_blank_images_are_told(shade):
    noise = np.random.default_rng(0).normal(shade, 2, (200, 300, 3))
    for pixels in (np.full((200, 300, 3), shade, np.uint8), np.clip(noise, 0, 255).astype(np.uint8)):
        assert "is blank, all of one shade" in caution(pixels)


def test_little_tissue_on_much_glass_is_not_blank():
    pixels = np.full((1000, 1000, 3), 244, np.uint8)
    pixels[300:400, 500:620] = tissue()[100:200, 100:220]
    assert caution(pixels) == ""


@pytest.mark.parametrize("shape", [(1, 1), (1, 5000), (5000, 1), (3, 3)])
def test_tiny_and_narrow_images_are_judged_without_an_error(shape):
    assert isinstance(caution(np.random.default_rng(0).integers(0, 255, (*shape, 3), dtype=np.uint8)), str)


def test_a_large_level_is_judged_by_parts_of_it(monkeypatch):
    monkeypatch.setattr("pixelcam.slides.stain._WHOLE", 100)

    class Level:
        """A level that is read in parts alone."""

        shape, dtype, ndim, read = (4000, 3000, 3), np.dtype(np.uint8), 3, 0

        def __getitem__(self, key):
            rows, columns = key
            side = (rows.stop - rows.start, columns.stop - columns.start)
            Level.read += side[0] * side[1]
            return spots((0, 200, 0), side=max(side))[: side[0], : side[1]]

    assert "has a dark ground" in stain_caution(Slide("a", None, (Level(),)))
    assert 0 < Level.read < 300_000


@needs_data
@pytest.mark.parametrize(
    ("pattern", "count"),
    [
        ("lung/images/**/*.webp", 98),
        ("prostate/images/**/*.webp", 18),
        ("camelyon17_tiles/*.jpeg", 5),
        ("wsi/**/*.svs", 2),
        ("wsi/histolab/*.tif", 1),
    ],
)
def test_real_tissue_of_other_organs_and_scanners_is_not_told(pattern, count):
    files = sorted(Path(DATA).glob(pattern))
    assert len(files) == count
    assert [path.name for path in files if stain_caution(open_slide(path))] == []


@needs_data
@pytest.mark.parametrize("name", ["hamamatsu_test3-DAPI-2-387.ndpi", "pathml_small_vectra.qptiff"])
def test_real_fluorescence_is_told(name):
    slide = open_slide(Path(DATA) / "wsi" / "readers" / name)
    assert "has a dark ground, as fluorescence has" in stain_caution(slide)
