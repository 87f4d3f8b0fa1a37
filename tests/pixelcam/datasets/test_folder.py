"""A folder of class folders, and what people leave lying in one."""

from __future__ import annotations

import shutil

import pytest

from pixelcam.datasets import SPLITS, load_mask, open_dataset
from pixelcam.errors import DatasetError, ImageError
from tests.synthetic import write_folder


def opened(root, split="train", fold=0):
    return open_dataset("folder", root, split, fold)


def names(dataset):
    return {sample.name for sample in dataset.samples}


@pytest.fixture
def copy(folder_root, tmp_path):
    return shutil.copytree(folder_root, tmp_path / "folder")


def test_class_folders_are_split_with_every_class_in_every_part(folder_root):
    parts = {split: opened(folder_root, split) for split in SPLITS}
    assert [len(parts[split]) for split in SPLITS] == [20, 4, 4, 8]
    for part in parts.values():
        assert part.classes == ("crowded", "round")
        assert len(set(part.counts().values())) == 1
    assert not names(parts["train"]) & (names(parts["valcl"]) | names(parts["test"]))
    assert not names(parts["valcl"]) & names(parts["test"])
    assert names(parts["valpx"]) <= names(parts["valcl"])


def test_another_fold_tests_on_other_images(folder_root):
    folds = [names(opened(folder_root, "test", fold)) for fold in range(4)]
    assert len(set.union(*folds)) == 32


def test_a_mask_is_that_of_its_image(folder_root):
    for sample in opened(folder_root).samples:
        assert sample.mask.relative_to(folder_root / "masks").with_suffix("").as_posix() == sample.name
        assert load_mask(sample).any()


def test_a_mask_may_stand_beside_its_image(copy):
    for mask in (copy / "masks").rglob("*.png"):
        mask.rename(copy / mask.parent.name / f"{mask.stem}_mask.png")
    shutil.rmtree(copy / "masks")
    dataset = opened(copy)
    assert len(dataset) == len(dataset.masked) == 20
    assert all(sample.mask.name.endswith("_mask.png") for sample in dataset.samples)


def test_without_masks_there_is_everything_but_valpx(tmp_path):
    root = write_folder(tmp_path, per_class=4, masks=False)
    assert opened(root, "test").masked == ()
    with pytest.raises(DatasetError, match="no masks of validation images"):
        opened(root, "valpx")


def test_train_val_and_test_folders_are_taken_as_they_are(tmp_path):
    root = write_folder(tmp_path, per_class=4, divided=True)
    assert [len(opened(root, split)) for split in SPLITS] == [8, 4, 4, 4]
    for split, part in (("train", "train"), ("valcl", "val"), ("test", "test")):
        dataset = opened(root, split)
        assert {sample.image.parent.parent.name for sample in dataset.samples} == {part}
        assert len(dataset.masked) == len(dataset)
    shutil.rmtree(root / "val")
    assert [len(opened(root, split)) for split in ("train", "valcl")] == [6, 2], (
        "a fifth of train, at least one"
    )
    shutil.rmtree(root / "test")
    with pytest.raises(DatasetError, match="no test folder"):
        opened(root, "test")


def test_a_class_may_be_called_regionless_and_needs_no_masks_then(tmp_path):
    kinds = (("tumour", "crowded"), ("normal", "stroma"))
    root = write_folder(tmp_path, per_class=4, kinds=kinds)
    dataset = opened(root)
    assert dataset.classes == ("normal", "tumour")
    assert dataset.regionless == {0}
    assert dataset.mpp == 0.5
    assert len(dataset.masked) == len(dataset)
    assert {sample.regionless: load_mask(sample).any() for sample in dataset.samples} == {
        True: False,
        False: True,
    }


def test_hidden_files_and_other_files_are_left_out(copy):
    before = opened(copy).fingerprint
    (copy / ".cache").mkdir()
    (copy / "round" / ".DS_Store").write_text("x")
    (copy / "round" / "._picture-000.png").write_text("x")
    (copy / "round" / "notes.txt").write_text("x")
    (copy / "README.md").write_text("x")
    assert opened(copy).fingerprint == before


@pytest.mark.parametrize("name", ["round", "crowded"])
def test_an_empty_class_folder_is_named(copy, name):
    for path in (copy / name).iterdir():
        path.unlink()
    with pytest.raises(DatasetError, match=rf"{name} holds no images"):
        opened(copy)


def test_a_class_of_too_few_images_is_named(copy):
    for path in sorted((copy / "round").iterdir())[2:]:
        path.unlink()
    with pytest.raises(DatasetError, match="round holds 2 images"):
        opened(copy)


def test_one_class_or_none_is_not_enough(copy, tmp_path):
    shutil.rmtree(copy / "round")
    with pytest.raises(DatasetError, match="only the class folder crowded"):
        opened(copy)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetError, match="no class folders"):
        opened(tmp_path / "empty")


def test_classes_that_differ_by_letter_case_alone_are_told(copy):
    if (copy / "ROUND").is_dir():
        pytest.skip("this file system does not tell upper from lower case")
    shutil.copytree(copy / "round", copy / "ROUND")
    with pytest.raises(DatasetError, match="classes 'ROUND' and 'round', which differ in upper"):
        opened(copy)


def test_two_images_of_one_stem_are_told(copy):
    shutil.copy(copy / "round" / "picture-000.png", copy / "round" / "picture-000.bmp")
    with pytest.raises(DatasetError, match="several images named picture-000"):
        opened(copy)


@pytest.mark.parametrize("content", [b"", b"not an image"])
def test_an_image_that_is_none_is_named_before_any_work(copy, content):
    victim = opened(copy, "test").samples[0].image
    victim.write_bytes(content)
    with pytest.raises(ImageError, match=victim.name):
        opened(copy, "test")


@pytest.mark.parametrize(
    "text, words",
    [
        ("regionless: [lung]", "calls lung regionless, but the classes are crowded, round"),
        ("regionless: round", "list of class names"),
        ("mpp: small", "positive number"),
        ("mpp: -1", "positive number"),
        ("mpp: true", "positive number"),
        ("colour: red", "unknown entry colour"),
        ("[1, 2]", "names with values"),
        ("a: [", "as YAML"),
    ],
)
def test_settings_that_do_not_fit_are_told(copy, text, words):
    (copy / "dataset.yaml").write_text(text)
    with pytest.raises(DatasetError, match=words):
        opened(copy)


def test_empty_settings_are_none(copy):
    (copy / "dataset.yaml").write_text("")
    assert opened(copy).mpp is None


@pytest.mark.parametrize(
    "arguments, words",
    [
        (("camelyon", "."), "no data set 'camelyon': choose one of glas, ebhi, camelyon512, folder"),
        (("folder", ".", "val"), "no split 'val'"),
        (("folder", ".", "train", -1), "no fold -1"),
        (("folder", ".", "train", 0, "slide"), "knows no slides: choose the scheme official"),
        (("folder", "gone"), "gone is not a folder"),
    ],
)
def test_what_does_not_exist_is_told(arguments, words):
    with pytest.raises(DatasetError, match=words):
        open_dataset(*arguments)


def test_a_plain_folder_knows_no_patients(folder_root):
    with pytest.raises(DatasetError, match="knows no patients"):
        open_dataset("folder", folder_root, scheme="patient")


def test_a_class_without_a_training_image_is_told(tmp_path):
    write_folder(tmp_path / "all", per_class=8, size=32)
    for number, name in enumerate(("crowded", "round")):
        chosen = sorted((tmp_path / "all" / name).glob("*.png"))[: 8 if number else 1]
        (tmp_path / "data" / "train" / name).mkdir(parents=True)
        for image in chosen:
            shutil.copy(image, tmp_path / "data" / "train" / name)
    with pytest.raises(DatasetError, match=r"No training image of .* is of the class crowded"):
        opened(tmp_path / "data")


def test_a_part_without_images_is_told(tmp_path):
    write_folder(tmp_path / "train", per_class=8, size=32, masks=False)
    (tmp_path / "val").mkdir()
    with pytest.raises(DatasetError, match="holds no images for the valcl split"):
        opened(tmp_path, "valcl")


@pytest.mark.parametrize("part", ["val", "test"])
def test_a_class_that_only_validation_or_test_has_is_told(tmp_path, part):
    write_folder(tmp_path, per_class=8, size=32, divided=True, masks=False)
    shutil.copytree(tmp_path / part / "round", tmp_path / part / "polyp")
    for split in ("train", "test"):
        with pytest.raises(DatasetError, match=f"{part} has a class folder polyp that .*train has not"):
            opened(tmp_path, split)


def test_folds_are_others_without_a_test_part_too(tmp_path):
    write_folder(tmp_path, per_class=10, size=32, masks=False)
    (tmp_path / "train").mkdir()
    for name in ("crowded", "round"):
        shutil.move(tmp_path / name, tmp_path / "train" / name)
    folds = [names(opened(tmp_path, "valcl", fold)) for fold in range(5)]
    assert len(set.union(*folds)) == 20
