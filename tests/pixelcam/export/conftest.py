"""Localizations of maps that a test makes."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from pixelcam.localize import Localization, ModelRef


@pytest.fixture
def localize():
    """Return a function that wraps a map, or a mask, as the result of localizing an image of that size."""

    def localize(foreground, **changes):
        foreground = np.asarray(foreground, np.float32)
        values = {
            "image_name": "field",
            "width": foreground.shape[1],
            "height": foreground.shape[0],
            "mpp": None,
            "classes": {"adenocarcinoma": 0.75, "normal": 0.25},
            "foreground": foreground,
            "threshold": 0.5,
            "model": ModelRef("starter", "ab" * 32),
        }
        return Localization(**values | changes)

    return localize


MASKS = {
    "nothing": ["...", "..."],
    "everything": ["###", "###"],
    "a single pixel": ["....", ".#..", "...."],
    "corners that touch": ["#.#.", ".#.#", "#.#."],
    "edges that touch": ["##..", "..##", ".##."],
    "a hole": ["#####", "#...#", "#...#", "#####"],
    "holes that touch at a corner": ["######", "#.####", "##.###", "###.##", "######"],
    "a hole that touches the outside at a corner": ["####.", "#..#.", "#...#", "#####"],
    "an island in a hole": ["#######", "#.....#", "#.###.#", "#.#.#.#", "#.###.#", "#.....#", "#######"],
    "the frame of the image": ["#..#", "....", "....", "#..#"],
}


def named_mask(name):
    return np.array([[pixel == "#" for pixel in row] for row in MASKS[name]])


def random_mask(seed):
    """Return noise, speckled or smooth, cut at a random level."""
    rng = np.random.default_rng(seed)
    noise = rng.random(rng.integers(1, 40, 2))
    if seed % 2:
        noise = ndimage.gaussian_filter(noise, 1.5)
    return noise > np.quantile(noise, rng.random())


@pytest.fixture(params=[*MASKS, *range(20)], ids=str)
def mask(request):
    """A mask of every difficult shape, and random ones."""
    return named_mask(request.param) if isinstance(request.param, str) else random_mask(request.param)


@pytest.fixture(params=[1.0, 4.0, 2.5, 3.3], ids="downsample {}".format)
def areas(request, mask):
    """A mask and its complement as areas of an image that has so many times the pixels."""
    from pixelcam.export.areas import Area, ImageAreas

    height, width = (max(1, round(side * request.param)) for side in mask.shape)
    scale = (height / mask.shape[0], width / mask.shape[1])
    return ImageAreas(
        image_name="field",
        image_file="field.png",
        width=width,
        height=height,
        mpp=0.5,
        areas=(Area("foreground", mask, (230, 159, 0)), Area("background", ~mask, (0, 114, 178))),
        scale=scale,
        translate=((scale[0] - 1) / 2, (scale[1] - 1) / 2),
        about={"image": {"fingerprint": "ab"}},
    )
