"""The benchmark's table: figures of all cells brought together, as Markdown and as JSON."""

from __future__ import annotations

import math
import shlex
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.localization.plan import B_LOC, MASK_FREE

FIGURES = ("pxap", "chance_pxap", "accuracy", "dice", "iou", "ece", "class_ece")
TITLES = {"glas": "GlaS", "ebhi": "EBHI-SEG"}
Record = Mapping[str, Any]


@dataclass(frozen=True)
class Spread:
    """Mean and sample standard deviation of n values; the deviation of one value is None."""

    mean: float
    sd: float | None
    n: int

    @classmethod
    def of(cls, values: Iterable[float | None]) -> Spread | None:
        """Return the spread of the values that are there; None where there is none."""
        known = [value for value in values if value is not None and math.isfinite(value)]
        if not known:
            return None
        return cls(statistics.fmean(known), statistics.stdev(known) if len(known) > 1 else None, len(known))

    def shown(self, digits: int = 1) -> str:
        """Return ``mean ± sd``."""
        return f"{self.mean:.{digits}f}" + ("" if self.sd is None else f" ± {self.sd:.{digits}f}")


@dataclass(frozen=True)
class Line:
    """One line of the table: a row's cells that were trained and measured on the same kind of images.

    Attributes
    ----------
    row, encoder, initialisation
        What was trained, from what.
    dataset, scheme
        What it was trained on.
    measured_on, split
        Whose images the figures are of.
    selection, masks
        How the epoch was chosen, and how many masks that saw.
    cells
        Number of folds and seeds.
    figures
        Named as `pixelcam evaluate` names them, in percent; None where there is none to give.
    above_chance
        PxAP less chance, cell by cell.
    minutes
        Of training.
    """

    row: str
    encoder: str
    initialisation: str
    dataset: str
    scheme: str
    measured_on: str
    split: str
    selection: str
    masks: int
    cells: int
    figures: Mapping[str, Spread | None]
    above_chance: Spread | None
    minutes: Spread | None

    @property
    def across(self) -> bool:
        """Whether it is measured on another data set than it was trained on."""
        return self.measured_on != self.dataset


def summarise(records: Sequence[Record]) -> list[Line]:
    """Bring finished cells together over folds and seeds, in the order in which rows first appear."""
    order = list(dict.fromkeys(record["row"] for record in records))
    groups: dict[tuple[Any, ...], list[tuple[Record, Record]]] = {}
    for record in records:
        for evaluation in record.get("evaluations", ()):
            key = (
                record["dataset"], record["scheme"], evaluation["dataset"], evaluation["split"],
                record["row"], evaluation["selection"],
            )  # fmt: skip
            groups.setdefault(key, []).append((record, evaluation))
    lines = [_line(members) for members in groups.values()]
    return sorted(lines, key=lambda line: order.index(line.row))


def _line(members: Sequence[tuple[Record, Record]]) -> Line:
    record, evaluation = members[0]
    figures = [each["figures"] for _, each in members]
    above = [
        each["pxap"] - each["chance_pxap"]
        for each in figures
        if each.get("pxap") is not None and each.get("chance_pxap") is not None
    ]
    masks = max(each["trained"].get("masks", 0) for each, _ in members)
    return Line(
        row=record["row"],
        encoder=record["encoder"],
        initialisation=record["initialisation"],
        dataset=record["dataset"],
        scheme=record["scheme"],
        measured_on=evaluation["dataset"],
        split=evaluation["split"],
        selection=evaluation["selection"],
        masks=masks if evaluation["selection"] == B_LOC else 0,
        cells=len(members),
        figures={name: Spread.of(each.get(name) for each in figures) for name in FIGURES},
        above_chance=Spread.of(above),
        minutes=Spread.of(each["trained"]["seconds"] / 60 for each, _ in members),
    )


def to_json(name: str, records: Sequence[Record], planned: int) -> dict[str, Any]:
    """Return everything: the summary, and each cell with its commands, versions and run times."""
    return {
        "settings": name,
        "planned_cells": planned,
        "summary": [asdict(line) for line in summarise(records)],
        "cells": list(records),
    }


def to_markdown(name: str, records: Sequence[Record], planned: int, notes: Sequence[str] = ()) -> str:
    """Return the table as a page of Markdown.

    Parameters
    ----------
    name
        Of the plan.
    records
        Of the cells that have ended.
    planned
        How many cells the plan has.
    notes
        Further sentences about this run, e.g. what was not at hand.
    """
    lines = summarise(records)
    failed = [record for record in records if "failure" in record]
    done = len(records) - len(failed)
    parts = [
        f"# Localization, {name} settings",
        "Made by `make bench-localization`; do not edit. PxAP, accuracy, Dice and expected calibration error "
        "(ECE) in percent at 224 x 224 pixels, mean ± standard deviation over folds and seeds. Chance is the "
        "PxAP of a map that knows nothing. Every method learns from image labels alone.",
        f"{done} of {planned} cells are done, {len(failed)} failed."
        + (" The figures below are of a part of the plan." if done < planned else ""),
        *notes,
    ]
    for title, note, chosen in sections(lines):
        parts += [f"## {title}", note, _table(chosen)]
    parts += ["## How the epoch was chosen", _selection_note(lines)]
    if failed:
        parts += ["## Failed", "\n".join(f"- {_place(record)}: {record['failure']}" for record in failed)]
    parts += ["## Versions and machine", _environments(records)]
    parts += ["## Commands", _command_note(records)]
    return "\n\n".join(parts) + "\n"


_OWN_NOTES = {
    ("glas", "official", "valcl"): "GlaS' test part is held back, so these are of the validation fold "
    "(valcl): B-LOC was chosen by the masks of a third of it, B-CL by its labels, the last epoch by neither.",
    ("glas", "official", "test"): "79 of the 80 test images share a patient with a training image: see the "
    "patient-disjoint split.",
    ("glas", "patient", "test"): "No patient of a test image is in training or validation.",
    ("ebhi", "official", "test"): "Split by case: no case of a test image is in training or validation.",
}


def sections(lines: Sequence[Line]) -> Iterable[tuple[str, str, list[Line]]]:
    own: dict[tuple[str, str, str], list[Line]] = {}
    for line in lines:
        if not line.across:
            own.setdefault((line.dataset, line.scheme, line.split), []).append(line)
    for (dataset, scheme, split), chosen in sorted(
        own.items(), key=lambda item: list(_OWN_NOTES).index(item[0])
    ):
        words = {"official": "official folds", "patient": "patient-disjoint folds"}[scheme]
        title = f"{TITLES[dataset]}, {words if dataset == 'glas' else 'folds by case'}: {split}"
        yield title, _OWN_NOTES[dataset, scheme, split], chosen
    across: dict[tuple[str, str, str], list[Line]] = {}
    for line in lines:
        if line.across:
            across.setdefault((line.dataset, line.measured_on, line.split), []).append(line)
    for (dataset, measured_on, split), chosen in across.items():
        title = f"Trained on {TITLES[dataset]}, measured on {TITLES[measured_on]}: {split}"
        yield title, "Another laboratory and other classes, of which none is shared: no accuracy.", chosen


_HEAD = (
    "method", "encoder, start", "epoch by", "PxAP", "chance", "above chance", "accuracy", "Dice", "ECE",
    "class ECE", "n", "train, min",
)  # fmt: skip


def _table(lines: Sequence[Line]) -> str:
    rows = [
        (
            line.row,
            f"{line.encoder}, {line.initialisation}",
            line.selection,
            *(_shown(line.figures[name]) for name in ("pxap", "chance_pxap")),
            _shown(line.above_chance),
            *(_shown(line.figures[name]) for name in ("accuracy", "dice", "ece", "class_ece")),
            str(line.cells),
            _shown(line.minutes),
        )
        for line in lines
    ]
    return "\n".join(f"| {' | '.join(row)} |" for row in (_HEAD, ("---",) * len(_HEAD), *rows))


def _shown(spread: Spread | None) -> str:
    return "-" if spread is None else spread.shown()


def _selection_note(lines: Sequence[Line]) -> str:
    seen = sorted({(TITLES[line.dataset], line.masks) for line in lines if line.selection == B_LOC})
    masks = "; ".join(f"{name}: {number} masks" for name, number in seen) or "not in this table"
    return (
        f"- {MASK_FREE}: the last epoch, and 0.5 as the threshold of Dice. No mask chose anything, but "
        "those of B-LOC calibrated the probabilities, which moves Dice and ECE and leaves PxAP as it is.\n"
        f"- B-LOC: the best PxAP on the few masked validation images ({masks}).\n"
        "- B-CL: the best accuracy on the validation labels.\n"
        "- The Dice of B-LOC and B-CL is at a threshold chosen on those same masks; PxAP needs none.\n"
        "- Class ECE of the official folds is of the images that the classes' temperature was fitted on: it "
        "flatters; the other splits' does not."
    )


def _environments(records: Sequence[Record]) -> str:
    counted: dict[tuple[tuple[str, Any], ...], int] = {}
    for record in records:
        if "environment" in record:
            key = tuple(record["environment"].items())
            counted[key] = counted.get(key, 0) + 1
    return "\n".join(
        f"- {number} cell{'s' * (number > 1)}: " + ", ".join(f"{name} {value}" for name, value in key)
        for key, number in counted.items()
    )


def _command_note(records: Sequence[Record]) -> str:
    variables = sorted(
        {
            part.partition("/")[0]
            for record in records
            for command in record["commands"]
            for part in command
            if part.startswith("$")
        }
    )
    first: dict[tuple[str, str, str], Record] = {}
    for record in records:
        first.setdefault((record["row"], record["dataset"], record["scheme"]), record)
    blocks = [
        f"# {_place(record)}\n" + "\n".join(shown_command(command) for command in record["commands"])
        for record in first.values()
    ]
    return (
        f"{', '.join(f'`{variable}`' for variable in variables)} stand for folders and files of yours. Shown "
        "is each row's first fold; the JSON file beside this one has every command of every cell.\n\n"
        "```sh\n" + "\n".join(blocks) + "\n```"
    )


def shown_command(command: Sequence[str]) -> str:
    """Return a written command as one line of a shell."""
    return " ".join(f'"{part}"' if part.startswith("$") else shlex.quote(part) for part in command)


def _place(record: Record) -> str:
    where = f"{TITLES[record['dataset']]} {record['scheme']}, fold {record['fold']}, seed {record['seed']}"
    return f"{record['row']}, {where}"
