"""TIFF files that are no images, damaged or cut off are refused in one sentence, and leave nothing open."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from pixelcam.errors import ImageError
from pixelcam.slides import open_slide
from tests.pixelcam.slides.tiff_files import refusal, write_pyramid, write_svs

DATA = os.environ.get("PIXELCAM_TEST_DATA")
needs_data = pytest.mark.skipif(
    DATA is None,
    reason="PIXELCAM_TEST_DATA names no folder with the slides of wsi/, so real scanners' files go untested",
)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (np.nan, "1 NaN or infinite"),
        (np.inf, "1 NaN or infinite"),
        (200.0, "from 0 to 200"),
        (-3.0, "from -3"),
    ],
)
def test_floats_that_are_no_shades_are_refused(write, value, words):
    pixels = np.zeros((8, 8, 3), np.float32)
    pixels[3, 4, 1] = value
    assert words in refusal(write(pixels, photometric="rgb"))


def test_negative_and_huge_integers_are_refused(write):
    assert "from -5 to 0" in refusal(write(np.array([[0, -5]], np.int16)))
    assert "from 0 to 70000" in refusal(write(np.array([[0, 70000]], np.uint32)))


def test_complex_values_are_refused(write):
    assert "complex64" in refusal(write(np.zeros((4, 4), np.complex64)))


@pytest.mark.parametrize("channels", [2, 5])
def test_other_numbers_of_channels_are_refused(write, channels):
    pixels = np.zeros((20, 30, channels), np.uint8)
    assert f"{channels} channels" in refusal(write(pixels, photometric="minisblack", planarconfig="contig"))
    extra = {"extrasamples": ["unspecified"] * (channels - 3)} if channels > 3 else {}
    if extra:
        assert f"{channels} channels" in refusal(write(pixels, photometric="rgb", **extra))


@pytest.mark.parametrize("channels", [2, 4])
def test_fluorescence_channels_are_refused(write, channels):
    pixels = np.zeros((channels, 20, 30), np.uint16)
    assert f"{channels} channels" in refusal(write(pixels, ome=True, metadata={"axes": "CYX"}))


def test_a_stack_is_refused(tissue, write):
    path = write(np.stack([tissue] * 5), photometric="rgb", metadata={"axes": "ZYXS"})
    assert "stack of 5 planes" in refusal(path)


def test_unreadable_colours_are_refused(tissue, write):
    assert "CIELAB" in refusal(write(tissue, photometric="cielab"))


def overwritten(path: Path, name: str, value: int) -> Path:
    """Change one tag of a file to what the rest of it contradicts."""
    with tifffile.TiffFile(path, mode="r+b") as file:
        file.pages[0].tags[name].overwrite(value)
    return path


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PhotometricInterpretation", 64),
        ("PhotometricInterpretation", 32768),
        ("SamplesPerPixel", 1),
        ("SamplesPerPixel", 65535),
        ("BitsPerSample", (8, 8, 16)),
    ],
)
def test_tags_that_contradict_each_other_or_mean_nothing_are_one_sentence(tissue, write, name, value):
    assert refusal(overwritten(write(tissue, photometric="rgb"), name, value))


@pytest.mark.parametrize("code", [256, 257, 277])
@pytest.mark.parametrize("kind", [8, 9])
def test_sizes_below_0_are_refused_at_once(tissue, write, code, kind):
    path = write(tissue[..., 0] if code != 277 else tissue)
    with tifffile.TiffFile(path) as file:
        place = file.pages[0].tags[code].offset
    data = bytearray(path.read_bytes())
    data[place + 2 : place + 4] = kind.to_bytes(2, "little")
    data[place + 8 : place + 12] = b"\xff" * 4
    path.write_bytes(data)
    assert "damaged" in refusal(path)


def test_nan_in_a_lazy_level_is_refused_where_it_is_read(tmp_path):
    pixels = np.zeros((128, 128, 3), np.float32)
    pixels[100, 100] = np.nan
    write_pyramid(tmp_path / "a.ome.tif", [pixels, pixels[1::2, 1::2]], photometric="rgb")
    slide = open_slide(tmp_path / "a.ome.tif")
    assert (slide.read((slice(0, 64), slice(0, 64))) == 0).all()
    with pytest.raises(ImageError, match="3 NaN"):
        slide.read((slice(64, 128), slice(64, 128)))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"compression": "zlib"},
        {"compression": "lzw", "rowsperstrip": 16},
        {"compression": "jpeg", "tile": (32, 32)},
        {"tile": (32, 32)},
        {"planarconfig": "separate"},
    ],
)
def test_a_file_cut_anywhere_is_refused(tissue, write, options):
    pixels = np.moveaxis(tissue, -1, 0) if "planarconfig" in options else tissue
    path = write(np.ascontiguousarray(pixels), photometric="rgb", **options)
    refuse_cuts(path)


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "tiff_adobe_deflate", "jpeg"])
def test_a_file_of_another_writer_cut_anywhere_is_refused(tissue, tmp_path, compression):
    """The libraries put the list of pages at the end."""
    Image.fromarray(tissue).save(tmp_path / "a.tif", compression=compression)
    refuse_cuts(tmp_path / "a.tif")


def test_a_pyramid_cut_anywhere_is_refused(pyramid):
    refuse_cuts(pyramid)


def test_a_slide_cut_anywhere_is_refused(tissue, tmp_path):
    write_svs(tmp_path / "a.svs", tissue)
    refuse_cuts(tmp_path / "a.svs", steps=25)


def refuse_cuts(path, steps=15):
    whole = path.read_bytes()
    step = max(1, len(whole) // steps)
    for length in sorted({*range(1, len(whole), step), *range(len(whole) - 4, len(whole))}):
        path.write_bytes(whole[:length])
        assert ("truncated" in refusal(path)) or length < 4


def test_damaged_tiles_are_refused(tissue, write):
    path = write(tissue, photometric="rgb", compression="zlib", tile=(32, 32))
    with tifffile.TiffFile(path) as tiff:
        offset = tiff.pages.first.dataoffsets[7]
    data = bytearray(path.read_bytes())
    data[offset : offset + 200] = bytes(200)
    path.write_bytes(data)
    assert "damaged" in refusal(path)


def test_refusals_print_nothing(tissue, write, capfd):
    path = write(tissue, photometric="rgb", compression="zlib")
    path.write_bytes(path.read_bytes()[:200])
    refusal(path)
    assert capfd.readouterr() == ("", "")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows counts no descriptors")
def test_opening_leaves_no_file_open(tissue, write, tmp_path):
    good = write(tissue, photometric="rgb")
    bad = tmp_path / "bad.tif"
    bad.write_bytes(good.read_bytes()[:-100])
    before = len(list(Path("/dev/fd").iterdir()))
    for _ in range(3):
        open_slide(good)
        refusal(bad)
    assert len(list(Path("/dev/fd").iterdir())) == before


@needs_data
def test_a_folder_of_dicom_files_is_refused():
    assert "DICOM" in refusal(Path(DATA) / "wsi" / "CMU-1-Small-Region")
