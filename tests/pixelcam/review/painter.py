"""A reviewer in a process of its own, who works in a project until the process is killed.

What a method has returned for is written down at once: whoever kills this process knows what must be there.
"""

from __future__ import annotations

import os
import signal
import zlib
from pathlib import Path

import numpy as np

from pixelcam.review import Project, journal
from pixelcam.review.arrays import SeedPicture
from pixelcam.review.seedstore import SeedStore
from tests.pixelcam.review.conftest import localization


def work_for_ever(folder: str, acknowledged: str, seed: int) -> None:
    """Paint, restore, judge and localize at random."""
    _clear_signals()
    rng = np.random.default_rng(seed)
    with Path(acknowledged).open("ab", buffering=0) as sink, Project.open(folder, reviewer="Ann") as project:
        image = project.images()[1].id
        labels = project.seeds(image)
        for count in range(100_000):
            chances = {"stroke": 0.6, "changes": 0.15, "restore": 0.05, "note": 0.12, "map": 0.08}
            action = rng.choice(list(chances), p=list(chances.values())) if count else "stroke"
            if action == "note":
                project.set_note(image, f"{seed} {count}")
                sink.write(f"note {seed} {count}\n".encode())
            elif action == "map":
                value = float(np.float16(rng.random()))
                project.keep_localization(image, _flat_map(value), value)
                sink.write(f"map {value}\n".encode())
            else:
                seq = _edit(project, image, labels, action, rng)
                sink.write(f"seeds {seq} {zlib.crc32(labels)}\n".encode())


def paint_and_die(folder: str, acknowledged: str, moment: str) -> None:
    """Paint three strokes, and be killed at a certain moment of the fourth."""
    _clear_signals()
    with Path(acknowledged).open("ab", buffering=0) as sink, Project.open(folder, reviewer="Ann") as project:
        image = project.images()[1].id
        labels = project.seeds(image)
        for value in (1, 2, 1, 2):
            labels[400:690, 100 * value : 560] = value  # takes all four chunks
            if len(project.history(image)) == 3:
                _die_at(moment)
            save = project.write_changes(image, labels)
            sink.write(f"seeds {save.seq} {zlib.crc32(labels)}\n".encode())


def _clear_signals() -> None:
    """A killed process of the tests leaves no message of its own."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _edit(project: Project, image: int, labels: np.ndarray, action: str, rng: np.random.Generator) -> int:
    """Change `labels` and the project alike."""
    if action == "restore" and (history := project.history(image)):
        seq = history[int(rng.integers(len(history)))].seq
        labels[...] = project.seeds_at(image, seq)
        return project.restore(image, seq).seq
    y0, x0 = int(rng.integers(0, 600)), int(rng.integers(0, 500))
    y1, x1 = y0 + int(rng.integers(1, 100)), x0 + int(rng.integers(1, 100))
    labels[y0:y1, x0:x1] = rng.integers(0, 3)
    if action == "changes":
        labels[rng.integers(0, 700, 5), rng.integers(0, 600, 5)] = rng.integers(0, 3, 5)
        save = project.write_changes(image, labels)
        return project.history(image)[-1].seq if save is None else save.seq
    return project.write_seeds(image, (y0, x0, y1, x1), labels[y0:y1, x0:x1].copy()).seq


def _flat_map(value: float):
    from dataclasses import replace

    found = localization("b", 700, 600)
    return replace(found, foreground=np.full_like(found.foreground, value))


def _die(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _die_at(moment: str) -> None:
    """Put the process's death in the way of the next edit."""
    if moment == "before the commit":
        real = journal.append
        journal.append = lambda *arguments: (real(*arguments), _die())
    elif moment == "after the commit":
        SeedStore.catch_up = _die
    elif moment == "while drawing":
        real_write, calls = SeedPicture.write, iter([False, True])
        SeedPicture.write = lambda *arguments: _die() if next(calls) else real_write(*arguments)
    else:
        SeedPicture.flush = _die
