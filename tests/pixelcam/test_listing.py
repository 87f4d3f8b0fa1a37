"""Which files below a folder are images, and how the rest is told."""

from __future__ import annotations

import os

import pytest

from pixelcam.errors import ImageError
from pixelcam.listing import is_mask_folder, list_images, stem_of_masked


def fill(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")


def test_images_of_all_folders_come_in_the_order_of_their_paths(tmp_path):
    fill(tmp_path, "b/2.png", "b/1.TIFF", "a.svs", "c/d/e/3.JPG", "b.png")
    found = [path.relative_to(tmp_path).as_posix() for path in list_images(tmp_path).images]
    assert found == ["a.svs", "b/1.TIFF", "b/2.png", "b.png", "c/d/e/3.JPG"]


def test_what_is_passed_over_is_told_by_kind_and_number(tmp_path):
    fill(tmp_path, "a.png", "a_mask.png", "x/b.tif", "x/b-GT.png", "Masks/a.png", "notes.txt", "._a.png")
    fill(
        tmp_path,
        "out/a.fg.ome.tif",
        "out/a.json",
        "p/project.sqlite",
        "p/inner.png",
        "m.zarr/0.png",
        "README",
    )
    listing = list_images(tmp_path)
    assert [path.name for path in listing.images] == ["a.png", "b.tif"]
    assert listing.passed == {
        "masks": 2,
        "folders of masks (Masks)": 1,
        ".txt": 1,
        "hidden": 1,
        "results of PixelCAM": 1,
        ".json": 1,
        "projects of PixelCAM": 1,
        "zarr stores": 1,
        "without an ending": 1,
    }
    assert listing.passed_over.startswith(f"{tmp_path}: 2 images; 10 passed over (2 masks, 1 .json, 1 .txt, ")
    assert listing.passed_over.endswith(", 3 others).")


def test_nothing_is_said_where_nothing_is_passed_over(tmp_path):
    fill(tmp_path, "a.png")
    assert list_images(tmp_path).passed_over == ""


def test_a_folder_of_masks_that_is_asked_for_by_itself_is_listed(tmp_path):
    fill(tmp_path, "masks/a.png")
    assert len(list_images(tmp_path / "masks").images) == 1


def test_links_are_followed_once_and_never_round(tmp_path):
    fill(tmp_path, "store/a.png")
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "here").symlink_to(tmp_path / "store", target_is_directory=True)
    (tmp_path / "store" / "up").symlink_to(tmp_path / "root", target_is_directory=True)
    listing = list_images(tmp_path / "root")
    assert [path.relative_to(tmp_path).as_posix() for path in listing.images] == ["root/here/a.png"]
    assert listing.passed == {"folders linked twice": 1}


@pytest.mark.skipif(os.name == "nt", reason="names are text there")
def test_names_that_are_no_text_or_hold_line_breaks_are_names(tmp_path):
    fill(tmp_path, "two\nlines.png", os.fsdecode(b"caf\xe9.png"), f"{'n' * 240}.png")
    assert len(list_images(tmp_path).images) == 3


def test_a_folder_that_is_not_there_is_told(tmp_path):
    with pytest.raises(ImageError, match=r"none cannot be read"):
        list_images(tmp_path / "none")


@pytest.mark.parametrize(
    "name",
    [
        "mask",
        "Masks",
        "MASK",
        "GT",
        "gt",
        "GroundTruth",
        "ground_truth",
        "ground truth",
        "annotations",
        "labels",
        "Label_Images",
        "binary-masks",
        "tumour_masks",
        "train_masks",
        "segmentation",
        "masks_png",
        "train_labels",
    ],
)
def test_folders_named_like_masks_are_known(name):
    assert is_mask_folder(name)


@pytest.mark.parametrize(
    "name",
    [
        "normal",
        "tumour",
        "damask",
        "masked",
        "labelled",
        "segment",
        "gtex",
        "white label",
        "images",
        "train",
        "3+4",
        "MASKED",
        "Gtype",
        "image",
        "polyp",
        "EBHI",
    ],
)
def test_folders_of_classes_are_not_taken_for_masks(name):
    assert not is_mask_folder(name)


@pytest.mark.parametrize(
    ("stem", "image"),
    [
        ("a_mask", "a"),
        ("a-mask", "a"),
        ("a.Mask", "a"),
        ("a b_anno", "a b"),
        ("t_1_GT", "t_1"),
        ("x_ground_truth", "x"),
        ("a_labels", "a"),
        ("mask", None),
        ("_mask", None),
        ("amask", None),
        ("a_masked", None),
        ("plain", None),
    ],
)
def test_the_stem_of_a_masked_image_is_told_by_its_usual_endings(stem, image):
    assert stem_of_masked(stem) == image
