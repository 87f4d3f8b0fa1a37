"""A project that an earlier version of the program left opens, keeps everything, and goes on."""

from __future__ import annotations

import shutil
import sqlite3
import zipfile
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from pixelcam.review import Project, rescue

ZIP = Path(__file__).with_name("project-of-version-3.zip")
"""Made by the program whose tables were of version 3: two images, Ann's and Ben's work, two models."""


@pytest.fixture
def old(tmp_path) -> Path:
    """That project, unpacked with its images at other places than where it was made."""
    with zipfile.ZipFile(ZIP) as file:
        file.extractall(tmp_path)
    return tmp_path / "project"


def check(project, folder):
    first, second = project.images()
    assert (first.name, first.status, first.label, first.note) == (
        "colon-1",
        "done",
        "malignant",
        "fold at the left",
    )
    assert (first.threshold, first.seconds, first.model.name) == (0.625, 75, "tuned")
    assert (first.familiarity, first.foreground, first.background) == (0.25, 140, 200)
    assert (second.status, second.model.name, second.uncertainty) == ("in review", "starter", 0.3)
    map_ = project.localization(first.id).foreground
    assert map_.shape == (60, 80)
    np.testing.assert_allclose(map_[:, 0], np.linspace(0, 1, 60), atol=1e-3)
    assert project.first_map(first.id).model.name == "starter"
    assert [save.kind for save in project.history(first.id)] == ["stroke", "stroke", "undo", "stroke"]
    labels = np.zeros((60, 80), np.uint8)
    labels[8:15, 10:30], labels[30:40, 40:60] = 2, 1
    np.testing.assert_array_equal(project.seeds(first.id, "Ann"), labels)
    assert project.seeds(first.id, "Ben")[5, 31] == 2
    assert project.locate(first.id).resolve() == (folder.parent / "images" / "colon-1.png").resolve()
    assert [run.folder.name for run in project.runs()] == ["first"]


def test_it_opens_for_looking_and_stays_as_it_is(old):
    before = (old / "project.sqlite").read_bytes()
    with Project.open(old, reviewer="Ann", read_only=True) as project:
        check(project, old)
    assert (old / "project.sqlite").read_bytes() == before


def test_it_opens_for_writing_and_goes_on(old):
    with Project.open(old, reviewer="Ann") as project:
        check(project, old)
        project.set_note(2, "new")
        project.write_seeds(2, (0, 0, 4, 4), np.full((4, 4), 2, np.uint8))
    with Project.open(old, reviewer="Ann", read_only=True) as project:
        check(project, old)
        assert (project.image(2).note, project.image(2).foreground) == ("new", 16)


def test_it_is_rescued_with_all_that_it_holds(old):
    with closing(sqlite3.connect(old / "project.sqlite")) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    for end in ("-wal", "-shm"):
        (old / f"project.sqlite{end}").unlink(missing_ok=True)
    with (old / "project.sqlite").open("r+b") as file:
        file.write(bytes(100))
    shutil.rmtree(old / "images" / "1" / "seeds-Ben-030d7562.zarr")
    assert "nothing is known to be lost" in str(rescue(old))
    with Project.open(old, reviewer="Ann") as project:
        check(project, old)
