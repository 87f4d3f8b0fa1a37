"""EBHI-SEG through its index, split by case."""

from __future__ import annotations

import csv
import shutil

import pytest

from pixelcam.datasets import SPLITS, load_image, load_mask, open_dataset
from pixelcam.errors import DatasetError


def opened(root, split="train", fold=0):
    return open_dataset("ebhi", root, split, fold)


def cases(dataset):
    return {sample.patient for sample in dataset.samples}


@pytest.fixture
def copy(ebhi_root, tmp_path):
    return shutil.copytree(ebhi_root, tmp_path / "ebhi")


@pytest.mark.parametrize("fold", range(4))
def test_every_split_has_every_class_and_no_case_is_in_two(ebhi_root, fold):
    parts = {split: opened(ebhi_root, split, fold) for split in SPLITS}
    assert sum(len(parts[split]) for split in ("train", "valcl", "test")) == 34
    for part in parts.values():
        assert part.classes == ("adenocarcinoma", "normal")
        assert min(part.counts().values()) > 0
        assert part.mpp is None
        assert len(part.masked) == len(part)
    assert not cases(parts["train"]) & cases(parts["test"])
    assert not cases(parts["train"]) & cases(parts["valcl"])
    assert not cases(parts["valcl"]) & cases(parts["test"])
    assert {s.name for s in parts["valpx"].samples} <= {s.name for s in parts["valcl"].samples}


def test_each_image_is_tested_in_one_fold(ebhi_root):
    tested = [sample.name for fold in range(4) for sample in opened(ebhi_root, "test", fold).samples]
    assert len(tested) == len(set(tested)) == 34
    with pytest.raises(DatasetError, match="from 0 to 3"):
        opened(ebhi_root, fold=4)


def test_a_case_is_one_whatever_its_letters(ebhi_root):
    whole = [sample for fold in range(4) for sample in opened(ebhi_root, "test", fold).samples]
    with (ebhi_root / "index.csv").open() as file:
        spelled = {row["case"] for row in csv.DictReader(file)}
    assert {"GT0000", "gt0000"} <= spelled
    own = [sample for sample in whole if sample.patient == "gt0000"]
    assert {sample.label for sample in own} == {0, 1}, "the case has images in two classes"
    assert len(own) == 3


def test_classes_are_called_as_a_pathologist_says_them(copy):
    index = copy / "index.csv"
    text = index.read_text().replace(",normal,", ",High-grade IN,")
    index.write_text(text.replace(",adenocarcinoma,", ",serrated_adenoma,"))
    part = opened(copy)
    assert part.classes == ("high-grade neoplasia", "serrated adenoma")
    named = {sample.name.split("/")[0]: part.classes[sample.label] for sample in part.samples}
    assert named == {"High-grade IN": "high-grade neoplasia", "serrated_adenoma": "serrated adenoma"}


def test_images_and_masks_are_those_of_the_index(ebhi_root):
    for sample in opened(ebhi_root).samples:
        assert sample.image.stem == sample.mask.stem
        assert sample.image.parent.name == sample.name.split("/")[0]
        assert load_image(sample, 32).shape == (32, 32, 3)
        assert 0.1 < load_mask(sample, 32).mean() < 0.7


def test_the_order_of_the_index_changes_nothing(copy, ebhi_root):
    head, *rows = (copy / "index.csv").read_text().splitlines()
    (copy / "index.csv").write_text("\n".join([head, *rows[::-1]]))
    for split in SPLITS:
        assert opened(copy, split).fingerprint == opened(ebhi_root, split).fingerprint


def test_only_missing_files_of_the_split_are_told(copy):
    gone = opened(copy, "test").samples[0]
    gone.image.unlink()
    assert len(opened(copy, "train")) > 0
    with pytest.raises(DatasetError, match=rf"1 files of the test split .*{gone.image.name}"):
        opened(copy, "test")


@pytest.mark.parametrize(
    "text, words",
    [
        ("image,mask,class\n", "lacks the column case"),
        ("image,mask,class,case\n", "lists no images"),
        ("image,mask,class,case\na.png,,normal,\n", "Line 2 .* lacks its image, class or case"),
        ("image,mask,class,case\na.png,,normal,1\nb.png,,normal,2\n", "holds the one class normal"),
        ("image,mask,class,case\na.png,,normal,1\nb.png,,polyp,2\n", "comes from 1 patients"),
    ],
)
def test_an_index_that_cannot_be_used_is_told(tmp_path, text, words):
    (tmp_path / "index.csv").write_text(text)
    with pytest.raises(DatasetError, match=words):
        opened(tmp_path)


def test_a_folder_without_an_index_is_told(tmp_path):
    with pytest.raises(DatasetError, match=r"index\.csv cannot be read"):
        opened(tmp_path)


@pytest.mark.parametrize("fold", range(4))
def test_the_real_data_set_is_split_by_case_with_every_class_everywhere(real_ebhi, fold):
    parts = {split: opened(real_ebhi, split, fold) for split in SPLITS}
    sizes = [len(parts[split]) for split in ("train", "valcl", "test")]
    assert sum(sizes) == 1795
    assert [round(size / 1795, 2) for size in sizes] == pytest.approx([0.6, 0.15, 0.25], abs=0.01)
    assert len(parts["train"].classes) == 6
    assert not cases(parts["test"]) & (cases(parts["train"]) | cases(parts["valcl"]))
    assert not cases(parts["train"]) & cases(parts["valcl"])
    assert min(parts["test"].counts().values()) >= 10
    assert set(parts["valpx"].counts().values()) == {5}
