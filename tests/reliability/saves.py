"""A reviewer at work, whose acknowledged saves must be there whatever happens to the process or the disk."""

from __future__ import annotations

import itertools
import json
import os
import random
import shutil
import time
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from tests.reliability import cases, server
from tests.reliability.server import DIE, Server
from tests.reliability.tally import Tally, fingerprint

LARGE = (704, 600)
"""Takes four chunks of seeds."""


def make_project(folder: str) -> None:
    """Make a project of one small and one larger image, beside which they lie."""
    from pixelcam.review import Project

    root = Path(folder)
    root.mkdir(parents=True, exist_ok=True)
    paths = []
    for number, size in enumerate((cases.SIZE, LARGE)):
        paths.append(root / f"image {number}.png")
        cases.Image.fromarray(cases.tissue(number, size)).save(paths[-1])
    with Project.create(root / "project", reviewer="Ann") as project:
        project.add_images(paths)


def work(
    folder: str, acknowledged: str, seed: int, reviewer: str = "Ann", at: int = 0, seconds: float = 1e9
) -> None:
    """Paint, restore, judge and localize at random, and write a line after each save has returned.

    With `at`, the process dies at the call of that number that changes a file of the project.
    """
    from pixelcam.localize import Localization, ModelRef
    from pixelcam.review import Project

    rng = random.Random(seed)
    if at:
        server.arm(Path(folder), DIE, at)
    end = time.monotonic() + seconds
    sink = os.open(acknowledged, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    with Project.open(Path(folder) / "project", reviewer=reviewer) as project:
        for count in itertools.count():
            if time.monotonic() > end:
                return
            entry = rng.choice(project.images())
            what = rng.choices(
                ("stroke", "changes", "restore", "note", "status", "map"), (50, 20, 5, 12, 8, 5)
            )[0]
            said: dict[str, Any] = {"image": entry.id, "reviewer": reviewer, "what": what}
            if what == "note":
                said["value"] = f"{seed} {count}"
                project.set_note(entry.id, said["value"])
            elif what == "status":
                said["value"] = rng.choice(("done", "skipped", "new"))
                if said["value"] not in _statuses():
                    said["value"] = "done"
                project.set_status(entry.id, said["value"])
            elif what == "map":
                said["value"] = float(np.float16(rng.random()))
                shape = (entry.height, entry.width)
                flat = np.full(shape, said["value"], np.float32)
                model = ModelRef("tiny", "ab" * 32)
                found = Localization(
                    entry.name, shape[1], shape[0], None, {"a": 0.2, "b": 0.8}, flat, 0.5, model
                )
                project.keep_localization(entry.id, found, said["value"])
            else:
                said |= _paint(project, entry.id, reviewer, what, rng)
            os.write(sink, json.dumps(said).encode() + b"\n")


def _statuses() -> tuple[str, ...]:
    from pixelcam.review.entries import STATUSES

    return tuple(STATUSES)


def _paint(project: Any, image: int, reviewer: str, what: str, rng: random.Random) -> dict[str, Any]:
    labels = project.seeds(image)
    if what == "restore":
        own = [save.seq for save in project.history(image) if save.reviewer == reviewer]
        if own:
            save = project.restore(image, rng.choice(own))
            return {"seq": save.seq, "crc": zlib.crc32(project.seeds(image))}
    height, width = labels.shape
    y, x = rng.randrange(height - 8), rng.randrange(width - 8)
    box = (y, x, min(height, y + rng.randint(2, 90)), min(width, x + rng.randint(2, 90)))
    labels[box[0] : box[2], box[1] : box[3]] = rng.randrange(3)
    if what == "changes":
        labels[rng.randrange(height), rng.randrange(width)] = rng.randrange(3)
        save = project.write_changes(image, labels)
        if save is None:
            return {}
    else:
        save = project.write_seeds(image, box, labels[box[0] : box[2], box[1] : box[3]].copy())
    return {"seq": save.seq, "crc": zlib.crc32(labels)}


def check(folder: str, acknowledged: str, thorough: bool = False) -> None:
    """Print what is lost, as JSON: a sentence for each acknowledged save that is not there, or wrong."""
    from pixelcam.review import Project

    lost: list[str] = []
    said = _lines(Path(acknowledged))
    for reviewer in sorted({one["reviewer"] for one in said}) or ["Ann"]:
        own = [one for one in said if one["reviewer"] == reviewer]
        with Project.open(Path(folder) / "project", reviewer=reviewer) as project:
            for entry in project.images():
                mine = [one for one in own if one["image"] == entry.id]
                lost += _lost_seeds(project, entry, [one for one in mine if "seq" in one], thorough)
                lost += _lost_words(project, entry, mine)
    print(json.dumps(lost))


def _lines(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_bytes().split(b"\n") if line.endswith(b"}")]


def _lost_seeds(project: Any, entry: Any, said: list[dict[str, Any]], thorough: bool) -> list[str]:
    present = {save.seq for save in project.history(entry.id) if save.reviewer == project.reviewer}
    lost = [f"edit {one['seq']} of image {entry.id} is gone" for one in said if one["seq"] not in present]
    some = said if thorough else random.Random(0).sample(said, min(3, len(said))) + said[-1:]
    for one in some:
        if one["seq"] in present and zlib.crc32(project.seeds_at(entry.id, one["seq"])) != one["crc"]:
            lost.append(f"edit {one['seq']} of image {entry.id} is another")
    newest = max(present, default=0)
    if newest and (project.seeds_at(entry.id, newest) != project.seeds(entry.id)).any():
        lost.append(f"the seeds of image {entry.id} are not those of the last edit")
    return lost


def _lost_words(project: Any, entry: Any, said: list[dict[str, Any]]) -> list[str]:
    """Compare the last acknowledged word of each kind, after which one more may have been begun."""
    lost = []
    last = {one["what"]: one["value"] for one in said if "value" in one}
    if "note" in last and [*map(int, entry.note.split() or [-1])] < [*map(int, last["note"].split())]:
        lost.append(f"the note of image {entry.id} is {entry.note!r}, not {last['note']!r} or later")
    if "status" in last and entry.status not in _statuses():
        lost.append(f"the status of image {entry.id} is {entry.status!r}")
    if "map" in last:
        found = project.localization(entry.id)
        if found is None:
            lost.append(f"the map of image {entry.id} is gone")
        elif (
            len(np.unique(found.foreground)) > 1
            or abs(float(found.foreground.flat[0]) - entry.uncertainty) > 1e-3
        ):
            lost.append(f"the map of image {entry.id} is not the one that the tables name")
    return lost


# Kills.


def run_kills(trials: Server, place: Path, seeds: list[int], first: int = 1, lives: int = 40) -> Tally:
    """Kill a reviewer `len(seeds)` times: even seeds at random moments, odd ones at a call of their number.

    Parameters
    ----------
    trials, place
        Who forks, and an empty folder.
    seeds
        One a life.
    first
        The number of the call at which the first odd seed dies; each further one dies at the next.
    lives
        How many a project sees before a new one is made.
    """
    tally, rng, at = Tally(), random.Random(seeds[0]), first
    folder, acknowledged = place / "none", place / "none.txt"
    for number, seed in enumerate(seeds):
        if number % lives == 0:
            shutil.rmtree(folder, ignore_errors=True)
            folder, acknowledged = place / f"{number}", place / f"{number}.txt"
            _need(trials.run("tests.reliability.saves:make_project", folder=str(folder)))
        before = len(_lines(acknowledged))
        by_call = seed % 2 == 1 and trials.shim is not None
        arguments = {"folder": str(folder), "acknowledged": str(acknowledged), "seed": seed}
        child = trials.start("tests.reliability.saves:work", **arguments, at=at if by_call else 0)
        if by_call:
            at += 1
            ended = child.wait(120)
        else:
            _wait_for_more(acknowledged, before)
            time.sleep(rng.uniform(0, 0.4))
            child.kill()
            ended = child.wait(60)
        tally.add("kills at a call" if by_call else "kills at random")
        tally.add("acknowledged", len(_lines(acknowledged)) - before)
        if ended.code != -9:
            tally.find("raw", f"the reviewer ended by {ended.code}", ended.err[-3000:])
        note_lost(trials, tally, folder, acknowledged)
    shutil.rmtree(place, ignore_errors=True)
    return tally


def _wait_for_more(acknowledged: Path, before: int) -> None:
    deadline = time.monotonic() + 60
    while len(_lines(acknowledged)) <= before and time.monotonic() < deadline:
        time.sleep(0.005)


def note_lost(trials: Server, tally: Tally, folder: Path, acknowledged: Path, thorough: bool = False) -> None:
    """Look for what was acknowledged, in a process that has not seen it."""
    ended = trials.run(
        "tests.reliability.saves:check",
        600,
        folder=str(folder),
        acknowledged=str(acknowledged),
        thorough=thorough,
    )
    if ended.code != 0:
        what = ended.err.strip().splitlines()[-1:] or [f"exit {ended.code}"]
        tally.find("broken", f"the project does not open: {what[0][:200]}", ended.err[-4000:])
        return
    for sentence in json.loads(ended.out.splitlines()[-1]):
        tally.find("lost", sentence, str(folder))


def _need(ended: Any) -> None:
    assert ended.code == 0, ended.err


# Two writers and a reader.


def read_on(folder: str, seconds: float) -> None:
    """Read a project again and again while others write to it; print how often."""
    from pixelcam.review import Project

    end, looks = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        with Project.open(Path(folder) / "project", reviewer="Reader", read_only=True) as project:
            for entry in project.images():
                for reviewer in project.reviewers():
                    labels = project.seeds(entry.id, reviewer)
                    assert labels.max(initial=0) <= 2
                project.localization(entry.id)
                project.history(entry.id)
        looks += 1
        time.sleep(0.05)
    print(looks)


def run_together(trials: Server, place: Path, seconds: float) -> Tally:
    """Let two reviewers write to one project for so long, and a third look at it."""
    tally, acknowledged = Tally(), place / "acknowledged.txt"
    _need(trials.run("tests.reliability.saves:make_project", folder=str(place)))
    common = {"folder": str(place), "acknowledged": str(acknowledged), "seconds": seconds}
    writers = [
        trials.start("tests.reliability.saves:work", **common, seed=number, reviewer=name)
        for number, name in enumerate(("Ann", "Bob"))
    ]
    reader = trials.start("tests.reliability.saves:read_on", folder=str(place), seconds=seconds)
    for child in (*writers, reader):
        ended = child.wait(seconds + 120)
        if ended.code != 0:
            what = (ended.err.strip().splitlines() or [f"exit {ended.code}"])[-1]
            tally.find(
                "hang" if ended.code == -9 else "raw",
                f"of writers and reader: {what[:200]}",
                ended.err[-4000:],
            )
        elif child is reader:
            tally.add("looks", int(ended.out.split()[-1]))
    tally.add("acknowledged", len(_lines(acknowledged)))
    tally.add("seconds", round(seconds))
    note_lost(trials, tally, place, acknowledged)
    shutil.rmtree(place, ignore_errors=True)
    return tally


__all__ = [
    "check",
    "fingerprint",
    "make_project",
    "note_lost",
    "read_on",
    "run_kills",
    "run_together",
    "work",
]
