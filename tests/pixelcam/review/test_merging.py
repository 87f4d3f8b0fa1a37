"""Projects of several reviewers become one: all images, all work, nothing overwritten."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from PIL import Image

from pixelcam.errors import OutputError, ProjectError, ProjectLockedError
from pixelcam.review import Conflict, Project, merge
from tests.pixelcam.review.conftest import localization, paint, write_image


def state(folder) -> dict:
    """Return everything that reviewers can see of a project, whatever its numbers are."""
    with Project.open(folder, reviewer="looker", read_only=True) as project:
        found = {}
        for name in project.reviewers():
            for entry in project.images_of(name):
                key = (name, entry.fingerprint)
                history = [
                    (save.kind, save.time, save.foreground, project.seeds_at(entry.id, save.seq).tobytes())
                    for save in project.history(entry.id)
                    if save.reviewer == name
                ]
                judgement = (entry.status, entry.label, entry.note, entry.seconds, entry.threshold)
                if history or judgement != ("to do", None, "", 0, None):
                    found[key] = (judgement, history)
        return found


@pytest.fixture
def two(folder, tmp_path, pictures):
    """Ann's project, and Bob's of one image of hers and one of his own."""
    rng = np.random.default_rng(21)
    with Project.open(folder, reviewer="Ann") as ann:
        _small, large = (entry.id for entry in ann.images())
        for _ in range(4):
            paint(ann, large, rng)
        ann.write_seeds(large, (300, 300, 310, 320), np.full((10, 20), 2, np.uint8))
        ann.set_status(large, "done")
        ann.set_label(large, "benign")
        ann.keep_localization(large, localization("b", 700, 600), 0.3)
    own = write_image(tmp_path / "images" / "c.png", 40, 50, seed=40)
    with Project.create(tmp_path / "bobs", reviewer="Bob") as bob:
        first, second = (entry.id for entry in bob.add_images([own, pictures[1]]))
        paint(bob, first, rng)
        for _ in range(6):
            paint(bob, second, rng)
        bob.write_seeds(second, (305, 300, 315, 320), np.tile(np.arange(20, dtype=np.uint8) % 3, (10, 1)))
        bob.set_label(second, "malignant")
        bob.set_note(second, "folded")
        bob.keep_localization(second, localization("b", 700, 600, model="other"), 0.1)
        bob.register_run(tmp_path / "run")
    return folder, tmp_path / "bobs"


def test_what_was_looked_at_only_is_filled_in_and_not_overwritten(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "copy")
    with Project.open(folder, reviewer="Ann") as here:
        first, second = (entry.id for entry in here.images())
        here.set_threshold(first, 0.7)
        here.add_seconds(first, 600)
    with Project.open(tmp_path / "copy", reviewer="Ann") as there:
        for image in (first, second):
            there.add_seconds(image, 4)
            there.set_threshold(image, 0.3)
    for _ in range(2):
        assert merge(folder, [tmp_path / "copy"], reviewer="Ann").renamed == []
        with Project.open(folder, reviewer="Ann") as here:
            kept = [(entry.threshold, entry.seconds) for entry in here.images()]
        assert kept == [(0.7, 600.0), (0.3, 4.0)]


def test_the_merged_project_holds_all_images_and_all_work(two, tmp_path):
    before = [state(folder) for folder in two]
    report = merge(tmp_path / "merged", two, reviewer="Chief")
    assert state(tmp_path / "merged") == before[0] | before[1]
    assert [state(folder) for folder in two] == before
    assert (report.images, report.reviewers, report.renamed) == (3, ["Ann", "Bob"], [])
    with Project.open(tmp_path / "merged", reviewer="Ann") as project:
        assert [entry.name for entry in project.images()] == ["a", "b", "c"]
        for entry in project.images():
            assert project.locate(entry.id) == entry.path
            assert project.thumbnail(entry.id) is not None
        image = project.images()[1]
        assert (image.status, image.label, image.model.name) == ("done", "benign", "other")
        assert project.localization(image.id).foreground.shape == (700, 600)
        assert {model.name for model in project.models()} <= {"starter", "other"}
        assert len(project.runs()) == 1
        assert project.write_changes(image.id, np.zeros((700, 600), np.uint8)) is not None


def test_conflicts_and_agreement_are_told(two, tmp_path):
    report = merge(tmp_path / "merged", two, reviewer="Chief")
    assert Conflict("b", "status", ("Ann", "Bob"), ("done", "to do")) in report.conflicts
    assert Conflict("b", "label", ("Ann", "Bob"), ("benign", "malignant")) in report.conflicts
    with Project.open(tmp_path / "merged", reviewer="Chief") as project:
        image = project.images()[1].id
        ann, bob = project.seeds(image, "Ann"), project.seeds(image, "Bob")
    lost = int(((ann == 2) & (bob == 1)).sum()), int(((ann == 1) & (bob == 2)).sum())
    assert max(lost) > 0
    (seeds,) = (conflict for conflict in report.conflicts if conflict.what == "seeds")
    assert seeds.values[0] == f"{lost[0]} foreground, {lost[1]} background"
    (agreement,) = report.agreements
    assert agreement.pixels - agreement.same_pixels == sum(lost)
    (path,) = report.maps
    assert path.parent == tmp_path / "merged" / "agreement"
    with Image.open(path) as written:
        assert int((np.array(written) == 3).sum()) == sum(lost)


def test_merging_again_changes_nothing(two, tmp_path):
    merge(tmp_path / "merged", two, reviewer="Chief")
    before = state(tmp_path / "merged")
    report = merge(tmp_path / "merged", two, reviewer="Chief")
    assert report.renamed == []
    assert state(tmp_path / "merged") == before


def test_different_work_under_one_name_goes_beside_it(two, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(two[0], copy)
    with Project.open(copy, reviewer="Ann") as project:
        image = project.images()[1].id
        project.write_changes(image, np.full((700, 600), 2, np.uint8))
    report = merge(tmp_path / "merged", [two[0], copy], reviewer="Chief")
    assert report.renamed == [(copy, "Ann", "Ann (2)")]
    assert report.reviewers == ["Ann", "Ann (2)"]
    merged, first, second = state(tmp_path / "merged"), state(two[0]), state(copy)
    for (_, image), work in first.items():
        assert merged["Ann", image] == work
    for (_, image), work in second.items():
        assert merged["Ann (2)", image] == work
    again = merge(tmp_path / "merged", [copy], reviewer="Chief")
    assert again.renamed == [(copy, "Ann", "Ann (2)")]
    assert state(tmp_path / "merged") == merged


def test_one_name_on_different_images_stays_one_reviewer(folder, tmp_path):
    rng = np.random.default_rng(30)
    own = write_image(tmp_path / "images" / "c.png", 40, 50, seed=40)
    with Project.open(folder, reviewer="Ann") as project:
        paint(project, project.images()[0].id, rng)
    with Project.create(tmp_path / "second", reviewer="Ann") as project:
        paint(project, project.add_images([own])[0].id, rng)
    expected = state(folder) | state(tmp_path / "second")
    assert merge(tmp_path / "merged", [folder, tmp_path / "second"], reviewer="Ann").renamed == []
    assert state(tmp_path / "merged") == expected


def test_a_project_cannot_be_merged_into_itself_or_named_twice(two, tmp_path):
    for target, sources in ((two[0], two), (tmp_path / "merged", [two[0], two[0]])):
        with pytest.raises(ProjectError, match="is named twice"):
            merge(target, sources, reviewer="Chief")
    assert not (tmp_path / "merged").exists()


def test_a_source_that_is_no_project_leaves_no_target(two, tmp_path):
    with pytest.raises(ProjectError, match="holds no project"):
        merge(tmp_path / "merged", [*two, tmp_path], reviewer="Chief")
    assert not (tmp_path / "merged").exists()


def test_a_target_in_use_under_a_name_that_work_would_go_to_is_left_alone(two, tmp_path, pictures):
    with Project.create(tmp_path / "merged", reviewer="Bob"):
        with pytest.raises(ProjectLockedError, match="as 'Bob' already"):
            merge(tmp_path / "merged", two, reviewer="Chief")
        assert state(tmp_path / "merged") == {}
    assert merge(tmp_path / "merged", two, reviewer="Chief").images == 3


def test_a_full_disk_leaves_the_target_as_it_was(two, tmp_path, monkeypatch):
    from pixelcam.review import copying

    def refuse(*_):
        raise OutputError("the disk is full.")

    monkeypatch.setattr(copying, "_copy_folder", refuse)
    with pytest.raises(OutputError):
        merge(tmp_path / "merged", two, reviewer="Chief")
    monkeypatch.undo()
    assert state(tmp_path / "merged") == {}
    merge(tmp_path / "merged", two, reviewer="Chief")
    assert state(tmp_path / "merged") == state(two[0]) | state(two[1])


def test_a_source_may_be_in_use(two, tmp_path):
    with Project.open(two[1], reviewer="Bob") as bob:
        bob.set_note(bob.images()[0].id, "at work")
        merge(tmp_path / "merged", two, reviewer="Chief")
    assert state(tmp_path / "merged") == state(two[0]) | state(two[1])
