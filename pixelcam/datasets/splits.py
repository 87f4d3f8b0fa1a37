"""Split samples so that no patient stands on two sides, deterministically and with every class everywhere."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

from pixelcam.datasets.base import Sample
from pixelcam.errors import DatasetError


def stable_hash(text: str) -> str:
    """Return a hash that is the same on every machine and in every Python process."""
    return hashlib.sha256(text.encode()).hexdigest()


def split_by_patient(
    samples: Sequence[Sample], classes: Sequence[str], *, fold: int, folds: int, valpx_per_class: int
) -> dict[str, tuple[Sample, ...]]:
    """Divide samples into train, valcl, valpx and test, each patient on one side only.

    The patients are dealt into `folds` parts that are balanced by class; part `fold` is the test split,
    so that the test splits of all folds together are the whole data set. The rest is dealt again into
    five parts, one of which is valcl. valpx is a small part of valcl, as in the official GlaS folds.

    Parameters
    ----------
    samples
        All samples at hand, in any order.
    classes
        Names of the labels, for messages.
    fold, folds
        Which part is the test split, of how many.
    valpx_per_class
        At most so many masked images of each class make up valpx.

    Raises
    ------
    DatasetError
        There is no such fold, or a class has too few patients to be in every split.
    """
    _refuse_fold(fold, folds)
    patients = _by_patient(samples)
    counts = {patient: Counter(sample.label for sample in own) for patient, own in patients.items()}
    test = _deal(counts, folds)[fold]
    rest = {patient: count for patient, count in counts.items() if patient not in test}
    valcl = _pick_validation(rest, len(classes))
    sides = {"train": set(rest) - valcl, "valcl": valcl, "test": test}
    parts = {side: _of_patients(patients, chosen) for side, chosen in sides.items()}
    _refuse_lost_class(parts, counts, classes, fold)
    return {**parts, "valpx": pick_masked(parts["valcl"], valpx_per_class)}


def split_validation(
    samples: Sequence[Sample], classes: Sequence[str], *, fold: int, folds: int, valpx_per_class: int
) -> dict[str, tuple[Sample, ...]]:
    """Divide samples into train, valcl and valpx where the test split is given, each patient on one side.

    The patients are dealt into `folds` parts that are balanced by class; part `fold` is valcl.

    Parameters
    ----------
    samples, classes, fold, folds, valpx_per_class
        As for `split_by_patient`.

    Raises
    ------
    DatasetError
        There is no such fold, or a class has too few patients to be in both.
    """
    _refuse_fold(fold, folds)
    patients = _by_patient(samples)
    counts = {patient: Counter(sample.label for sample in own) for patient, own in patients.items()}
    valcl = _deal(counts, folds)[fold]
    sides = {"train": set(counts) - valcl, "valcl": valcl}
    parts = {side: _of_patients(patients, chosen) for side, chosen in sides.items()}
    _refuse_lost_class(parts, counts, classes, fold)
    return {**parts, "valpx": pick_masked(parts["valcl"], valpx_per_class)}


def split_by_name(
    samples: Sequence[Sample], *, fold: int, valcl_share: float, test_share: float
) -> dict[str, list[Sample]]:
    """Divide samples of one class into train, valcl and test by the hash of their names.

    Every split gets at least one sample where there are three or more; `fold` rotates which ones.
    """
    ranked = sorted(samples, key=lambda sample: (stable_hash(sample.name), sample.name))
    number = len(ranked)
    tests = max(1, round(number * test_share)) if test_share else 0
    validations = max(1, round(number * valcl_share)) if valcl_share else 0
    start = (fold * (tests or validations)) % number if number else 0
    ranked = ranked[start:] + ranked[:start]
    return {
        "test": ranked[:tests],
        "valcl": ranked[tests : tests + validations],
        "train": ranked[tests + validations :],
    }


def pick_masked(samples: Sequence[Sample], per_class: int) -> tuple[Sample, ...]:
    """Return at most `per_class` masked samples of each class, from as many patients as possible."""
    chosen: list[Sample] = []
    for label in sorted({sample.label for sample in samples}):
        queues: dict[str, list[Sample]] = defaultdict(list)
        for sample in sorted(samples, key=lambda sample: stable_hash(sample.name)):
            if sample.label == label and sample.has_mask:
                queues[sample.patient].append(sample)
        ranked = sorted(
            (place, stable_hash(patient), sample.name, sample)
            for patient, queue in queues.items()
            for place, sample in enumerate(queue)
        )
        chosen += [sample for _, _, _, sample in ranked[:per_class]]
    return tuple(sorted(chosen, key=lambda sample: sample.name))


def _refuse_fold(fold: int, folds: int) -> None:
    if not 0 <= fold < folds:
        raise DatasetError(f"There is no fold {fold}: choose one from 0 to {folds - 1}.")


def _by_patient(samples: Sequence[Sample]) -> dict[str, list[Sample]]:
    patients: dict[str, list[Sample]] = defaultdict(list)
    for sample in sorted(samples, key=lambda sample: sample.name):
        patients[sample.patient].append(sample)
    return patients


def _of_patients(patients: Mapping[str, Sequence[Sample]], chosen: set[str]) -> tuple[Sample, ...]:
    return tuple(sample for patient in sorted(chosen) for sample in patients[patient])


def _refuse_lost_class(
    parts: Mapping[str, Sequence[Sample]],
    counts: Mapping[str, Counter[int]],
    classes: Sequence[str],
    fold: int,
) -> None:
    for side, part in parts.items():
        missing = sorted(set(range(len(classes))) - {sample.label for sample in part})
        if missing:
            name = classes[missing[0]]
            holders = sum(missing[0] in count for count in counts.values())
            raise DatasetError(
                f"Class {name} comes from {holders} patients, too few for it to be in the {side} split of "
                f"fold {fold}: choose another fold, or add patients."
            )


def _deal(counts: Mapping[str, Counter[int]], parts: int) -> list[set[str]]:
    """Deal patients into parts of about equal class counts: largest first, to where its class lacks most."""
    dealt: list[set[str]] = [set() for _ in range(parts)]
    held = [Counter[int]() for _ in range(parts)]
    patients_of_class = Counter(label for count in counts.values() for label in count)

    # Rare classes first: once the common ones are placed, there is no freedom left to spread a rare one.
    def rank(patient: str) -> tuple[int, int, str]:
        count = counts[patient]
        return min(patients_of_class[label] for label in count), -sum(count.values()), stable_hash(patient)

    for patient in sorted(counts, key=rank):
        label = min(counts[patient], key=lambda label: (patients_of_class[label], label))
        part = min(range(parts), key=lambda index: (held[index][label], sum(held[index].values()), index))
        dealt[part].add(patient)
        held[part].update(counts[patient])
    return dealt


def _pick_validation(counts: Mapping[str, Counter[int]], classes: int) -> set[str]:
    """Return a fifth of the patients: of five parts the one whose class shares are nearest to a fifth."""
    total = sum(counts.values(), Counter[int]())

    def unlike(part: set[str]) -> tuple[int, float]:
        held = sum((counts[patient] for patient in part), Counter[int]())
        # A class that is wholly here or wholly elsewhere is worse than any imbalance.
        lost = sum(held[label] in (0, total[label]) for label in range(classes))
        return lost, sum(abs(held[label] / max(total[label], 1) - 0.2) for label in range(classes))

    return min(_deal(counts, 5), key=unlike)
