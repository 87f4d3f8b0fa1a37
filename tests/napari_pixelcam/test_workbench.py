"""A project in the viewer, on a bare viewer model: its list, its images, and what is kept of them."""

import gc
import shutil
import time
import weakref
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from napari_pixelcam import backend
from napari_pixelcam.controllers.history import restore
from napari_pixelcam.controllers.judgements import Stopwatch
from napari_pixelcam.controllers.worklist import ListView, listed, neighbour, ordered
from napari_pixelcam.seedgrid import BACKGROUND, FOREGROUND
from pixelcam.errors import OutputError
from pixelcam.export.seeds import read_seed_record
from pixelcam.review import Project
from tests.napari_pixelcam.helpers import Threads, Work, tissue


@pytest.fixture
def files(tmp_path):
    """Return four image files, of which the third is the least certain to the fake model."""
    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(4):
        pixels = np.roll(tissue(), 9 * number, axis=1)
        if number == 2:
            pixels[:, ::2] = 150
        Image.fromarray(pixels).save(folder / f"image-{number}.png")
    return sorted(folder.iterdir())


@pytest.fixture
def work(fake, files, tmp_path):
    """Return a bench on a new project of the four images, the first of them open."""
    made = Work()
    made.workbench.create(tmp_path / "project", "Ann")
    made.workbench.add_images(files)
    yield made
    made.close()


def paint(work, row, column, label=FOREGROUND):
    """Paint a dot as the brush does."""
    work.seeds.take("foreground" if label == FOREGROUND else "background")
    work.layer("seeds").paint((row, column), label)


def test_a_new_project_shows_its_first_image_localized_and_in_review(work):
    assert work.names() == ["image-0", "image-0 · background", "image-0 · foreground"]
    assert work.image().status == "in review"
    assert work.image().predicted == "malignant"
    assert [entry.status for entry in work.workbench.entries] == ["in review", "to do", "to do", "to do"]
    assert ("good", "4 images added.") in work.told


def test_the_next_image_is_read_and_localized_before_it_is_asked_for(work, fake):
    second = work.workbench.listed[1]
    assert second.localized is not None
    calls = []
    fake.on_step = calls.append
    work.workbench._ahead.begin = lambda *ignored: None  # nothing more is read ahead
    work.workbench.step(1)
    assert work.workbench.current == second.id
    assert calls == []
    assert work.record.result is not None


def test_strokes_go_into_the_project_and_not_into_the_folder(work, user_folder):
    paint(work, 20, 30)
    paint(work, 50, 60, BACKGROUND)
    deadline = time.monotonic() + 5
    while not work.project.history(1) and time.monotonic() < deadline:
        work.seeds.tick()
        time.sleep(0.02)
    np.testing.assert_array_equal(work.project.seeds(1), work.layer("seeds").data)
    assert work.image().foreground == (work.layer("seeds").data == FOREGROUND).sum() > 0
    assert not (user_folder / "seeds").exists()
    assert work.seeds.state.saved is not None


def test_the_journal_says_what_each_edit_was(work):
    work.seeds.take("foreground")
    for act in (
        lambda: paint(work, 20, 30),
        work.seeds.undo,
        work.seeds.redo,
        work.seeds.propose,
        lambda: work.tools.accept_at((24.0, 30.0)),
        work.tools.clear,
    ):
        act()
        work.seeds.flush()
    kinds = [save.kind for save in work.project.history(1)]
    assert kinds == ["stroke", "undo", "redo", "proposal", "fill", "clear"]


def test_seeds_label_note_threshold_and_status_come_back_with_the_image(work, tmp_path):
    paint(work, 20, 30)
    work.threshold.set_threshold(0.55)
    work.seeds.correct_label("benign")
    work.workbench.set_note("folded")
    painted = work.layer("seeds").data.copy()
    work.workbench.set_status("done", then=1)
    assert work.workbench.current == work.workbench.listed[1].id
    assert not any("image-0" in name for name in work.names())
    work.workbench.step(-1)
    np.testing.assert_array_equal(work.layer("seeds").data, painted)
    assert not work.seeds.state.can_undo
    assert work.record.corrected_label == "benign"
    assert work.threshold.state.threshold == 0.55
    entry = work.image()
    assert (entry.note, entry.label, entry.status, entry.threshold) == ("folded", "benign", "done", 0.55)
    work.workbench.close()
    assert work.names() == []
    work.workbench.open(tmp_path / "project", "Ann")
    work.workbench.go(1)
    np.testing.assert_array_equal(work.layer("seeds").data, painted)
    assert work.record.result is not None
    assert work.workbench.entry.note == "folded"


def test_a_kept_map_is_shown_without_running_the_model_again(work, fake, tmp_path):
    before = work.record.result.localization.foreground
    work.workbench.close()
    fake.error = AssertionError("the model ran")
    work.workbench.open(tmp_path / "project", "Ann")
    work.workbench.go(1)
    np.testing.assert_allclose(work.layer("foreground").data, before, atol=1e-3)
    assert work.record.result.localization.classes == {"benign": 0.3, "malignant": 0.7}


def test_a_kept_map_names_its_model_as_the_list_of_models_does(work, tmp_path, monkeypatch):
    work.workbench.close()
    monkeypatch.setattr(backend, "name_of", lambda sha256, hint: f"{hint} on the list, {sha256[:4]}")
    work.workbench.open(tmp_path / "project", "Ann")
    work.workbench.go(1)
    assert work.record.result.model == "tiny on the list, 0000"


def test_a_deleted_seed_layer_brings_all_its_seeds_back_with_the_next_brush(work):
    paint(work, 20, 30)
    painted = work.layer("seeds").data.copy()
    work.viewer.layers.remove(work.layer("seeds"))
    paint(work, 80, 100)
    now = work.layer("seeds").data
    assert (now[painted != 0] == painted[painted != 0]).all()
    assert now[80, 100] == FOREGROUND
    work.seeds.flush()
    np.testing.assert_array_equal(work.project.seeds(1), now)


def test_another_image_in_the_viewer_is_kept_in_the_folder_as_ever(work, user_folder):
    work.viewer.add_image(tissue(40, 50), name="guest", rgb=True)
    work.session.choose_image(work.viewer.layers["guest"])
    paint(work, 20, 30)
    work.seeds.flush()
    assert list(user_folder.glob("seeds/*/*.seeds.png"))
    assert work.project.history(1) == []


def test_going_back_in_the_history_is_a_save_and_one_undo_step(work):
    paint(work, 20, 30)
    work.seeds.flush()
    first = work.layer("seeds").data.copy()
    paint(work, 70, 30, BACKGROUND)
    work.seeds.flush()
    second = work.layer("seeds").data.copy()
    (save, _) = work.project.history(1)
    restore(work.workbench, save.seq)
    np.testing.assert_array_equal(work.layer("seeds").data, first)
    work.seeds.flush()
    assert [save.kind for save in work.project.history(1)] == ["stroke", "stroke", "restore"]
    work.seeds.undo()
    np.testing.assert_array_equal(work.layer("seeds").data, second)
    work.seeds.flush()
    np.testing.assert_array_equal(work.project.seeds(1), second)


def test_a_map_from_one_view_is_made_again_from_four_but_not_the_other_way_round(work, fake):
    work.workbench.localize_all()
    work.session.choose_views(4)
    fake.tilt = 0.2
    work.workbench.localize_all()
    assert work.told[-1] == ("good", "4 images localized with tiny.")
    assert {entry.model.views for entry in work.workbench.entries} == {4}
    assert work.record.result.maker == "tiny, 4 views", "the map on the screen is renewed too"
    work.session.choose_views(1)
    work.workbench.localize_all()
    assert work.told[-1] == ("good", "0 images localized with tiny; 4 had its map already.")
    assert {entry.model.views for entry in work.workbench.entries} == {4}


def test_all_images_are_localized_and_then_the_least_certain_comes_first(work, fake):
    work.workbench.localize_all()
    entries = work.workbench.listed
    assert all(entry.localized for entry in entries)
    figures = [entry.uncertainty for entry in entries]
    assert figures == sorted(figures, reverse=True)
    assert entries[0].name == "image-2"
    fake.error = AssertionError("the model ran")
    work.workbench.localize_all()
    assert work.told[-1] == ("good", "0 images localized with tiny; 4 had its map already.")


def test_the_open_image_shows_the_map_that_another_model_makes_of_all(work, fake, monkeypatch):
    before = work.layer("foreground").data.copy()
    fake.tilt, fake.sha256 = 0.1, "1" * 64
    monkeypatch.setattr(backend, "digest", lambda model: "1" * 64)
    work.workbench.localize_all()
    assert work.told[-1] == ("good", "4 images localized with tiny.")
    np.testing.assert_allclose(work.layer("foreground").data, before + 0.1, atol=2e-3)
    assert work.record.result.localization.model.sha256 == "1" * 64
    assert work.record.previous.localization.model.sha256 == "0" * 64
    shown = work.record.result
    work.workbench.localize_all()
    assert work.record.result is shown


def test_a_map_that_is_gone_is_made_again(work):
    work.workbench.localize_all()
    (gone,) = (work.project.folder / "images" / "4").glob("map-*.zarr")
    shutil.rmtree(gone)
    work.workbench.localize_all()
    assert work.told[-1] == ("good", "1 image localized with tiny; 3 had its map already.")


def test_a_missing_image_does_not_hold_up_the_others_and_is_told(work, files):
    files[3].unlink()
    work.workbench.localize_all()
    assert [bool(entry.localized) for entry in work.workbench.entries] == [True, True, True, False]
    assert "1 image could not be localized" in work.told[-1][1]
    work.workbench.go(4)
    assert work.workbench.current == 1
    assert "image-3" in work.said[-1][1]


def test_lost_images_are_passed_over_and_found_again_together(work, files, tmp_path):
    away = tmp_path / "away"
    away.mkdir()
    work.workbench.close()
    for file in files[1:]:
        file.rename(away / file.name)
    Image.fromarray(tissue()).save(away / files[3].name)  # another image of that name
    work.workbench.open(tmp_path / "project", "Ann")
    assert work.workbench.lost.ids == {2, 3, 4}
    work.workbench.go(1)
    work.workbench.step(1)
    assert work.workbench.current == 1
    work.workbench.go(3)
    assert work.said[-1][0] == "error"
    assert work.workbench.lost.asked(work.workbench.listed).id == 3
    work.workbench.lost.find(work.workbench.listed, away / files[1].name)
    assert "is not the image image-2" in work.said[-1][1]
    assert work.workbench.lost.ids == {2, 3, 4}
    work.workbench.lost.find(work.workbench.listed, away / files[2].name)
    assert ("good", "image-2 is found again, and 1 more beside it.") in work.told
    assert work.workbench.lost.ids == {4}
    assert work.workbench.current == 3
    assert work.project.image(2).path == away / files[1].name


def test_localizing_all_can_be_stopped_and_keeps_what_is_done(work, fake):
    fake.on_step = lambda step: work.workbench.batch.cancel()
    work.workbench.localize_all()
    assert work.told[-1] == ("info", "Stopped; what is done stays.")
    assert not work.workbench.batch.running


def test_the_list_keeps_its_order_while_maps_come_in(work):
    before = [entry.id for entry in work.workbench.listed]
    work.workbench.step(1)
    work.workbench.step(1)
    assert [entry.id for entry in work.workbench.listed] == before
    work.workbench.sort()
    assert [entry.id for entry in work.workbench.listed] != before


def test_the_ends_of_the_list_are_told(work):
    work.workbench.step(-1)
    assert work.told[-1] == ("info", "This is the first.")
    for _ in range(4):
        work.workbench.step(1)
    assert work.told[-1] == ("info", "That was the last image of the list.")


def test_a_name_in_use_is_told_and_read_only_or_another_name_opens(work, tmp_path):
    second = Work()
    locked = []
    second.workbench.locked.connect(locked.append)
    second.workbench.open(tmp_path / "project", "Ann")
    assert second.project is None
    assert "as 'Ann' already" in locked[0]
    second.workbench.open_pending("Ann", read_only=True)
    assert second.project.read_only
    second.workbench.go(1)
    second.workbench.set_status("done")
    second.workbench.close()
    assert work.image().status == "in review"
    second.workbench.open(tmp_path / "project", "Bob")
    second.workbench.go(1)
    paint(second, 50, 60)
    second.close()
    assert work.project.reviewers() == ["Ann", "Bob"]
    assert not work.project.seeds(1).any()
    assert work.project.seeds(1, "Bob").any()


def test_read_only_seeds_cannot_be_painted_on_and_a_stroke_is_not_called_saved(work, tmp_path):
    paint(work, 20, 30)
    work.workbench.close()
    work.workbench.open(tmp_path / "project", "Ann", read_only=True)
    work.workbench.go(1)
    assert not work.layer("seeds").editable
    failures = []
    work.seeds.save_failed.connect(failures.append)
    work.layer("seeds").data_setitem((np.array([90]), np.array([90])), FOREGROUND)
    work.seeds.flush()
    assert "read-only" in failures[0]
    assert not work.seeds.state.clean


def test_nothing_is_painted_or_said_in_a_project_open_read_only(work, tmp_path):
    work.workbench.close()
    work.workbench.open(tmp_path / "project", "Ann", read_only=True)
    work.workbench.go(1)
    for act in (lambda: work.seeds.take("foreground"), lambda: work.seeds.correct_label("benign")):
        act()
        assert work.record.seeds is None
        assert "open read-only" in work.said[-1][1]
    assert work.record.corrected_label is None


def test_a_stroke_that_a_project_could_not_take_is_kept_elsewhere_and_never_in_another_project(
    work, files, tmp_path, monkeypatch, user_folder
):
    def gone(*arguments):
        raise OutputError("The share is gone.")

    with monkeypatch.context() as patch:
        patch.setattr(Project, "write_changes", gone)
        paint(work, 20, 30)
        work.workbench.close()
    work.workbench.create(tmp_path / "other", "Ann")
    work.workbench.add_images(files)
    work.seeds.flush()
    assert [work.project.seeds(image).any() for image in (1, 2, 3, 4)] == [False] * 4
    (kept,) = user_folder.glob("seeds/*/*.seeds.json")
    record = read_seed_record(kept)
    assert record.labels[20, 30] == FOREGROUND
    assert record.image_path.samefile(files[0])


def test_going_on_while_an_image_is_localized_localizes_the_one_that_is_open(fake, files, tmp_path):
    work = Work()
    seen = []

    def go_on(step):
        seen.append(work.workbench.current)
        if len(seen) == 1:
            work.workbench.go(2)
            assert work.workbench.current == 2

    fake.on_step = go_on
    work.workbench.create(tmp_path / "project", "Ann")
    work.workbench.add_images(files)
    assert work.record.result is not None
    assert work.project.localization(2) is not None
    assert not work.localize.running
    assert not any("removed" in text for _, text in work.said + work.told)
    work.close()


def test_an_image_that_is_put_away_is_let_go(work):
    paint(work, 20, 30)
    before = [weakref.ref(each) for each in (work.record, work.record.layer, work.layer("foreground"))]
    work.workbench.step(1)
    gc.collect()
    assert [each() for each in before] == [None] * 3


def test_an_image_whose_layer_was_deleted_while_another_was_chosen_opens_again(work):
    other = work.viewer.add_image(tissue(), name="another", rgb=True)
    work.session.choose_image(other)
    work.viewer.layers.remove(work.viewer.layers["image-0"])
    assert work.workbench.current is None
    work.workbench.go(1)
    assert "image-0" in work.names()


def test_what_is_no_project_is_told_in_a_sentence(work, tmp_path):
    work.workbench.open(tmp_path / "images", "Ann")
    assert work.said[-1][0] == "error"
    assert "holds no project" in work.said[-1][1]
    assert work.project is None


def test_a_project_that_vanishes_keeps_the_strokes_and_says_so(work, tmp_path):
    failures = []
    paint(work, 70, 30)
    work.seeds.flush()
    work.seeds.save_failed.connect(failures.append)
    (tmp_path / "project").rename(tmp_path / "away")
    paint(work, 20, 30)
    work.seeds.flush()
    assert failures
    assert not work.seeds.state.clean
    (tmp_path / "away").rename(tmp_path / "project")
    work.seeds.flush()
    assert work.seeds.state.clean
    np.testing.assert_array_equal(work.project.seeds(1), work.layer("seeds").data)


def test_removing_the_image_by_hand_leaves_none_at_hand(work):
    work.viewer.layers.clear()
    assert work.workbench.current is None
    work.workbench.step(1)
    assert work.names()[0] == "image-0"


def test_a_changed_file_is_not_shown_as_the_image(work, files):
    shutil.copy(files[0], files[1])
    work.workbench._ahead.forget()
    work.workbench.go(2)
    assert work.workbench.current == 1
    assert work.said[-1][0] == "error"
    assert work.workbench.lost.ids == {2}


def test_time_is_counted_while_there_are_signs_of_the_reviewer():
    now = [0.0]
    watch = Stopwatch(lambda: now[0])
    watch.take()
    for second in range(1, 301):
        now[0] = second
        watch.tick("moving" if second < 100 and second % 10 else min(second, 100))
    assert watch.take() == pytest.approx(159, abs=2)  # 100 s of signs, and a minute of looking
    assert watch.seconds == 0


def test_time_spent_is_added_to_the_image(work):
    now = [0.0]
    work.workbench._stopwatch = Stopwatch(lambda: now[0])
    for second in range(12):
        now[0] = second
        work.viewer.cursor.position = (second, second)
        work.workbench.tick()
    work.workbench.step(1)
    work.seeds.flush()
    assert work.project.image(1).seconds == pytest.approx(11, abs=1)


def test_orders_and_filters(work):
    entries = [
        replace(entry, uncertainty=value, status=status)
        for entry, value, status in zip(
            work.workbench.entries,
            (0.1, None, 0.4, 0.1),
            ("done", "to do", "to do", "skipped"),
            strict=True,
        )
    ]
    assert ordered(entries, ListView("uncertain")) == [3, 1, 4, 2]
    assert ordered(entries, ListView("file")) == [1, 2, 3, 4]
    shuffled = [ordered(entries, ListView("random", seed=seed)) for seed in range(20)]
    assert all(sorted(order) == [1, 2, 3, 4] for order in shuffled)
    assert len({tuple(order) for order in shuffled}) > 5
    assert ordered(entries, ListView("random", seed=3)) == shuffled[3]
    shown = listed(entries, [3, 1, 4], ListView(status="to do"), keep=4)
    assert [entry.id for entry in shown] == [3, 4, 2]
    assert neighbour(shown, 3, 1) == 4
    assert neighbour(shown, 2, 1) is None
    assert neighbour(shown, 99, 1) == 3
    assert neighbour([], None, 1) is None


def test_what_is_read_ahead_gives_way_and_follows_the_reviewer_through_the_list(fake, files, tmp_path):
    threads = Threads()
    work = Work(threads)
    try:
        work.workbench.create(tmp_path / "project", "Ann")
        threads.settle()
        work.workbench.add_images(files)
        threads.settle()
        assert work.workbench.current == 1
        fake.steps = 30
        work.workbench.step(1)
        threads.pump(lambda: work.workbench.current == 2)
        threads.pump(lambda: work.session.queue.running.startswith("reading ahead"))
        work.workbench.step(1)  # while the third is read ahead
        threads.settle()
        assert work.workbench.current == 3
        assert "image-2 · foreground" in work.names()
        assert work.workbench._ahead.take(4) is not None
    finally:
        threads.settle()
        work.close()


def test_localizing_all_gives_way_to_the_image_at_hand_and_goes_on_where_it_was(fake, files, tmp_path):
    threads = Threads()
    work = Work(threads)
    order = []

    def note(step):
        order.append(work.session.queue.running)

    try:
        work.workbench.create(tmp_path / "project", "Ann")
        threads.settle()
        work.workbench.add_images(files)
        threads.settle()
        fake.tilt, fake.steps = 0.2, 40
        work.session.choose_views(4)  # no map is of four views
        fake.on_step = note
        work.workbench.localize_all()
        threads.pump(lambda: len(order) > 50)
        work.localize.run()
        threads.settle()
        assert work.told[-1][0] == "good"
        assert work.told[-1][1].startswith("3 images localized") or work.told[-1][1].startswith("4 images")
        kinds = [kind for at, kind in enumerate(order) if at == 0 or order[at - 1] != kind]
        assert kinds[:2] == ["the localization of the list", "the localization of 'image-0'"]
        assert all(work.project.localization(id).model.views == 4 for id in (1, 2, 3, 4))
    finally:
        threads.settle()
        work.close()
