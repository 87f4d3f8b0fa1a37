"""Nothing that a project has acknowledged is lost when its process is killed, at whatever moment."""

from __future__ import annotations

import multiprocessing
import random
import sys
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
import zarr

from pixelcam.review import Project, journal
from tests.pixelcam.review import painter

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows knows no kill -9")


@pytest.fixture(scope="module")
def processes():
    """One process that has imported everything, of which each painter is a copy: quick to start."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.pixelcam.review.painter"])
    return context


def kill_after_its_first_word(processes, folder: Path, acknowledged: Path, seed: int, seconds: float):
    """Let a reviewer work for so long after its first edit, then ``kill -9``."""
    size = acknowledged.stat().st_size if acknowledged.exists() else 0
    process = processes.Process(target=painter.work_for_ever, args=(str(folder), str(acknowledged), seed))
    process.start()
    deadline = time.monotonic() + 100
    while not acknowledged.exists() or acknowledged.stat().st_size == size:
        assert process.is_alive(), "the painter ended by itself"
        assert time.monotonic() < deadline, "the painter did nothing"
        time.sleep(0.002)
    time.sleep(seconds)
    process.kill()
    process.join(30)
    assert process.exitcode == -9


def replayed(project: Project, image: int) -> np.ndarray:
    """Return what the journal alone says of Ann's seeds."""
    with project._database.reading() as connection:
        return journal.state_at(
            connection, image, project._reviewer_id, 2**62, project.seed_grid(image).shape
        )


def check(folder: Path, acknowledged: Path) -> int:
    """Look whether all that was acknowledged is there; return how many edits of seeds that were."""
    lines = [line.split() for line in acknowledged.read_text().splitlines()]
    edits = {int(words[1]): int(words[2]) for words in lines if words[0] == "seeds"}
    with Project.open(folder, reviewer="Ann") as project:
        image = project.images()[1].id
        seeds = project.seeds(image)
        np.testing.assert_array_equal(seeds, replayed(project, image))
        (path,) = (folder / "images" / str(image)).glob("seeds-*.zarr")
        np.testing.assert_array_equal(zarr.open_array(path, mode="r")[...], seeds)
        present = [save.seq for save in project.history(image)]
        assert set(edits) <= set(present)
        for seq in {*random.Random(0).sample(sorted(edits), min(5, len(edits))), *sorted(edits)[-1:]}:
            assert zlib.crc32(project.seeds_at(image, seq)) == edits[seq]
        check_rest(project, image, lines)
    return len(edits)


def check_rest(project: Project, image: int, lines: list[list[str]]) -> None:
    """Look for the last acknowledged note and map, or what was begun after them."""
    notes = [(int(words[1]), int(words[2])) for words in lines if words[0] == "note"]
    if notes:
        assert tuple(map(int, project.image(image).note.split())) >= notes[-1]
    maps = [float(words[1]) for words in lines if words[0] == "map"]
    if maps:
        found = project.localization(image)
        assert found is not None
        assert (found.foreground == project.image(image).uncertainty).all()


def kill_many_times(processes, folder: Path, acknowledged: Path, times: int) -> int:
    rng = random.Random(times)
    for round_ in range(times):
        seconds = rng.uniform(0, 0.4)
        kill_after_its_first_word(processes, folder, acknowledged, round_, seconds)
        edits = check(folder, acknowledged)
    return edits


def test_twelve_kills_at_random_moments_lose_nothing(processes, folder, tmp_path):
    assert kill_many_times(processes, folder, tmp_path / "acknowledged", 12) >= 12


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_hundred_kills_at_random_moments_lose_nothing(processes, folder, tmp_path):
    assert kill_many_times(processes, folder, tmp_path / "acknowledged", 100) >= 100


@pytest.mark.parametrize(
    ("moment", "kept"),
    [
        ("before the commit", 3),
        ("after the commit", 4),
        ("while drawing", 4),
        ("before the picture is flushed", 4),
    ],
)
def test_a_kill_at_each_moment_of_an_edit_leaves_journal_and_picture_alike(
    processes, folder, tmp_path, moment, kept
):
    acknowledged = tmp_path / "acknowledged"
    process = processes.Process(target=painter.paint_and_die, args=(str(folder), str(acknowledged), moment))
    process.start()
    process.join(120)
    assert process.exitcode == -9
    assert check(folder, acknowledged) == 3
    with Project.open(folder, reviewer="Ann") as project:
        assert len(project.history(project.images()[1].id)) == kept


def test_a_killed_process_gives_its_name_free(processes, folder, tmp_path):
    kill_after_its_first_word(processes, folder, tmp_path / "acknowledged", 0, 0.0)
    with Project.open(folder, reviewer="Ann") as project:
        assert not project.read_only
