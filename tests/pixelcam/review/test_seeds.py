"""Seeds of a project: kept as they are painted, with every earlier state."""

from __future__ import annotations

import shutil
import threading
from dataclasses import replace

import numpy as np
import pytest
import zarr

from pixelcam.errors import SeedsError
from pixelcam.review import Project
from pixelcam.seeds import count_seeds
from pixelcam.seeds.grid import SeedGrid
from tests.pixelcam.review.conftest import localization, paint


def picture(project: Project, image: int):
    """Return Ann's zarr array as whoever opens it without us would see it."""
    (path,) = (project.folder / "images" / str(image)).glob("seeds-Ann-*.zarr")
    return path


def test_what_is_painted_is_there_after_reopening(folder):
    labels = np.zeros((700, 600), np.uint8)
    labels[500:530, 490:540], labels[0:3, 0:4] = 2, 1
    with Project.open(folder, reviewer="Ann") as project:
        image = project.images()[1].id
        assert project.seed_grid(image) == SeedGrid(0, (700, 600), (1.0, 1.0))
        assert not project.seeds(image).any()
        save = project.write_changes(image, labels)
        assert (save.kind, save.reviewer, save.foreground, save.background) == ("stroke", "Ann", 1500, 12)
        assert project.write_changes(image, labels) is None
    with Project.open(folder, reviewer="Ann") as project:
        np.testing.assert_array_equal(project.seeds(image), labels)
        np.testing.assert_array_equal(zarr.open_array(picture(project, image), mode="r")[...], labels)
        entry = project.image(image)
        assert (entry.foreground, entry.background) == (1500, 12)


def test_a_box_is_written_where_it_belongs(project, image):
    project.write_seeds(image, (600, 10, 602, 13), np.array([[2, 0, 1], [2, 2, 0]], np.uint8), "fill")
    seeds = project.seeds(image)
    np.testing.assert_array_equal(seeds[600:602, 10:13], [[2, 0, 1], [2, 2, 0]])
    assert count_seeds(seeds) == (3, 1)
    assert project.history(image)[-1].kind == "fill"


def test_an_edit_that_changes_nothing_is_kept_and_drawn_too(folder, caplog):
    with Project.open(folder, reviewer="Ann") as project:
        image = project.images()[1].id
        assert project.write_seeds(image, (0, 0, 2, 2), np.zeros((2, 2), np.uint8)).foreground == 0
    with Project.open(folder, reviewer="Ann") as project:
        assert not project.seeds(image).any()
        assert not zarr.open_array(picture(project, image), mode="r")[...].any()
        assert len(project.history(image)) == 1
    assert caplog.records == []


def test_numbers_of_numpy_are_numbers_too(folder):
    with Project.open(folder, reviewer="Ann") as project:
        image = project.images()[0].id
        save = project.write_seeds(image, tuple(np.array([5, 6, 7, 8])), np.full((2, 2), 2, np.uint8))
        found = localization("a", 60, 80)
        odd = replace(found, classes={"a": np.float32(0.5)}, threshold=np.float32(0.5))
        project.keep_localization(image, odd, np.float32(0.25))
        project.set_threshold(image, np.float32(0.75))
    with Project.open(folder, reviewer="Ann") as project:
        assert project.seeds_at(image, np.int64(save.seq))[5:7, 6:8].all()
        entry = project.image(image)
        assert (entry.uncertainty, entry.threshold, entry.classes) == (0.25, 0.75, {"a": 0.5})


@pytest.mark.parametrize("box", [(0, 0, 2, 3), (-1, 0, 1, 3), (699, 0, 701, 3), (5, 5, 5, 8)])
def test_a_box_that_does_not_fit_is_refused(project, image, box):
    with pytest.raises(SeedsError):
        project.write_seeds(image, box, np.zeros((2, 2), np.uint8))
    assert project.history(image) == []


def test_seeds_of_another_size_or_meaning_are_refused(project, image):
    with pytest.raises(SeedsError, match=r"have 600 x 700 pixels \(rows x columns\), but .* has 700 x 600"):
        project.write_changes(image, np.zeros((600, 700), np.uint8))
    with pytest.raises(SeedsError, match="0 \\(unlabelled\\)"):
        project.write_changes(image, np.full((700, 600), 3, np.uint8))
    with pytest.raises(SeedsError, match="one of stroke"):
        project.write_changes(image, np.ones((700, 600), np.uint8), "scribble")
    assert not project.seeds(image).any()


def test_every_earlier_state_can_be_seen_from_both_ends_and_restored(project, image):
    rng = np.random.default_rng(3)
    states = {}
    for _ in range(12):
        seq = paint(project, image, rng).seq
        states[seq] = project.seeds(image)
    assert [save.seq for save in project.history(image)] == list(states)
    for seq, state in states.items():
        np.testing.assert_array_equal(project.seeds_at(image, seq), state)
    for save in project.history(image):
        assert (save.foreground, save.background) == count_seeds(states[save.seq])
    project.seeds(image)[...] = 2  # a copy: what is kept does not change
    third = list(states)[2]
    restored = project.restore(image, third)
    np.testing.assert_array_equal(project.seeds(image), states[third])
    assert restored.kind == "restore"
    assert len(project.history(image)) == 13
    np.testing.assert_array_equal(project.seeds_at(image, list(states)[-1]), states[list(states)[-1]])
    assert project.events()[-1].what == "restored"


def test_reviewers_paint_apart_and_see_each_other(project, image):
    rng = np.random.default_rng(4)
    with Project.open(project.folder, reviewer="Bob") as bob:
        paint(project, image, rng)
        save = paint(bob, image, rng)
        mine, his = project.seeds(image), bob.seeds(image)
        assert not np.array_equal(mine, his)
        np.testing.assert_array_equal(project.seeds(image, "Bob"), his)
        np.testing.assert_array_equal(bob.seeds(image, "Ann"), mine)
        project.restore(image, save.seq)
        np.testing.assert_array_equal(project.seeds(image), his)
        np.testing.assert_array_equal(bob.seeds(image), his)


@pytest.mark.parametrize("damage", ["gone", "no metadata", "broken chunk", "chunk gone"])
def test_a_picture_that_is_damaged_is_drawn_anew_from_the_journal(folder, damage):
    rng = np.random.default_rng(5)
    with Project.open(folder, reviewer="Ann") as project:
        image = project.images()[1].id
        for _ in range(30):
            paint(project, image, rng)
        before, path = project.seeds(image), picture(project, image)
    chunk = path / "c" / "0" / "0"
    if damage == "gone":
        shutil.rmtree(path)
    elif damage == "no metadata":
        (path / "zarr.json").write_text("{")
    elif damage == "broken chunk":
        chunk.write_bytes(b"\0" * 20)
    else:
        chunk.unlink()
    with Project.open(folder, reviewer="Ann", read_only=True) as project:
        np.testing.assert_array_equal(project.seeds(image), before)
    with Project.open(folder, reviewer="Ann") as project:
        np.testing.assert_array_equal(project.seeds(image), before)
        paint(project, image, rng)
        np.testing.assert_array_equal(zarr.open_array(path, mode="r")[...], project.seeds(image))


def test_a_picture_that_cannot_be_written_loses_nothing(project, image, monkeypatch):
    from pixelcam.review.arrays import SeedPicture

    rng = np.random.default_rng(6)
    paint(project, image, rng)

    def refuse(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(SeedPicture, "write", refuse)
    paint(project, image, rng)
    during = project.seeds(image)
    monkeypatch.undo()
    path = picture(project, image)
    assert not np.array_equal(zarr.open_array(path, mode="r")[...], during)
    paint(project, image, rng)
    np.testing.assert_array_equal(zarr.open_array(path, mode="r")[...], project.seeds(image))


def test_two_threads_may_use_one_project(project, image):
    failures = []

    def work(seed):
        rng = np.random.default_rng(seed)
        try:
            for _ in range(15):
                paint(project, image, rng)
                project.images()
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    history = project.history(image)
    assert len(history) == 30
    np.testing.assert_array_equal(project.seeds_at(image, history[-1].seq), project.seeds(image))
    assert (history[-1].foreground, history[-1].background) == count_seeds(project.seeds(image))
