"""A database that rots ends in a sentence or in a rescue, and never in other seeds than were painted.

These are some of the damages; `python -m tests.reliability.rot` does them all.
"""

from __future__ import annotations

import pytest

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
