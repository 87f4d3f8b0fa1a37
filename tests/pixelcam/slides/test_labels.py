"""Label images give the values that stand in them, masks the region, whatever colours or opacity show."""

from __future__ import annotations

import struct
import zlib

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image

from pixelcam.errors import ImageError
from pixelcam.slides.labels import picture_size, read_label_image, read_mask

LABELS = np.zeros((6, 9), np.uint8)
LABELS[1:3, 2:7] = 1
LABELS[4, 1:5] = 2
WHITE_FIRST = [255, 255, 255, 200, 0, 0, 0, 0, 0]


def refusal(read, path):
    with pytest.raises(ImageError) as caught:
        read(path)
    message = str(caught.value)
    assert path.name in message
    assert message.endswith(".")
    assert "\n" not in message
    return message


def paletted(values=LABELS, palette=WHITE_FIRST):
    image = Image.fromarray(values, mode="P")
    image.putpalette(palette)
    return image


def check(path, labels=LABELS):
    np.testing.assert_array_equal(read_label_image(path).values, labels)
    np.testing.assert_array_equal(read_mask(path), labels != 0)


@pytest.mark.parametrize("form", ["png", "gif", "bmp", "tif"])
def test_a_colour_table_is_not_followed(tmp_path, form):
    options = {"optimize": False} if form == "gif" else {}
    paletted().save(tmp_path / f"m.{form}", **options)
    check(tmp_path / f"m.{form}")


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_a_colour_table_of_few_bits_is_not_followed(tmp_path, bits):
    labels = LABELS % 2 if bits == 1 else LABELS
    paletted(labels).save(tmp_path / "m.png", bits=bits)
    check(tmp_path / "m.png", labels)


def test_transparency_of_a_colour_table_hides_no_label(tmp_path):
    paletted().save(tmp_path / "m.png", transparency=bytes([255, 0, 0]))
    check(tmp_path / "m.png")


def test_a_tiff_colour_table_is_not_followed(tmp_path):
    table = np.zeros((3, 256), np.uint16)
    table[:, 0] = 65535
    tifffile.imwrite(tmp_path / "m.tif", LABELS, photometric="palette", colormap=table)
    check(tmp_path / "m.tif")


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
@pytest.mark.parametrize("form", ["png", "tif"])
@pytest.mark.parametrize("alpha", [0, 255, "labels"])
def test_opacity_is_no_label(tmp_path, mode, form, alpha):
    opacity = np.full(LABELS.shape, 0, np.uint8) if alpha == 0 else np.full(LABELS.shape, 255, np.uint8)
    if alpha == "labels":
        opacity[LABELS == 2] = 0
    layers = [LABELS] * (len(mode) - 1) + [opacity]
    Image.fromarray(np.dstack(layers), mode=mode).save(tmp_path / f"m.{form}")
    check(tmp_path / f"m.{form}")


def test_labels_that_stand_in_the_opacity_alone_are_refused(tmp_path):
    for colour in (0, 255):
        pixels = np.full((*LABELS.shape, 4), colour, np.uint8)
        pixels[..., 3] = 255 * (LABELS > 0)
        Image.fromarray(pixels).save(tmp_path / "m.png")
        for read in (read_label_image, read_mask):
            assert "a shape in its opacity alone; save the labels as gray" in refusal(
                read, tmp_path / "m.png"
            )


@pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.uint32, np.float32, np.int16, bool])
def test_every_depth_is_read(tmp_path, dtype):
    labels = (LABELS > 0).astype(dtype) if dtype is bool else (LABELS.astype(np.int64) * 300).astype(dtype)
    tifffile.imwrite(tmp_path / "m.tif", labels, photometric="minisblack")
    check(tmp_path / "m.tif", labels)


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_few_bits_a_pixel_are_the_values_that_were_written(tmp_path, bits):
    labels = LABELS % 2 if bits == 1 else LABELS
    data = bytearray(imagecodecs.png_encode(labels))
    height, width = labels.shape
    rows = b"".join(
        b"\0"
        + int("".join(f"{v:0{bits}b}" for v in row).ljust((width * bits + 7) // 8 * 8, "0"), 2).to_bytes(
            (width * bits + 7) // 8, "big"
        )
        for row in labels
    )

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, 0)
    data = (
        bytes(data[:8]) + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    )
    (tmp_path / "m.png").write_bytes(data)
    check(tmp_path / "m.png", labels)


@pytest.mark.parametrize("channels", [1, 3])
def test_sixteen_bits_keep_their_low_half(tmp_path, channels):
    labels = LABELS.astype(np.uint16)
    pixels = labels if channels == 1 else np.dstack([labels] * 3)
    (tmp_path / "m.png").write_bytes(imagecodecs.png_encode(pixels))
    check(tmp_path / "m.png")


@pytest.mark.parametrize("form", ["png", "tif", "bmp", "webp"])
def test_shades_in_three_equal_channels_are_one(tmp_path, form):
    options = {"lossless": True} if form == "webp" else {}
    Image.fromarray(np.dstack([LABELS] * 3)).save(tmp_path / f"m.{form}", **options)
    check(tmp_path / f"m.{form}")


def test_white_as_zero_gives_the_values_that_are_shown(tmp_path):
    tifffile.imwrite(
        tmp_path / "m.tif", np.where(LABELS > 0, 0, 255).astype(np.uint8), photometric="miniswhite"
    )
    check(tmp_path / "m.tif", 255 * (LABELS > 0))
    tifffile.imwrite(tmp_path / "b.tif", LABELS == 0, photometric="miniswhite")
    check(tmp_path / "b.tif", LABELS > 0)
    tifffile.imwrite(
        tmp_path / "d.tif", np.where(LABELS > 0, 0, 65535).astype(np.uint16), photometric="miniswhite"
    )
    check(tmp_path / "d.tif", np.where(LABELS > 0, 65535, 0))


def test_a_mask_of_white_as_zero_that_never_shows_black_is_refused(tmp_path):
    tifffile.imwrite(tmp_path / "m.tif", LABELS % 2, photometric="miniswhite")
    assert "2 values and none of them is 0" in refusal(read_mask, tmp_path / "m.tif")


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["png", "tif"])
def test_orientation_is_applied_as_to_images(tmp_path, orientation, form):
    from pixelcam.slides import open_slide

    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(LABELS * 100).save(tmp_path / f"m.{form}", exif=exif)
    seen = open_slide(tmp_path / f"m.{form}").read()[..., 0]
    np.testing.assert_array_equal(read_label_image(tmp_path / f"m.{form}").values, seen)
    assert picture_size(tmp_path / f"m.{form}") == seen.shape[::-1]


def test_true_colours_are_told_from_labels(tmp_path):
    colours = np.zeros((*LABELS.shape, 3), np.uint8)
    colours[LABELS == 1] = (0, 200, 0)
    colours[LABELS == 2] = (0, 0, 9)
    Image.fromarray(colours).save(tmp_path / "m.png")
    assert read_label_image(tmp_path / "m.png").values.shape == (*LABELS.shape, 3)
    np.testing.assert_array_equal(read_mask(tmp_path / "m.png"), LABELS != 0)
    colours[LABELS == 0] = 255
    Image.fromarray(colours).save(tmp_path / "w.png")
    assert "3 colours and none of them is black" in refusal(read_mask, tmp_path / "w.png")


def test_a_mask_of_one_value_is_region_all_over_and_of_two_without_0_is_unclear(tmp_path):
    Image.fromarray(np.full((4, 5), 255, np.uint8)).save(tmp_path / "full.png")
    assert read_mask(tmp_path / "full.png").all()
    Image.fromarray(1 + LABELS % 2).save(tmp_path / "m.png")
    assert "2 values and none of them is 0" in refusal(read_mask, tmp_path / "m.png")


def test_fractions_are_no_labels(tmp_path):
    for value in (0.5, np.nan, np.inf):
        tifffile.imwrite(tmp_path / "m.tif", np.where(LABELS > 0, value, 0).astype(np.float32))
        for read in (read_label_image, read_mask):
            assert "its pixels are fractions" in refusal(read, tmp_path / "m.tif")


def test_a_mask_that_was_saved_as_a_jpeg_is_divided_in_its_middle(tmp_path):
    mask = np.zeros((64, 96), np.uint8)
    mask[10:40, 20:70] = 255
    Image.fromarray(mask).save(tmp_path / "m.jpg", quality=70)
    assert np.count_nonzero(np.asarray(Image.open(tmp_path / "m.jpg")) != mask) > 0
    np.testing.assert_array_equal(read_mask(tmp_path / "m.jpg"), mask > 0)
    assert read_label_image(tmp_path / "m.jpg").lossy
    tifffile.imwrite(
        tmp_path / "m.tif", mask, compression="jpeg", compressionargs={"level": 70}, tile=(32, 32)
    )
    np.testing.assert_array_equal(read_mask(tmp_path / "m.tif"), mask > 0)
    Image.fromarray(mask).save(tmp_path / "m.webp", quality=80)
    np.testing.assert_array_equal(read_mask(tmp_path / "m.webp"), mask > 0)


def test_a_jpeg_of_several_shades_is_no_mask(tmp_path):
    shades = np.tile(np.linspace(0, 255, 96, dtype=np.uint8), (64, 1))
    Image.fromarray(shades).save(tmp_path / "m.jpg")
    assert "whose shades are not two" in refusal(read_mask, tmp_path / "m.jpg")
    Image.fromarray(np.kron(LABELS, np.ones((16, 16), np.uint8))).save(tmp_path / "l.jpg")
    assert "whose shades are not two" in refusal(read_mask, tmp_path / "l.jpg")


@pytest.mark.parametrize("form", ["gif", "tif", "webp"])
def test_labels_of_several_pictures_are_refused(tmp_path, form):
    pictures = [Image.fromarray(255 * ((LABELS > 0) ^ bool(n)).astype(np.uint8)) for n in (0, 1)]
    pictures[0].save(tmp_path / f"m.{form}", save_all=True, append_images=pictures[1:])
    assert "2 pictures; save the one that is meant" in refusal(read_label_image, tmp_path / f"m.{form}")


@pytest.mark.parametrize("content", [b"", b"text", b"\x89PNG\r\n\x1a\n", b"II*\0\x08\0\0\0", b"GIF89a"])
def test_what_is_no_label_image_is_refused(tmp_path, content):
    (tmp_path / "m.png").write_bytes(content)
    for read in (read_label_image, read_mask, picture_size):
        refusal(read, tmp_path / "m.png")


def test_a_tiff_of_colours_that_mean_nothing_is_refused(tmp_path):
    tifffile.imwrite(tmp_path / "m.tif", LABELS, photometric="minisblack")
    with tifffile.TiffFile(tmp_path / "m.tif", mode="r+b") as file:
        file.pages[0].tags["PhotometricInterpretation"].overwrite(32767)
    for read in (read_label_image, read_mask):
        refusal(read, tmp_path / "m.tif")


def test_formats_that_run_other_programs_are_not_opened(tmp_path):
    (tmp_path / "m.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 6\nshowpage\n%%EOF\n")
    for read in (read_label_image, read_mask, picture_size):
        refusal(read, tmp_path / "m.png")
