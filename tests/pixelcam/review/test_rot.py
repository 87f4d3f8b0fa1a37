"""A database that rots ends in a sentence or in a rescue, and never in other seeds than were painted.

These are some of the damages; `python -m tests.reliability.rot` does them all.
"""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing, suppress

import numpy as np
import pytest

from pixelcam.cli import main
from pixelcam.review import Project
from pixelcam.review.values import COLUMNS, find_wrong
from tests.reliability import rot


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """A project, and what is painted in it."""
    place = tmp_path_factory.mktemp("rot")
    return place / "original", rot.make(place / "original")


def some(found, count):
    """Return so many of the trials, spread evenly."""
    found = list(found)
    return found[:: max(1, len(found) // count)]


def check(original, trials, place):
    folder, seeds = original
    ended = [rot.ending(folder, trial, place, seeds) for trial in trials]
    assert [one for one in ended if one.outcome in ("raw", "wrong")] == []
    return {one.outcome for one in ended}


def test_the_first_page(original, tmp_path):
    trials = list(rot.first_page(original[0] / "project" / "project.sqlite"))
    header = [trial for trial in trials if int(trial.what.rpartition(" ")[2]) < 110][::3]
    assert check(original, [*header, *some(trials[-200:], 6)], tmp_path / "copy") >= {"rescued"}


def test_the_journal(original, tmp_path):
    trials = some(rot.journal(original[0] / "project" / "project.sqlite"), 8)
    assert check(original, trials, tmp_path / "copy") >= {"rescued"}


def test_wrong_values_in_any_column(original, tmp_path):
    trials = some(rot.values(original[0] / "project" / "project.sqlite"), 24)
    assert check(original, trials, tmp_path / "copy") >= {"rescued", "unharmed"}


@pytest.mark.parametrize(
    ("table", "column", "value"),
    [("judgements", "seconds", "long"), ("events", "time", "2026-02-31"), ("localizations", "classes", "{")],
)
def test_a_wrong_value_is_passed_over_where_a_project_is_only_looked_at(
    original, tmp_path, capsys, table, column, value
):
    place = tmp_path / "copy"
    shutil.copytree(original[0], place)
    database = place / "project" / "project.sqlite"
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute(f"UPDATE {table} SET {column} = ? WHERE rowid = 1", (value,))
    before = database.read_bytes()
    with Project.open(place / "project", reviewer="Ann", read_only=True) as looked:
        assert f"row 1 of the table {table} holds {value!r} as its {column}" in looked.warning
        assert [entry.name for entry in looked.images()] == ["image-0", "image-1"]
        for (name, id), labels in original[1].items():
            np.testing.assert_array_equal(looked.seeds(id, name), labels)
    main(["review", "list", str(place / "project"), "--reviewer", "Ann"])
    said = capsys.readouterr()
    assert said.out.count("\n") == 2
    assert said.err.count("is damaged (row 1") == 1
    assert database.read_bytes() == before, "looking changes nothing"


def test_the_quick_look_at_values_finds_what_the_slow_one_does(original):
    with closing(sqlite3.connect(original[0] / "project" / "project.sqlite")) as connection:
        assert find_wrong(connection) == ""
        connection.execute("PRAGMA foreign_keys = OFF")
        for table in sorted(COLUMNS.keys() - {"patches"}):  # those are looked at in one way only
            for name, column in COLUMNS[table].items():
                row = connection.execute(f"SELECT rowid, {name} FROM {table} LIMIT 1").fetchone()
                for value in rot.WRONG:
                    with suppress(sqlite3.IntegrityError):
                        connection.execute(f"UPDATE {table} SET {name} = ? WHERE rowid = ?", (value, row[0]))
                        kept = [one for (one,) in connection.execute(f"SELECT {name} FROM {table}")]
                        assert all(map(column.is_right, kept)) or find_wrong(connection), (table, name, value)
                    connection.rollback()
