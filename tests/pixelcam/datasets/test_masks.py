"""Masks of a data folder are found by stem, and what is passed over is told."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import tifffile
from PIL import Image

from pixelcam.datasets import load_mask, open_dataset
from pixelcam.errors import DatasetError

REGION = np.zeros((32, 32), np.uint8)
REGION[8:20, 4:16] = 255


def write_images(root, *classes, count=8):
    for number, name in enumerate(classes):
        (root / name).mkdir(parents=True)
        for index in range(count):
            shade = 40 * number + index
            Image.new("RGB", (32, 32), (shade, 9, shade)).save(root / name / f"{name[-3:]}{index}.png")


def write_mask(path, region=REGION):
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix.lower() in (".tif", ".tiff"):
        tifffile.imwrite(path, region)
    else:
        Image.fromarray(region).save(path)


def masks_of(root, **options):
    dataset = open_dataset("folder", root, options.pop("split", "test"), **options)
    assert len(dataset) > 0
    return dataset, [sample.mask for sample in dataset.samples]


@pytest.mark.parametrize(
    "place",
    [
        *(
            "masks/{c}/{s}.png",
            "masks/{c}/{s}.tif",
            "Masks/{c}/{s}.TIFF",
            "Mask/{c}/{s}.bmp",
            "GT/{c}/{s}.gif",
        ),
        *(
            "annotations/{c}/{s}_mask.png",
            "labels/{c}/{s}-gt.tif",
            "GroundTruth/{c}/{s}_Seg.png",
            "masks/{s}.tif",
        ),
        *(
            "{c}/masks/{s}.png",
            "{c}/{s}_mask.tif",
            "{c}/{s}-GT.png",
            "{c}/{s}_anno.bmp",
            "tumour_masks/{c}/{s}.png",
        ),
    ],
)
def test_a_mask_is_found_whatever_its_folder_ending_and_letter_case(tmp_path, place):
    write_images(tmp_path, "benign", "tumour")
    for name in ("benign", "tumour"):
        for index in range(8):
            write_mask(tmp_path / place.format(c=name, s=f"{name[-3:]}{index}"))
    dataset, masks = masks_of(tmp_path)
    assert dataset.classes == ("benign", "tumour")
    assert all(masks)
    assert all((load_mask(sample) == REGION // 255).all() for sample in dataset.samples)


def test_a_mask_of_another_letter_case_is_found(tmp_path):
    write_images(tmp_path, "benign", "tumour")
    for name in ("benign", "tumour"):
        for index in range(8):
            write_mask(tmp_path / "MASKS" / name.upper() / f"{name[-3:].upper()}{index}.PNG")
    assert all(masks_of(tmp_path)[1])


@pytest.mark.parametrize("place", ["masks/{p}/{c}/{s}.tif", "{p}/Masks/{c}/{s}.png", "masks/{c}/{s}.png"])
def test_masks_of_folders_of_splits_are_found(tmp_path, place):
    for part in ("Training", "validation", "Test"):
        write_images(tmp_path / part, "benign", "tumour", count=4)
        for name in ("benign", "tumour"):
            for index in range(4):
                write_mask(tmp_path / place.format(p=part, c=name, s=f"{name[-3:]}{index}"))
    if "{p}" in place and place.startswith("masks"):
        assert all(masks_of(tmp_path, split="train")[1])
    dataset, masks = masks_of(tmp_path)
    assert dataset.classes == ("benign", "tumour")
    assert all(masks)
    assert [sample.name for sample in dataset.samples][:1] == ["test/benign/ign0"]


def test_a_stem_in_two_classes_takes_no_mask_that_may_be_the_others(tmp_path):
    for name in ("benign", "tumour"):
        (tmp_path / name).mkdir()
        for index in range(6):
            Image.new("RGB", (32, 32)).save(tmp_path / name / f"{index}.png")
            write_mask(tmp_path / "masks" / f"{index}.png")
    assert not any(masks_of(tmp_path)[1])


def test_two_masks_of_one_image_are_told(tmp_path):
    write_images(tmp_path, "benign", "tumour")
    for ending in ("png", "tif"):
        for index in range(8):
            write_mask(tmp_path / "masks" / "benign" / f"ign{index}.{ending}")
    with pytest.raises(DatasetError, match=r"ign\d\.png has several masks, .*png and .*tif: keep one"):
        masks_of(tmp_path)


def test_what_is_passed_over_is_told_by_kind_and_number(tmp_path):
    write_images(tmp_path, "benign", "tumour")
    for index in range(10):
        write_mask(tmp_path / "Mask" / "benign" / f"ign{index}.tif")
    for name in ("benign/notes.txt", "benign/more.txt", "Thumbs.db", "benign/.hidden", "dataset.yaml"):
        (tmp_path / name).write_text("")
    (tmp_path / "tumour" / "old").mkdir()
    dataset, _ = masks_of(tmp_path)
    assert dataset.notes == (
        f"{tmp_path}: passed over 2 .txt, 2 masks of no image, 1 .db, 1 folders in class folders.",
        f"{tmp_path}: Mask taken for masks, not for a class.",
    )


def test_nothing_is_said_where_nothing_is_passed_over(tmp_path):
    write_images(tmp_path, "benign", "tumour")
    for index in range(8):
        write_mask(tmp_path / "masks" / "benign" / f"ign{index}.png")
    assert masks_of(tmp_path)[0].notes == ()


def test_a_table_finds_its_images_and_masks_by_stem(tmp_path):
    rows = ["image; Labels"]
    for index in range(8):
        (tmp_path / "images").mkdir(exist_ok=True)
        Image.new("RGB", (32, 32), (index, 0, 0)).save(tmp_path / "images" / f"Case {index}.PNG")
        write_mask(tmp_path / "GT" / f"case {index}_gt.tif")
        rows.append(f"images\\case {index}; {'tumour' if index % 2 else 'stroma, necrosis'}")
    Image.new("RGB", (32, 32)).save(tmp_path / "images" / "other.png")
    (tmp_path / "Labels.csv").write_text("\n".join(rows), encoding="utf-16")
    dataset, masks = masks_of(tmp_path)
    assert dataset.classes == ("necrosis", "stroma", "tumour")
    assert all(masks)
    assert dataset.notes == (
        f"{tmp_path}: passed over 1 images that the table does not name.",
        f"{tmp_path}: GT taken for masks, not for a class.",
    )


def test_two_tables_are_told(tmp_path):
    shutil.copytree(tmp_path, tmp_path, dirs_exist_ok=True)
    for name in ("labels.csv", "Labels.tsv"):
        (tmp_path / name).write_text("image,labels\na.png,x\n")
    with pytest.raises(DatasetError, match=r"has Labels\.tsv and labels\.csv: keep one"):
        masks_of(tmp_path)


@pytest.mark.parametrize(
    ("text", "mpp"), [("mpp: 0,25", 0.25), ("mpp: 0.25 um", 0.25), ("mpp: 250 nm", 0.25)]
)
def test_the_pixel_size_may_be_of_any_locale(tmp_path, text, mpp):
    write_images(tmp_path, "benign", "tumour")
    (tmp_path / "dataset.yaml").write_text(text)
    assert masks_of(tmp_path)[0].mpp == mpp


@pytest.mark.parametrize(
    "text",
    ["mpp: .inf", "mpp: .nan", "mpp: 2024-13-45", "mpp: 2024-01-02", f"mpp: {'9' * 5000}", "mpp: !!x 1"],
)
def test_a_pixel_size_that_is_none_is_one_sentence(tmp_path, text):
    write_images(tmp_path, "benign", "tumour")
    (tmp_path / "dataset.yaml").write_text(text)
    with pytest.raises(DatasetError, match=r"dataset\.yaml") as caught:
        masks_of(tmp_path)
    assert "\n" not in str(caught.value)
