"""A project that somebody else sent can neither remove, write nor read anything outside its folder."""

from __future__ import annotations

import os
import shutil
import sqlite3
import sys
from pathlib import Path

import numpy as np
import pytest

from pixelcam.errors import PixelCAMError, ProjectError
from pixelcam.review import Project, merge, rescue
from tests.pixelcam.review.conftest import localization, paint

posix = pytest.mark.skipif(sys.platform == "win32", reason="Windows makes links for administrators alone")


@pytest.fixture
def victim(tmp_path) -> Path:
    """A folder of the person who opens the project, with a whole zarr array that could be taken for a map."""
    place = tmp_path / "victim"
    (place / "photos").mkdir(parents=True)
    (place / "photos" / "one.txt").write_text("precious")
    return place


def content(place: Path) -> dict[str, bytes]:
    return {
        path.relative_to(place).as_posix(): path.read_bytes() for path in place.rglob("*") if path.is_file()
    }


@pytest.fixture
def sent(folder) -> Path:
    """A project with one image localized and painted."""
    with Project.open(folder, reviewer="Ann") as project:
        image = project.images()[1]
        project.keep_localization(image.id, localization(image.name, image.height, image.width), 0.3)
        paint(project, image.id, np.random.default_rng(0))
    return folder


def set_map(folder: Path, name: str) -> None:
    with sqlite3.connect(folder / "project.sqlite") as connection:
        connection.execute("UPDATE localizations SET map = ?", (name,))
    connection.close()


def names_of(victim: Path) -> dict[str, str]:
    relative = os.path.relpath(victim, victim.parent / "work" / "images" / "2")
    return {
        "absolute": str(victim),
        "up": f"../../../{victim.name}",
        "long way up": Path(relative).as_posix(),
        "through a map": f"map-00000000.zarr/../../../../{victim.name}",
        "backslashes": f"..\\..\\..\\{victim.name}",
        "nothing": "",
        "itself": ".",
        "its parent": "..",
        "another thing of ours": "thumbnail.png",
        "the seeds": "seeds-Ann-00000000.zarr",
    }


@pytest.mark.parametrize("kind", names_of(Path("/x/victim")))
def test_the_map_that_a_row_names_is_never_removed_elsewhere(sent, victim, kind):
    before = content(victim)
    set_map(sent, names_of(victim)[kind])
    with Project.open(sent, reviewer="Ann") as project:
        image = project.images()[1]
        kept = content(sent / "images" / "1")
        assert project.localization(image.id) is None
        seeds = project.seeds(image.id)
        for _ in range(2):
            project.keep_localization(image.id, localization(image.name, image.height, image.width), 0.3)
        assert project.localization(image.id) is not None
        np.testing.assert_array_equal(project.seeds(image.id), seeds)
        assert project.thumbnail(image.id) is not None
    assert content(victim) == before
    assert content(sent / "images" / "1") == kept


@pytest.mark.parametrize("kind", names_of(Path("/x/victim")))
def test_such_a_row_does_not_survive_a_merge(sent, victim, tmp_path, kind):
    shutil.copytree(next((sent / "images").glob("2/map-*.zarr")), victim / "map")
    before = content(victim)
    set_map(sent, names_of(victim)[kind] + ("/map" if kind in ("absolute", "up") else ""))
    merge(tmp_path / "merged", [sent], reviewer="Bob")
    connection = sqlite3.connect(tmp_path / "merged" / "project.sqlite")
    assert connection.execute("SELECT count(*) FROM localizations").fetchone() == (0,)
    connection.close()
    assert not list((tmp_path / "merged").glob("images/*/map*"))
    assert content(victim) == before


def attempts(folder: Path):
    """Everything that is done with a project; each call opens it anew."""

    def use(work):
        with Project.open(folder, reviewer="Ann") as project:
            image = project.images()[1]
            return work(project, image)

    def write(project, image):
        project.write_seeds(image.id, (0, 0, 2, 2), np.full((2, 2), 1, np.uint8))
        project.write_seeds(image.id, (0, 0, 2, 2), np.full((2, 2), 2, np.uint8))
        project.set_note(image.id, "seen")

    yield lambda: use(lambda project, image: project.seeds(image.id))
    yield lambda: use(lambda project, image: project.localization(image.id))
    yield lambda: use(lambda project, image: project.first_map(image.id))
    yield lambda: use(lambda project, image: project.thumbnail(image.id))
    yield lambda: use(write)
    yield lambda: use(
        lambda project, image: project.keep_localization(
            image.id, localization(image.name, image.height, image.width), 0.3
        )
    )
    yield lambda: merge(folder.parent / "merged", [folder], reviewer="Bob")
    yield lambda: rescue(folder)


def places(folder: Path) -> dict[str, Path]:
    image = folder / "images" / "2"
    return {
        "database": folder / "project.sqlite",
        "images": folder / "images",
        "image": image,
        "locks": folder / "locks",
        "lock": next(folder.glob("locks/Ann-*.lock")),
        "note": next(folder.glob("locks/Ann-*.lock")).with_suffix(".json"),
        "thumbnail": image / "thumbnail.png",
        "first map": image / "first-map.png",
        "map": next(image.glob("map-*.zarr")),
        "chunk of the map": next(image.glob("map-*.zarr/c/0/0")),
        "seeds": next(image.glob("seeds-*.zarr")),
        "chunks of the seeds": next(image.glob("seeds-*.zarr/c")),
        "chunk of the seeds": next(image.glob("seeds-*.zarr/c/*/*")),
        "description of the seeds": next(image.glob("seeds-*.zarr/zarr.json")),
        "log": folder / "project.sqlite-wal",
        "journal": folder / "project.sqlite-journal",
    }


KINDS = (
    "database",
    "images",
    "image",
    "locks",
    "lock",
    "note",
    "thumbnail",
    "first map",
    "map",
    "chunk of the map",
    "seeds",
    "chunks of the seeds",
    "chunk of the seeds",
    "description of the seeds",
    "log",
    "journal",
)


@posix
@pytest.mark.parametrize("kind", KINDS)
def test_a_link_in_a_project_is_not_followed(sent, tmp_path, kind):
    """What it leads to stays as it is, and whoever needs that part is told in one sentence."""
    place, outside = places(sent)[kind], tmp_path / "outside"
    if place.exists():
        shutil.move(place, outside)
    else:
        outside.write_bytes(b"")
    place.symlink_to(outside)
    before = content(outside) if outside.is_dir() else outside.read_bytes()
    told = []
    for attempt in attempts(sent):
        try:
            attempt()
        except PixelCAMError as error:
            told.append(str(error))
    after = content(outside) if outside.is_dir() else outside.read_bytes()
    assert after == before
    if kind not in (
        "chunk of the map",
        "chunks of the seeds",
        "chunk of the seeds",
        "description of the seeds",
    ):
        assert any("is a symbolic link" in text for text in told), told
    assert all("\n" not in text and text.endswith(".") for text in told)


def hot_journal(database: Path, named: Path) -> bytes:
    """Return a rollback journal that says "remove that file when you are done".

    Format: https://sqlite.org/fileformat.html, section 3.
    """
    magic, page = bytes.fromhex("d9d505f920a163d7"), 4096
    data = database.read_bytes()
    header = magic + b"".join(number.to_bytes(4, "big") for number in (1, 7, len(data) // page, 512, page))
    first = data[:page]
    checksum = 7 + sum(first[place] for place in range(page - 200, 0, -200))
    name = os.fsencode(named)
    end = (0x40000000 // page + 1).to_bytes(4, "big") + name
    end += len(name).to_bytes(4, "big") + sum(name).to_bytes(4, "big") + magic
    return header.ljust(512, b"\0") + (1).to_bytes(4, "big") + first + checksum.to_bytes(4, "big") + end


@posix
def test_a_journal_cannot_remove_a_file(sent, victim):
    """SQLite removes the file that a journal of several databases names: shown here, then refused."""
    with sqlite3.connect(sent / "project.sqlite") as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
    connection.close()
    file, journal = victim / "photos" / "one.txt", sent / "project.sqlite-journal"
    bait = victim / "bait.txt"
    bait.write_text("precious")
    journal.write_bytes(hot_journal(sent / "project.sqlite", bait))
    connection = sqlite3.connect(sent / "project.sqlite")
    connection.execute("SELECT count(*) FROM images").fetchone()
    connection.close()
    assert not bait.exists(), "the journal is not such, and the test shows nothing"
    journal.write_bytes(hot_journal(sent / "project.sqlite", file))
    for attempt in attempts(sent):
        with pytest.raises(ProjectError, match="tells to remove another file"):
            attempt()
    assert file.read_text() == "precious"
    journal.unlink()
    with Project.open(sent, reviewer="Ann") as project:
        assert len(project.images()) == 2


@pytest.mark.parametrize(
    "script",
    [
        "CREATE TRIGGER t AFTER INSERT ON events BEGIN DELETE FROM saves; END",
        "ALTER TABLE models RENAME TO m; CREATE VIEW models AS WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL "
        "SELECT x + 1 FROM c) SELECT x AS sha256, x AS name, x AS path, x AS first_used FROM c",
        "CREATE VIRTUAL TABLE v USING fts5(a)",
    ],
)
def test_a_database_that_does_things_of_its_own_is_refused(sent, script):
    connection = sqlite3.connect(sent / "project.sqlite")
    connection.executescript(script)
    connection.close()
    for read_only in (True, False):
        with pytest.raises(ProjectError, match="which this program did not make"):
            Project.open(sent, reviewer="Ann", read_only=read_only)


def test_columns_that_are_not_ours_are_not_copied(sent, tmp_path):
    connection = sqlite3.connect(sent / "project.sqlite")
    connection.execute('ALTER TABLE images ADD COLUMN "id) SELECT 1; --" TEXT')
    connection.close()
    merge(tmp_path / "merged", [sent], reviewer="Bob")
    with Project.open(tmp_path / "merged", reviewer="Bob") as project:
        assert len(project.images()) == 2
