"""A channel past the colours hides nothing unless it is an opacity that shows something."""

from __future__ import annotations

import io

import numpy as np
import pytest
import tifffile
from PIL import Image

from pixelcam.slides import Slide, open_slide
from tests.pixelcam.slides.tiff_files import write_pyramid


def with_extra(tissue, value, kind=np.uint8):
    extra = np.full((*tissue.shape[:2], 1), value, kind)
    colour = {"u1": tissue, "u2": tissue.astype(np.uint16) * 257, "f4": tissue / np.float32(255)}[
        extra.dtype.str[1:]
    ]
    return np.concatenate([colour, extra], axis=-1)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("value", [0, 1, 120])
@pytest.mark.parametrize("tiled", [False, True])
def test_an_unspecified_channel_is_no_opacity_whatever_it_holds(
    tissue, tmp_path, kind, value, tiled, monkeypatch
):
    if tiled:
        monkeypatch.setattr("pixelcam.slides.tiffs.EAGER_PIXELS", 100)
    tile = {"tile": (32, 32)} if tiled else {}
    path = tmp_path / "a.tif"
    tifffile.imwrite(
        path, with_extra(tissue, value, kind), photometric="rgb", extrasamples=["unspecified"], **tile
    )
    slide = open_slide(path)
    np.testing.assert_array_equal(slide.read(), tissue)
    assert slide.notes == (
        f"The channel past the colours of {path} is no opacity by its own tags; left out.",
    )


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("extra", ["unassalpha", "assocalpha"])
@pytest.mark.parametrize("planar", [False, True])
def test_an_opacity_that_hides_the_whole_picture_is_none(tissue, tmp_path, kind, extra, planar):
    pixels = with_extra(tissue, 0, kind)
    options = {"planarconfig": "separate"} if planar else {}
    path = tmp_path / "a.tif"
    stored = np.moveaxis(pixels, -1, 0) if planar else pixels
    tifffile.imwrite(path, stored, photometric="rgb", extrasamples=[extra], **options)
    slide = open_slide(path)
    np.testing.assert_array_equal(slide.read(), tissue)
    assert slide.notes == (f"The opacity of {path} would hide all of it; left out.",)


def test_a_pyramid_with_an_opacity_that_hides_all_of_it_is_seen(tissue, tmp_path):
    pixels = with_extra(tissue, 0)
    write_pyramid(tmp_path / "a.ome.tif", [pixels, pixels[::2, ::2]], extrasamples=["unassalpha"])
    np.testing.assert_array_equal(open_slide(tmp_path / "a.ome.tif").read(), tissue)


def test_an_opacity_that_hides_only_the_middle_is_one(tmp_path, monkeypatch):
    monkeypatch.setattr("pixelcam.slides.tiffs.EAGER_PIXELS", 100)
    monkeypatch.setattr("pixelcam.slides.tiffs._SAMPLE", 64)
    pixels = np.full((400, 400, 4), 90, np.uint8)
    pixels[..., 3] = 255
    pixels[150:250, 150:250, 3] = 0
    tifffile.imwrite(
        tmp_path / "a.tif", pixels, photometric="rgb", extrasamples=["unassalpha"], tile=(64, 64)
    )
    seen = open_slide(tmp_path / "a.tif").read()
    assert (seen[150:250, 150:250] == 255).all()
    assert (seen[:150] == 90).all()


def test_associated_opacity_is_not_applied_twice(tmp_path):
    pixels = np.full((4, 4, 4), 60, np.uint8)
    pixels[..., 3] = 120
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="rgb", extrasamples=["assocalpha"])
    assert (open_slide(tmp_path / "a.tif").read() == 60 + 135).all()


def test_gray_with_an_empty_opacity_is_seen(tissue, tmp_path):
    gray = tissue[..., 0]
    tifffile.imwrite(
        tmp_path / "a.tif",
        np.dstack([gray, np.zeros_like(gray)]),
        photometric="minisblack",
        extrasamples=["unassalpha"],
    )
    Image.fromarray(np.dstack([gray, np.zeros_like(gray)])).save(tmp_path / "a.png")
    for name in ("a.tif", "a.png"):
        np.testing.assert_array_equal(open_slide(tmp_path / name).read()[..., 1], gray)


@pytest.mark.parametrize("form", ["png", "webp"])
@pytest.mark.parametrize("value", [0, 1])
def test_a_picture_whose_opacity_is_empty_is_seen(tissue, tmp_path, form, value):
    path = tmp_path / f"a.{form}"
    Image.fromarray(with_extra(tissue, value)).save(
        path, **({"lossless": True, "exact": True} if form == "webp" else {})
    )
    slide = open_slide(path)
    np.testing.assert_array_equal(slide.read(), tissue)
    assert slide.notes == (f"The opacity of a.{form} would hide all of it; left out.",)


def test_sixteen_bits_and_palettes_with_empty_opacity_are_seen(tissue, tmp_path):
    import imagecodecs

    (tmp_path / "deep.png").write_bytes(imagecodecs.png_encode(with_extra(tissue, 0, np.uint16)))
    np.testing.assert_array_equal(open_slide(tmp_path / "deep.png").read(), tissue)
    palette = Image.fromarray(tissue).quantize(16)
    palette.save(tmp_path / "p.png", transparency=bytes(16))
    np.testing.assert_array_equal(open_slide(tmp_path / "p.png").read(), np.asarray(palette.convert("RGB")))


def test_pixels_in_memory_follow_the_same_rule(tissue):
    np.testing.assert_array_equal(Slide.from_array(with_extra(tissue, 0)).read(), tissue)


def test_training_sees_what_a_user_sees(tissue, tmp_path):
    from pixelcam.datasets import Sample, load_image

    stream = io.BytesIO()
    tifffile.imwrite(stream, with_extra(tissue, 0), photometric="rgb", extrasamples=["unspecified"])
    (tmp_path / "a.tif").write_bytes(stream.getvalue())
    loaded = load_image(Sample("a", tmp_path / "a.tif", 0, None, "a"))
    np.testing.assert_array_equal(loaded, tissue)
