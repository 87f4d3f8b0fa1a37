"""Splitting by patient and by name."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from pixelcam.datasets.base import Dataset, Sample
from pixelcam.datasets.splits import pick_masked, split_by_name, split_by_patient, stable_hash
from pixelcam.errors import DatasetError

SIDES = ("train", "valcl", "test")


def made(seed, patients=60, classes=3):
    rng = np.random.default_rng(seed)
    samples = []
    for patient in range(patients):
        own = rng.choice(classes, size=rng.integers(1, 3), p=[0.6, 0.3, 0.1])
        for number in range(rng.integers(1, 9)):
            name = f"{patient:03d}-{number}"
            samples.append(Sample(name, Path(name), int(rng.choice(own)), Path(name), f"p{patient}"))
    return samples


def split(samples, fold=0, folds=4, valpx=2):
    return split_by_patient(samples, ("a", "b", "c"), fold=fold, folds=folds, valpx_per_class=valpx)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("fold", range(4))
def test_no_patient_is_on_two_sides_and_no_sample_is_lost(seed, fold):
    samples = made(seed)
    parts = split(samples, fold)
    patients = [{sample.patient for sample in parts[side]} for side in SIDES]
    assert sum(map(len, patients)) == len(set.union(*patients))
    assert sorted(s.name for side in SIDES for s in parts[side]) == sorted(s.name for s in samples)


@pytest.mark.parametrize("seed", range(4))
def test_the_test_splits_of_all_folds_are_the_whole_data_set_once(seed):
    samples = made(seed)
    tested = [sample.name for fold in range(4) for sample in split(samples, fold)["test"]]
    assert sorted(tested) == sorted(sample.name for sample in samples)


@pytest.mark.parametrize("seed", range(4))
def test_every_split_has_about_its_share_of_every_class(seed):
    samples = made(seed)
    total = Counter(sample.label for sample in samples)
    parts = split(samples)
    for side, share in zip(SIDES, (0.6, 0.15, 0.25), strict=True):
        held = Counter(sample.label for sample in parts[side])
        for label in range(3):
            assert abs(held[label] / total[label] - share) < 0.15, (side, label)


def test_the_order_in_which_samples_come_changes_nothing():
    samples = made(1)
    assert split(samples) == split(samples[::-1])


def test_valpx_is_a_few_of_valcl_of_every_class_from_several_patients():
    parts = split(made(2), valpx=2)
    assert set(parts["valpx"]) <= set(parts["valcl"])
    assert Counter(sample.label for sample in parts["valpx"]) == {0: 2, 1: 2, 2: 2}
    assert len({sample.patient for sample in parts["valpx"] if sample.label == 0}) == 2


def test_unmasked_samples_are_never_picked_for_valpx():
    samples = [Sample(str(n), Path("x"), 0, Path("m") if n == 3 else None, str(n)) for n in range(6)]
    assert [sample.name for sample in pick_masked(samples, 5)] == ["3"]


def test_a_class_of_too_few_patients_is_named():
    samples = [*made(0), Sample("rare", Path("rare"), 3, None, "rare")]
    with pytest.raises(DatasetError, match="Class d comes from 1 patients"):
        split_by_patient(samples, ("a", "b", "c", "d"), fold=0, folds=4, valpx_per_class=1)


@pytest.mark.parametrize("fold", [-1, 4])
def test_a_fold_that_does_not_exist_is_told(fold):
    with pytest.raises(DatasetError, match="from 0 to 3"):
        split(made(0), fold)


@pytest.mark.parametrize("number", [3, 4, 5, 8, 40, 101])
def test_by_name_every_part_has_a_sample_and_none_has_one_twice(number):
    samples = [Sample(f"n{n}", Path("x"), 0, None, "p") for n in range(number)]
    for fold in range(4):
        parts = split_by_name(samples, fold=fold, valcl_share=0.15, test_share=0.25)
        assert all(parts[side] for side in SIDES)
        assert sorted(s.name for side in SIDES for s in parts[side]) == sorted(s.name for s in samples)
        if number >= 40:
            assert len(parts["test"]) == round(number / 4)
    first, second = (
        split_by_name(samples, fold=f, valcl_share=0.15, test_share=0.25)["test"] for f in (0, 1)
    )
    assert not set(first) & set(second) or number < 4


def test_the_hash_is_the_same_in_every_process():
    code = "from pixelcam.datasets.splits import stable_hash; print(stable_hash('slide 7'))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == stable_hash("slide 7")


def test_a_data_set_sorts_its_samples_and_refuses_two_of_one_name():
    samples = [Sample(name, Path("x"), 0, None, name) for name in ("b", "a")]
    assert [sample.name for sample in Dataset("folder", ("one", "two"), tuple(samples)).samples] == ["a", "b"]
    with pytest.raises(DatasetError, match="lists b 2 times"):
        Dataset("folder", ("one", "two"), (samples[0], *samples))


def test_a_data_set_without_samples_or_with_a_label_of_no_class_is_refused():
    with pytest.raises(DatasetError, match="holds no images"):
        Dataset("folder", ("one", "two"), (), split="test")
    with pytest.raises(DatasetError, match="the label 2"):
        Dataset("folder", ("one", "two"), (Sample("a", Path("x"), 2, None, "a"),))
