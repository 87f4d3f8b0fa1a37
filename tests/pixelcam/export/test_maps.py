"""Maps open elsewhere with their size, pixel size, name and pyramid."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
from PIL import Image

from pixelcam.errors import OutputError
from pixelcam.export.maps import halve, write_foreground, write_map_png


@pytest.fixture
def foreground():
    return np.random.default_rng(0).random((40, 60), dtype=np.float32)


def pixels_element(path):
    with tifffile.TiffFile(path) as tiff:
        assert tiff.is_ome
        return tifffile.xml2dict(tiff.ome_metadata)["OME"]["Image"]


def test_the_map_is_kept_exactly(tmp_path, localize, foreground):
    path = write_foreground(tmp_path / "a.fg.ome.tif", localize(foreground))
    read = tifffile.imread(path)
    assert read.dtype == np.float32
    np.testing.assert_array_equal(read, foreground)


def test_the_file_is_an_ome_tiff_in_deflate_with_a_named_channel(tmp_path, localize, foreground):
    path = write_foreground(tmp_path / "a.fg.ome.tif", localize(foreground))
    with tifffile.TiffFile(path) as tiff:
        assert tiff.pages.first.compression == tifffile.COMPRESSION.ADOBE_DEFLATE
        assert tiff.series[0].axes == "YX"
    image = pixels_element(path)
    assert image["Name"] == "field"
    assert image["Pixels"]["Channel"]["Name"] == "foreground"
    assert (image["Pixels"]["SizeX"], image["Pixels"]["SizeY"]) == (60, 40)


def test_the_pixel_size_is_that_of_the_maps_pixels(tmp_path, localize, foreground):
    path = write_foreground(tmp_path / "a.ome.tif", localize(foreground, mpp=0.25))
    pixels = pixels_element(path)["Pixels"]
    assert (pixels["PhysicalSizeX"], pixels["PhysicalSizeY"]) == (0.25, 0.25)
    assert (pixels["PhysicalSizeXUnit"], pixels["PhysicalSizeYUnit"]) == ("µm", "µm")
    path = write_foreground(tmp_path / "b.ome.tif", localize(foreground, mpp=0.25, scale=(4.0, 2.0)))
    pixels = pixels_element(path)["Pixels"]
    assert (pixels["PhysicalSizeX"], pixels["PhysicalSizeY"]) == (0.5, 1.0)


def test_no_pixel_size_is_made_up(tmp_path, localize, foreground):
    path = write_foreground(tmp_path / "a.ome.tif", localize(foreground))
    assert "PhysicalSizeX" not in pixels_element(path)["Pixels"]


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (257, 3)])
def test_small_and_narrow_maps_keep_their_shape(tmp_path, localize, shape):
    foreground = np.full(shape, 0.5, np.float32)
    path = write_foreground(tmp_path / "a.ome.tif", localize(foreground))
    np.testing.assert_array_equal(tifffile.imread(path), foreground)


def test_a_large_map_carries_coarser_levels(tmp_path, localize):
    foreground = np.random.default_rng(0).random((301, 5001), dtype=np.float32)
    path = write_foreground(tmp_path / "a.ome.tif", localize(foreground, mpp=0.5))
    with tifffile.TiffFile(path) as tiff:
        assert tiff.is_ome
        assert len(tiff.series) == 1
        levels = tiff.series[0].levels
        assert [level.shape for level in levels] == [(301, 5001), (151, 2501), (76, 1251)]
        assert all(level.keyframe.is_tiled for level in levels)
        np.testing.assert_array_equal(levels[0].asarray(), foreground)
        np.testing.assert_array_equal(levels[1].asarray(), halve(foreground))


def test_a_map_of_2048_pixels_has_one_level(tmp_path, localize):
    path = write_foreground(tmp_path / "a.ome.tif", localize(np.zeros((4, 2048))))
    with tifffile.TiffFile(path) as tiff:
        assert len(tiff.series[0].levels) == 1


def test_halving_takes_means_and_repeats_an_odd_edge():
    np.testing.assert_allclose(
        halve(np.array([[0, 1, 0.5], [0, 0, 0.5], [1, 1, 0.2]], np.float32)), [[0.25, 0.5], [1, 0.2]]
    )


def test_the_png_is_gray_of_eight_bits(tmp_path, localize):
    path = write_map_png(tmp_path / "a.png", localize([[0, 0.5, 1], [0.2, 0.999, 0.001]]))
    with Image.open(path) as image:
        assert image.mode == "L"
        assert np.asarray(image).tolist() == [[0, 128, 255], [51, 255, 0]]


@pytest.mark.parametrize("write", [write_foreground, write_map_png])
def test_a_map_that_cannot_be_written_is_told(tmp_path, localize, foreground, write):
    (tmp_path / "file").write_text("old")
    with pytest.raises(OutputError, match="cannot be written"):
        write(tmp_path / "file" / "a.tif", localize(foreground))
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
