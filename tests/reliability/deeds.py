"""Commands that write, each let fail or be killed at every call that changes a file.

What must hold: files are what they were or what they were to become, never between; a failure is one
sentence; and the same command, given again, makes up for it.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import random
import re
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tests.reliability import cases, server
from tests.reliability.server import (
    CREATE,
    DIE,
    FAIL_ON,
    FAIL_ONCE,
    MKDIR,
    OPEN,
    RENAME,
    SYNC,
    UNLINK,
    WRITE,
    Server,
)
from tests.reliability.tally import Tally

_CPU = ("--model", "{model}", "--device", "cpu")
_ANN = ("{}/project", "--reviewer", "Ann")


@dataclass(frozen=True)
class Deed:
    """A command that writes over what was there before.

    Attributes
    ----------
    name
        What people know it as.
    template
        The folder that it works in a copy of.
    before
        Commands that make what is there before, once for each copy.
    command
        The command.
    whole
        The folder whose state is looked at, in the copy.
    by_image
        Whether the parts of that state are images, done one after the other,
        and not files that belong together.
    long
        Whether it takes seconds, and is tried at some of its calls only.
    """

    name: str
    template: str
    before: tuple[tuple[str, ...], ...]
    command: tuple[str, ...]
    whole: str
    by_image: bool = False
    long: bool = False


DEEDS = (
    Deed("localize --out", "masked", (("localize", "{}/slide.png", *_CPU, "--out", "{}/out"),),
         ("localize", "{}/slide.png", "--model", "{other}", "--device", "cpu", "--out", "{}/out"), "out"),
    Deed("export", "results", (("export", "{}/slide.json", "--out", "{}/out", "--format", "geojson",
    "--format", "mask", "--format", "ome-zarr", "--threshold", "0.2"),),
         ("export", "{}/slide.json", "--out", "{}/out", "--format", "geojson", "--format", "mask",
         "--format", "ome-zarr", "--threshold", "0.8"), "out", True),
    Deed("import", "annotations", (), ("import", "{}/notes.geojson", "--image", "{}/slide.png", "--out",
    "{}/out", *cases.MAPS), "out"),
    Deed("review new", "project", (), ("review", "new", "{}/project", "{}/more.png", "--reviewer", "Ann"),
    "project", True),
    Deed("a stroke", "project", (), (":stroke", "{}/project"), "project", True),
    Deed("a judgement", "project", (), (":judge", "{}/project"), "project", True),
    Deed("review localize", "project", (), ("review", "localize", *_ANN, *_CPU, "--again"), "project", True),
    Deed("review restore", "project", (), ("review", "restore", "{}/project", "slide", "1", "--reviewer",
    "Ann"), "project", True),
    Deed("review export", "project", (("review", "export", *_ANN, "--out", "{}/out"), (":stroke",
    "{}/project")),
         ("review", "export", *_ANN, "--out", "{}/out"), "out"),
    Deed("review merge", "project", (), ("review", "merge", "{}/both", "{}/project", "--reviewer", "Ann"),
    "both", True),
    Deed("review report", "project", (("review", "report", "{}/project", "--out", "{}/out/r.html"),
    (":stroke", "{}/project")),
         ("review", "report", "{}/project", "--out", "{}/out/r.html"), "out"),
    Deed("models add", "models", (), ("models", "add", "{}/models/m0.safetensors", "--name", "added"),
    "home/models"),
    Deed("finetune", "seeds", (), tuple(cases.finetuning(Path("{}"), Path("{model}"), Path("{}/run"))),
    "run", True, True),
    Deed("train", "folders", (), tuple(cases.training(Path("{}"), Path("{}/run"))), "run", True, True),
)  # fmt: skip

FAILURES: tuple[tuple[str, int, int], ...] = (
    ("ENOSPC", errno.ENOSPC, WRITE | SYNC | CREATE | MKDIR | RENAME),
    ("EIO", errno.EIO, WRITE | SYNC | CREATE | MKDIR | RENAME | UNLINK),
    ("EROFS", errno.EROFS, CREATE | MKDIR | RENAME | UNLINK),
    ("EMFILE", errno.EMFILE, CREATE | OPEN),
)


def prepare(deed: Deed, templates: Path, place: Path) -> None:
    """Make a folder as it is before the deed; what is in its way there is made once, and copied."""
    kept = place.with_name("kept")
    shutil.rmtree(place, ignore_errors=True)
    if kept.exists():
        shutil.copytree(kept, place)
        return
    shutil.copytree(templates / deed.template, place)
    cases.Image.fromarray(cases.tissue(5)).save(place / "more.png")
    (place / "home").mkdir(exist_ok=True)
    for command in deed.before:
        assert do(command, templates, place) == 0, command
    shutil.copytree(place, kept)


def do(command: Sequence[str], templates: Path, place: Path) -> int:
    """Run a command, or a function of this module, in this process."""
    os.environ["PIXELCAM_HOME"] = str(place / "home")
    words = {"model": str(templates / "tiny.safetensors"), "other": str(templates / "other.safetensors")}
    arguments = [part.format(str(place), **words) for part in command]
    if not arguments[0].startswith(":"):
        sys.argv[1:] = arguments
        return server.command(*arguments)
    from pixelcam.errors import PixelCAMError

    try:
        getattr(sys.modules[__name__], arguments[0][1:])(*arguments[1:])
    except PixelCAMError as error:
        print(error, file=sys.stderr)
        return 1
    except Exception as error:
        server.foreign_errors.append(error)
        print(error, file=sys.stderr)
        return 1
    return 0


def stroke(folder: str) -> None:
    """Paint."""
    from pixelcam.review import Project

    with Project.open(folder, reviewer="Ann") as project:
        image = project.images()[0].id
        project.write_seeds(image, (30, 30, 40, 60), np.full((10, 30), 2, np.uint8))


def judge(folder: str) -> None:
    """Say something."""
    from pixelcam.review import Project

    with Project.open(folder, reviewer="Ann") as project:
        project.set_note(project.images()[0].id, "another note")


# What the files say, without what is never the same twice.


def state(deed: Deed, place: Path) -> dict[str, str]:
    """Return what people would find, name to content; empty where there is nothing."""
    whole = place / deed.whole
    if (whole / "project.sqlite").exists():
        return _state_of_project(whole)
    if deed.long:
        from pixelcam.jobs import Run

        if not (whole / "job.json").exists():
            return {}
        best = Run.open(whole).checkpoint()
        return {} if best is None else {best.name: _digest(best)}
    found = {}
    for path in sorted(whole.rglob("*")) if whole.exists() else []:
        if path.is_file() and not _is_left_over(path.relative_to(whole)):
            found[path.relative_to(whole).as_posix()] = _digest(path)
    return found


def _is_left_over(path: Path) -> bool:
    return any(part.startswith(".pixelcam-") or part == "locks" for part in path.parts)


def _digest(path: Path) -> str:
    if path.name.endswith(".ome.tif"):  # which has a random number of its own
        import tifffile

        return hashlib.sha256(tifffile.imread(path).tobytes()).hexdigest()[:16]
    data = path.read_bytes()
    if path.suffix in (".json", ".html"):  # which hold the times at which they were made
        data = re.sub(rb"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?([+-]\d\d:\d\d)?", b"then", data)
    return hashlib.sha256(data).hexdigest()[:16]


def _state_of_project(folder: Path) -> dict[str, str]:
    from pixelcam.review import Project

    found = {}
    with Project.open(folder, reviewer="Ann", read_only=True) as project:
        for entry in project.images():
            told = [
                entry.name,
                entry.status,
                entry.label,
                entry.note,
                entry.threshold,
                entry.seconds,
                entry.uncertainty,
            ]
            map_ = project.localization(entry.id)
            told.append("" if map_ is None else hashlib.sha256(map_.foreground.tobytes()).hexdigest()[:8])
            for reviewer in project.reviewers():
                told.append(hashlib.sha256(project.seeds(entry.id, reviewer).tobytes()).hexdigest()[:8])
            told.append(len(project.history(entry.id)))
            found[str(entry.id)] = repr(told)
    return found


def left_over(place: Path) -> list[str]:
    """Return the files and folders that nothing names: temporary ones, and maps that no table knows."""
    found = [path.name for path in place.rglob(".pixelcam-*")]
    for folder in place.glob("*/images/*"):
        found += [path.name for path in sorted(folder.glob("map-*.zarr"))[1:]]
    return [re.sub(r"[0-9a-f]{8}", "*", name) for name in found]


# Failing.


def fail(deed: str, templates: str, place: str, trials: list[list[int]]) -> None:
    """Do a deed once for each trial in this process; print a line of JSON for each.

    A trial is the number of the failure in `FAILURES`, how it fails, and at which call; 0 counts the calls.
    """
    known = next(one for one in DEEDS if one.name == deed)
    folder, at_home = Path(place) / "case", Path(templates)
    results = os.fdopen(os.dup(1), "w")
    prepare(known, at_home, folder)
    before = state(known, folder)
    assert do(known.command, at_home, folder) == 0
    after = state(known, folder)
    for kind, way, at in trials:
        prepare(known, at_home, folder)
        server.foreign_errors.clear()
        _, number, calls = FAILURES[kind]
        said = Path(place) / "said.txt"
        with _printing_to(said):
            server.arm(folder, way if at else server.COUNT, at, number, calls)
            code = do(known.command, at_home, folder)
            seen, struck = server.disarm(), server.shim().shim_struck()
        found = state(known, folder)
        result: dict[str, Any] = {"trial": [kind, way, at], "seen": seen, "struck": struck, "code": code}
        result["said"] = said.read_text(errors="replace")[-600:]
        result["state"] = "before" if found == before else "after" if found == after else "between"
        if result["state"] == "between":
            result["differs"] = sorted(
                key for key in {**before, **found} if found.get(key) != before.get(key)
            )
            if code == 0 and before and all(found.get(key) == value for key, value in before.items()):
                result["state"] = "beside"  # whose the old files are could not be read: they were kept
            elif between_images(found, before, after):
                if known.by_image:
                    result["state"] = "some"
                elif way == FAIL_ON:  # what has been renamed cannot be taken back: reading it tells
                    result["state"] = "mixed"
        result["left"] = left_over(folder)
        result["foreign"] = [repr(error) for error in server.foreign_errors]
        results.write(json.dumps(result) + "\n")
        results.flush()


class _printing_to:  # noqa: N801 - reads as what it does
    """Send what this process prints to a file, for a while."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None:
        sys.stdout.flush(), sys.stderr.flush()
        self._kept = [os.dup(1), os.dup(2)]
        file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, 1), os.dup2(file, 2), os.close(file)

    def __exit__(self, *_: object) -> None:
        sys.stdout.flush(), sys.stderr.flush()
        for number, kept in zip((1, 2), self._kept, strict=True):
            os.dup2(kept, number), os.close(kept)


def judge_failure(result: dict[str, Any], deed: Deed) -> list[tuple[str, str]]:
    """Return what is wrong with how a deed failed, as kind and words."""
    wrong = []
    name = f"{deed.name}, {FAILURES[result['trial'][0]][0]}"
    lines = [line for line in result["said"].splitlines() if line.strip()]
    if result["foreign"] or "Traceback" in result["said"] or "Something unexpected" in result["said"]:
        words = re.sub(r"\S*/\S+", "...", (result["foreign"] or lines[-1:])[0])
        wrong.append(("raw", f"{name}: {words[:120]}"))
    elif result["code"] == 1 and not any(line.endswith((".", "?")) for line in lines):
        wrong.append(("raw", f"{name}: no sentence: {lines[-1:]}"))
    if result["code"] not in (0, 1):
        wrong.append(("raw", f"{name}: exit {result['code']}"))
    if result["state"] == "between":
        wrong.append(("broken", f"{name}: neither old nor new: {result.get('differs')}"))
    elif result["code"] == 0 and result["state"] not in ("after", "beside"):
        wrong.append(("broken", f"{name}: exit 0, but the files are the old ones"))
    full = FAILURES[result["trial"][0]][0] == "ENOSPC"  # of the others, the removal itself may have failed
    if full and result["trial"][1] == FAIL_ONCE and result["code"] == 1 and result["left"]:
        wrong.append(("broken", f"{name}: left over: {sorted(set(result['left']))}"))
    return wrong


def run_failures(
    trials: Server, templates: Path, place: Path, deed: Deed, rng: random.Random, most: int
) -> Tally:
    """Let a deed fail at each of its calls, each way; at `most` calls of each kind of failure."""
    tally = Tally()
    shutil.rmtree(place, ignore_errors=True)
    call, common = (
        "tests.reliability.deeds:fail",
        {"deed": deed.name, "templates": str(templates), "place": str(place)},
    )
    for kind, (name, _, _) in enumerate(FAILURES):
        counted = trials.run(call, 300, **common, trials=[[kind, FAIL_ONCE, 0]])
        assert counted.code == 0, counted.err
        calls = json.loads(counted.out.splitlines()[-1])["seen"]
        every = [[kind, way, at] for at in range(1, calls + 1) for way in (FAIL_ONCE, FAIL_ON)]
        chosen = every if len(every) <= most else rng.sample(every, most)
        while chosen:
            ended = trials.run(call, 60 + 30 * len(chosen), **common, trials=chosen)
            results = [json.loads(line) for line in ended.out.splitlines() if line.startswith('{"trial"')]
            for result in results:
                if not result["struck"]:
                    continue  # another number of calls than when they were counted
                tally.add("failed writes")
                tally.add(
                    "old files beside new ones, as nothing can be renamed any more",
                    result["state"] == "mixed",
                )
                for what, words in judge_failure(result, deed):
                    tally.find(what, words, result)
            chosen = chosen[len(results) :]
            if chosen:
                tally.add("failed writes")
                words = f"{deed.name}, {name}: the process ended by {ended.code}"
                tally.find(
                    "hang" if ended.code == -9 else "raw",
                    words,
                    {"trial": chosen[0], "said": ended.err[-3000:]},
                )
                chosen = chosen[1:]
    shutil.rmtree(place, ignore_errors=True)
    return tally


# Killing.


def be_killed(deed: str, templates: str, place: str, at: int) -> None:
    """Do a deed and die at a call; print how many there are where `at` is 0."""
    known = next(one for one in DEEDS if one.name == deed)
    folder = Path(place) / "case"
    prepare(known, Path(templates), folder)
    before = state(known, folder)
    (Path(place) / "before.json").write_text(json.dumps(before))
    server.arm(folder, DIE if at else server.COUNT, at)
    code = do(known.command, Path(templates), folder)
    seen = server.disarm()
    if not at:
        (Path(place) / "after.json").write_text(json.dumps(state(known, folder)))
    print(json.dumps({"code": code, "seen": seen}))


def take_up(deed: str, templates: str, place: str) -> None:
    """Look at what a killed deed has left, do it again, and look again; print both as JSON."""
    known = next(one for one in DEEDS if one.name == deed)
    folder = Path(place) / "case"
    found = state(known, folder)
    with _printing_to(Path(place) / "said.txt"):
        code = do(known.command, Path(templates), folder)
    said = (Path(place) / "said.txt").read_text(errors="replace")[-600:]
    again = state(known, folder) if code in (0, 1) else {}
    foreign = [repr(error) for error in server.foreign_errors]
    told = {
        "found": found,
        "code": code,
        "said": said,
        "again": again,
        "left": left_over(folder),
        "foreign": foreign,
    }
    print(json.dumps(told))


ALREADY = ("already",)
"""What a deed may say that was done before the kill."""


def run_kills(
    trials: Server, templates: Path, place: Path, deed: Deed, rng: random.Random, most: int
) -> Tally:
    """Kill a deed at each call that changes a file, at `most` of them."""
    tally, names = Tally(), {"deed": deed.name, "templates": str(templates), "place": str(place)}
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    counted = trials.run("tests.reliability.deeds:be_killed", 300, **names, at=0)
    assert counted.code == 0, counted.err
    calls = json.loads(counted.out.splitlines()[-1])["seen"]
    after = json.loads((place / "after.json").read_text())
    tally.add(f"calls of {deed.name}", calls)
    chosen = range(1, calls + 1) if calls <= most else sorted(rng.sample(range(1, calls + 1), most))
    for at in chosen:
        ended = trials.run("tests.reliability.deeds:be_killed", 300, **names, at=at)
        if ended.code == 0:
            continue  # another number of calls than when they were counted
        tally.add("kills at a call")
        before = json.loads((place / "before.json").read_text())
        looked = trials.run("tests.reliability.deeds:take_up", 300, **names)
        if looked.code != 0:
            words = (looked.err.strip().splitlines() or [f"exit {looked.code}"])[-1]
            tally.find(
                "broken",
                f"{deed.name}: what is left cannot be read: {words[:150]}",
                {"at": at, "said": looked.err[-3000:]},
            )
            continue
        told = json.loads(looked.out.splitlines()[-1])
        for what, words in _judge_kill(told, before, after, deed):
            tally.find(what, words, {"at": at, **told, "before": before, "after": after})
        if not deed.by_image and told["found"] not in (before, after):
            tally.add("old files beside new ones until the command is given again")
        if told["left"]:
            tally.add("left over after the same command again")
    shutil.rmtree(place, ignore_errors=True)
    return tally


def _judge_kill(
    told: dict[str, Any], before: dict[str, str], after: dict[str, str], deed: Deed
) -> list[tuple[str, str]]:
    wrong = []
    if not deed.long and not between_images(told["found"], before, after):
        wrong.append(("broken", f"{deed.name}: neither old nor new after a kill"))
    if told["foreign"] or "Traceback" in told["said"]:
        wrong.append(("raw", f"{deed.name}, again after a kill: {str(told['foreign'])[:150]}"))
    done_before = (
        told["found"] == after and told["code"] == 1 and any(word in told["said"] for word in ALREADY)
    )
    if not done_before and told["code"] != 0:
        wrong.append(("broken", f"{deed.name}: cannot be done again after a kill: {told['said'][:150]}"))
    elif not done_before and not _same(told["again"], after, deed):
        wrong.append(("broken", f"{deed.name}: done again after a kill, it comes out differently"))
    return wrong


def between_images(found: dict[str, str], before: dict[str, str], after: dict[str, str]) -> bool:
    """Return whether each image of a project, or file, is wholly old or new: a command does one by one."""
    return all(found.get(key) in (before.get(key), after.get(key)) for key in {**before, **after, **found})


def _same(found: dict[str, str], after: dict[str, str], deed: Deed) -> bool:
    if deed.name in ("a stroke", "review restore"):  # done again, it is one more edit
        return bool(found)
    return found == after
