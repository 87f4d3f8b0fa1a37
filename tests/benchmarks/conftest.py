"""A plan of two rows, and an executor that does in no time what `pixelcam` would."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.localization.commands import Ending, Places
from benchmarks.localization.plan import Plan, Row
from pixelcam.events import Event
from pixelcam.jobs.folder import JobRecord
from pixelcam.training import TrainSettings


class FakePixelCAM:
    """Writes what the commands would write; keeps the commands; fails or is interrupted where told.

    Attributes
    ----------
    ran
        The commands, as they were given.
    fail
        Word in a command to what it says when it fails.
    interrupt_at
        Number of the command that Ctrl-C hits, from 1.
    """

    def __init__(self) -> None:
        self.ran: list[list[str]] = []
        self.fail: dict[str, str] = {}
        self.interrupt_at = 0

    def __call__(self, command):
        self.ran.append(list(command))
        if len(self.ran) == self.interrupt_at:
            return Ending(130, "Cancelled.")
        for word, said in self.fail.items():
            if word in command:
                return Ending(1, said)
        options = dict(zip(command[2::2], command[3::2], strict=True))
        if command[1] == "train":
            self._train(Path(options["--out"]), options)
        else:
            figures = {"pxap": 60.0 + int(options["--fold"]), "chance_pxap": 50.0, "accuracy": 90.0}
            Path(options["--json"]).write_text(json.dumps(figures))
        return Ending(0)

    def _train(self, run, options):
        run.mkdir(parents=True)
        values = {name[2:].replace("-", "_"): value for name, value in options.items() if name != "--out"}
        values = {name: int(value) if value.isdecimal() else value for name, value in values.items()}
        (run / "config.json").write_text(json.dumps(TrainSettings.from_dict(values).to_dict()))
        JobRecord.begin(run, ()).ended("done").write(run)
        events = [
            Event("started", "classifier", time=100.0),
            Event("validation", "joint", epoch=1, metrics={"valpx_images": 6}, time=160.0),
            # The job was killed here, and went on an hour later.
            Event("started", "classifier", time=3700.0),
            Event("done", time=3760.0),
        ]
        (run / "events.jsonl").write_text("".join(f"{event.to_json()}\n" for event in events))

    def count(self, name):
        return sum(command[1] == name for command in self.ran)


@pytest.fixture
def fake():
    return FakePixelCAM()


@pytest.fixture
def places(tmp_path, glas_root, ebhi_root):
    return Places(tmp_path / "work", {"glas": glas_root, "ebhi": ebhi_root})


@pytest.fixture
def plan():
    """Two teachers that share a classifier, and PixelCAM, on two folds of GlaS."""
    where = (("glas", "official"),)
    rows = (
        Row("CAM", teacher="cam", places=where),
        Row("Grad-CAM++", teacher="grad-cam++", places=where),
        Row("PixelCAM", across=True, places=where),
    )
    return Plan("quick", rows, {"glas": {"epochs_classifier": 2, "epochs_joint": 1}}, {"glas": 2})


@pytest.fixture(scope="module")
def one_thread():
    """Keep torch to one thread, as tiny networks like it."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
