"""Seeds on a bare viewer model: painting, proposing, undoing, and never losing a stroke."""

import json
import time

import numpy as np
from napari.components import ViewerModel
from PIL import Image

from napari_pixelcam.background import Task
from napari_pixelcam.seedgrid import BACKGROUND, FOREGROUND
from tests.napari_pixelcam.helpers import tissue


def settle(bench):
    """Let the counting and the saving happen, as the dock's timer does."""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        bench.seeds.tick()
        if bench.seeds.state.clean:
            return
        time.sleep(0.02)
    raise AssertionError("the seeds were not saved within five seconds")


def saved_labels(folder):
    return np.array(Image.open(next(folder.glob("seeds/*/*.seeds.png"))))


def test_brushes_make_the_layer_and_set_what_is_painted(bench):
    bench.seeds.take("foreground")
    layer = bench.layer("seeds")
    assert bench.viewer.layers.selection.active is layer
    assert (layer.mode, layer.selected_label, layer.brush_size) == ("paint", FOREGROUND, 9)
    bench.seeds.take("background")
    assert (layer.mode, layer.selected_label) == ("paint", BACKGROUND)
    bench.seeds.take("eraser")
    assert layer.mode == "erase"
    assert bench.seeds.state.brush == "eraser"
    bench.seeds.put_away()
    assert bench.seeds.state.brush is None


def test_of_two_layers_of_one_image_one_is_painted_on(bench, user_folder):
    bench.seeds.take("foreground")
    bench.layer("seeds").paint((20, 30), FOREGROUND)
    settle(bench)
    again = bench.viewer.add_image(tissue(), name="again", rgb=True)
    bench.session.choose_image(again)
    for act in (bench.seeds.propose, lambda: bench.seeds.take("foreground")):
        act()
        assert bench.record.seeds is None
        assert bench.said[-1] == (
            "warning",
            "'again' is the same image as 'tissue', which has seeds already: paint there.",
        )
    assert saved_labels(user_folder)[20, 30] == FOREGROUND
    bench.viewer.layers.remove(bench.viewer.layers["tissue"])
    bench.seeds.take("foreground")
    assert bench.record.seeds.data[20, 30] == FOREGROUND


def test_painted_pixels_are_counted_and_saved_by_themselves(bench, user_folder):
    bench.seeds.take("foreground")
    layer = bench.layer("seeds")
    layer.brush_size = 5
    layer.paint((20, 30), FOREGROUND)
    layer.paint((50, 60), BACKGROUND)
    settle(bench)
    state = bench.seeds.state
    assert state.foreground == (layer.data == 2).sum() > 0
    assert state.background == (layer.data == 1).sum() > 0
    assert state.saved is not None
    np.testing.assert_array_equal(saved_labels(user_folder), layer.data)


def test_undo_and_redo_are_saved_too(bench, user_folder):
    bench.seeds.take("foreground")
    bench.layer("seeds").paint((20, 30), FOREGROUND)
    settle(bench)
    assert saved_labels(user_folder).any()
    assert bench.seeds.state.can_undo
    bench.seeds.undo()
    settle(bench)
    assert not saved_labels(user_folder).any()
    assert bench.seeds.state.can_redo
    bench.seeds.redo()
    settle(bench)
    assert saved_labels(user_folder).any()


def test_proposals_never_overwrite_the_reviewer_and_are_one_undo_step(bench):
    bench.localize.run()
    bench.seeds.take("foreground")
    layer = bench.layer("seeds")
    layer.brush_size = 40
    layer.paint((5, 120), FOREGROUND)  # where the map says background
    mine = layer.data.copy()
    bench.seeds.propose()
    assert (layer.data[mine != 0] == mine[mine != 0]).all()
    added = (layer.data != 0) & (mine == 0)
    scores = bench.layer("foreground").data
    assert scores[added & (layer.data == 2)].mean() > scores[added & (layer.data == 1)].mean() + 0.2
    bench.seeds.undo()
    np.testing.assert_array_equal(layer.data, mine)


def test_proposals_of_a_coarse_map_lie_where_the_map_is_sure(bench, fake):
    fake.downsample = 4
    bench.localize.run()
    bench.seeds.propose()
    layer = bench.layer("seeds")
    gray = bench.record.layer.data.mean(axis=2)
    assert gray[layer.data == 2].mean() < gray[layer.data == 1].mean() - 60


def test_no_foreground_is_proposed_where_the_threshold_says_background(bench):
    bench.localize.run()
    bench.threshold.set_threshold(1.0)
    bench.seeds.propose()
    assert set(np.unique(bench.layer("seeds").data)) == {0, BACKGROUND}


def test_seeds_come_back_with_the_same_image(bench, fake):
    from tests.napari_pixelcam.helpers import Bench

    bench.localize.run()
    bench.seeds.take("background")
    bench.layer("seeds").paint((50, 60), BACKGROUND)
    bench.seeds.correct_label("benign")
    settle(bench)
    before = bench.layer("seeds").data.copy()
    viewer = ViewerModel()
    viewer.add_image(bench.record.layer.data.copy(), name="another name", rgb=True)
    restored = []
    again = Bench(viewer)
    again.seeds.restored.connect(lambda record, count: restored.append(count))
    try:
        np.testing.assert_array_equal(again.layer("seeds").data, before)
        assert again.record.corrected_label == "benign"
        assert again.seeds.state.background == (before == 1).sum()
        assert not again.seeds.state.can_undo
        assert again.viewer.layers.selection.active.name == "another name"
    finally:
        again.close()


class Later:
    """A background that works when it is told to."""

    def __init__(self):
        self.jobs = []

    def submit(self, work, *, done, failed):
        task = Task()
        self.jobs.append(lambda: done(work(task)))
        return task


def test_seeds_painted_before_the_old_ones_are_found_join_them(bench, fake, user_folder):
    from tests.napari_pixelcam.helpers import Bench

    bench.seeds.take("foreground")
    bench.layer("seeds").paint((20, 30), FOREGROUND)
    settle(bench)
    old = bench.layer("seeds").data.copy()
    viewer = ViewerModel()
    viewer.add_image(bench.record.layer.data.copy(), name="tissue", rgb=True)
    later = Later()
    again = Bench(viewer, later)
    try:
        again.seeds.take("background")
        again.layer("seeds").paint((60, 60), BACKGROUND)
        settle(again)  # it needs neither the models nor what was painted before
        new = again.layer("seeds").data.copy()
        for job in later.jobs:
            job()
        settle(again)
        np.testing.assert_array_equal(again.layer("seeds").data, np.maximum(old, new))
        np.testing.assert_array_equal(saved_labels(user_folder), np.maximum(old, new))
        assert not again.said
    finally:
        again.close()


def test_another_image_gets_no_foreign_seeds(bench):
    bench.seeds.take("background")
    bench.layer("seeds").paint((50, 60), BACKGROUND)
    settle(bench)
    bench.viewer.add_image(np.zeros((96, 128, 3), np.uint8), name="black", rgb=True)
    assert bench.record.name == "black"
    assert bench.record.seeds is None


def test_a_deleted_seed_layer_was_saved_and_comes_back_with_the_next_stroke(bench):
    bench.seeds.take("foreground")
    layer = bench.layer("seeds")
    layer.paint((20, 30), FOREGROUND)
    painted = layer.data.copy()
    bench.viewer.layers.remove(layer)
    bench.seeds.take("foreground")
    np.testing.assert_array_equal(bench.layer("seeds").data, painted)


def test_closing_saves_what_was_painted_a_moment_ago(bench, user_folder):
    bench.seeds.take("foreground")
    bench.layer("seeds").paint((20, 30), FOREGROUND)
    bench.seeds.flush()
    assert saved_labels(user_folder).any()


def test_a_failed_save_is_said_and_tried_again(bench, user_folder, monkeypatch):
    from napari_pixelcam.controllers import autosave

    monkeypatch.setattr(autosave, "RETRY", 0.1)
    blocker = user_folder / "seeds"
    blocker.write_text("a file where the folder should be")
    messages = []
    bench.seeds.save_failed.connect(messages.append)
    bench.seeds.take("foreground")
    bench.layer("seeds").paint((20, 30), FOREGROUND)
    deadline = time.monotonic() + 5
    while len(messages) < 2 and time.monotonic() < deadline:
        bench.seeds.tick()
        time.sleep(0.02)
    assert not bench.seeds.state.clean
    assert len(messages) > 1
    assert "cannot be written" in messages[0]
    blocker.unlink()
    settle(bench)
    assert saved_labels(user_folder).any()


def test_damaged_seeds_are_said_and_left_alone(bench, fake):
    from tests.napari_pixelcam.helpers import Bench

    bench.seeds.take("foreground")
    bench.layer("seeds").paint((20, 30), FOREGROUND)
    settle(bench)
    folder = next((bench.session.home / "seeds").iterdir())
    sidecar = next(folder.glob("*.json"))
    sidecar.write_text("{")
    viewer = ViewerModel()
    viewer.add_image(bench.record.layer.data.copy(), name="tissue", rgb=True)
    again = Bench(viewer)
    try:
        again.session.refresh_catalogue()
        assert again.record.seeds is None
        again.seeds.take("foreground")
        assert [level for level, _ in again.said] == ["warning"]
        again.layer("seeds").paint((60, 60), BACKGROUND)
        settle(again)
        assert sidecar.read_text() == "{"
    finally:
        again.close()


def test_two_windows_do_not_write_over_each_others_seeds(bench, fake, user_folder):
    from tests.napari_pixelcam.helpers import Bench

    viewer = ViewerModel()
    viewer.add_image(bench.record.layer.data.copy(), name="tissue", rgb=True)
    other = Bench(viewer)
    try:
        for window, place, label in ((bench, (20, 30), FOREGROUND), (other, (60, 60), BACKGROUND)):
            window.seeds.take("foreground")
            window.layer("seeds").paint(place, label)
        settle(bench)
        first = saved_labels(user_folder)
        settle(other)
        np.testing.assert_array_equal(saved_labels(user_folder), other.layer("seeds").data)
        (aside,) = (one for one in user_folder.glob("seeds/*/*") if one.is_dir())
        assert [level for level, _ in other.said] == ["warning"]
        assert str(aside) in other.said[0][1]
        kept = next(aside.glob("*.seeds.png"))
        np.testing.assert_array_equal(np.array(Image.open(kept)), first)
        other.layer("seeds").paint((70, 60), BACKGROUND)
        settle(other)
        assert len(other.said) == 1
    finally:
        other.close()


def test_the_sidecar_says_what_the_reviewer_saw(bench, user_folder):
    bench.localize.run()
    bench.threshold.set_threshold(0.6)
    bench.seeds.take("foreground")
    bench.layer("seeds").paint((20, 30), FOREGROUND)
    bench.seeds.correct_label("malignant")
    settle(bench)
    said = json.loads(next(user_folder.glob("seeds/*/*.seeds.json")).read_text())
    assert said["predicted"] == "malignant"
    assert said["corrected_label"] == "malignant"
    assert said["threshold"] == 0.6
    assert said["model"]["name"] == "tiny"
    assert said["counts"]["foreground"] == bench.seeds.state.foreground


def test_labels_beyond_foreground_cannot_be_chosen(bench):
    bench.seeds.take("foreground")
    layer = bench.layer("seeds")
    layer.selected_label = 3
    assert layer.selected_label == 2
