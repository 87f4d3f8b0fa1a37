"""Every kind of image file either opens rightly or is refused in one sentence."""

from __future__ import annotations

import io
import os
import struct
import zlib

import imagecodecs
import numpy as np
import pytest
import skimage.data
from PIL import Image, ImageFile, ImageOps

from pixelcam.errors import ImageError
from pixelcam.slides import open_slide, photos


@pytest.fixture(scope="module")
def tissue():
    return np.ascontiguousarray(skimage.data.immunohistochemistry()[:90, :70])


def saved(image, path, **options):
    """Save an array or Pillow image and return the path."""
    if not isinstance(image, Image.Image):
        image = Image.fromarray(image)
    image.save(path, **options)
    return path


def refusal(path):
    """Return the message with which a file is refused, having checked that it is one sentence about it."""
    with pytest.raises(ImageError) as caught:
        open_slide(path)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert message.endswith(".")
    assert "\n" not in message
    assert len(message) - len(str(path)) < 170
    return message


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.tif", "a.ppm", "wrong-name.jpg"])
def test_lossless_formats_give_the_pixels_whatever_the_name(tissue, tmp_path, name):
    form = {"a.bmp": "BMP", "a.tif": "TIFF", "a.ppm": "PPM"}.get(name, "PNG")
    slide = open_slide(saved(tissue, tmp_path / name, format=form))
    np.testing.assert_array_equal(slide.read(), tissue)
    assert (slide.name, slide.width, slide.height, slide.mpp) == (name.split(".")[0], 70, 90, None)


def test_lossless_webp_and_jpeg2000_give_the_pixels(tissue, tmp_path):
    webp = saved(tissue, tmp_path / "a.webp", lossless=True)
    np.testing.assert_array_equal(open_slide(webp).read(), tissue)
    np.testing.assert_array_equal(open_slide(saved(tissue, tmp_path / "a.jp2")).read(), tissue)


@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_is_close_to_the_pixels(tissue, tmp_path, progressive):
    path = saved(tissue, tmp_path / "a.jpg", quality=95, progressive=progressive)
    assert np.abs(open_slide(path).read().astype(int) - tissue).mean() < 3


def test_gray_is_repeated_in_all_channels(tissue, tmp_path):
    gray = tissue[..., 0]
    rgb = open_slide(saved(gray, tmp_path / "a.png")).read()
    np.testing.assert_array_equal(rgb, np.repeat(gray[..., np.newaxis], 3, axis=-1))


def test_one_bit_is_black_and_white(tmp_path):
    bits = np.array([[True, False], [False, True]])
    rgb = open_slide(saved(bits, tmp_path / "a.png")).read()
    np.testing.assert_array_equal(rgb[..., 1], np.where(bits, 255, 0))


def test_transparency_is_laid_on_white(tissue, tmp_path):
    alpha = np.full(tissue.shape[:2], 255, np.uint8)
    alpha[:20], alpha[20:40] = 0, 51
    rgb = open_slide(saved(np.dstack([tissue, alpha]), tmp_path / "a.png")).read()
    assert (rgb[:20] == 255).all()
    expected = tissue[20:40] * 0.2 + 255 * 0.8
    np.testing.assert_allclose(rgb[20:40], expected, atol=0.51)
    np.testing.assert_array_equal(rgb[40:], tissue[40:])


def test_gray_with_transparency_is_laid_on_white(tmp_path):
    image = np.array([[[0, 0], [0, 255], [100, 255]]], np.uint8)
    rgb = open_slide(saved(Image.fromarray(image, "LA"), tmp_path / "a.png")).read()
    np.testing.assert_array_equal(rgb[0, :, 0], [255, 0, 100])


def test_a_palette_gives_its_colours_and_its_transparent_entry_white(tmp_path):
    image = Image.fromarray(np.array([[0, 1, 2]], np.uint8), "P")
    image.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
    rgb = open_slide(saved(image, tmp_path / "a.png", transparency=1)).read()
    assert rgb[0].tolist() == [[10, 20, 30], [255, 255, 255], [70, 80, 90]]


def test_cmyk_becomes_rgb(tmp_path):
    inks = np.zeros((16, 64, 4), np.uint8)
    inks[:, 16:32, 0] = inks[:, 32:48, 1] = inks[:, 48:, 3] = 255
    rgb = open_slide(saved(Image.fromarray(inks, "CMYK"), tmp_path / "a.jpg", quality=100)).read()
    expected = [[255, 255, 255], [0, 255, 255], [255, 0, 255], [0, 0, 0]]
    np.testing.assert_allclose(rgb[8, 8::16], expected, atol=6)


def test_sixteen_bit_gray_keeps_its_shades(tissue, tmp_path):
    gray = tissue[..., 0]
    full = open_slide(saved(gray.astype(np.uint16) * 257, tmp_path / "full.png")).read()
    np.testing.assert_array_equal(full[..., 2], gray)
    twelve = open_slide(
        saved((gray.astype(np.uint32) * 4095 // 255).astype(np.uint16), tmp_path / "twelve.png")
    ).read()
    np.testing.assert_allclose(twelve[..., 2], gray, atol=1)


@pytest.mark.parametrize("bits", [12, 16])
@pytest.mark.parametrize("channels", [2, 3, 4])
def test_sixteen_bit_colour_png_keeps_its_shades(tissue, tmp_path, bits, channels):
    white = 2**bits - 1
    pixels = np.dstack([tissue, np.full(tissue.shape[:2], 255, np.uint8)])
    pixels = pixels[..., [0, 3]] if channels == 2 else pixels[..., :channels]
    deep = (pixels.astype(np.uint32) * white // 255).astype(np.uint16)
    if channels != 3:
        deep[..., -1] = 65535
    (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(np.ascontiguousarray(deep)))
    rgb = open_slide(tmp_path / "a.png").read()
    expected = tissue if channels > 2 else np.repeat(tissue[..., :1], 3, axis=-1)
    np.testing.assert_allclose(rgb, expected, atol=1)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["jpg", "png", "tif"])
def test_orientation_is_applied(tissue, tmp_path, orientation, form):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"a.{form}"
    Image.fromarray(tissue).save(path, exif=exif)
    with Image.open(path) as image:
        expected = np.asarray(ImageOps.exif_transpose(image))
    np.testing.assert_array_equal(open_slide(path).read(), expected)
    assert (open_slide(path).width > open_slide(path).height) == (orientation >= 5)


@pytest.mark.parametrize("shape", [(1, 1), (7, 20000), (20000, 7)])
@pytest.mark.parametrize("form", ["png", "tif", "jpg"])
def test_extreme_shapes_open(tmp_path, shape, form):
    slide = open_slide(saved(np.full((*shape, 3), 130, np.uint8), tmp_path / f"a.{form}"))
    assert (slide.height, slide.width) == shape
    assert abs(int(slide.read()[-1, -1, 0]) - 130) < 3


def test_an_image_past_pillows_own_limit_opens(tissue, tmp_path, monkeypatch):
    path = saved(tissue, tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    np.testing.assert_array_equal(open_slide(path).read(), tissue)
    assert Image.MAX_IMAGE_PIXELS == 1000


def test_a_decompression_bomb_is_refused_before_it_is_decoded(tmp_path):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)
    data = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + data)
    assert "60000 x 60000 pixels, more than the 400 megapixels" in refusal(tmp_path / "a.png")


@pytest.mark.parametrize(
    "options",
    [
        {"format": "PNG"},
        {"format": "JPEG"},
        {"format": "JPEG", "progressive": True},
        {"format": "WEBP"},
        {"format": "BMP"},
        {"format": "JPEG2000"},
        {"format": "PPM"},
    ],
)
def test_a_file_cut_anywhere_is_refused(tissue, tmp_path, options):
    stream = io.BytesIO()
    # At a width of 68 the rows of a BMP end without padding, whose loss would cost no pixel.
    Image.fromarray(tissue[:, :68]).save(stream, **options)
    data = stream.getvalue()
    path = tmp_path / "cut"
    for length in sorted({*range(1, len(data), len(data) // 40), *range(len(data) - 12, len(data))}):
        path.write_bytes(data[:length])
        refusal(path)


def test_a_jpeg_whose_end_is_zeros_is_refused(tissue, tmp_path):
    path = saved(tissue, tmp_path / "a.jpg")
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2].ljust(len(data), b"\0"))
    assert "truncated or damaged" in refusal(path)


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"restart_marker_blocks": 2}])
def test_a_jpeg_with_a_phones_film_behind_it_is_whole_and_cut_it_is_not(tissue, tmp_path, options):
    stream = io.BytesIO()
    Image.fromarray(tissue).save(stream, format="JPEG", quality=95, **options)
    for seed in range(5):
        film = np.random.default_rng(seed).integers(0, 256, 300_000, dtype=np.uint8).tobytes()
        path = tmp_path / "a.jpg"
        path.write_bytes(stream.getvalue() + film)
        assert np.abs(open_slide(path).read().astype(int) - tissue).mean() < 3
    path.write_bytes(stream.getvalue()[:-700])
    assert "truncated or damaged" in refusal(path)


def test_a_truncated_file_is_refused_even_where_another_plugin_made_pillow_lenient(
    tissue, tmp_path, monkeypatch
):
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    path = saved(tissue, tmp_path / "a.bmp")
    path.write_bytes(path.read_bytes()[:-500])
    assert "truncated or damaged" in refusal(path)
    assert ImageFile.LOAD_TRUNCATED_IMAGES is True


def test_an_animation_is_refused(tissue, tmp_path):
    frames = [Image.fromarray(tissue), Image.fromarray(255 - tissue)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert "animation of 2 pictures" in refusal(tmp_path / "a.gif")


def test_a_phones_jpeg_with_further_views_gives_the_first(tissue, tmp_path):
    views = [Image.fromarray(tissue), Image.fromarray(255 - tissue)]
    views[0].save(tmp_path / "a.jpg", format="MPO", save_all=True, append_images=views[1:], quality=95)
    assert np.abs(open_slide(tmp_path / "a.jpg").read().astype(int) - tissue).mean() < 3


def test_an_empty_file_is_refused(tmp_path):
    (tmp_path / "a.png").write_bytes(b"")
    assert "is empty" in refusal(tmp_path / "a.png")


@pytest.mark.parametrize("content", [b"name,label\n1,2\n", b"%PDF-1.7\n", bytes(range(256)) * 20])
def test_what_is_no_image_is_refused(tmp_path, content):
    (tmp_path / "a.png").write_bytes(content)
    assert "is not an image" in refusal(tmp_path / "a.png")


def test_a_missing_file_is_refused(tmp_path):
    assert "does not exist" in refusal(tmp_path / "none.png")
    assert "does not exist" in refusal(tmp_path / "none" / "none.png")


def test_a_name_that_no_system_allows_is_refused(tmp_path):
    with pytest.raises(ImageError, match="cannot be read"):
        open_slide(f"{tmp_path}/a\0.png")
    with pytest.raises(ImageError, match="cannot be read"):
        open_slide(tmp_path / ("a" * 300 + ".png"))


def test_a_folder_is_refused(tmp_path):
    assert "is a folder" in refusal(tmp_path)


def test_dicom_is_refused_with_the_way_round(tmp_path):
    (tmp_path / "a.dcm").write_bytes(bytes(128) + b"DICM" + bytes(100))
    assert "convert it to a TIFF" in refusal(tmp_path / "a.dcm")
    assert "convert it to a TIFF" in refusal(tmp_path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    assert "not a regular file" in refusal(tmp_path / "pipe.png")


@pytest.mark.skipif(not hasattr(os, "seteuid"), reason="this system has no such permissions")
@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_an_unreadable_file_is_refused(tissue, unprivileged_folder, name):
    path = saved(tissue, unprivileged_folder / name)
    path.chmod(0o000)
    unprivileged_folder.become_nobody()
    assert "may not be read" in refusal(path)


def test_the_largest_size_read_whole_is_what_the_docs_say():
    assert photos.MAX_PIXELS == 400e6
    assert "400 megapixels" in open_slide.__doc__
