"""TIFF files of every layout give the right pixels, lazily where large."""

from __future__ import annotations

import gc
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from pixelcam.slides import open_slide, tiffs
from pixelcam.slides.tiffs import TiffLevel
from tests.pixelcam.slides.tiff_files import write_pyramid, write_svs

DATA = os.environ.get("PIXELCAM_TEST_DATA")
needs_data = pytest.mark.skipif(
    DATA is None,
    reason="PIXELCAM_TEST_DATA names no folder with the slides of wsi/, so real scanners' files go untested",
)


def gray_of(slide):
    rgb = slide.read()
    assert (rgb == rgb[..., :1]).all()
    return rgb[..., 0]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"compression": "zlib", "predictor": True},
        {"compression": "lzw", "rowsperstrip": 16},
        {"tile": (32, 48)},
        {"bigtiff": True},
        {"byteorder": ">"},
        {"ome": True},
        {"imagej": True},
        {"planarconfig": "separate"},
        {"compression": "jpeg2000"},
    ],
)
def test_rgb_gives_its_pixels(tissue, write, options):
    pixels = np.moveaxis(tissue, -1, 0) if "planarconfig" in options else tissue
    slide = open_slide(write(pixels, photometric="rgb", **options))
    np.testing.assert_array_equal(slide.read(), tissue)
    assert isinstance(slide.levels[0], np.ndarray)


def test_jpeg_compressed_ycbcr_gives_rgb(tissue, write):
    path = write(tissue, compression="jpeg", compressionargs={"level": 95}, tile=(64, 64), photometric="rgb")
    assert np.abs(open_slide(path).read().astype(int) - tissue).mean() < 4


def test_uncompressed_ycbcr_gives_rgb(tissue, write):
    ycbcr = np.asarray(Image.fromarray(tissue).convert("YCbCr"))
    path = write(ycbcr, photometric="ycbcr", extratags=[(530, "H", 2, (1, 1), True)])
    assert np.abs(open_slide(path).read().astype(int) - tissue).max() <= 3


def test_gray_and_inverted_gray(tissue, write):
    gray = tissue[..., 0]
    np.testing.assert_array_equal(gray_of(open_slide(write(gray))), gray)
    np.testing.assert_array_equal(gray_of(open_slide(write(255 - gray, photometric="miniswhite"))), gray)


def test_one_bit(write):
    bits = np.random.default_rng(0).random((40, 50)) < 0.5
    np.testing.assert_array_equal(
        gray_of(open_slide(write(bits, photometric="minisblack"))), np.where(bits, 255, 0)
    )


def test_palette(write):
    colours = np.zeros((3, 256), np.uint16)
    colours[:, 1] = [257 * 200, 257 * 100, 257 * 50]
    path = write(np.array([[0, 1], [1, 0]], np.uint8), photometric="palette", colormap=colours)
    assert open_slide(path).read().tolist() == [[[0, 0, 0], [200, 100, 50]], [[200, 100, 50], [0, 0, 0]]]


def test_cmyk(write):
    inks = np.zeros((2, 2, 4), np.uint8)
    inks[0, 1, 0] = inks[1, 0, 3] = 255
    rgb = open_slide(write(inks, photometric="separated")).read()
    assert rgb.tolist() == [[[255, 255, 255], [0, 255, 255]], [[0, 0, 0], [255, 255, 255]]]


@pytest.mark.parametrize(
    ("kind", "stored", "seen"),
    [("unassalpha", 100, 178), ("assocalpha", 50, 178)],
)
def test_transparency_is_laid_on_white(write, kind, stored, seen):
    pixels = np.full((4, 4, 4), stored, np.uint8)
    pixels[..., 3] = 127
    pixels[0, ..., 3] = 0
    if kind == "assocalpha":
        pixels[0, ..., :3] = 0
    rgb = open_slide(write(pixels, photometric="rgb", extrasamples=[kind])).read()
    assert (rgb[0] == 255).all()
    np.testing.assert_allclose(rgb[1:], seen, atol=1)


@pytest.mark.parametrize("white", [255, 1023, 4095, 16383, 65535])
def test_deep_pixels_are_scaled_by_the_depth_that_they_use(tissue, write, white):
    deep = np.rint(tissue / 255 * white).astype(np.uint16)
    deep[0, 0] = white
    rgb = open_slide(write(deep, photometric="rgb")).read()
    np.testing.assert_allclose(rgb[1:], tissue[1:], atol=1)


def test_deep_pixels_with_alpha(tissue, write):
    deep = np.dstack([tissue.astype(np.uint16) * 16, np.full(tissue.shape[:2], 65535, np.uint16)])
    rgb = open_slide(write(deep, photometric="rgb", extrasamples=["unassalpha"])).read()
    np.testing.assert_allclose(rgb, tissue, atol=1)


def test_floats_in_zero_to_one(tissue, write):
    path = write((tissue / 255).astype(np.float32), photometric="rgb")
    np.testing.assert_array_equal(open_slide(path).read(), tissue)


def test_three_ome_planes_are_red_green_and_blue(tissue, write):
    planes = np.ascontiguousarray(np.moveaxis(tissue, -1, 0))
    path = write(planes, ome=True, photometric="minisblack", metadata={"axes": "CYX"})
    np.testing.assert_array_equal(open_slide(path).read(), tissue)


def test_a_pyramid_is_lazy_and_slices_like_numpy(tissue, pyramid):
    slide = open_slide(pyramid)
    assert [level.shape for level in slide.levels] == [(150, 130, 3), (75, 65, 3), (38, 33, 3)]
    assert slide.downsamples[2] == (150 / 38, 130 / 33)
    level = slide.levels[0]
    assert isinstance(level, TiffLevel)
    for key in (
        np.s_[...],
        np.s_[10:90, 20:100],
        np.s_[-30:, :-40],
        np.s_[5],
        np.s_[5, 7],
        np.s_[-1, ..., 2],
        np.s_[..., 0],
        np.s_[..., 4, 0],
        np.s_[::7, 3:99:5],
        np.s_[90:10:-3, ::-1],
        np.s_[140:900, 50:50],
        np.s_[np.int64(3), np.int64(4) : np.int64(9)],
    ):
        np.testing.assert_array_equal(level[key], tissue[key])
    np.testing.assert_array_equal(np.asarray(level), tissue)
    np.testing.assert_array_equal(slide.read((slice(3, 9), slice(0, 4)), level=1), tissue[::2, ::2][3:9, :4])
    with pytest.raises(IndexError):
        level[150]


def test_a_large_plain_file_is_lazy(tissue, write, monkeypatch):
    monkeypatch.setattr(tiffs, "EAGER_PIXELS", 1000)
    level = open_slide(write(tissue, photometric="rgb", rowsperstrip=8)).levels[0]
    assert isinstance(level, TiffLevel)
    np.testing.assert_array_equal(level[20:60, 7:9], tissue[20:60, 7:9])


@pytest.mark.parametrize("layout", ["gray", "rgba", "deep", "planar", "float"])
def test_lazy_levels_convert_as_whole_images_do(tissue, tmp_path, layout):
    pixels = {
        "gray": tissue[..., 0],
        "rgba": np.dstack([tissue, tissue[..., 0]]),
        "deep": tissue.astype(np.uint16) * 16,
        "planar": np.ascontiguousarray(np.moveaxis(tissue, -1, 0)),
        "float": (tissue / 255).astype(np.float32),
    }[layout]
    half = pixels[:, ::2, ::2] if layout == "planar" else pixels[::2, ::2]
    photometric = "minisblack" if layout == "gray" else "rgb"
    planar = {"planarconfig": "separate"} if layout == "planar" else {}
    tifffile.imwrite(tmp_path / "whole.tif", pixels, photometric=photometric, **planar)
    write_pyramid(tmp_path / "lazy.ome.tif", [pixels, half], photometric=photometric, **planar)
    lazy = open_slide(tmp_path / "lazy.ome.tif")
    assert isinstance(lazy.levels[0], TiffLevel)
    np.testing.assert_array_equal(lazy.read(), open_slide(tmp_path / "whole.tif").read())
    np.testing.assert_array_equal(lazy.levels[1][3:5], lazy.read()[::2, ::2][3:5])


def test_tiles_that_a_scanner_left_out_are_white(tissue, tmp_path):
    def tiles():
        for row in range(0, 128, 32):
            for column in range(0, 128, 32):
                yield None if row == 32 else tissue[row : row + 32, column : column + 32]

    options = {"shape": (128, 128, 3), "dtype": np.uint8, "tile": (32, 32), "photometric": "rgb"}
    with tifffile.TiffWriter(tmp_path / "a.ome.tif") as writer:
        writer.write(tiles(), subifds=1, **options)
        writer.write(tissue[:128:2, :128:2], subfiletype=1, tile=(32, 32), photometric="rgb")
    slide = open_slide(tmp_path / "a.ome.tif")
    assert len(slide.levels) == 2
    assert (slide.read()[32:64] == 255).all()
    np.testing.assert_array_equal(slide.read()[:32], tissue[:32, :128])


@pytest.mark.parametrize("levels", [1, 2])
@pytest.mark.parametrize("photometric", ["rgb", "minisblack", "miniswhite", "separated"])
def test_left_out_tiles_are_white_however_colours_are_stored(tissue, tmp_path, photometric, levels):
    samples = {"rgb": 3, "separated": 4}.get(photometric, 1)
    pixels = np.ascontiguousarray(np.concatenate([tissue, tissue], axis=-1)[:128, :128, :samples].squeeze())
    tiles = (
        None if row == 32 else np.ascontiguousarray(pixels[row : row + 32, column : column + 32])
        for row in range(0, 128, 32)
        for column in range(0, 128, 32)
    )
    options = {"photometric": photometric, "tile": (32, 32)}
    with tifffile.TiffWriter(tmp_path / "a.ome.tif") as writer:
        writer.write(tiles, shape=pixels.shape, dtype=np.uint8, subifds=levels - 1, **options)
        if levels == 2:
            writer.write(np.ascontiguousarray(pixels[::2, ::2]), subfiletype=1, **options)
    slide = open_slide(tmp_path / "a.ome.tif")
    assert len(slide.levels) == levels
    assert (slide.read()[32:64] == 255).all()
    assert not (slide.read()[:32] == 255).all()


def test_left_out_tiles_of_an_old_aperio_slide_are_white(tissue, tmp_path):
    tiles = (
        None if row == 64 else np.ascontiguousarray(tissue[row : row + 64, column : column + 64])
        for row in (0, 64)
        for column in (0, 64)
    )
    with tifffile.TiffWriter(tmp_path / "a.svs") as writer:
        writer.write(
            tiles, shape=(128, 128, 3), dtype=np.uint8, tile=(64, 64), photometric="rgb", compression=33003,
            description="Aperio Image Library v11.2.1\n128x128 (64x64) J2K|AppMag = 20|MPP = 0.5",
            metadata=None, software=False,
        )  # fmt: skip
    found = open_slide(tmp_path / "a.svs").read()
    assert (found[64:] == 255).all()
    assert not (found[:64] == 255).all()


def test_label_macro_and_thumbnail_of_a_slide_are_passed_over(tissue, tmp_path):
    path = tmp_path / "a.svs"
    write_svs(path, tissue)
    with tifffile.TiffFile(path) as tiff:
        assert [series.name for series in tiff.series] == ["Baseline", "Thumbnail", "Label", "Macro"]
    slide = open_slide(path)
    assert [level.shape for level in slide.levels] == [(150, 130, 3), (75, 65, 3)]
    np.testing.assert_array_equal(slide.read(), tissue)
    assert slide.mpp == 0.2525


def test_pages_of_other_sizes_leave_the_largest(tissue, tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        writer.write(tissue[:40, :30], photometric="rgb", metadata=None)
        writer.write(tissue, photometric="rgb", metadata=None)
    np.testing.assert_array_equal(open_slide(tmp_path / "a.tif").read(), tissue)


def test_levels_are_read_from_several_threads(tissue, pyramid):
    level = open_slide(pyramid).levels[0]
    windows = [np.s_[i : i + 40, j : j + 40] for i in range(0, 120, 10) for j in range(0, 100, 10)]
    with ThreadPoolExecutor(8) as pool:
        for window, pixels in zip(windows, pool.map(level.__getitem__, windows), strict=True):
            np.testing.assert_array_equal(pixels, tissue[window])


def test_the_file_is_closed_with_the_last_level(pyramid):
    slide = open_slide(pyramid)
    handle = slide.levels[0]._tiff.filehandle
    assert not handle.closed
    level = slide.levels[1]
    del slide
    gc.collect()
    assert not handle.closed
    del level
    gc.collect()
    assert handle.closed


@needs_data
def test_an_aperio_slide_of_one_level():
    slide = open_slide(Path(DATA) / "wsi" / "CMU-1-Small-Region.svs")
    assert (slide.width, slide.height, slide.mpp, len(slide.levels)) == (2220, 2967, 0.499, 1)
    assert slide.read((slice(1000, 1100), slice(1000, 1100))).std() > 10


@needs_data
def test_an_aperio_slide_of_two_jpeg2000_levels():
    slide = open_slide(next((Path(DATA) / "wsi").rglob("tcga-*.svs")))
    assert [level.shape for level in slide.levels] == [(3567, 4443, 3), (1783, 2221, 3)]
    assert slide.mpp is None
    fine = slide.read((slice(1000, 1200), slice(2000, 2200))).reshape(100, 2, 100, 2, 3).mean(axis=(1, 3))
    coarse = slide.read((slice(500, 600), slice(1000, 1100)), level=1)
    assert np.abs(fine - coarse).mean() < 8


@needs_data
def test_an_untiled_tiff():
    slide = open_slide(next((Path(DATA) / "wsi").rglob("kidney-*.tif")))
    assert (slide.width, slide.height) == (1493, 901)
