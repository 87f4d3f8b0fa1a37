"""A damaged database: what can be read is saved, it is said what that is, and the damaged file is kept."""

from __future__ import annotations

import re
import shutil

import numpy as np
import pytest

from pixelcam.errors import ProjectError
from pixelcam.review import DamagedError, Project, rescue
from tests.pixelcam.review.conftest import localization, paint

PAGE = 4096


@pytest.fixture
def worked(folder):
    """The project after a session of Ann and one of Bob; returns what must come back."""
    rng = np.random.default_rng(11)
    with Project.open(folder, reviewer="Ann") as ann, Project.open(folder, reviewer="Bob") as bob:
        small, large = (entry.id for entry in ann.images())
        for _ in range(40):
            paint(ann, large, rng)
        paint(bob, large, rng)
        paint(bob, small, rng)
        ann.set_label(small, "benign")
        ann.set_note(large, "look again")
        ann.keep_localization(small, localization("a", 60, 80), 0.2)
        seeds = {
            ("Ann", large): ann.seeds(large),
            ("Bob", large): bob.seeds(large),
            ("Bob", small): bob.seeds(small),
        }
    return folder, seeds


def overwrite(path, start: int, length: int) -> None:
    with path.open("r+b") as file:
        file.seek(start)
        file.write(np.random.default_rng(start).bytes(length))


def pages(path) -> int:
    return path.stat().st_size // PAGE


DAMAGES = {
    "header": lambda path: overwrite(path, 0, 100),
    "first page": lambda path: overwrite(path, 0, PAGE),
    "middle": lambda path: overwrite(path, pages(path) // 2 * PAGE, 3 * PAGE),
    "a fifth of all pages": lambda path: [overwrite(path, n * PAGE, PAGE) for n in range(3, pages(path), 5)],
    "cut": lambda path: path.write_bytes(path.read_bytes()[: pages(path) // 2 * PAGE]),
    "empty": lambda path: path.write_bytes(b""),
    "text": lambda path: path.write_text("not a database at all\n" * 500),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_seeds_and_images_come_back_whatever_was_damaged(worked, damage):
    folder, seeds = worked
    with Project.open(folder, reviewer="Ann") as project:
        images = [(entry.id, entry.name, entry.fingerprint) for entry in project.images()]
    DAMAGES[damage](folder / "project.sqlite")
    damaged = (folder / "project.sqlite").read_bytes()
    with pytest.raises(DamagedError) as caught:
        Project.open(folder, reviewer="Ann")
    sentence = str(caught.value)
    assert re.search(r"was damaged; 2 images, \d judgements and \d+ edits of seeds .*were saved, ", sentence)
    (kept,) = folder.glob("project.damaged-*.sqlite")
    assert f"the damaged file is kept as {kept.name}; open the project again." in sentence
    assert kept.read_bytes() == damaged
    with Project.open(folder, reviewer="Ann") as project:
        assert [(entry.id, entry.name, entry.fingerprint) for entry in project.images()] == images
        for (reviewer, image), labels in seeds.items():
            np.testing.assert_array_equal(project.seeds(image, reviewer), labels)
        project.write_changes(images[1][0], np.zeros((700, 600), np.uint8), "clear")
    assert not list(folder.glob(".rescue-*"))


@pytest.mark.parametrize("damage", ["header", "first page"])
def test_a_lost_first_page_costs_nothing(worked, damage):
    folder, _ = worked
    DAMAGES[damage](folder / "project.sqlite")
    report = rescue(folder)
    assert (report.images, report.judgements, report.saves) == (2, 2, 42)
    assert (report.lost_images, report.lost_saves, report.from_pictures) == (0, 0, 0)
    assert "nothing is known to be lost" in str(report)
    with Project.open(folder, reviewer="Ann") as project:
        small, large = project.images()
        assert (small.label, large.note, small.predicted) == ("benign", "look again", "malignant")
        assert project.localization(small.id) is not None
        assert project.name == "Colon"
        assert len(project.history(large.id)) == 41


def test_without_pictures_the_journal_alone_brings_the_seeds_back(worked):
    folder, seeds = worked
    for path in folder.glob("images/*/seeds-*"):
        shutil.rmtree(path)
    overwrite(folder / "project.sqlite", 0, 100)
    rescue(folder)
    with Project.open(folder, reviewer="Ann") as project:
        for (reviewer, image), labels in seeds.items():
            np.testing.assert_array_equal(project.seeds(image, reviewer), labels)


def test_lost_edits_are_counted(worked):
    folder, _ = worked
    DAMAGES["a fifth of all pages"](folder / "project.sqlite")
    report = rescue(folder)
    with Project.open(folder, reviewer="Ann") as project:
        found = sum(len(project.history(entry.id)) for entry in project.images())
        imported = sum(
            save.kind == "import" for entry in project.images() for save in project.history(entry.id)
        )
    assert report.saves == found - imported
    assert report.saves + report.lost_saves == 42
    assert report.from_pictures == imported > 0
    assert "as they were last drawn" in str(report)


def test_nothing_is_touched_while_somebody_works_in_it(worked):
    folder, _ = worked
    with Project.open(folder, reviewer="Bob"):
        with pytest.raises(ProjectError, match=r"somebody works in it \('Bob', process"):
            rescue(folder)
        assert not list(folder.glob("project.damaged-*"))


def test_a_damaged_project_that_is_only_looked_at_is_left_as_it_is(worked):
    folder, _ = worked
    overwrite(folder / "project.sqlite", 0, 100)
    before = sorted(path.name for path in folder.iterdir())
    with pytest.raises(DamagedError, match="run `pixelcam review rescue"):
        Project.open(folder, reviewer="Ann", read_only=True)
    assert sorted(path.name for path in folder.iterdir()) == before


def test_a_sound_project_can_be_rescued_too_and_loses_nothing(worked):
    folder, seeds = worked
    report = rescue(folder)
    assert (report.saves, report.lost_saves, report.lost_images, report.from_pictures) == (42, 0, 0, 0)
    with Project.open(folder, reviewer="Bob") as project:
        for (reviewer, image), labels in seeds.items():
            np.testing.assert_array_equal(project.seeds(image, reviewer), labels)
