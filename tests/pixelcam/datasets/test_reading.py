"""Reading images and masks at the protocol's size."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from pixelcam.datasets import Sample, load_image, load_mask
from pixelcam.errors import DatasetError, ImageError


def sample(image, mask=None, **more):
    return Sample("one", image, 0, mask, "one", **more)


def saved(path, pixels, **options):
    Image.fromarray(pixels).save(path, **options)
    return path


@pytest.fixture
def pixels():
    return np.random.default_rng(0).integers(0, 256, (40, 70, 3), dtype=np.uint8)


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "webp"])
def test_an_image_comes_back_as_it_was_stored(tmp_path, pixels, suffix):
    options = {"lossless": True} if suffix == "webp" else {}
    image = load_image(sample(saved(tmp_path / f"a.{suffix}", pixels, **options)))
    assert image.dtype == np.uint8
    assert (image == pixels).all()


def test_the_square_is_filled_whatever_the_aspect_ratio(tmp_path):
    pixels = np.zeros((40, 80, 3), np.uint8)
    pixels[:, 40:] = 200
    image = load_image(sample(saved(tmp_path / "a.png", pixels)), 20)
    assert image.shape == (20, 20, 3)
    assert (image[:, :9] == 0).all()
    assert (image[:, 11:] == 200).all()


@pytest.mark.parametrize("mode", ["L", "P", "1", "RGBA", "CMYK", "LA"])
def test_every_kind_of_image_comes_back_as_rgb(tmp_path, pixels, mode):
    image = Image.fromarray(pixels).convert(mode)
    image.save(tmp_path / "a.tif")
    loaded = load_image(sample(tmp_path / "a.tif"), 32)
    assert loaded.shape == (32, 32, 3)
    assert loaded.dtype == np.uint8
    if mode != "1":
        assert abs(float(loaded.mean()) - pixels.mean()) < 12


def test_sixteen_bits_and_transparency_look_as_they_do_to_localize(tmp_path, pixels):
    from pixelcam.slides import open_slide

    deep = saved(tmp_path / "deep.png", pixels[..., 0].astype(np.uint16) * 257)
    clear = saved(tmp_path / "clear.png", np.dstack([pixels, pixels[..., :1]]))
    for path in (deep, clear):
        assert (load_image(sample(path)) == open_slide(path).read()).all()


def test_an_image_turned_by_its_camera_is_turned_back(tmp_path, pixels):
    exif = Image.Exif()
    exif[0x0112] = 6
    saved(tmp_path / "a.png", pixels, exif=exif)
    assert load_image(sample(tmp_path / "a.png")).shape == (70, 40, 3)


@pytest.mark.parametrize("value", [1, 3, 255])
def test_any_value_above_zero_is_region(tmp_path, value):
    labels = np.zeros((6, 8), np.uint8)
    labels[2:4, 3:5] = value
    mask = load_mask(sample(tmp_path / "a.png", saved(tmp_path / "m.png", labels)))
    assert mask.dtype == np.uint8
    assert (mask == (labels > 0)).all()


@pytest.mark.parametrize("mode", ["1", "P", "RGB"])
def test_masks_of_other_modes_are_read_by_their_colour(tmp_path, mode):
    labels = np.zeros((6, 8), np.uint8)
    labels[2:4, 3:5] = 255
    Image.fromarray(labels).convert(mode).save(tmp_path / "m.png")
    assert (load_mask(sample(tmp_path / "a.png", tmp_path / "m.png")) == labels // 255).all()


def test_a_palette_mask_whose_background_is_black_at_another_index(tmp_path):
    image = Image.new("P", (2, 1))
    image.putpalette([9, 9, 9] * 5 + [0, 0, 0] + [255, 255, 255])
    image.putdata([5, 6])
    image.save(tmp_path / "m.png")
    assert load_mask(sample(tmp_path / "a.png", tmp_path / "m.png")).tolist() == [[0, 1]]


@pytest.mark.parametrize("shape", [(522, 775), (100, 100), (224, 300), (448, 448)])
def test_masks_are_resized_by_the_pixel_whose_area_holds_the_centre(tmp_path, shape):
    labels = (np.random.default_rng(1).random(shape) < 0.5).astype(np.uint8) * 255
    mask = load_mask(sample(tmp_path / "a.png", saved(tmp_path / "m.png", labels)), 224)
    rows, columns = (np.floor((np.arange(224) + 0.5) * side / 224).astype(int) for side in shape)
    assert (mask == labels[rows][:, columns] // 255).all()


def test_ignored_pixels_are_255(tmp_path):
    ignore = np.zeros((4, 4), np.uint8)
    ignore[0, 0] = 255
    mask = saved(tmp_path / "m.png", np.full((4, 4), 255, np.uint8))
    loaded = load_mask(sample(tmp_path / "a.png", mask, ignore=saved(tmp_path / "i.png", ignore)))
    assert loaded[0, 0] == 255
    assert (loaded.ravel()[1:] == 1).all()


def test_an_ignore_mask_of_another_size_is_told(tmp_path):
    mask = saved(tmp_path / "m.png", np.zeros((4, 4), np.uint8))
    ignore = saved(tmp_path / "i.png", np.zeros((4, 5), np.uint8))
    with pytest.raises(DatasetError, match="not of the size"):
        load_mask(sample(tmp_path / "a.png", mask, ignore=ignore))


def test_an_image_of_a_regionless_class_is_background_all_over(tmp_path, pixels):
    path = saved(tmp_path / "a.png", pixels)
    assert load_mask(sample(path, regionless=True)).shape == (40, 70)
    assert load_mask(sample(path, regionless=True), 8).shape == (8, 8)
    assert not load_mask(sample(path, regionless=True), 8).any()


def test_an_image_without_a_mask_has_none_made_up(tmp_path):
    with pytest.raises(DatasetError, match="one has no mask"):
        load_mask(sample(tmp_path / "a.png"), 8)


@pytest.mark.parametrize("load", [load_image, lambda one, size: load_mask(one, size)])
def test_files_that_cannot_be_read_are_named_in_one_sentence(tmp_path, pixels, load):
    whole = saved(tmp_path / "whole.png", pixels).read_bytes()
    (tmp_path / "truncated.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "text.png").write_text("not an image")
    for name in ("truncated.png", "empty.png", "text.png", "gone.png"):
        with pytest.raises(ImageError, match=name) as caught:
            load(sample(tmp_path / name, tmp_path / name), 8)
        assert str(caught.value).endswith(".")
        assert "\n" not in str(caught.value)


def test_an_image_without_the_right_to_read_it_is_told(unprivileged_folder, pixels):
    path = saved(unprivileged_folder / "a.png", pixels)
    path.chmod(0)
    unprivileged_folder.become_nobody()
    with pytest.raises(ImageError, match=r"a\.png.*permission"):
        load_image(sample(path))


def test_a_stack_of_pages_is_refused_in_training_as_it_is_by_localize(tmp_path, pixels):
    one = Image.fromarray(pixels)
    one.save(tmp_path / "a.tif", save_all=True, append_images=[one])
    with pytest.raises(ImageError, match="planes"):
        load_image(sample(tmp_path / "a.tif"))


def test_a_channel_more_than_colours_looks_as_it_does_to_localize(tmp_path, pixels):
    import tifffile

    from pixelcam.slides import open_slide

    four = np.concatenate([pixels, 255 - pixels[..., :1]], axis=2)
    tifffile.imwrite(tmp_path / "a.tif", four, photometric="rgb", extrasamples=["unspecified"])
    assert (load_image(sample(tmp_path / "a.tif")) == open_slide(tmp_path / "a.tif").read()).all()


def test_the_transparency_of_a_grey_mask_is_no_region(tmp_path):
    mask = np.zeros((8, 8, 2), np.uint8)
    mask[..., 1] = 255
    mask[:4, :4, 0] = 255
    Image.fromarray(mask, "LA").save(tmp_path / "m.png")
    assert load_mask(sample(tmp_path / "a.png", tmp_path / "m.png")).mean() == 0.25


@pytest.mark.parametrize(
    ("shape", "fits"), [((40, 70), True), ((20, 35), True), ((13, 23), True), ((70, 40), False)]
)
def test_a_mask_of_another_shape_is_told(tmp_path, pixels, shape, fits):
    image = saved(tmp_path / "a.png", pixels)
    one = sample(image, saved(tmp_path / "m.png", np.full(shape, 255, np.uint8)))
    if fits:
        assert load_mask(one, 8).all()
    else:
        with pytest.raises(DatasetError, match="40 x 70 pixels, but its image 70 x 40"):
            load_mask(one, 8)


def test_the_mask_of_an_image_turned_by_its_camera_is_upright(tmp_path, pixels):
    exif = Image.Exif()
    exif[0x0112] = 6
    image = saved(tmp_path / "a.jpg", pixels, exif=exif)
    assert load_mask(sample(image, saved(tmp_path / "m.png", np.zeros((70, 40), np.uint8)))).shape == (70, 40)
