"""All trials as pieces of work, each small enough to be done anew when it is interrupted."""

from __future__ import annotations

import json
import os
import random
import resource
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.reliability import day, decay, deeds, hostile, mutants, power, saves
from tests.reliability.server import Server
from tests.reliability.tally import Tally

PARTS = ("saves", "writes", "kills", "power", "rot", "mutants", "hostile", "together", "day")


@dataclass(frozen=True)
class Budget:
    """How much is tried.

    Attributes
    ----------
    lives
        Reviewers that are killed.
    failures, kills
        At most so many failed writes of each kind, and kills, of each deed.
    deeds
        The names of the deeds, all of them where empty.
    cuts, cuts_of_a_deed
        Power cuts of a reviewer, and of each command.
    rot
        Places of a project's files.
    trials
        Trials of mutants; a trial holds between one and fifteen.
    hostile
        Hostile files, of those that `hostile` makes.
    together
        Seconds that two reviewers write and one reads.
    images
        Of the day; in the core and in the window.
    """

    lives: int
    failures: int
    kills: int
    deeds: tuple[str, ...]
    cuts: int
    cuts_of_a_deed: int
    rot: int
    trials: int
    hostile: int
    together: float
    images: tuple[int, int]


SHORT = Budget(
    lives=4, failures=6, kills=4, deeds=("localize --out", "a stroke", "models add"), cuts=2,
    cuts_of_a_deed=1,
    rot=24, trials=60, hostile=0, together=4, images=(15, 0),
)  # fmt: skip
LONG = Budget(
    lives=430, failures=100, kills=40, deeds=(), cuts=100, cuts_of_a_deed=3,
    rot=630, trials=5000, hostile=len(hostile.HOSTILE), together=600, images=(500, 500),
)  # fmt: skip


class Place:
    """Where the trials work: in memory where the system has such a folder, for what is flushed is many."""

    def __init__(self, folder: Path) -> None:
        memory = Path("/dev/shm")
        self._quick = Path(
            tempfile.mkdtemp(prefix="pixelcam-trials-", dir=memory if os.access(memory, os.W_OK) else None)
        )
        self.folder = folder
        self._server: Server | None = None

    def quick(self, name: str) -> Path:
        """Return an empty folder."""
        path = self._quick / name
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir(parents=True)
        return path

    @property
    def trials(self) -> Server:
        """The process that forks."""
        if self._server is None:
            self._server = Server(self._quick / "server")
        return self._server

    @property
    def templates(self) -> Path:
        """The files that trials are made of."""
        path = self._quick / "templates"
        if not path.exists():
            ended = self.trials.run("tests.reliability.cases:make_templates", 900, folder=str(path))
            assert ended.code == 0, ended.err
        return path

    def close(self) -> None:
        """End the server and remove all."""
        if self._server is not None:
            self._server.close()
        shutil.rmtree(self._quick, ignore_errors=True)


@dataclass(frozen=True)
class Piece:
    """One piece of work."""

    part: str
    name: str
    run: Callable[[Place], Tally]


def pieces(budget: Budget, parts: Sequence[str]) -> Iterator[Piece]:
    """Yield the pieces of some parts."""
    for part in parts:
        for name, run in _PIECES[part](budget):
            yield Piece(part, f"{part}-{name.replace(' ', '-')}", run)


_Pieces = Iterator[tuple[str, Callable[[Place], Tally]]]


def _saves(budget: Budget) -> _Pieces:
    size = min(budget.lives, 10)
    for begin in range(0, budget.lives, size):

        def run(place: Place, begin: int = begin) -> Tally:
            seeds = list(range(begin, min(begin + size, budget.lives)))
            return saves.run_kills(place.trials, place.quick("saves"), seeds, first=1 + begin // 2)

        yield f"{begin:04d}", run


def _deeds(budget: Budget) -> list[deeds.Deed]:
    return [deed for deed in deeds.DEEDS if not budget.deeds or deed.name in budget.deeds]


def _writes(budget: Budget) -> _Pieces:
    for deed in _deeds(budget):

        def run(place: Place, deed: deeds.Deed = deed) -> Tally:
            if place.trials.shim is None:
                return _not_here("failed writes")
            most = budget.failures // 10 if deed.long else budget.failures
            return deeds.run_failures(
                place.trials, place.templates, place.quick("writes"), deed, random.Random(0), most
            )

        yield deed.name, run


def _kills(budget: Budget) -> _Pieces:
    for deed in _deeds(budget):

        def run(place: Place, deed: deeds.Deed = deed) -> Tally:
            if place.trials.shim is None:
                return _not_here("kills at a call")
            most = budget.kills // 2 if deed.long else budget.kills
            return deeds.run_kills(
                place.trials, place.templates, place.quick("kills"), deed, random.Random(0), most
            )

        yield deed.name, run


def _power(budget: Budget) -> _Pieces:
    size = min(budget.cuts, 10)
    for begin in range(0, budget.cuts, size):

        def run_saves(place: Place, begin: int = begin) -> Tally:
            if not power.possible(place.quick("power")):
                return _not_here("power cuts")
            return power.run_saves(place.trials, place.quick("power"), size, begin)

        yield f"saves-{begin:04d}", run_saves
    for deed in _deeds(budget):

        def run_deed(place: Place, deed: deeds.Deed = deed) -> Tally:
            if not power.possible(place.quick("power")):
                return _not_here("power cuts")
            return power.run_deed(
                place.trials, place.templates, place.quick("power"), deed, budget.cuts_of_a_deed, 0
            )

        yield deed.name, run_deed


def _rot(budget: Budget) -> _Pieces:
    size = min(budget.rot, 63)
    for begin in range(0, budget.rot, size):

        def run(place: Place, begin: int = begin) -> Tally:
            return decay.run(place.trials, place.quick("rot"), size, begin)

        yield f"{begin:04d}", run


def _mutants(budget: Budget) -> _Pieces:
    size = min(budget.trials, 50)
    for begin in range(0, budget.trials, size):

        def run(place: Place, begin: int = begin) -> Tally:
            seeds = list(range(begin, begin + size))
            return mutants.run(place.trials, place.templates, seeds, place.quick("mutants"))

        yield f"{begin:05d}", run


def _together(budget: Budget) -> _Pieces:
    yield "all", lambda place: saves.run_together(place.trials, place.quick("together"), budget.together)


def _day(budget: Budget) -> _Pieces:
    core, window = budget.images
    if core:
        yield (
            "core",
            lambda place: day.run_core(
                place.trials, place.quick("day"), core, str(place.templates / "tiny.safetensors")
            ),
        )
    if window:
        yield (
            "window",
            lambda place: day.run_window(place.quick("day"), window, place.templates / "tiny.safetensors"),
        )


def _hostile(budget: Budget) -> _Pieces:
    names = list(hostile.HOSTILE)
    for begin in range(0, budget.hostile, 10):

        def run(place: Place, begin: int = begin) -> Tally:
            tally = Tally()
            for name in names[begin : min(begin + 10, budget.hostile)]:
                _read_hostile(place, name, tally)
            return tally

        yield f"{begin:03d}", run


def _read_hostile(place: Place, name: str, tally: Tally) -> None:
    """Make and read one hostile file in a process of its own, and note what it took."""
    folder = place.quick("hostile")
    ended = place.trials.run("tests.reliability.pieces:read_hostile", 600, name=name, folder=str(folder))
    shutil.rmtree(folder)
    tally.add("files")
    if ended.code != 0 or not ended.out.strip():
        tally.find("raw", f"{name}: ended by {ended.code}", ended.err[-3000:])
        return
    found = json.loads(ended.out.splitlines()[-1])
    if "raw" in found:
        tally.find("raw", f"{name}: {str(found['raw']).strip().splitlines()[-1][:150]}", found)
    elif not found["said"] and not hostile.HOSTILE[name].accepted:
        tally.find("broken", f"{name}: read without a word", found)
    if found.get("gigabytes", 0) * 1e9 > mutants.MEMORY:
        tally.find("memory", name, found)
    if found["processor"] > mutants.SECONDS:
        tally.find("hang", name, found)


def read_hostile(name: str, folder: str) -> None:
    """Make and read one hostile file, and print what that took as JSON; in a child of the server."""
    place = Path(folder) / "trial"
    place.mkdir()
    made = hostile._forked(lambda: {"path": str(hostile.HOSTILE[name].make(place))})
    if "path" not in made:
        print(json.dumps({"raw": f"not made: {made}", "processor": 0}))
        return
    before = _used()
    found = hostile._forked(lambda: hostile.read(name, Path(str(made["path"]))))
    print(json.dumps({**found, "processor": _used() - before}))


def _used() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _not_here(what: str) -> Tally:
    tally = Tally()
    tally.add(f"{what}: not possible here")
    return tally


_PIECES: dict[str, Callable[[Budget], _Pieces]] = {
    "saves": _saves,
    "writes": _writes,
    "kills": _kills,
    "power": _power,
    "rot": _rot,
    "mutants": _mutants,
    "hostile": _hostile,
    "together": _together,
    "day": _day,
}
