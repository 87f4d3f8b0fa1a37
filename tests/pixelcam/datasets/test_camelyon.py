"""CAMELYON512: its fold files, its slides, and normal patches that hold no region."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

import pixelcam
from pixelcam.datasets import SPLITS, load_mask, open_dataset
from pixelcam.datasets.camelyon import slide_of
from pixelcam.errors import DatasetError
from pixelcam.evaluation import evaluate
from tests.synthetic import CAMELYON_FOLDER, write_camelyon_like


def opened(root, split="train", fold=0, scheme="official"):
    return open_dataset("camelyon512", root, split, fold, scheme)


def slides(dataset):
    return {sample.patient for sample in dataset.samples}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write_camelyon_like(tmp_path_factory.mktemp("camelyon"), folds=2)


@pytest.fixture
def copy(root, tmp_path):
    return shutil.copytree(root, tmp_path / "camelyon")


def test_fold_files_give_the_splits_with_masks_where_there_is_tumour(root):
    parts = {split: opened(root, split) for split in SPLITS}
    assert {split: len(part) for split, part in parts.items()} == {
        "train": 10, "valcl": 10, "valpx": 4, "test": 8,
    }  # fmt: skip
    for part in parts.values():
        assert part.classes == ("normal", "tumor")
        assert part.regionless == {0}
        assert part.masked == part.samples, "a normal patch needs no mask to be background all over"
        for sample in part.samples:
            assert sample.regionless == (sample.label == 0) == (sample.mask is None)
            assert load_mask(sample, 64).any() == (sample.label == 1)


def test_ignored_pixels_are_neither_foreground_nor_background(root):
    values = [set(np.unique(load_mask(sample, 64))) for sample in opened(root).samples if sample.ignore]
    assert values == [{0, 1, 255}] * 5


def test_a_normal_patch_named_with_the_word_none_for_a_mask_is_read(copy):
    path = copy / "folds" / "fold-0" / "train" / "localization.txt"
    path.write_text(path.read_text().replace(".png,,", ".png,None,"))
    assert len(opened(copy).masked) == 10


def test_the_official_split_shares_slides_and_the_one_by_slide_does_not(root):
    assert slides(opened(root)) == slides(opened(root, "valcl"))
    seen = set()
    for fold in range(2):
        parts = {split: opened(root, split, fold, "slide") for split in SPLITS}
        assert not slides(parts["train"]) & slides(parts["valcl"])
        assert not slides(parts["test"]) & (slides(parts["train"]) | slides(parts["valcl"]))
        assert len(parts["train"]) + len(parts["valcl"]) == 20
        assert set(parts["valpx"].samples) <= set(parts["valcl"].samples)
        assert all(min(part.counts().values()) > 0 for part in parts.values())
        assert not seen & slides(parts["valcl"]), "each fold validates on other slides"
        seen |= slides(parts["valcl"])


def test_patches_of_a_slide_that_is_tested_too_are_left_out_of_training_by_slide(copy):
    for name in ("image_ids", "class_labels", "localization"):
        lines = (copy / "folds" / "fold-0" / "train" / f"{name}.txt").read_text().splitlines()
        with (copy / "folds" / "fold-0" / "test" / f"{name}.txt").open("a") as file:
            file.write(lines[0] + "\n")
    leaked = slide_of(lines[0])
    assert leaked in slides(opened(copy, "test", scheme="slide"))
    assert leaked not in slides(opened(copy, scheme="slide")) | slides(opened(copy, "valcl", scheme="slide"))


@pytest.mark.parametrize(
    ("path", "slide"),
    [
        # The name that the code which cut the patches documents, for tumour and for normal.
        ("Patch_file_training-tumor-tumor_062.tif_reg_0_row_8_patch_0_x_84107_y_117472.png", "tumor_062"),
        ("normal-patches/Patch_file_training-normal-normal_084.tif_patch_0_x_3_y_9.png", "normal_084"),
        ("testing/tumor/patient_012_node_3/Patch_7.png", "patient_012_node_3"),
        ("test/test_001/12.png", "test_001"),
        ("a/Patch_file_S12-034.svs_patch_0_x_3_y_9.png", "S12-034"),
        ("a/S12-034_x_3_y_9.png", "S12-034"),
        ("train/0001.png", None),
        ("fold_1/test/12_7.png", None),
    ],
)  # fmt: skip
def test_the_slide_is_told_by_the_path(path, slide):
    assert slide_of(path) == slide


def test_paths_that_tell_no_slide_are_refused_by_slide_only(copy):
    fold = copy / "folds" / "fold-0" / "train"
    image = next((copy / CAMELYON_FOLDER).rglob("Patch_*"))
    shutil.copy(image, copy / "plain.png")
    with (fold / "image_ids.txt").open("a") as ids, (fold / "class_labels.txt").open("a") as labels:
        ids.write("plain.png\n")
        labels.write("plain.png,0\n")
    assert len(opened(copy)) == 11
    with pytest.raises(DatasetError, match=r"plain\.png does not tell which slide"):
        opened(copy, scheme="slide")


def test_only_what_needs_an_absent_file_fails(copy):
    sample = next(sample for sample in opened(copy, "test").samples if sample.mask)
    sample.mask.unlink()
    with pytest.raises(DatasetError, match=r"1 of the 8 masks of the test split .* of CAMELYON512"):
        opened(copy, "test")
    sample.image.unlink()
    with pytest.raises(DatasetError, match=r"1 of the 8 images of the test split"):
        opened(copy, "test")
    for mask in copy.rglob("mask_*"):
        mask.unlink()
    assert len(opened(copy)) == 10, "training needs no masks"
    with pytest.raises(DatasetError, match=r"2 of the 4 masks of the valpx split"):
        opened(copy, "valpx")


def test_a_root_without_the_first_folders_of_the_paths_will_do(copy):
    (copy / CAMELYON_FOLDER).rename(copy / "moved")
    for path in (copy / "moved").iterdir():
        path.rename(copy / path.name)
    assert len(opened(copy).masked) == 10


def test_what_is_not_there_is_told(root, ebhi_root):
    with pytest.raises(DatasetError, match="no train split of fold 4"):
        opened(root, fold=4)
    with pytest.raises(DatasetError, match="knows no patients"):
        opened(root, scheme="patient")
    with pytest.raises(DatasetError, match="knows no slides"):
        open_dataset("ebhi", ebhi_root, "train", 0, "slide")


@pytest.mark.usefixtures("one_thread")
def test_a_model_is_trained_and_measured_and_normal_patches_give_background_seeds_only(root, tmp_path):
    from pixelcam.training import TrainSettings, train

    settings = TrainSettings(
        dataset="camelyon512", root=root, scheme="slide", encoder="test_efficientnet", input_size=64,
        pixel_loss="partial", seeds=10, epochs_classifier=1, epochs_joint=1, batch=8, device="cpu",
    )  # fmt: skip
    events = []
    train(settings, tmp_path / "run", on_event=events.append)
    counts = next(event.metrics for event in events if event.kind == "epoch" and event.stage == "joint")
    assert counts["background_seeds"] > 1.5 * counts["foreground_seeds"] > 0
    localizer = pixelcam.load(tmp_path / "run" / "checkpoints" / "last.safetensors", "cpu")
    assert localizer.card.regionless == ("normal",)
    found = evaluate(localizer, opened(root, "test", scheme="slide"))
    assert found.images == 8
    masks = [load_mask(sample, 224) for sample in opened(root, "test").samples]
    share = np.mean([(mask == 1).sum() for mask in masks]) / np.mean([(mask < 2).sum() for mask in masks])
    assert found.chance_pxap == pytest.approx(100 * share), "normal patches count as background"
