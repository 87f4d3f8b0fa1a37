"""Files of several pictures: how many there are is told, one can be chosen, and each stays apart."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
from PIL import Image

from pixelcam.errors import ImageError
from pixelcam.slides import hash_file, is_file_of, open_slide, series_of
from pixelcam.slides.tiffs import TiffLevel
from tests.pixelcam.slides.tiff_files import write_svs


@pytest.fixture
def scenes(tissue, tmp_path):
    """An OME-TIFF of two scanned regions, the larger one second, each with its pixel size."""
    path = tmp_path / "two.ome.tif"
    with tifffile.TiffWriter(path, ome=True) as writer:
        for pixels, size in ((tissue[:100, :90], 0.5), (tissue, 0.25)):
            units = {"PhysicalSizeX": size, "PhysicalSizeY": size}
            writer.write(pixels, photometric="rgb", metadata={"axes": "YXS", **units})
    return path


def test_the_largest_of_several_is_taken_and_the_others_are_told(tissue, scenes):
    slide = open_slide(scenes)
    np.testing.assert_array_equal(slide.read(), tissue)
    assert (slide.series, slide.pictures, slide.first_choice) == (2, 2, True)
    assert slide.notes == (
        "two.ome.tif holds 2 pictures (90 x 100, 130 x 150); number 2, the largest, is taken: choose another "
        "one by its number (--series).",
    )


def test_one_of_several_can_be_chosen_with_its_own_pixel_size(tissue, scenes):
    slide = open_slide(scenes, series=1)
    np.testing.assert_array_equal(slide.read(), tissue[:100, :90])
    assert (slide.mpp, slide.series, slide.first_choice, slide.notes) == (0.5, 1, False, ())
    assert open_slide(scenes, series=2).mpp == 0.25


def test_pictures_of_one_file_have_their_own_names_and_fingerprints(scenes):
    first, largest = open_slide(scenes, series=1), open_slide(scenes, series=2)
    assert largest.fingerprint == open_slide(scenes).fingerprint == hash_file(scenes)
    assert first.fingerprint == f"s1-{hash_file(scenes)}"
    assert (first.name, largest.name) == ("two.ome.series1", "two.ome")
    assert (series_of(first.fingerprint), series_of(largest.fingerprint)) == (1, None)
    assert is_file_of(scenes, first.fingerprint)
    assert is_file_of(scenes, largest.fingerprint)
    assert not is_file_of(scenes, "s1-" + "0" * 64)


@pytest.mark.parametrize("number", [0, -1, 3])
def test_a_picture_that_is_not_there_is_told(scenes, number):
    with pytest.raises(
        ImageError, match=f"has no picture {number}: it holds 2 pictures, numbered from 1 to 2"
    ):
        open_slide(scenes, series=number)


def test_a_file_of_one_picture_has_number_one(tissue, tmp_path):
    for name in ("a.png", "a.tif", "a.jpg"):
        Image.fromarray(tissue).save(tmp_path / name)
        slide = open_slide(tmp_path / name, series=1)
        assert (slide.name, slide.first_choice, slide.notes, slide.fingerprint[:3]) == (
            "a",
            True,
            (),
            hash_file(tmp_path / name)[:3],
        )
        with pytest.raises(ImageError, match="one picture, number 1"):
            open_slide(tmp_path / name, series=2)


@pytest.mark.parametrize("eager", [True, False])
def test_a_plane_of_a_stack_can_be_chosen(tissue, tmp_path, eager, monkeypatch):
    path = tmp_path / "stack.tif"
    stack = np.stack([tissue, tissue[::-1], tissue[:, ::-1]])
    tifffile.imwrite(path, stack, photometric="rgb", tile=(32, 32))
    with pytest.raises(ImageError, match=r"stack of 3 planes; choose one by its number, 1 to 3"):
        open_slide(path)
    if not eager:
        monkeypatch.setattr("pixelcam.slides.tiffs.EAGER_PIXELS", 100)
    for number, plane in enumerate(stack, start=1):
        slide = open_slide(path, series=number)
        assert isinstance(slide.levels[0], np.ndarray if eager else TiffLevel)
        np.testing.assert_array_equal(slide.read(), plane)
        np.testing.assert_array_equal(slide.read((slice(20, 90), slice(33, 100))), plane[20:90, 33:100])
        assert slide.name == f"stack.series{number}"


def test_planes_and_channels_of_a_microscope_are_numbered_through(tmp_path):
    values = np.arange(2 * 3, dtype=np.uint8).reshape(2, 3, 1, 1) * 20 + np.zeros((2, 3, 40, 50), np.uint8)
    tifffile.imwrite(
        tmp_path / "a.ome.tif", values, ome=True, metadata={"axes": "ZCYX"}, photometric="minisblack"
    )
    with pytest.raises(ImageError, match="stack of 6 planes"):
        open_slide(tmp_path / "a.ome.tif")
    shades = [int(open_slide(tmp_path / "a.ome.tif", series=n).read()[0, 0, 0]) for n in range(1, 7)]
    assert shades == [0, 20, 40, 60, 80, 100]


def test_one_channel_of_several_can_be_chosen(tmp_path):
    values = np.zeros((4, 20, 30), np.uint8)
    values[2] = 7
    tifffile.imwrite(
        tmp_path / "a.ome.tif", values, ome=True, metadata={"axes": "CYX"}, photometric="minisblack"
    )
    with pytest.raises(ImageError, match=r"has 4 channels; choose one by its number, 1 to 4"):
        open_slide(tmp_path / "a.ome.tif")
    assert (open_slide(tmp_path / "a.ome.tif", series=3).read() == 7).all()


def test_different_pages_of_a_plain_tiff_are_told_and_chosen(tissue, tmp_path):
    path = tmp_path / "pages.tif"
    with tifffile.TiffWriter(path) as writer:
        for pixels in (tissue, tissue[:100], tissue[:, :70]):
            writer.write(pixels, photometric="rgb", metadata=None)
    assert (
        "holds 3 pictures (130 x 150, 130 x 100, 70 x 150); number 1, the largest"
        in open_slide(path).notes[0]
    )
    np.testing.assert_array_equal(open_slide(path, series=3).read(), tissue[:, :70])


def test_label_macro_and_thumbnail_are_no_pictures(tissue, tmp_path):
    write_svs(tmp_path / "a.svs", tissue)
    slide = open_slide(tmp_path / "a.svs")
    assert (slide.pictures, slide.notes) == (1, ())


@pytest.mark.parametrize("form", ["gif", "webp", "png"])
def test_a_picture_of_an_animation_can_be_chosen(tmp_path, form):
    path = tmp_path / f"a.{form}"
    pictures = [Image.new("RGB", (30, 20), (shade, shade, shade)) for shade in (0, 85, 255)]
    options = {"lossless": True} if form == "webp" else {}
    pictures[0].save(path, save_all=True, append_images=pictures[1:], **options)
    with pytest.raises(ImageError, match=r"animation of 3 pictures; choose one by its number, 1 to 3"):
        open_slide(path)
    assert [int(open_slide(path, series=n).read()[5, 5, 0]) for n in (1, 2, 3)] == [0, 85, 255]
    assert open_slide(path, series=1).name == "a.series1"


def test_the_further_views_of_a_phones_jpeg_are_told(tissue, tmp_path):
    first, second = Image.fromarray(tissue), Image.fromarray(tissue[::-1].copy())
    first.save(tmp_path / "a.jpg", format="MPO", save_all=True, append_images=[second])
    slide = open_slide(tmp_path / "a.jpg")
    assert slide.notes == (
        "a.jpg holds 2 pictures; the first is taken: choose another one by its number (--series).",
    )
    assert open_slide(tmp_path / "a.jpg", series=1).fingerprint == slide.fingerprint
    assert np.abs(open_slide(tmp_path / "a.jpg", series=2).read().astype(int) - tissue[::-1]).mean() < 8


def test_an_empty_tiff_is_refused(tmp_path):
    for shape in ((0, 20), (20, 0)):
        page = Image.new("L", (20, 20))
        page.save(tmp_path / "a.tif")
        data = bytearray((tmp_path / "a.tif").read_bytes())
        with tifffile.TiffFile(tmp_path / "a.tif") as tiff:
            tag = tiff.pages.first.tags["ImageLength" if shape[0] == 0 else "ImageWidth"]
            at, size = tag.valueoffset, tag.valuebytecount
        data[at : at + size] = bytes(size)
        (tmp_path / "a.tif").write_bytes(data)
        with pytest.raises(ImageError, match=r"a\.tif") as caught:
            open_slide(tmp_path / "a.tif")
        assert "\n" not in str(caught.value)
