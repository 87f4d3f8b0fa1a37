"""Projects on read-only, full, vanishing and foreign places: one sentence each, and nothing lost."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from pixelcam.errors import ChangedImageError, MissingImageError, OutputError, ProjectError
from pixelcam.export import read_seeds
from pixelcam.review import Project, export_project, schema
from tests.pixelcam.review.conftest import localization, paint, write_image

ROOT = Path(__file__).parents[3]
RNG = 8


def one_sentence(caught, *words: str) -> None:
    text = str(caught.value)
    assert text.endswith(".")
    assert "\n" not in text
    for word in words:
        assert word in text, text


@pytest.fixture
def painted(folder):
    """The project with some strokes of Ann's, and what they are."""
    with Project.open(folder, reviewer="Ann") as project:
        image = project.images()[1].id
        rng = np.random.default_rng(RNG)
        for _ in range(5):
            paint(project, image, rng)
        return folder, image, project.seeds(image)


def test_an_image_is_found_beside_the_project_where_the_older_place_holds_another_by_now(tmp_path):
    picture = write_image(tmp_path / "old" / "a.png", 40, 50)
    with Project.create(tmp_path / "old" / "project", reviewer="Ann") as project:
        project.add_images([picture])
    shutil.copytree(tmp_path / "old", tmp_path / "new")
    write_image(picture, 40, 50, seed=1)
    with Project.open(tmp_path / "new" / "project", reviewer="Ann") as copy:
        assert copy.locate(1) == tmp_path / "new" / "project" / ".." / "a.png"
    with (
        Project.open(tmp_path / "old" / "project", reviewer="Ann") as project,
        pytest.raises(ChangedImageError, match=r"a\.png is not the image"),
    ):
        project.locate(1)


@pytest.mark.skipif(not hasattr(os, "seteuid"), reason="this system has no such permissions")
def test_an_image_whose_older_place_may_not_be_looked_at_is_found_beside_the_project(unprivileged_folder):
    home = unprivileged_folder / "home"
    picture = write_image(home / "a.png", 40, 50)
    with Project.create(home / "project", reviewer="Ann") as project:
        (entry,) = project.add_images([picture])
        project.write_seeds(entry.id, (0, 0, 2, 2), np.ones((2, 2), np.uint8))
        export_project(project, home / "seeds")
    shutil.copytree(home, unprivileged_folder / "shared")
    for path in [unprivileged_folder, *unprivileged_folder.rglob("*")]:
        path.chmod(0o777)
    home.chmod(0o700)
    unprivileged_folder.become_nobody()
    shared = unprivileged_folder / "shared"
    with Project.open(shared / "project", reviewer="Bob", read_only=True) as project:
        assert project.missing() == []
        assert project.locate(1).samefile(shared / "a.png")
    assert read_seeds(shared / "seeds")[0].image_path.samefile(shared / "a.png")


@pytest.mark.skipif(not hasattr(os, "seteuid"), reason="this system has no such permissions")
@pytest.mark.parametrize("unclean", [False, True])
def test_a_read_only_folder_opens_for_looking(painted, unprivileged_folder, unclean):
    folder, image, seeds = painted
    place = unprivileged_folder / "project"
    if unclean:  # as a killed process or a copy made while it ran leaves it
        with Project.open(folder, reviewer="Ann") as project:
            project.set_note(image, "only in the log")
            shutil.copytree(folder, place)
        assert (place / "project.sqlite-wal").stat().st_size
    else:
        shutil.copytree(folder, place)
    for path in [place, *place.rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    unprivileged_folder.become_nobody()
    with Project.open(place, reviewer="Ann") as project:
        assert project.read_only
        np.testing.assert_array_equal(project.seeds(image), seeds)
        assert project.image(image).note == ("only in the log" if unclean else "")
        for write in (
            lambda: project.write_changes(image, np.zeros_like(seeds)),
            lambda: project.set_status(image, "done"),
            lambda: project.keep_localization(image, localization("b", 700, 600), 0.1),
        ):
            with pytest.raises(OutputError) as caught:
                write()
            one_sentence(caught, str(place), "read-only")
    os.seteuid(0)
    for path in [place, *place.rglob("*")]:
        path.chmod(0o755)


@pytest.mark.skipif(not hasattr(os, "seteuid"), reason="this system has no such permissions")
def test_a_project_is_not_made_where_nothing_can_be_written(unprivileged_folder):
    unprivileged_folder.chmod(0o555)
    unprivileged_folder.become_nobody()
    with pytest.raises(OutputError) as caught:
        Project.create(unprivileged_folder / "new", reviewer="Ann")
    one_sentence(caught, "not permitted")


def test_a_full_disk_is_told_loses_nothing_and_is_over_once_there_is_space(painted):
    folder, image, seeds = painted
    noise = np.random.default_rng(1).integers(0, 3, seeds.shape).astype(np.uint8)
    with Project.open(folder, reviewer="Ann") as project:
        with project._database.reading() as connection:
            (pages,) = connection.execute("PRAGMA page_count").fetchone()
            connection.execute(f"PRAGMA max_page_count = {pages + 5}")
        history = project.history(image)
        with pytest.raises(OutputError) as caught:
            project.write_changes(image, noise)
        one_sentence(caught, "the disk is full; free some space")
        np.testing.assert_array_equal(project.seeds(image), seeds)
        assert project.history(image) == history
        with project._database.reading() as connection:
            connection.execute("PRAGMA max_page_count = 1000000")
        project.write_changes(image, noise)
    with Project.open(folder, reviewer="Ann") as project:
        np.testing.assert_array_equal(project.seeds(image), noise)


FILL_UP = """
import resource, sys
import numpy as np
from pixelcam.errors import OutputError
from pixelcam.review import Project

with Project.open(sys.argv[1], reviewer="Ann") as project:
    image = project.images()[1].id
    noise = np.random.default_rng(1).integers(0, 3, (700, 600)).astype(np.uint8)
    project.set_note(image, "before")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, hard))
    for write in (lambda: project.write_changes(image, noise), lambda: project.write_changes(image, noise)):
        try:
            write()
        except OutputError as error:
            print(error)
    print(project.image(image).note)
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    print(project.write_changes(image, noise).foreground == int((noise == 2).sum()))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit on a file's size to fill up")
def test_a_write_that_the_system_really_stops_is_told_and_can_be_repeated(painted):
    folder, image, _ = painted
    done = subprocess.run(
        [sys.executable, "-c", FILL_UP, str(folder)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    first, second, note, equal = done.stdout.splitlines()
    assert first == second
    assert "free some space" in first
    assert (note, equal) == ("before", "True")
    with Project.open(folder, reviewer="Ann") as project:
        noise = np.random.default_rng(1).integers(0, 3, (700, 600)).astype(np.uint8)
        np.testing.assert_array_equal(project.seeds(image), noise)


def test_on_a_share_the_database_does_without_a_log_that_shares_cannot_have(painted, monkeypatch):
    folder, image, seeds = painted
    disks = [("/", "ext4"), (str(folder.parent.resolve()), "nfs4")]
    found = [SimpleNamespace(mountpoint=place, fstype=kind, opts="rw") for place, kind in disks]
    monkeypatch.setattr("psutil.disk_partitions", lambda all: found)
    with Project.open(folder, reviewer="Ann") as ann, Project.open(folder, reviewer="Bob") as bob:
        with ann._database.reading() as connection:
            assert connection.execute("PRAGMA journal_mode").fetchone()[0] == "delete"
        bob.write_changes(image, seeds)
        ann.write_changes(image, np.zeros_like(seeds))
        np.testing.assert_array_equal(ann.seeds(image, "Bob"), seeds)
    monkeypatch.undo()
    with Project.open(folder, reviewer="Ann") as ann, ann._database.reading() as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone()[0] == "wal"


def test_a_share_that_vanishes_and_comes_back_goes_on(painted):
    folder, image, seeds = painted
    away = folder.with_name("away")
    with Project.open(folder, reviewer="Ann") as project:
        folder.rename(away)
        for call in (
            lambda: project.write_changes(image, np.zeros_like(seeds)),
            lambda: project.keep_localization(image, localization("b", 700, 600), 0.1),
            lambda: project.set_status(image, "done"),
            lambda: project.images(),
        ):
            with pytest.raises(ProjectError) as caught:
                call()
            one_sentence(caught, "cannot be reached; connect its drive or put the folder back")
        assert not folder.exists()
        away.rename(folder)
        np.testing.assert_array_equal(project.seeds(image), seeds)
        project.write_seeds(image, (0, 0, 1, 1), np.array([[2]], np.uint8))
        expected = project.seeds(image)
    with Project.open(folder, reviewer="Ann") as project:
        np.testing.assert_array_equal(project.seeds(image), expected)


def test_a_project_that_comes_back_as_a_copy_goes_on_and_another_one_does_not(painted, tmp_path, pictures):
    folder, image, seeds = painted
    with Project.open(folder, reviewer="Ann") as project:
        folder.rename(tmp_path / "first")
        shutil.copytree(tmp_path / "first", folder)
        np.testing.assert_array_equal(project.seeds(image), seeds)
        project.write_seeds(image, (0, 0, 1, 1), np.array([[2]], np.uint8))
        folder.rename(tmp_path / "second")
        Project.create(folder, reviewer="Bob").close()
        with pytest.raises(ProjectError) as caught:
            project.images()
        one_sentence(caught, "Another project lies at")
        shutil.rmtree(folder)
        (tmp_path / "second").rename(folder)
        assert project.seeds(image)[0, 0] == 2


def test_an_older_copy_that_takes_the_place_is_shown_as_it_is_and_painted_on(painted, tmp_path):
    folder, image, seeds = painted
    everything = np.full_like(seeds, 2)
    with Project.open(folder, reviewer="Ann") as project:
        shutil.copytree(folder, tmp_path / "older")
        project.write_changes(image, everything)
        folder.rename(tmp_path / "newer")
        (tmp_path / "older").rename(folder)
        np.testing.assert_array_equal(project.seeds(image), seeds)
        project.write_changes(image, everything)
    with Project.open(folder, reviewer="Ann") as project:
        np.testing.assert_array_equal(project.seeds(image), everything)


def test_a_closed_share_does_not_keep_the_program_from_ending(painted):
    folder, *_ = painted
    project = Project.open(folder, reviewer="Ann")
    folder.rename(folder.with_name("away"))
    project.close()


def test_a_project_of_a_newer_version_is_left_alone(painted):
    folder, *_ = painted
    with closing(sqlite3.connect(folder / "project.sqlite")) as connection:
        connection.execute(f"PRAGMA user_version = {len(schema.MIGRATIONS) + 1}")
    before = (folder / "project.sqlite").read_bytes()
    for read_only in (False, True):
        with pytest.raises(ProjectError) as caught:
            Project.open(folder, reviewer="Ann", read_only=read_only)
        one_sentence(caught, "newer version", "update this one")
    assert (folder / "project.sqlite").read_bytes() == before


def test_another_programs_database_is_told(tmp_path):
    with closing(sqlite3.connect(tmp_path / "project.sqlite")) as connection:
        connection.execute("CREATE TABLE birds (name TEXT)")
    with pytest.raises(ProjectError) as caught:
        Project.open(tmp_path, reviewer="Ann")
    one_sentence(caught, "another program's database")


def test_an_older_project_is_brought_up_to_date_and_keeps_everything(painted, monkeypatch):
    folder, image, seeds = painted
    step = "ALTER TABLE images ADD COLUMN stain TEXT NOT NULL DEFAULT 'H&E'"
    monkeypatch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, step))
    with Project.open(folder, reviewer="Ann") as project:
        np.testing.assert_array_equal(project.seeds(image), seeds)
        with project._database.reading() as connection:
            assert connection.execute("SELECT stain FROM images").fetchone()[0] == "H&E"
            assert connection.execute("PRAGMA user_version").fetchone()[0] == len(schema.MIGRATIONS)


ADDED = ("familiarity", "views")
"""The columns of localizations that version 2 of the tables brought, version 3, and so on."""


def older(folder, pictures, version):
    """Make a project with tables of an older version, with a map of its first image."""
    with Project.create(folder, reviewer="Ann") as project:
        first, *_ = project.add_images(pictures)
        project.keep_localization(first.id, localization("a", 60, 80), 0.1)
    later = "".join(f"ALTER TABLE localizations DROP COLUMN {each}; " for each in ADDED[version - 1 :])
    later += "DROP TABLE accepted;"
    with closing(sqlite3.connect(folder / "project.sqlite")) as connection:
        connection.executescript(f"{later} PRAGMA user_version = {version}; PRAGMA wal_checkpoint(TRUNCATE);")
    return folder


@pytest.mark.parametrize("version", [1, 2, 3])
def test_a_project_of_older_tables_opens_read_only_and_stays_as_it_is(tmp_path, pictures, version):
    folder = older(tmp_path / "old", pictures, version)
    before = (folder / "project.sqlite").read_bytes()
    with Project.open(folder, reviewer="Bob", read_only=True) as project:
        first = project.images()[0]
        assert (first.predicted, first.familiarity, first.unfamiliar) == ("malignant", None, False)
        assert project.localization(first.id).familiarity is None
        assert project.localization(first.id).model.views == first.model.views == 1
    assert (folder / "project.sqlite").read_bytes() == before


@pytest.mark.parametrize("version", [1, 2])
def test_a_project_of_older_tables_keeps_all_that_is_known_from_now_on(tmp_path, pictures, version):
    folder = older(tmp_path / "old", pictures, version)
    with Project.open(folder, reviewer="Ann") as project:
        first, second = project.images()
        assert (first.predicted, first.familiarity, first.model.views) == ("malignant", None, 1)
        made = localization("b", 700, 600)
        found = replace(made, familiarity=0.25, model=replace(made.model, views=4))
        project.keep_localization(second.id, found, 0.1)
        kept = project.localization(second.id)
        assert (kept.familiarity, kept.model.views) == (0.25, 4)
    with Project.open(folder, reviewer="Bob", read_only=True) as project:
        first, second = project.images()
        assert (first.unfamiliar, first.model.views) == (False, 1)
        assert (second.unfamiliar, second.model.views) == (True, 4)


def test_an_update_that_fails_leaves_the_older_project_whole(painted, monkeypatch):
    folder, image, seeds = painted
    with monkeypatch.context() as patch:
        patch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, "DELETE FROM events; SELECT nonsense"))
        with pytest.raises(ProjectError, match="could not be used"):
            Project.open(folder, reviewer="Ann")
    with Project.open(folder, reviewer="Ann") as project:
        np.testing.assert_array_equal(project.seeds(image), seeds)
        assert len(project.events()) > 2


def test_a_missing_image_is_told_and_found_again_where_it_went(project, pictures, tmp_path):
    image = project.images()[0].id
    assert project.locate(image) == pictures[0]
    place = tmp_path / "archive" / "deep"
    place.mkdir(parents=True)
    pictures[0].rename(place / "renamed.png")
    write_image(place / "decoy.png", 60, 80, seed=77)
    with pytest.raises(MissingImageError) as caught:
        project.locate(image)
    one_sentence(caught, "a.png is missing", "relink")
    with pytest.raises(MissingImageError) as caught:
        project.relink(image, pictures[0].parent)
    one_sentence(caught, "choose another folder")
    entry = project.relink(image, tmp_path / "archive")
    assert (entry.path, entry.name) == (place / "renamed.png", "renamed")
    assert project.locate(image) == place / "renamed.png"


def test_a_changed_image_is_not_silently_used(project, pictures):
    image = project.images()[0].id
    original = pictures[0].read_bytes()
    write_image(pictures[0], 60, 80, seed=78)
    with pytest.raises(ChangedImageError) as caught:
        project.locate(image)
    one_sentence(caught, "a.png is not the image that the project knows", "put the original back")
    with pytest.raises(ChangedImageError):
        project.relink(image, pictures[0])
    pictures[0].write_bytes(original)
    assert project.locate(image) == pictures[0]


def test_images_that_move_along_with_their_project_are_found(folder, pictures, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    folder.rename(elsewhere / "project")
    pictures[0].parent.rename(elsewhere / "images")
    with Project.open(elsewhere / "project", reviewer="Ann") as project:
        found = project.locate(project.images()[0].id)
        assert found.samefile(elsewhere / "images" / "a.png")


def test_missing_images_are_found_beside_one_another_and_only_by_their_bytes(project, pictures, tmp_path):
    assert project.missing() == []
    away = tmp_path / "away"
    away.mkdir()
    for picture in pictures:
        picture.rename(away / picture.name)
    write_image(away / pictures[-1].name, 60, 80, seed=79)
    ids = [entry.id for entry in project.images()]
    assert project.missing() == ids
    found = project.relink_beside(away / "anything.png")
    assert [entry.id for entry in found] == ids[:-1]
    assert project.missing() == ids[-1:]
    assert project.locate(ids[0]) == away / pictures[0].name
