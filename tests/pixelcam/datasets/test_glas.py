"""GlaS in its several layouts, and the real one where it is at hand."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from PIL import Image

from pixelcam.datasets import SPLITS, load_image, load_mask, open_dataset
from pixelcam.errors import DatasetError
from tests.synthetic import GLAS_FOLDER, tissue, write_glas_like


def opened(root, split="train", fold=0, scheme="official"):
    return open_dataset("glas", root, split, fold, scheme)


def names(dataset):
    return [sample.name for sample in dataset.samples]


@pytest.fixture
def copy(glas_root, tmp_path):
    return shutil.copytree(glas_root, tmp_path / "glas")


@pytest.mark.parametrize("original", [True, False])
def test_both_layouts_give_the_same_pictures_masks_and_labels(tmp_path, original):
    root = write_glas_like(tmp_path, train=4, valcl=4, test=4, original=original)
    for split, number in {"train": 4, "valcl": 4, "valpx": 4, "test": 4}.items():
        dataset = opened(root, split)
        assert len(dataset) == number
        assert dataset.classes == ("benign", "malignant")
        assert dataset.mpp == pytest.approx(0.62, abs=0.001)
    first = opened(root).samples[0]
    image, mask = tissue("round", 0)
    assert (first.name, first.label, first.patient) == ("train_1", 0, "1")
    assert (load_image(first) == image).all()
    assert (load_mask(first) == mask).all()


def test_the_released_folder_below_the_root_is_found(tmp_path):
    root = write_glas_like(tmp_path, train=4, valcl=4, test=4, original=True)
    (root / GLAS_FOLDER).mkdir()
    for path in root.glob("*.bmp"):
        path.rename(root / GLAS_FOLDER / path.name)
    assert opened(root, "test").samples[0].image.parent.name == GLAS_FOLDER
    assert len(opened(root, "test").masked) == 4


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif"])
def test_images_are_found_by_stem_whatever_their_suffix(copy, suffix):
    for path in (copy / "images").glob("test*.webp"):
        Image.open(path).save(path.with_suffix(f".{suffix}"))
        path.unlink()
    dataset = opened(copy, "test")
    assert {sample.image.suffix for sample in dataset.samples} == {f".{suffix}"}


def test_the_lossless_one_of_two_files_of_one_stem_is_taken(copy):
    Image.new("RGB", (4, 4)).save(copy / "images" / "train_1.jpg")
    assert opened(copy).samples[0].image.suffix == ".webp"


def test_fold_files_decide_the_split_and_their_order_changes_nothing(glas_root):
    assert names(opened(glas_root, "train", 0)) == names(opened(glas_root, "train", 1))
    assert opened(glas_root, "train", 0).fingerprint == opened(glas_root, "train", 1).fingerprint
    assert opened(glas_root, "train").counts() == {"benign": 10, "malignant": 10}
    assert set(names(opened(glas_root, "valpx"))) <= set(names(opened(glas_root, "valcl")))
    assert not set(names(opened(glas_root, "train"))) & set(names(opened(glas_root, "valcl")))


def test_a_split_is_refused_only_where_its_own_images_are_absent(copy):
    for stem in ("testA_2", "testA_5"):
        (copy / "images" / f"{stem}.webp").unlink()
    assert len(opened(copy)) == 20
    with pytest.raises(DatasetError, match=r"2 of the 8 images .* test split .*testA_2\.bmp\."):
        opened(copy, "test")


def test_masks_are_there_for_all_images_of_a_split_or_for_none(copy):
    for mask in (copy / "masks").glob("test*"):
        mask.unlink()
    assert opened(copy, "test").masked == ()
    (copy / "masks" / "train_3.png").unlink()
    with pytest.raises(DatasetError, match=r"1 of the 20 masks .* train split .*train_3\."):
        opened(copy)


def test_validation_pixels_need_their_masks(copy):
    shutil.rmtree(copy / "masks")
    assert len(opened(copy, "valcl")) == 8
    with pytest.raises(DatasetError, match="4 of the 4 masks"):
        opened(copy, "valpx")


def test_an_ignore_mask_is_read(copy):
    lines = copy / "folds" / "fold-0" / "test" / "localization.txt"
    first, *rest = lines.read_text().splitlines()
    ignore = np.zeros((96, 96), np.uint8)
    ignore[:10] = 255
    Image.fromarray(ignore).save(copy / "masks" / "hidden_1.png")
    lines.write_text("\n".join([f"{first}masks/hidden_1.png", *rest]))
    sample = opened(copy, "test").samples[0]
    assert (load_mask(sample)[:10] == 255).all()
    assert (load_mask(sample)[10:] < 2).all()
    lines.write_text("\n".join([f"{first}gone.png", *rest]))
    with pytest.raises(DatasetError, match=r"names gone\.png"):
        opened(copy, "test")


def test_without_test_fold_files_the_test_images_of_grade_csv_are_the_test_split(copy):
    expected = opened(copy, "test")
    for fold in (copy / "folds").iterdir():
        shutil.rmtree(fold / "test")
    found = opened(copy, "test")
    assert names(found) == names(expected)
    assert [s.label for s in found.samples] == [s.label for s in expected.samples]
    assert len(found.masked) == 8


def test_without_any_test_images_it_is_said(tmp_path):
    root = write_glas_like(tmp_path, train=4, valcl=4, with_test=False)
    assert len(opened(root, "valcl")) == 4
    with pytest.raises(DatasetError, match="test split of GlaS is not at hand"):
        opened(root, "test")


@pytest.mark.parametrize("fold", range(5))
def test_by_patient_no_patient_is_on_two_sides(tmp_path, fold):
    root = write_glas_like(tmp_path, train=40, valcl=16, test=16, size=32)
    parts = {split: opened(root, split, fold, "patient") for split in SPLITS}
    patients = {split: {s.patient for s in part.samples} for split, part in parts.items()}
    assert not patients["test"] & (patients["train"] | patients["valcl"])
    assert not patients["train"] & patients["valcl"]
    assert sum(len(parts[split]) for split in ("train", "valcl", "test")) == 72
    assert all(min(part.counts().values()) > 0 for part in parts.values())


def test_the_official_folds_do_share_patients(glas_root):
    train, test = ({s.patient for s in opened(glas_root, split).samples} for split in ("train", "test"))
    assert train & test


@pytest.mark.parametrize(
    "file, text, words",
    [
        ("folds/fold-0/train/class_labels.txt", "", "gives no label for"),
        ("folds/fold-0/train/class_labels.txt", f"{GLAS_FOLDER}/train_1.bmp,7\n", "the label '7'"),
        ("folds/fold-0/train/localization.txt", "one,two\n", "Line 1 of .* has 2 values instead of 3"),
        ("folds/fold-0/train/image_ids.txt", "", "holds no images"),
        ("Grade.csv", "name,patient ID, grade\ntrain_1,1, odd\n", "'odd', which is neither"),
    ],
)
def test_fold_files_that_contradict_themselves_are_told(copy, file, text, words):
    (copy / file).write_text(text)
    with pytest.raises(DatasetError, match=words):
        opened(copy)


def test_a_fold_that_is_not_there_is_told(glas_root):
    with pytest.raises(DatasetError, match="no official fold 7"):
        opened(glas_root, fold=7)


def test_the_fingerprint_tells_whether_the_data_changed(copy):
    before = opened(copy).fingerprint
    assert opened(copy).fingerprint == before
    Image.new("RGB", (96, 96)).save(copy / "images" / "train_1.webp")
    assert opened(copy).fingerprint != before


@pytest.mark.parametrize(
    "fold, numbers",
    [(0, (67, 18, 6)), (1, (67, 18, 6)), (2, (67, 18, 6)), (3, (67, 18, 6)), (4, (72, 13, 6))],
)
def test_the_real_folds_have_their_published_sizes(real_glas, fold, numbers):
    # The sizes that the code of the PixelCAM paper ships.
    parts = [opened(real_glas, split, fold) for split in SPLITS[:3]]
    assert tuple(map(len, parts)) == numbers
    assert all(len(part.masked) == len(part) for part in parts)
    assert set(names(parts[2])) <= set(names(parts[1]))


def test_the_real_images_are_read(real_glas):
    dataset = opened(real_glas, "valpx")
    image, mask = load_image(dataset.samples[0], 224), load_mask(dataset.samples[0], 224)
    assert image.shape == (224, 224, 3)
    assert set(np.unique(mask)) == {0, 1}
    share = np.mean([load_mask(sample, 224).mean() for sample in opened(real_glas).samples])
    assert 0.45 < share < 0.55, "about half of the pixels are gland"
    by_patient = opened(real_glas, "test", 0, "patient")
    assert not {s.patient for s in by_patient.samples} & {
        s.patient for s in opened(real_glas, "train", 0, "patient").samples
    }
