"""Power cuts: a file system of its own, whose disk is copied as it is at a random moment, and read again.

What a process has written but not flushed lies in the system's memory, and is not in that copy: the same as
when the machine loses power. Needs root and loop devices.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.reliability import deeds, saves
from tests.reliability.deeds import Deed
from tests.reliability.server import Child, Server
from tests.reliability.tally import Tally

SIZE = 96 * 2**20


def _run(*command: str | Path) -> None:
    subprocess.run([str(part) for part in command], check=True, capture_output=True)


def possible(place: Path) -> bool:
    """Return whether a file system can be made and mounted here."""
    try:
        place.mkdir(parents=True, exist_ok=True)
        with disk(place / "try.img", place / "try"):
            return True
    except (OSError, subprocess.CalledProcessError):
        return False
    finally:
        (place / "try.img").unlink(missing_ok=True)


@contextmanager
def disk(image: Path, mount: Path) -> Iterator[Path]:
    """Mount the file system in a file, made where the file is not there, for the length of the block."""
    if not image.exists():
        with image.open("wb") as file:
            file.truncate(SIZE)
        _run("mkfs.ext4", "-q", "-F", image)
    mount.mkdir(exist_ok=True)
    _run("mount", "-o", "loop", image, mount)
    try:
        yield mount
    finally:
        for _ in range(50):
            done = subprocess.run(["umount", str(mount)], capture_output=True)
            if done.returncode == 0:
                break
            time.sleep(0.1)
        else:
            _run("umount", "-l", mount)


def cut(child: Child | None, image: Path, copy: Path) -> None:
    """Copy the disk as it is while the process that writes to it stands still."""
    if child is not None:
        os.kill(child.process, signal.SIGSTOP)
    try:
        # Sparse, and without a word to the system that what is in memory should be written.
        _run("cp", "--sparse=always", image, copy)
    finally:
        if child is not None:
            os.kill(child.process, signal.SIGCONT)


def run_saves(trials: Server, place: Path, cuts: int, seed: int) -> Tally:
    """Cut the power of a reviewer at work so many times."""
    tally, rng = Tally(), random.Random(seed)
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    image, copy, told, kept = (place / name for name in ("disk.img", "copy.img", "said.txt", "kept.txt"))
    with disk(image, place / "disk") as mounted:
        folder = mounted / "work"
        ended = trials.run("tests.reliability.saves:make_project", folder=str(folder))
        assert ended.code == 0, ended.err
        os.sync()
        child = trials.start(
            "tests.reliability.saves:work", folder=str(folder), acknowledged=str(told), seed=seed
        )
        before = 0
        for _ in range(cuts):
            end = time.monotonic() + rng.uniform(0.05, 0.6)
            while time.monotonic() < end or not told.exists():
                time.sleep(0.01)
            os.kill(child.process, signal.SIGSTOP)
            kept.write_bytes(told.read_bytes())
            cut(None, image, copy)
            os.kill(child.process, signal.SIGCONT)
            tally.add("power cuts")
            number = kept.read_bytes().count(b"\n")
            tally.add("acknowledged", number - before)
            before = number
            with disk(copy, place / "after") as after:
                saves.note_lost(trials, tally, after / "work", kept)
            copy.unlink()
        child.kill()
        ended = child.wait(60)
        if ended.code != -9:
            tally.find("raw", f"the reviewer ended by {ended.code}", ended.err[-3000:])
    shutil.rmtree(place, ignore_errors=True)
    return tally


def run_deed(trials: Server, templates: Path, place: Path, deed: Deed, cuts: int, seed: int) -> Tally:
    """Cut the power while a command works, and as soon as it has ended well."""
    tally, rng, seconds = Tally(), random.Random(seed), 0.5
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    image, copy = place / "disk.img", place / "copy.img"
    names = {"deed": deed.name, "templates": str(templates)}
    after: dict[str, str] = {}
    for number in range(cuts + 1):
        with disk(image, place / "disk") as mounted:
            ended = trials.run("tests.reliability.power:make_ready", 300, **names, place=str(mounted))
            assert ended.code == 0, ended.err
            before = json.loads(ended.out.splitlines()[-1])
            os.sync()
            child = trials.start("tests.reliability.power:work", **names, place=str(mounted))
            to_end = number % 3 == 0
            begun = time.monotonic()
            if to_end:
                ended = child.wait(300)
                assert ended.code == 0, ended.err
                cut(None, image, copy)
                seconds = time.monotonic() - begun
                if not after:
                    after = json.loads(
                        trials.run("tests.reliability.power:look", 300, **names, place=str(mounted)).out
                    )
            else:
                time.sleep(rng.uniform(0, seconds))
                ended_early = child.ended
                cut(None if ended_early else child, image, copy)
                child.kill()
                child.wait(60)
        tally.add("power cuts")
        with disk(copy, place / "after") as left:
            looked = trials.run("tests.reliability.power:look", 300, **names, place=str(left))
            if looked.code != 0:
                words = (looked.err.strip().splitlines() or [""])[-1]
                tally.find(
                    "broken", f"{deed.name}: what is left cannot be read: {words[:150]}", looked.err[-3000:]
                )
            else:
                found = json.loads(looked.out.splitlines()[-1])
                if to_end and found != after and not deed.long:
                    tally.find(
                        "lost", f"{deed.name}: ended well, then the power failed", [found, before, after]
                    )
                elif not deeds.between_images(found, before, after):
                    tally.find("broken", f"{deed.name}: neither old nor new", [found, before, after])
        copy.unlink()
    shutil.rmtree(place, ignore_errors=True)
    return tally


# Inside children.


def _known(deed: str) -> Deed:
    return next(one for one in deeds.DEEDS if one.name == deed)


def make_ready(deed: str, templates: str, place: str) -> None:
    """Make a folder as it is before the deed, and print its state."""
    folder = Path(place) / "case"
    deeds.prepare(_known(deed), Path(templates), folder)
    print(json.dumps(deeds.state(_known(deed), folder)))


def work(deed: str, templates: str, place: str) -> int:
    """Do the deed."""
    return deeds.do(_known(deed).command, Path(templates), Path(place) / "case")


def look(deed: str, templates: str, place: str) -> None:
    """Print the state."""
    print(json.dumps(deeds.state(_known(deed), Path(place) / "case")))
