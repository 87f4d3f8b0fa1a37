"""Rot: bytes of a project's files that change or end by themselves, in the database, the journal, the arrays.

What a project shows afterwards is what was kept, or it says that it is damaged; a rescue gives back what is
whole; nothing is shown that nobody has painted.
"""

from __future__ import annotations

import json
import random
import shutil
import sqlite3
import time
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from tests.reliability.server import Server
from tests.reliability.tally import Tally, fingerprint

EDITS = 12
PAGE = 4096
_WIDTH = 8


def make(folder: str) -> None:
    """Make a project of two images with a dozen edits and a map each, and write down what it shows."""
    from pixelcam.review import Project
    from tests.reliability import saves

    saves.make_project(folder)
    root, rng = Path(folder), random.Random(1)
    with Project.open(root / "project", reviewer="Ann") as project:
        for entry in project.images():
            labels = project.seeds(entry.id)
            for number in range(EDITS):
                y, x = rng.randrange(30), rng.randrange(60)
                labels[y : y + 12, x : x + 14] = number % 3
                project.write_changes(entry.id, labels)
            project.set_note(entry.id, "seen")
            project.keep_localization(entry.id, _map(entry), 0.25)
    shutil.rmtree(root / "project" / "locks", ignore_errors=True)
    (root / "shown.json").write_text(json.dumps(shown(root / "project")))


def _map(entry: Any) -> Any:
    from pixelcam.localize import Localization, ModelRef

    values = np.linspace(0, 1, entry.height * entry.width, dtype=np.float32).reshape(
        entry.height, entry.width
    )
    classes = {"benign": 0.25, "malignant": 0.75}
    return Localization(
        entry.name, entry.width, entry.height, None, classes, values, 0.5, ModelRef("tiny", "ab" * 32)
    )


def shown(folder: Path) -> dict[str, Any]:
    """Return what a project shows, image by image."""
    from pixelcam.review import Project

    found = {}
    with Project.open(folder, reviewer="Ann") as project:
        for entry in project.images():
            states = [zlib.crc32(project.seeds_at(entry.id, save.seq)) for save in project.history(entry.id)]
            map_ = project.localization(entry.id)
            found[entry.name] = {
                "seeds": zlib.crc32(project.seeds(entry.id)),
                "states": states,
                "map": None if map_ is None else zlib.crc32(map_.foreground),
                "note": entry.note,
            }
    return found


def places(folder: Path, rng: random.Random, count: int) -> list[tuple[str, int]]:
    """Return where rot may set in: the database's first page all through, and samples of all other files."""
    database = folder / "project" / "project.sqlite"
    step = max(1, PAGE // max(1, count // 3))
    found = [("project/project.sqlite", at) for at in range(0, PAGE, step)]
    found += [
        ("project/project.sqlite", rng.randrange(PAGE, database.stat().st_size)) for _ in range(count // 3)
    ]
    found += [("journal", rng.randrange(10**9)) for _ in range(count // 6)]
    files = [path for path in (folder / "project" / "images").rglob("*") if path.is_file()]
    for _ in range(count // 6):
        path = rng.choice(files)
        found.append((path.relative_to(folder).as_posix(), rng.randrange(max(1, path.stat().st_size))))
    return found


def rot(folder: Path, name: str, at: int, rng: random.Random) -> None:
    """Change some bytes at a place, or let the file end there."""
    if name == "journal":
        _rot_journal(folder / "project" / "project.sqlite", rng)
        return
    path = folder / name
    data = path.read_bytes()
    if rng.random() < 0.15:
        path.write_bytes(data[:at])
        return
    new = rng.randbytes(_WIDTH)
    path.write_bytes(data[:at] + new[: len(data) - at] + data[at + _WIDTH :])


def _rot_journal(database: Path, rng: random.Random) -> None:
    """Change a few bytes of one kept patch."""
    connection = sqlite3.connect(database)
    tables = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    blobs = []
    for table in tables:
        for column in (row[1] for row in connection.execute(f'PRAGMA table_info("{table}")')):
            query = f'SELECT rowid, "{column}" FROM "{table}" WHERE typeof("{column}") = \'blob\''
            blobs += [(table, column, *row) for row in connection.execute(query)]
    table, column, row, data = rng.choice(blobs)
    at = rng.randrange(len(data))
    new = data[:at] + rng.randbytes(rng.choice([1, 4])) + data[at + 4 :] if rng.random() < 0.8 else data[:at]
    connection.execute(f'UPDATE "{table}" SET "{column}" = ? WHERE rowid = ?', (new, row))
    connection.commit()
    connection.close()


def try_places(folder: str, place: str, some: list[list[Any]]) -> None:
    """Let each place rot in a copy, open that, rescue it where it says so, and print how it ended."""
    from pixelcam.errors import PixelCAMError
    from pixelcam.review.rescuing import rescue

    whole = json.loads((Path(folder) / "shown.json").read_text())
    for number, (name, at) in enumerate(some):
        copy = Path(place) / "copy"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(folder, copy)
        rng = random.Random(f"{name} {at}")
        rot(copy, name, at, rng)
        result: dict[str, Any] = {"place": [name, at], "number": number}
        began = time.process_time()
        try:
            for attempt in range(3):
                try:
                    found = shown(copy / "project")
                except PixelCAMError as error:
                    result["said"] = str(error)[:300]
                    if attempt == 1:
                        rescue(copy / "project")
                    if attempt == 2:
                        result["end"] = "refused"
                else:
                    result["end"], result["wrong"] = _compare(whole, found, told="said" in result)
                    break
        except PixelCAMError as error:
            result["end"], result["said"] = "refused", str(error)[:300]
        except Exception as error:
            result["end"], result["raw"] = "raw", fingerprint(error)
            import traceback

            result["traceback"] = traceback.format_exc()[-4000:]
        result["seconds"] = round(time.process_time() - began, 2)
        print(json.dumps(result), flush=True)
    shutil.rmtree(place, ignore_errors=True)


def _compare(whole: dict[str, Any], found: dict[str, Any], told: bool) -> tuple[str, list[str]]:
    """Tell "whole" from "in part", and what is shown that never was.

    Where damage was told, the history lacks edits that cannot be read, and later states lack what these drew.
    """
    wrong, missing = [], False
    for name, was in whole.items():
        now = found.get(name)
        if now is None:
            missing = True
            continue
        if now["seeds"] not in (*was["states"], _nothing(name, was)):
            wrong.append(f"seeds of {name}")
        if not told and any(state not in (*was["states"], _nothing(name, was)) for state in now["states"]):
            wrong.append(f"the history of {name}")
        if now["map"] not in (None, was["map"]):
            wrong.append(f"the map of {name}")
        missing |= now != was
    return ("in part" if missing else "whole"), wrong


def _nothing(name: str, was: dict[str, Any]) -> int:
    shape = (704, 600) if name.endswith("1") else (48, 80)
    return zlib.crc32(np.zeros(shape, np.uint8))


def run(trials: Server, place: Path, count: int, seed: int) -> Tally:
    """Let so many places of one project rot, one at a time."""
    tally, rng = Tally(), random.Random(seed)
    shutil.rmtree(place, ignore_errors=True)
    ended = trials.run("tests.reliability.decay:make", folder=str(place / "whole"))
    assert ended.code == 0, ended.err
    left = [list(one) for one in places(place / "whole", rng, count)]
    while left:
        arguments = {"folder": str(place / "whole"), "place": str(place / "trial"), "some": left}
        ended = trials.run("tests.reliability.decay:try_places", 60 + 10 * len(left), **arguments)
        results = [json.loads(line) for line in ended.out.splitlines() if line.startswith('{"place"')]
        for result in results:
            name = result["place"][0]
            where = "the first page" if name.endswith("sqlite") and result["place"][1] < PAGE else name
            where = "an array or picture" if "/images/" in where else where
            tally.add("places")
            tally.add(f"ended {result['end']}")
            if "raw" in result:
                tally.find("raw", result["raw"], result)
            for what in result.get("wrong", []):
                tally.find("broken", f"rot in {where}: shows wrong {what.split(' of ')[0]}", result)
            if result["seconds"] > 10:
                tally.find("hang", f"rot in {where}", result)
        if len(results) < len(left):
            tally.add("places")
            tally.find("raw", f"died by {ended.code}: rot in {left[len(results)][0]}", ended.err[-2000:])
        left = left[len(results) + 1 :]
    shutil.rmtree(place, ignore_errors=True)
    return tally
