"""A project keeps what reviewers do: images, judgements, maps, and who did what."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from datetime import datetime

import numpy as np
import pytest

from pixelcam.errors import ConfigError, ImageError, OutputError, ProjectError, ProjectLockedError
from pixelcam.events import Stop
from pixelcam.localize import ModelRef
from pixelcam.review import STATUSES, Project, is_project, journal, merge, records
from pixelcam.slides import hash_file
from tests.pixelcam.review.conftest import SIZES, localization, write_image


def test_a_new_project_knows_its_images(folder, pictures):
    assert is_project(folder)
    with Project.open(folder, reviewer="Ann") as project:
        assert (project.name, project.reviewer, project.read_only) == ("Colon", "Ann", False)
        entries = project.images()
    assert [entry.name for entry in entries] == ["a", "b"]
    assert [entry.path for entry in entries] == pictures
    assert [entry.fingerprint for entry in entries] == [hash_file(path) for path in pictures]
    assert [(entry.height, entry.width) for entry in entries] == list(SIZES.values())
    first = entries[0]
    assert (first.status, first.label, first.note, first.seconds, first.threshold) == (
        "to do",
        None,
        "",
        0,
        None,
    )
    assert (first.predicted, first.confidence, first.model, first.localized) == (None, None, None, None)


def test_an_image_is_not_added_twice_even_under_another_name(project, pictures, tmp_path):
    copy = tmp_path / "copy.png"
    copy.write_bytes(pictures[0].read_bytes())
    before = project.images()
    assert project.add_images([copy, pictures[0]]) == [before[0]]
    assert project.images() == before


def test_an_image_that_cannot_be_read_does_not_stop_the_others(project, tmp_path):
    good = write_image(tmp_path / "c.png", 20, 30, seed=9)
    (tmp_path / "empty.png").write_bytes(b"")
    told = []
    with pytest.raises(ImageError, match=r"empty\.png is empty"):
        project.add_images([tmp_path / "empty.png", good], told.append)
    assert project.images()[-1].name == "c"
    assert [event.kind for event in told] == ["warning", "step", "step"]


def test_adding_stops_between_two_images_when_asked(project, tmp_path):
    from pixelcam.errors import CancelledError

    paths = [write_image(tmp_path / f"{n}.png", 20, 30, seed=20 + n) for n in range(3)]
    answers = iter([Stop.NO, Stop.DISCARD])
    with pytest.raises(CancelledError):
        project.add_images(paths, should_stop=lambda: next(answers))
    assert [entry.name for entry in project.images()] == ["a", "b", "0"]


def test_judgements_survive_and_belong_to_their_reviewer(folder):
    with Project.open(folder, reviewer="Ann") as ann:
        image = ann.images()[0].id
        ann.set_status(image, "done")
        ann.set_label(image, "benign")
        ann.set_note(image, "fold at the edge\nsecond line ü")
        ann.set_threshold(image, 0.4)
        ann.add_seconds(image, 2.5)
        ann.add_seconds(image, 1.0)
    with Project.open(folder, reviewer="Ann") as ann, Project.open(folder, reviewer="Bob") as bob:
        mine, his = ann.image(image), bob.image(image)
        assert (mine.status, mine.label, mine.note) == ("done", "benign", "fold at the edge\nsecond line ü")
        assert (mine.threshold, mine.seconds) == (0.4, 3.5)
        assert (his.status, his.label, his.note, his.threshold, his.seconds) == ("to do", None, "", None, 0)
        assert ann.reviewers() == ["Ann"], "Bob has only looked"
        bob.set_label(image, "cannot tell")
        assert ann.image(image).label == "benign"
        ann.set_label(image, None)
        assert ann.image(image).label is None


def test_every_change_is_noted_with_who_and_when(project):
    image = project.images()[0].id
    before = datetime.now().astimezone()
    project.set_status(image, STATUSES[1])
    project.set_status(image, STATUSES[1])
    project.set_label(image, "benign")
    status, label = project.events()[-2:]
    assert (status.reviewer, status.image, status.what) == ("Ann", image, "status")
    assert status.detail == '{"before": "to do", "after": "in review"}'
    assert label.what == "label"
    assert abs((label.time - before).total_seconds()) < 60


@pytest.mark.parametrize(
    ("method", "value", "error"),
    [
        ("set_status", "finished", ConfigError),
        ("set_threshold", 1.2, ConfigError),
        ("add_seconds", -1, ConfigError),
    ],
)
def test_what_makes_no_sense_is_refused(project, method, value, error):
    image = project.images()[0]
    with pytest.raises(error):
        getattr(project, method)(image.id, value)
    assert project.image(image.id) == image


def test_an_image_that_is_not_there_is_told(project):
    for call in (
        lambda: project.image(99),
        lambda: project.set_status(99, "done"),
        lambda: project.seeds(99),
        lambda: project.history(99),
        lambda: project.localization(99),
        lambda: project.write_changes(99, np.zeros((2, 2), np.uint8)),
    ):
        with pytest.raises(ProjectError, match="holds no image of the number 99"):
            call()


def test_the_latest_localization_comes_back_and_earlier_ones_are_known(folder):
    first = localization("a", *SIZES["a"])
    with Project.open(folder, reviewer="Ann") as project:
        image = project.images()[0].id
        assert project.localization(image) is None
        project.keep_localization(image, first, uncertainty=0.3)
        second = replace(first, classes={"benign": 0.9, "malignant": 0.1}, model=ModelRef("tuned", "cd" * 32))
        project.keep_localization(image, second, uncertainty=0.2)
    with Project.open(folder, reviewer="Ann") as project:
        entry, found = project.image(image), project.localization(image)
        assert [model.name for model in project.models()] == ["starter", "tuned"]
    assert (entry.predicted, entry.confidence, entry.uncertainty) == ("benign", 0.9, 0.2)
    assert entry.model == found.model == ModelRef("tuned", "cd" * 32)
    assert abs((entry.localized - datetime.now().astimezone()).total_seconds()) < 60
    assert found.foreground.dtype == np.float32
    np.testing.assert_allclose(found.foreground, second.foreground, atol=0.0005)
    assert replace(found, foreground=None) == replace(second, foreground=None, image_file="a.png")
    assert len(list((folder / "images" / str(image)).glob("map-*.zarr"))) == 1


def test_of_two_localizations_at_once_the_later_ones_map_stays(project, folder, monkeypatch):
    image = project.images()[0].id
    first = localization("a", *SIZES["a"])
    later = replace(first, foreground=1 - first.foreground)

    def localize_elsewhere(*arguments):
        with Project.open(folder, reviewer="Bob") as other:
            other.keep_localization(image, later, 0.1)

    monkeypatch.setattr("pixelcam.review.project.keep_first_map", localize_elsewhere)
    project.keep_localization(image, first, 0.1)
    np.testing.assert_allclose(project.localization(image).foreground, later.foreground, atol=0.0005)
    assert len(list((folder / "images" / str(image)).glob("map-*.zarr"))) == 1


def test_a_map_that_is_being_written_elsewhere_is_not_taken_away(project, folder):
    image = project.images()[0].id
    unnamed = folder / "images" / str(image) / "map-12345678.zarr"
    unnamed.mkdir(parents=True)
    for _ in range(2):
        project.keep_localization(image, localization("a", *SIZES["a"]), 0.1)
    assert unnamed.exists()


def test_a_map_of_another_size_is_refused(project):
    with pytest.raises(ProjectError, match="of an image of 600 x 700 pixels, but a has 80 x 60"):
        project.keep_localization(project.images()[0].id, localization("b", *SIZES["b"]), 0.1)


def test_a_map_that_is_gone_asks_to_be_made_again(project):
    image = project.images()[0].id
    project.keep_localization(image, localization("a", *SIZES["a"]), 0.1)
    (chunk,) = (project.folder / "images" / str(image)).glob("map-*.zarr/c/0/0")
    chunk.write_bytes(b"damaged")
    assert project.localization(image) is None


def test_runs_and_models_are_kept(project, tmp_path):
    project.register_model(ModelRef("tuned", "ef" * 32), tmp_path / "tuned.safetensors")
    project.register_run(tmp_path / "run", model="ef" * 32)
    (model,), (run,) = project.models(), project.runs()
    assert (model.name, model.path) == ("tuned", str(tmp_path / "tuned.safetensors"))
    assert (run.folder, run.kind, run.reviewer) == (tmp_path / "run", "finetune", "Ann")


def test_thumbnails_are_small_and_made_again_when_gone(project):
    small, large = (entry.id for entry in project.images())
    assert project.thumbnail(large).shape == (160, 137, 3)
    assert project.thumbnail(small).shape == (60, 80, 3)
    file = project.folder / "images" / str(large) / "thumbnail.png"
    kept = file.read_bytes()
    file.unlink()
    assert project.thumbnail(large).shape == (160, 137, 3)
    assert file.read_bytes() == kept


def test_a_folder_with_other_files_becomes_no_project(tmp_path, pictures):
    with pytest.raises(ProjectError, match="holds other files"):
        Project.create(pictures[0].parent, reviewer="Ann")
    assert not is_project(pictures[0].parent)


def test_a_project_is_not_made_over_another(folder):
    with pytest.raises(ProjectError, match="holds a project already"):
        Project.create(folder, reviewer="Ann")


def test_a_folder_without_a_project_is_told(tmp_path):
    for place in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(ProjectError, match="holds no project"):
            Project.open(place, reviewer="Ann")


@pytest.mark.parametrize("name", ["", "  ", "x" * 81, "a\x07b"])
def test_a_reviewer_needs_a_name(folder, name):
    with pytest.raises(ProjectError, match="Give the reviewer a name"):
        Project.open(folder, reviewer=name)


def test_a_name_in_use_is_refused_and_another_is_not(project):
    with pytest.raises(ProjectLockedError, match=r"as 'Ann' already \(process \d+ on .+ since .+\)"):
        Project.open(project.folder, reviewer=" Ann ")
    with Project.open(project.folder, reviewer="Ann", read_only=True) as looking:
        assert looking.read_only
        assert looking.images() == project.images()
        with pytest.raises(OutputError, match="read-only"):
            looking.set_status(looking.images()[0].id, "done")
    with Project.open(project.folder, reviewer="Bob") as other:
        assert not other.read_only
    project.set_note(project.images()[0].id, "still mine")


def test_a_closed_project_gives_the_name_free_and_says_that_it_is_closed(folder):
    project = Project.open(folder, reviewer="Ann")
    project.close()
    with pytest.raises(ProjectError, match="was closed"):
        project.images()
    Project.open(folder, reviewer="Ann").close()


def test_the_database_is_made_to_last(project):
    with sqlite3.connect(project.folder / "project.sqlite") as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    connection.close()
    with project._database.reading() as own:
        assert own.execute("PRAGMA synchronous").fetchone()[0] == 2
        with pytest.raises(sqlite3.IntegrityError):
            own.execute("INSERT INTO judgements (image, reviewer) VALUES (99, 99)")


def test_who_has_only_looked_localized_or_merged_is_no_reviewer_with_everything_to_do(folder, tmp_path):
    with Project.open(folder, reviewer="Ann") as ann:
        ann.set_status(1, "done")
    with Project.open(folder, reviewer="technician") as other:
        other.keep_localization(1, localization("a", *SIZES["a"]), 0.1)
    merge(tmp_path / "merged", [folder], reviewer="technician")
    for place in (folder, tmp_path / "merged"):
        with Project.open(place, reviewer="reader", read_only=True) as project:
            assert project.reviewers() == ["Ann"]


@pytest.mark.parametrize("name", ["ann", " ANN ", "Ａｎｎ", "Ann\u00a0"])
def test_a_name_that_looks_like_a_known_one_is_that_one(folder, name):
    with Project.open(folder, reviewer="Ann") as ann:
        ann.set_note(1, "mine")
        with pytest.raises(ProjectLockedError):
            Project.open(folder, reviewer=name)
    with Project.open(folder, reviewer=name) as again:
        assert (again.reviewer, again.image(1).note) == ("Ann", "mine")


@pytest.mark.parametrize("year", ["1999", "2040"])
def test_the_newest_map_is_the_one_made_last_whatever_the_clock_says(project, folder, monkeypatch, year):
    first = project.images()[0].id
    made = localization("a", *SIZES["a"])
    project.keep_localization(first, made, 0.1)
    monkeypatch.setattr(records, "now", lambda: f"{year}-01-01T00:00:00.000+00:00")
    monkeypatch.setattr(journal, "now", lambda: f"{year}-01-01T00:00:00.000+00:00")
    later = replace(made, foreground=1 - made.foreground, model=ModelRef("tuned", "cd" * 32))
    project.keep_localization(first, later, 0.2)
    project.write_seeds(first, (0, 0, 2, 2), np.full((2, 2), 2, np.uint8))
    project.accept(first, later)
    project.accept(first, made, 0.25)
    assert project.image(first).model.name == "tuned"
    np.testing.assert_allclose(project.localization(first).foreground, later.foreground, atol=1e-3)
    assert project.first_map(first).model.name == "starter"
    assert project.image(first).accepted.threshold == 0.25
    assert [model.name for model in project.models()] == ["starter", "tuned"]
    project.close()
    merge(folder.parent / "merged", [folder], reviewer="Ann")
    with Project.open(folder.parent / "merged", reviewer="Ann") as merged:
        assert merged.image(1).model.name == "tuned"
        np.testing.assert_allclose(merged.localization(1).foreground, later.foreground, atol=1e-3)
        assert merged.image(1).accepted.threshold == 0.25
