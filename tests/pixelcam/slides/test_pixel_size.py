"""The pixel size is what the file says where it says so, and unknown otherwise."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile

from pixelcam.slides import open_slide

PIXELS = np.zeros((8, 8, 3), np.uint8)


def mpp_of(path, pixels=PIXELS, **options):
    tifffile.imwrite(path, pixels, photometric="rgb", **options)
    return open_slide(path).mpp


@pytest.fixture
def path(tmp_path):
    return tmp_path / "a.tif"


@pytest.mark.parametrize(
    ("size", "unit", "mpp"),
    [
        (0.25, "µm", 0.25),
        (250.0, "nm", 0.25),
        (0.0005, "mm", 0.5),
        (0.3, None, 0.3),
        (1.0, "pixel", None),
        (0.0005, None, None),
        (352.77, "µm", None),
    ],
)
def test_ome_metadata(path, size, unit, mpp):
    metadata = {"PhysicalSizeX": size, "PhysicalSizeY": size}
    if unit is not None:
        metadata |= {"PhysicalSizeXUnit": unit, "PhysicalSizeYUnit": unit}
    assert mpp_of(path, ome=True, metadata=metadata) == pytest.approx(mpp)


def test_ome_metadata_beat_the_tags(path):
    options = {"resolution": (40000, 40000), "resolutionunit": "centimeter"}
    metadata = {"PhysicalSizeX": 0.3, "PhysicalSizeY": 0.3}
    assert mpp_of(path, ome=True, metadata=metadata, **options) == pytest.approx(0.3)


def test_ome_metadata_are_those_of_the_image_that_is_shown(path):
    with tifffile.TiffWriter(path, ome=True) as writer:
        writer.write(PIXELS[:4, :4], photometric="rgb", metadata={"PhysicalSizeX": 4.0, "PhysicalSizeY": 4.0})
        writer.write(PIXELS, photometric="rgb", metadata={"PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5})
    slide = open_slide(path)
    assert (slide.width, slide.mpp) == (8, 0.5)


def test_aperio_description(path):
    text = "Aperio Image Library v11.2.1\n8x8 Q=70|AppMag = 20|MPP = 0.4990|Left = 1"
    options = {"tile": (16, 16), "metadata": None}
    assert mpp_of(path, description=text, **options) == 0.499
    assert mpp_of(path, description=text.replace("0.4990", "352.77"), **options) is None
    assert mpp_of(path, description=text.replace("MPP", "Other"), **options) is None
    assert mpp_of(path, description=text.replace("0.4990", "unknown"), **options) is None
    assert mpp_of(path, description=text.replace("0.4990", "0.4.9"), **options) is None


@pytest.mark.parametrize("unit", ["micron", "um", "\\u00B5m"])
def test_imagej_unit(path, unit):
    options = {"imagej": True, "metadata": {"unit": unit}}
    assert mpp_of(path, resolution=(4, 4), resolutionunit="none", **options) == pytest.approx(0.25)


def test_resolution_tags_with_a_real_unit(path):
    assert mpp_of(path, resolution=(40000, 40000), resolutionunit="centimeter") == pytest.approx(0.25)
    assert mpp_of(path, resolution=(50800, 50800), resolutionunit="inch") == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("resolution", "unit"),
    [
        ((72, 72), "inch"),
        ((300, 300), "inch"),
        ((1, 1), "centimeter"),
        ((40000, 40000), "none"),
        ((10**7, 10**7), "centimeter"),
        ((40000, 20000), "centimeter"),
        ((0, 0), "centimeter"),
    ],
)
def test_resolution_tags_that_tell_no_pixel_size(path, resolution, unit):
    assert mpp_of(path, resolution=resolution, resolutionunit=unit) is None


def test_a_file_that_says_nothing(path):
    assert mpp_of(path) is None
