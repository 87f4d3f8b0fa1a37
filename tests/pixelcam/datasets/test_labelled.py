"""A folder of images with a table of their labels."""

from __future__ import annotations

import shutil

import pytest

from pixelcam.datasets import SPLITS, Dataset, Sample, load_mask, open_dataset
from pixelcam.datasets.base import NO_LABEL
from pixelcam.errors import DatasetError
from tests.synthetic import write_labelled


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write_labelled(tmp_path_factory.mktemp("labelled"), number=32, size=32)


@pytest.fixture
def copy(root, tmp_path):
    return shutil.copytree(root, tmp_path / "copy")


def opened(root, split="train", fold=0):
    return open_dataset("folder", root, split, fold)


def names(dataset):
    return {sample.name for sample in dataset.samples}


def test_each_image_has_the_labels_that_the_table_says(root):
    everything = [sample for split in ("train", "valcl", "test") for sample in opened(root, split).samples]
    assert len(everything) == 32
    wanted = {0: (1,), 1: (0,), 2: (0, 1), 3: ()}  # crowded, round, in this order
    for sample in everything:
        index = int(sample.name.split("-")[1])
        assert sample.labels == wanted[index % 4]
        assert sample.label == (sample.labels[0] if sample.labels else NO_LABEL)
        assert sample.image == root / f"{sample.name}.png"


def test_the_data_set_says_that_images_may_have_several_labels(root):
    dataset = opened(root)
    assert dataset.multi_label
    assert dataset.classes == ("crowded", "round")
    assert dataset.counts() == {"crowded": 10, "round": 10}
    assert len(dataset) == 20


def test_an_image_without_labels_is_background_all_over(root):
    empty = [sample for sample in opened(root).samples if not sample.labels]
    assert empty
    assert all(sample.regionless and sample.mask is None for sample in empty)
    assert not any(load_mask(sample, 16).any() for sample in empty)
    assert not any(sample.regionless for sample in opened(root).samples if sample.labels)


def test_an_image_of_regionless_labels_only_is_background_all_over(copy):
    (copy / "dataset.yaml").write_text("regionless: [round]\nmpp: 0.5\n")
    dataset = opened(copy)
    assert (dataset.regionless, dataset.mpp) == ({1}, 0.5)
    assert {sample.labels: sample.regionless for sample in dataset.samples} == {
        (): True,
        (1,): True,
        (0,): False,
        (0, 1): False,
    }


def test_every_part_has_every_label_and_parts_have_nothing_in_common(root):
    parts = {split: opened(root, split) for split in SPLITS}
    for part in ("train", "valcl", "test"):
        assert min(parts[part].counts().values()) >= 1
    assert not names(parts["train"]) & (names(parts["valcl"]) | names(parts["test"]))
    assert not names(parts["valcl"]) & names(parts["test"])
    assert names(parts["valpx"]) <= names(parts["valcl"])
    assert all(sample.has_mask for sample in parts["valpx"].samples)


def test_another_fold_tests_on_other_images(root):
    assert len(set.union(*(names(opened(root, "test", fold)) for fold in range(4)))) == 32


def test_the_table_may_say_the_split(tmp_path):
    root = write_labelled(tmp_path, number=16, size=32, split=True)
    assert [len(opened(root, split)) for split in ("train", "valcl", "test")] == [8, 4, 4]
    assert names(opened(root, "valcl")) == {f"images/picture-{index:03d}" for index in range(8, 12)}
    table = root / "labels.csv"
    table.write_text(table.read_text().replace(",val", ",train"))
    assert [len(opened(root, split)) for split in ("train", "valcl", "test")] == [9, 3, 4]


def test_a_mask_may_stand_beside_its_image(copy):
    for mask in (copy / "masks" / "images").iterdir():
        mask.rename(copy / "images" / f"{mask.stem}_mask.png")
    assert all(sample.has_mask for sample in opened(copy).samples)


def test_without_masks_there_is_no_valpx_though_unlabelled_images_need_none(tmp_path):
    root = write_labelled(tmp_path, number=16, size=32, masks=False)
    with pytest.raises(DatasetError, match=r"no masks of validation images.*<path of the image>\.png"):
        opened(root, "valpx")


def test_a_label_of_three_images_is_in_every_part_and_one_of_no_training_image_is_refused(copy):
    table = copy / "labels.csv"
    header, *lines = table.read_text().splitlines()
    table.write_text("\n".join([header, *(line + "; rare ;" for line in lines[:3]), *lines[3:]]))
    assert [opened(copy, split).counts()["rare"] for split in ("train", "valcl", "test")] == [1, 1, 1]
    rows = [f"{line},train" for line in lines[:-1]]
    table.write_text("\n".join([f"{header},split", *rows, f"{lines[-1]}rare,test"]))
    with pytest.raises(DatasetError, match=r"No training image of .* has the label rare"):
        opened(copy)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "picture;labels\na;b\n",
            "lacks the column image: it needs image and labels, but has 'picture', ",
        ),
        ("image,labels\n", "lists no images"),
        ("image,labels\n,round\n", "Line 2 .* lacks its image"),
        ("image,labels\nimages/picture-000.png,round\n", "names 1 labels: at least two"),
        (
            "image,labels\na.png,round\nb.png,Round\n",
            "the classes 'Round' and 'round', which differ",
        ),
        ("image,labels\nimages/gone.png,round;crowded\n", r"names images/gone\.png, which is not there"),
        ("image,labels,split\nx.png,a;b,dev\n", "has the split 'dev': use train, val or test"),
        ("image,labels,split\nx.png,a;b,val\ny.png,a,\n", "some images a split and others none"),
        ("image,labels\nimages/picture-000.png,a;b\nimages/picture-000.tif,a\n", "lists .* 2 times"),
    ],
)
def test_a_table_that_does_not_fit_is_one_sentence(copy, text, words):
    (copy / "labels.csv").write_text(text)
    with pytest.raises(DatasetError, match=words):
        opened(copy)


def test_the_fingerprint_tells_label_sets_apart(root, copy):
    before = opened(root).fingerprint
    assert opened(copy).fingerprint == before
    name = next(sample.name for sample in opened(copy).samples if sample.labels == (0, 1))
    table = copy / "labels.csv"
    table.write_text(table.read_text().replace(f"{name}.png,crowded;round", f"{name}.png,round"))
    assert opened(copy).fingerprint != before


def test_a_data_set_of_one_label_an_image_takes_no_label_sets(root):
    sample = Sample("x", root / "x.png", NO_LABEL, None, "x", label_set=())
    with pytest.raises(DatasetError, match="x has 0 labels"):
        Dataset("folder", ("a", "b"), (sample,))
    wrong = Sample("x", root / "x.png", 0, None, "x", label_set=(0, 7))
    with pytest.raises(DatasetError, match="x has the label 7"):
        Dataset("folder", ("a", "b"), (wrong,), multi_label=True)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("image,labels\na.png,round,crowded\n", "Line 2 .* more values than there are columns"),
        (
            "image;labels\na.png;round;crowded\n",
            "semicolons in quotes, and several labels apart by commas",
        ),
    ],
)
def test_labels_apart_by_the_wrong_sign_are_told(copy, text, words):
    (copy / "labels.csv").write_text(text)
    with pytest.raises(DatasetError, match=words):
        opened(copy)
