"""What a reviewer accepts: the map as it was seen, its figures, and how it came about."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest

from pixelcam.cli import main
from pixelcam.errors import ConfigError, OutputError, ProjectError
from pixelcam.localize import Localization, ModelRef
from pixelcam.review import Project, export_project, merge, rescue
from pixelcam.review.accepting import halved
from pixelcam.review.report import gather, write_report


def seen_on(entry, seed=0, **changes) -> Localization:
    """Return a map of an image, of a thousand different values, refitted to seeds."""
    foreground = np.random.default_rng(seed).random((entry.height, entry.width), np.float32)
    made = Localization(
        entry.name,
        entry.width,
        entry.height,
        entry.mpp,
        {"benign": 0.25, "malignant": 0.75},
        foreground,
        0.5,
        ModelRef("starter", "ab" * 32),
        refined=123,
        familiarity=0.1,
    )
    return replace(made, **changes)


@pytest.fixture
def accepted(project):
    """The first image as Ann has accepted it at 0.371, after a stroke; and what she saw."""
    entry = project.images()[0]
    project.keep_localization(entry.id, seen_on(entry, 1, refined=0), 0.2)
    project.write_seeds(entry.id, (5, 5, 9, 9), np.full((4, 4), 2, np.uint8))
    seen = seen_on(entry)
    return project.accept(entry.id, seen, 0.371, others=(2, 45)), seen


def test_what_was_seen_is_kept_with_its_figures_and_how_it_came_about(accepted, project, folder):
    entry, seen = accepted
    found = entry.accepted
    assert (entry.status, entry.threshold, entry.changed) == ("done", 0.371, "")
    assert (found.threshold, found.fraction) == (0.371, seen.foreground_fraction(0.371))
    assert found.model == seen.model
    assert (found.refined, found.other_images, found.other_cells) == (123, 2, 45)
    assert found.origin == "the map of starter refitted to 123 labelled places, 45 of them on 2 other images"
    assert found.save == project.history(entry.id)[-1].seq
    project.close()
    with Project.open(folder, reviewer="Ben", read_only=True) as again:
        kept = again.accepted_map(entry.id, "Ann")
        assert again.accepted_map(entry.id) is None, "Ben has accepted nothing"
        assert again.images_of("Ann")[0].accepted == found
    np.testing.assert_allclose(kept.foreground, seen.foreground, atol=1e-3)
    np.testing.assert_array_equal(kept.region(0.371), seen.region(0.371))
    assert (kept.refined, kept.familiarity, kept.classes) == (123, 0.1, seen.classes)


@pytest.mark.parametrize("threshold", [0.0, 0.1, 0.371, 0.4637281, 0.5, 0.9995, 1.0])
def test_half_precision_carries_no_pixel_over_the_threshold(threshold):
    rng = np.random.default_rng(0)
    near = np.float32(threshold) + rng.normal(0, 2e-4, 20_000).astype(np.float32)
    values = np.clip(np.concatenate([near, [threshold], rng.random(1000)]), 0, 1).astype(np.float32)
    kept = halved(values, threshold).astype(np.float32)
    np.testing.assert_array_equal(kept >= threshold, values >= threshold)
    np.testing.assert_allclose(kept, values, atol=1e-3)
    assert 0 <= kept.min() <= kept.max() <= 1


def test_a_later_stroke_or_threshold_makes_it_changed_since_and_done_again_settles_it(accepted, project):
    entry, seen = accepted
    project.write_seeds(entry.id, (20, 20, 24, 24), np.full((4, 4), 1, np.uint8))
    assert project.image(entry.id).changed == "seeds"
    assert project.image(entry.id).accepted.fraction == seen.foreground_fraction(0.371)
    project.set_threshold(entry.id, 0.6)
    assert project.image(entry.id).changed == "seeds and threshold"
    later = seen_on(entry, 3)
    again = project.accept(entry.id, later, None)
    assert (again.changed, again.threshold) == ("", None)
    assert again.accepted.fraction == later.foreground_fraction(0.5)
    folders = sorted(project.folder.glob("images/1/accepted-*.zarr"))
    assert [path.name for path in folders] == [again.accepted.map], "of an earlier one the map goes"
    project.set_status(entry.id, "in review")
    assert project.image(entry.id).changed == ""


def test_a_restored_older_state_of_the_seeds_is_a_change_too(accepted, project):
    entry, _ = accepted
    project.write_seeds(entry.id, (20, 20, 24, 24), np.full((4, 4), 1, np.uint8))
    project.restore(entry.id, entry.accepted.save)
    assert project.image(entry.id).changed == "seeds"


def test_what_does_not_fit_is_refused_and_nothing_is_kept(project):
    entry = project.images()[0]
    with pytest.raises(ProjectError, match="This map is of an image"):
        project.accept(entry.id, replace(seen_on(entry), width=3))
    with pytest.raises(ConfigError, match="between 0 and 1"):
        project.accept(entry.id, seen_on(entry), 1.5)
    assert project.image(entry.id).status == "to do"
    assert not list(project.folder.glob("images/1/accepted-*"))


def test_a_write_that_fails_leaves_the_image_as_it_was_and_can_be_repeated(accepted, project, monkeypatch):
    entry, _ = accepted
    from pixelcam.review import records

    def full(*ignored):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(records, "add_accepted", full)
        with pytest.raises(OutputError, match="disk is full"):
            project.accept(entry.id, seen_on(entry, 4))
    assert project.image(entry.id).accepted == entry.accepted
    assert len(list(project.folder.glob("images/1/accepted-*"))) == 1
    assert project.accepted_map(entry.id) is not None
    assert project.accept(entry.id, seen_on(entry, 4)).accepted.seq == entry.accepted.seq + 1


def test_nothing_is_accepted_in_a_project_that_is_only_looked_at(accepted, project, folder):
    entry, seen = accepted
    project.close()
    with Project.open(folder, reviewer="Ann", read_only=True) as looking:
        with pytest.raises(OutputError, match="read-only"):
            looking.accept(entry.id, seen)
        assert looking.image(entry.id).accepted == entry.accepted


def test_the_report_is_of_what_was_accepted_and_not_of_what_is_computed_anew(accepted, project, tmp_path):
    entry, seen = accepted
    project.set_label(entry.id, "benign")
    page = write_report(project, tmp_path / "report.html").read_text(encoding="utf-8")
    fraction = seen.foreground_fraction(0.371)
    pixels = round(fraction * entry.width * entry.height)
    assert f"{100 * fraction:.1f} %, {pixels:,} pixels (no pixel size), {entry.accepted.origin}" in page
    (judgement,) = gather(project).pictures[0].judgements
    assert judgement.fraction == fraction
    project.write_seeds(entry.id, (20, 20, 24, 24), np.full((4, 4), 1, np.uint8))
    (later,) = gather(project).pictures[0].judgements
    assert later.after == judgement.after, "seeds painted since are not drawn"
    assert later.fraction == fraction
    assert "seeds changed since" in write_report(project, tmp_path / "report.html").read_text("utf-8")


def test_no_area_is_booked_under_a_class_that_nobody_chose(accepted, project, tmp_path):
    page = write_report(project, tmp_path / "report.html").read_text(encoding="utf-8")
    table = page.split("<h2>Area by class</h2>")[1].split("<h2>Images</h2>")[0]
    assert "none chosen" in table
    assert "malignant" not in table
    assert "familiarity 10%: unlike its training images" not in table


def test_a_class_at_chance_and_a_strange_image_are_told(project, tmp_path):
    entry = project.images()[0]
    found = seen_on(entry, refined=0, classes={"benign": 0.46, "malignant": 0.54}, familiarity=0.0)
    project.keep_localization(entry.id, found, 0.2)
    page = write_report(project, tmp_path / "report.html").read_text(encoding="utf-8")
    assert "the model says malignant (54%, hardly more than the 50% of chance, uncertainty 0.200" in page
    assert "familiarity 0%: unlike its training images" in page


def test_an_image_that_is_not_done_is_in_no_sum_and_told_to_be_left_out(project, tmp_path):
    first, second = project.images()
    project.keep_localization(first.id, seen_on(first, refined=0), 0.2)
    project.write_seeds(first.id, (5, 5, 9, 9), np.full((4, 4), 2, np.uint8))
    project.keep_localization(second.id, seen_on(second, refined=0), 0.2)
    project.set_status(second.id, "done")  # by a program of before, say
    page = write_report(project, tmp_path / "report.html").read_text(encoding="utf-8")
    assert "Not counted: 1 judgement is not done yet. 1 judgement is done, but what was seen" in page
    assert "so far, the model’s map with the seeds in their place" in page


def test_results_leave_as_they_were_accepted_with_how_they_came_about(accepted, project, folder, tmp_path):
    entry, seen = accepted
    second = project.images()[1]
    project.keep_localization(second.id, seen_on(second, 5, refined=0), 0.2)
    files = export_project(project, tmp_path / "out", ["npz"], results=True)
    names = sorted(path.name for path in files if ".seeds" not in path.name)
    assert names == ["a.accepted.json", "a.fg.npz", "b.fg.npz"]
    with np.load(tmp_path / "out" / "a.fg.npz") as file:
        (values,) = [file[key] for key in file if file[key].ndim == 2]
    np.testing.assert_array_equal(values >= 0.371, seen.region(0.371))
    said = json.loads((tmp_path / "out" / "a.accepted.json").read_text(encoding="utf-8"))
    assert said["foreground_fraction"] == seen.foreground_fraction(0.371)
    assert (said["reviewer"], said["threshold"], said["refined"]) == ("Ann", 0.371, 123)
    assert said["image"]["sha256"] == entry.fingerprint
    project.close()
    with Project.open(folder, reviewer="Ben") as ben:
        ben.accept(entry.id, seen_on(entry, 9), 0.2)
    asked = ["--everyone", "--results", "--format", "geojson"]
    assert main(["review", "export", str(folder), "--out", str(tmp_path / "all"), *asked]) == 0
    found = sorted(path.relative_to(tmp_path / "all").as_posix() for path in (tmp_path / "all").rglob("a.*"))
    assert "Ann/a.accepted.json" in found
    assert "Ben/a.accepted.json" in found
    assert not (tmp_path / "all" / "a.geojson").exists()
    assert (tmp_path / "all" / "b.geojson").exists()


def test_what_was_accepted_goes_along_into_a_merged_project(accepted, project, folder, tmp_path):
    entry, seen = accepted
    project.close()
    shutil.copytree(folder, tmp_path / "other")
    merge(tmp_path / "merged", [folder, tmp_path / "other"], reviewer="Ann")
    with Project.open(tmp_path / "merged", reviewer="Ann") as merged:
        found = merged.images()[0]
        assert (found.status, found.changed, found.accepted.fraction) == ("done", "", entry.accepted.fraction)
        np.testing.assert_array_equal(merged.accepted_map(found.id).region(0.371), seen.region(0.371))
        assert merged.reviewers() == ["Ann"], "the same work twice is the same work"


def test_another_accepted_map_under_the_same_name_goes_beside_it(accepted, project, folder, tmp_path):
    entry, _ = accepted
    project.close()
    shutil.copytree(folder, tmp_path / "other")
    with Project.open(tmp_path / "other", reviewer="Ann") as other:
        other.accept(entry.id, seen_on(entry, 8), 0.371)
    report = merge(tmp_path / "merged", [folder, tmp_path / "other"], reviewer="Ann")
    assert report.renamed == [(tmp_path / "other", "Ann", "Ann (2)")]
    with Project.open(tmp_path / "merged", reviewer="Ann") as merged:
        fractions = {name: merged.images_of(name)[0].accepted.fraction for name in ("Ann", "Ann (2)")}
        assert fractions["Ann"] == entry.accepted.fraction != fractions["Ann (2)"]
        assert merged.accepted_map(entry.id, "Ann (2)") is not None


def test_rows_that_are_lost_come_back_from_the_maps_themselves(accepted, project, folder):
    entry, seen = accepted
    project.close()
    with closing(sqlite3.connect(folder / "project.sqlite")) as connection:
        connection.execute("DELETE FROM accepted")
        connection.commit()
    rescue(folder)
    with Project.open(folder, reviewer="Ann") as project:
        found = project.image(entry.id)
        assert replace(found.accepted, seq=0) == replace(entry.accepted, seq=0)
        np.testing.assert_array_equal(project.accepted_map(entry.id).region(0.371), seen.region(0.371))


def test_a_map_that_is_gone_leaves_its_figures(accepted, project):
    entry, _ = accepted
    shutil.rmtree(project.folder / "images" / "1" / entry.accepted.map)
    assert project.accepted_map(entry.id) is None
    (judgement,) = gather(project).pictures[0].judgements
    assert (judgement.fraction, judgement.after) == (entry.accepted.fraction, None)
