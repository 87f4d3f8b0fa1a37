"""Running the cells of a plan: each once, resumed where interrupted, a failure not stopping the rest."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from benchmarks.localization import commands
from benchmarks.localization.commands import Ending, Places
from benchmarks.localization.environment import environment
from benchmarks.localization.plan import MASK_FREE, Cell
from benchmarks.localization.trained import curve_of, masks_seen, seconds_at_work
from pixelcam.datasets import open_dataset
from pixelcam.errors import DatasetError, PixelCAMError
from pixelcam.export.atomic import write_text
from pixelcam.jobs.folder import JobRecord
from pixelcam.jobs.run import Run
from pixelcam.teachers.maps import EIGEN
from pixelcam.training import TrainSettings

Execute = Callable[[Sequence[str]], Ending]
Report = Callable[[str], None]
_PLACE = ("root", "weights", "device")  # settings that say where things are, not what is trained
_BEFORE = {"eigen_by_label": False}  # what was done before there was a setting


@dataclass(frozen=True)
class Target:
    """A split that a cell is measured on."""

    dataset: str
    split: str
    fold: int
    scheme: str
    selections: tuple[str, ...]


class Failure(Exception):  # noqa: N818 - a failed cell is a finding
    """A cell cannot be finished; the text says why."""


class Bench:
    """Runs cells in a work folder.

    Parameters
    ----------
    places
        Where data, weights and the work folder are.
    execute
        Runs one command; by default in a process of its own.
    report
        Takes one line for a person.
    device
        For training and evaluating; no part of the written commands, as what is measured is the same on any.
    published
        Records of cells that were run elsewhere, and count as run here.
    """

    def __init__(
        self,
        places: Places,
        execute: Execute | None = None,
        report: Report = print,
        device: str = "auto",
        published: Iterable[dict[str, Any]] = (),
    ) -> None:
        self.places, self.report, self.device = places, report, device
        self.execute = execute or commands.execute
        self.published = {_key(record["commands"]): record for record in published}

    def run(self, cell: Cell) -> dict[str, Any]:
        """Bring a cell to its end or its failure, and return its record; a finished one is not run again."""
        record = self.read(cell)
        return self._settle(cell) if record is None or "failure" in record else record

    def read(self, cell: Cell) -> dict[str, Any] | None:
        """Return the record of a cell that has ended and was run by the same commands; else None.

        Only if it was not trained by other defaults than today's, as far as it says.
        """
        wanted, path = self._commands(cell), self._record_path(cell)
        if path.is_file():
            record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            if record["commands"] == wanted and not self._outdated(cell, record):
                return record
        found = self.published.get(_key(wanted))
        if found is None or "failure" in found or self._outdated(cell, found):
            return None
        return {**found, "row": cell.row.name}  # two rows may come of the same commands

    def _outdated(self, cell: Cell, record: Mapping[str, Any]) -> bool:
        return bool(self._other_settings(cell, record.get("trained", {}).get("settings", {})))

    def _settle(self, cell: Cell) -> dict[str, Any]:
        record: dict[str, Any] = {
            "row": cell.row.name,
            "encoder": cell.row.encoder,
            "initialisation": "ImageNet" if cell.row.encoder in self.places.weights else "random",
            "teacher": cell.row.teacher,
            "dataset": cell.dataset,
            "scheme": cell.scheme,
            "fold": cell.fold,
            "seed": cell.seed,
            "run": cell.run,
            "commands": self._commands(cell),
        }
        try:
            trained = self._train(cell)
            record["trained"] = trained
            record["evaluations"] = [self._evaluate(cell, *each) for each in self._evaluations(cell)]
            record["environment"] = environment()
        except Failure as failure:
            record["failure"] = str(failure)
            self.report(f"    failed: {failure}")
        write_text(self._record_path(cell), json.dumps(record, indent=1) + "\n")
        return record

    def _train(self, cell: Cell) -> dict[str, Any]:
        """Train a cell's run, or go on with it, or find it finished by this row or one that shares it."""
        if cell.row.needs_weights and cell.row.encoder not in self.places.weights:
            variable = commands.weights_variable(cell.row.encoder)[1:]
            raise Failure(
                f"no ImageNet weights of {cell.row.encoder} at hand: name a file by PIXELCAM_{variable}"
            )
        command = commands.train_command(cell, self.places)
        run = self.places.work / "runs" / cell.run
        finished = run / "benchmark.json"
        if finished.is_file():
            different = self._other_settings(cell, TrainSettings.read_run(run / "config.json"))
            if different:
                raise Failure(
                    f"the run {run.name} was trained with other settings ({', '.join(different)}): "
                    "delete it to train anew"
                )
            found: dict[str, Any] = json.loads(finished.read_text(encoding="utf-8"))
            return found
        self._do(command)
        job = JobRecord.read(run)
        if job is None or job.outcome != "done":
            raise Failure("the training was stopped before its end")
        events, _ = Run.open(run).events()
        trained = {
            "seconds": seconds_at_work(events),
            "masks": masks_seen(events),
            "curve": curve_of(events),
            "settings": _without_place(TrainSettings.read_run(run / "config.json")),
            "environment": environment(),
        }
        write_text(finished, json.dumps(trained, indent=1) + "\n")
        return trained

    def _other_settings(self, cell: Cell, found: Mapping[str, Any]) -> list[str]:
        """Name the settings that a run has otherwise: defaults are part of what was trained."""
        values = {"dataset": cell.dataset, "root": self.places.roots[cell.dataset], "fold": cell.fold}
        values |= {"scheme": cell.scheme, "seed": cell.seed, "encoder": cell.row.encoder, **cell.settings}
        try:
            wanted = _without_place(TrainSettings.from_dict(values).to_dict())
        except PixelCAMError as error:
            raise Failure(str(error)) from error
        if wanted["teacher"] != EIGEN or not wanted["epochs_joint"]:
            wanted = {key: value for key, value in wanted.items() if not key.startswith("eigen_")}
        before = {**wanted, **_BEFORE, **found} if found else wanted  # a record may name no settings
        return [key for key, value in wanted.items() if before[key] != value]

    def _evaluate(self, cell: Cell, target: Target, selection: str, command: list[str]) -> dict[str, Any]:
        result = self._record_path(cell).parent / f"{target.dataset}-{target.split}-{selection}.json"
        begun = time.perf_counter()
        self._do(command, result)
        figures = json.loads(result.read_text(encoding="utf-8"))
        figures.pop("pixelcam", None)  # which data set, by its place on this machine
        return {
            "dataset": target.dataset,
            "split": target.split,
            "fold": target.fold,
            "scheme": target.scheme,
            "selection": selection,
            "figures": figures,
            "seconds": time.perf_counter() - begun,
        }

    def _do(self, command: Sequence[str], result: Path | None = None) -> None:
        if result is not None:
            result.parent.mkdir(parents=True, exist_ok=True)
        device = [] if self.device == "auto" else ["--device", self.device]
        ending = self.execute([*self.places.resolve(command, result), *device])
        if ending.code == 130:
            raise KeyboardInterrupt
        if ending.code:
            raise Failure(self._without_folders(ending.said) or f"{command[1]} ended with code {ending.code}")

    def _without_folders(self, text: str) -> str:
        """Records are published, and this machine's folders are nobody's business."""
        for name, root in self.places.roots.items():
            text = text.replace(str(root), commands.root_variable(name))
        for name, path in self.places.weights.items():
            text = text.replace(str(path), commands.weights_variable(name))
        return text.replace(str(self.places.work), "$WORK")

    def _commands(self, cell: Cell) -> list[list[str]]:
        train = commands.train_command(cell, self.places)
        return [train, *(command for _, _, command in self._evaluations(cell))]

    def _evaluations(self, cell: Cell) -> Iterator[tuple[Target, str, list[str]]]:
        for target in targets(cell, self.places):
            for selection in target.selections:
                command = commands.evaluate_command(
                    cell, selection, target.dataset, target.split,
                    fold=target.fold, scheme=target.scheme,
                )  # fmt: skip
                yield target, selection, command

    def _record_path(self, cell: Cell) -> Path:
        return self.places.work / "cells" / cell.name / "cell.json"


def targets(cell: Cell, places: Places) -> list[Target]:
    """Return what a cell is measured on.

    The fold's own test split, where it is at hand, and GlaS' validation fold, whose official test part may
    not be; then, for rows that go across, the other data set: the first fold's test cases of EBHI-SEG, or
    every official part of GlaS that is at hand. A teacher by itself, whose maps take minutes there, goes
    across from its first fold only.
    """
    own = [Target(cell.dataset, "test", cell.fold, cell.scheme, cell.row.selections)]
    if (cell.dataset, cell.scheme) == ("glas", "official"):
        own.insert(0, Target("glas", "valcl", cell.fold, "official", cell.row.selections))
    once = cell.seed == cell.row.seeds[0] and (cell.row.teacher is None or cell.fold == 0)
    if cell.row.across and cell.scheme == "official" and once:
        other = {"glas": (("ebhi", "test"),), "ebhi": tuple(("glas", s) for s in ("train", "valcl", "test"))}
        own += [Target(name, split, 0, "official", (MASK_FREE,)) for name, split in other[cell.dataset]]
    return [target for target in own if at_hand(target, places)]


def _without_place(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in settings.items() if key not in _PLACE}


def _key(written: Sequence[Sequence[str]]) -> str:
    return json.dumps(written)


def at_hand(target: Target, places: Places) -> bool:
    """Say whether a split's images are there."""
    root = places.roots.get(target.dataset)
    return root is not None and _opens(target.dataset, root, target.split, target.fold, target.scheme)


@cache
def _opens(dataset: str, root: Path, split: str, fold: int, scheme: str) -> bool:
    try:
        open_dataset(dataset, root, split, fold, scheme)
    except DatasetError:
        return False
    return True
