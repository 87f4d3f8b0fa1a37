"""What a killed process leaves is taken away, and nothing else."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pixelcam.review import Project, merge
from tests.pixelcam.review.conftest import localization

ROOT = Path(__file__).parents[3]

WRITE_AND_WAIT = """
import sys, time
import numpy as np
from pixelcam.review import Project, project
from tests.pixelcam.review.conftest import localization

folder, reviewer, what = sys.argv[1:]
write = project.write_map

def write_and_wait(*given):
    write(*given)
    print("written", flush=True)
    time.sleep(600)

project.write_map = write_and_wait
with Project.open(folder, reviewer=reviewer) as opened:
    found = localization("a", 60, 80)
    opened.keep_localization(1, found, 0.1) if what == "map" else opened.accept(1, found)
"""


@pytest.fixture
def writers():
    """Return a function that starts a process which stays just before it names a map; all end."""
    started = []

    def write(folder, reviewer, what="map"):
        arguments = [sys.executable, "-c", WRITE_AND_WAIT, str(folder), reviewer, what]
        started.append(subprocess.Popen(arguments, cwd=ROOT, stdout=subprocess.PIPE, text=True))
        assert started[-1].stdout.readline() == "written\n"
        return started[-1]

    yield write
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()


def maps(folder):
    return sorted(path.name for path in (folder / "images" / "1").glob("*-*.zarr"))


@pytest.mark.parametrize("what", ["map", "accepted"])
@pytest.mark.parametrize("next_one", ["Ann", "Ben"])
def test_a_map_that_a_killed_process_never_named_is_removed_by_whoever_comes_next(
    folder, writers, what, next_one
):
    with Project.open(folder, reviewer="Ann") as project:
        project.keep_localization(1, localization("a", 60, 80), 0.1)
        project.accept(1, localization("a", 60, 80))
    kept = maps(folder)
    process = writers(folder, "Ann", what)
    assert len(maps(folder)) == 3
    process.kill()
    process.wait()
    with Project.open(folder, reviewer=next_one) as project:
        assert maps(folder) == kept
        assert project.localization(1) is not None
        assert project.accepted_map(1, "Ann") is not None
    assert not list((folder / "locks").glob("*.json"))


def test_a_map_that_a_living_process_is_about_to_name_stays(folder, writers):
    writers(folder, "Ann")
    dead = writers(folder, "Ben")
    dead.kill()
    dead.wait()
    older = folder / "images" / "1" / "map-01234567.zarr"
    older.mkdir()  # by a program of before, which may be the living one's
    (alive,) = (name for name in maps(folder) if name.startswith("map-Ann"))
    with Project.open(folder, reviewer="Carl"):
        assert maps(folder) == sorted([alive, older.name])
    with Project.open(folder, reviewer="Ben"):
        assert alive in maps(folder)


def test_without_a_kill_nothing_is_looked_for(folder):
    stray = folder / "images" / "1" / "map-01234567.zarr"
    stray.mkdir()
    with Project.open(folder, reviewer="Ann"):
        assert stray.is_dir()


def test_a_merge_that_is_killed_leaves_no_images_that_never_came_to_be(folder, tmp_path):
    code = (
        "import os, sys\n"
        "from pixelcam.review import copying, merge\n"
        "copying.Copying._copy_events = lambda *ignored: os._exit(9)\n"
        "merge(sys.argv[1], sys.argv[2:], reviewer='Ann')\n"
    )
    with Project.open(folder, reviewer="Ann") as project:
        project.keep_localization(1, localization("a", 60, 80), 0.1)
    target = tmp_path / "merged"
    ended = subprocess.run([sys.executable, "-c", code, str(target), str(folder)], cwd=ROOT, check=False)
    assert ended.returncode == 9
    assert maps(target)
    painted = target / "images" / "7" / "seeds-Ann-17239b6e.zarr"
    painted.mkdir(parents=True)  # of an image that a damaged database has lost, say
    with Project.open(target, reviewer="Ben") as project:
        assert project.images() == []
        assert [path.name for path in (target / "images").iterdir()] == ["7"]
    merge(target, [folder], reviewer="Ann")
    with Project.open(target, reviewer="Ann") as project:
        np.testing.assert_array_equal(
            project.localization(1).foreground >= 0.5, localization("a", 60, 80).foreground >= 0.5
        )
