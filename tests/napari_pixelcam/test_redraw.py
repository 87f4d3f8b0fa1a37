"""Of a large map what is in view is drawn first, and nothing takes a half-drawn map for a whole one."""

import numpy as np
import pytest

from napari_pixelcam import livemap, overlays
from napari_pixelcam.background import Task
from napari_pixelcam.controllers.export import ExportChoices
from napari_pixelcam.controllers.refine import RefineController
from napari_pixelcam.overlays import shown
from pixelcam.errors import DeviceError
from pixelcam.events import Stop
from tests.napari_pixelcam.test_refine import FakeRefiner, paint, refiners

__all__ = ["refiners"]
VIEW = (slice(20, 50), slice(30, 70))
"""What the canvas shows of the image in these tests, in its pixels."""


class Later:
    """Runs work, one piece after the other, when it is told to."""

    def __init__(self):
        self.waiting = []

    def submit(self, work, *, done, failed, progress=None):
        task = Task()
        self.waiting.append((work, task, done, failed))
        return task

    def step(self):
        work, task, done, failed = self.waiting.pop(0)
        try:
            result = work(task)
        except Exception as error:
            failed(error)
        else:
            done(result)

    def run(self):
        while self.waiting:
            self.step()


@pytest.fixture
def live(bench, refiners, monkeypatch):
    """Return the controller of an image whose map counts as large, seen in part."""
    monkeypatch.setattr(overlays, "LARGE", 1000)
    monkeypatch.setattr(livemap, "COARSEST", 32)
    controller = RefineController(bench.session)
    bench.localize.run()
    look(bench)
    bench.seeds.take("foreground")
    bench.session.background = Later()
    return controller


def look(bench, centre=(34.5, 49.5), zoom=10.0):
    bench.viewer.canvas.size = (300, 400)
    bench.viewer.scene.camera.center = (0.0, *centre)
    bench.viewer.scene.camera.zoom = zoom


def seen(bench, role="foreground"):
    """Return what the layer shows of the whole map."""
    return np.array(shown(bench.layer(role)))


def test_what_is_in_view_follows_a_stroke_before_the_rest_is_drawn(bench, live):
    own = bench.record.result
    paint(bench)
    bench.session.background.step()
    now = seen(bench)
    assert (now[VIEW] == np.float32(0.9)).all()
    np.testing.assert_allclose(seen(bench, "background")[VIEW], 0.1, atol=1e-6)
    assert np.isnan(now[:10]).all(), "no map of before stands beside the new one"
    assert live.state.refined
    assert "follows" in live.state.text
    assert bench.record.result is own, "areas and exports are those of a whole map"
    bench.session.background.run()
    assert (seen(bench) == np.float32(0.9)).all()
    assert (bench.record.result.localization.foreground == np.float32(0.9)).all()
    assert bench.record.result.localization.refined > 0
    assert bench.threshold.state.fraction == 1
    assert not bench.record.pending


def test_where_the_reviewer_looks_meanwhile_is_drawn_next(bench, live):
    paint(bench)
    bench.session.background.step()
    look(bench, (80, 110))
    assert np.isnan(seen(bench)[80, 110])
    rest = bench.session.background.waiting.pop(0)
    bench.session.background.step()
    assert seen(bench)[80, 110] == np.float32(0.9)
    assert seen(bench)[35, 50] == np.float32(0.9), "what was seen before is there still"
    look(bench, (34.5, 49.5))
    assert bench.session.background.waiting == [], "and is not drawn again"
    bench.session.background.waiting.append(rest)
    bench.session.background.run()
    assert (seen(bench) == np.float32(0.9)).all()


def test_a_stroke_breaks_off_the_drawing_for_the_one_before(bench, live, monkeypatch):
    paint(bench)
    bench.session.background.step()
    ((_, first, *_),) = bench.session.background.waiting
    paint(bench, "background", points=((70, 20), (75, 110)))
    assert first.should_stop() is Stop.DISCARD
    bench.session.background.step()  # the one that was broken off
    assert bench.record.result.localization.refined == 0
    bench.session.background.step()
    assert (seen(bench)[VIEW] == np.float32(0.1)).all()
    assert bench.record.pending
    bench.session.background.run()
    assert (bench.record.result.localization.foreground == np.float32(0.1)).all()
    assert not bench.record.pending


def test_an_export_waits_for_the_whole_map(bench, live, tmp_path):
    from pixelcam.export.reading import read_localization

    paint(bench)
    bench.export.run(tmp_path, ExportChoices(seeds=()))
    assert bench.export.running
    bench.session.background.step()
    assert list(tmp_path.iterdir()) == []
    bench.session.background.run()
    assert not bench.export.running
    found = read_localization(next(tmp_path.glob("*.json")))
    assert found.refined == bench.record.result.localization.refined > 0
    assert (found.foreground == np.float32(0.9)).all()


def test_proposals_and_regions_wait_for_the_whole_map(bench, live):
    paint(bench)
    bench.session.background.step()
    before = bench.record.seeds.data.copy()
    bench.tools.kind = "foreground"
    bench.tools.accept_at((90, 120))
    assert np.array_equal(bench.record.seeds.data, before)
    bench.session.background.run()
    assert (bench.record.seeds.data == 2).all(), "the whole map is one region by then"


def test_a_stroke_taken_back_before_the_map_was_whole_leaves_the_models_map(bench, live):
    own = bench.record.result
    paint(bench)
    bench.session.background.step()
    bench.seeds.undo()
    bench.session.background.run()
    assert bench.record.result is own
    assert np.array_equal(seen(bench), own.localization.foreground)
    assert not live.state.can_switch
    assert not bench.record.pending


def test_a_stroke_taken_back_while_it_is_fitted_leaves_no_map_half_drawn(bench, live):
    paint(bench)
    bench.session.background.run()
    paint(bench, "background", points=((70, 20), (75, 110)))
    paint(bench, "background", points=((80, 20), (85, 110)))
    bench.seeds.undo()
    bench.session.background.run()
    assert np.isfinite(seen(bench)).all()
    assert not bench.record.pending


def test_one_key_shows_the_models_map_while_the_refitted_one_is_drawn(bench, live):
    own = bench.record.result
    paint(bench)
    bench.session.background.step()
    live.switch()
    assert np.array_equal(seen(bench), own.localization.foreground)
    assert not live.state.refined
    assert live.state.can_switch
    live.switch()
    assert seen(bench)[35, 50] == np.float32(0.9)
    live.switch()
    bench.session.background.run()
    assert bench.record.result is own, "and it stays until the reviewer wants the other"
    assert np.array_equal(seen(bench), own.localization.foreground)
    live.switch()
    assert (seen(bench) == np.float32(0.9)).all()


def test_what_is_drawn_meanwhile_does_not_come_over_the_models_map(bench, live):
    own = bench.record.result
    paint(bench)
    bench.session.background.step()
    look(bench, (80, 110))
    rest = bench.session.background.waiting.pop(0)
    live.switch()
    bench.session.background.step()
    assert np.array_equal(seen(bench), own.localization.foreground)
    live.switch()
    assert seen(bench)[80, 110] == np.float32(0.9)
    bench.session.background.waiting.append(rest)
    bench.session.background.run()


def test_switched_off_meanwhile_the_map_is_the_models(bench, live):
    own = bench.record.result
    paint(bench)
    bench.session.background.step()
    live.set_live(False)
    bench.session.background.run()
    assert bench.record.result is own
    assert np.array_equal(seen(bench), own.localization.foreground)
    assert not bench.record.pending


def test_a_map_that_could_not_be_drawn_whole_gives_way_to_the_last_that_was(bench, live, monkeypatch):
    def fail(self, refit, grid, should_stop):
        raise DeviceError("There is no memory left; close other programs.")

    own = bench.record.result
    with monkeypatch.context() as patch:
        patch.setattr(FakeRefiner, "draw_all", fail)
        paint(bench)
        bench.session.background.run()
    assert live.state.text == "There is no memory left; close other programs."
    assert np.array_equal(seen(bench), own.localization.foreground)
    assert not bench.record.pending
    paint(bench, points=((30, 30), (32, 40)))
    bench.session.background.run()
    assert (seen(bench) == np.float32(0.9)).all()


def test_a_new_localization_takes_the_place_of_a_map_in_the_making(bench, live, fake):
    paint(bench)
    bench.session.background.step()
    fake.tilt = 0.05
    bench.localize.run()
    bench.session.background.run()
    assert bench.record.result.localization.refined == 0
    assert np.array_equal(seen(bench), bench.record.result.localization.foreground)
    assert not bench.record.pending


def test_an_image_removed_meanwhile_holds_up_nobody(bench, live):
    record, went_on = bench.record, []
    paint(bench)
    bench.session.background.step()
    bench.session.when_whole(record, lambda: went_on.append(True))
    bench.viewer.layers.clear()
    bench.session.background.run()
    assert went_on == [True]


def test_a_map_that_becomes_small_or_large_gets_layers_of_its_kind(bench, live, fake):
    bench.session.background.run()
    fake.downsample = 4
    bench.localize.run()
    bench.session.background.run()
    assert not bench.layer("foreground").multiscale
    assert bench.layer("foreground").data.shape == (24, 32)
    fake.downsample = 1
    bench.localize.run()
    bench.session.background.run()
    assert bench.layer("foreground").multiscale
    assert np.array_equal(seen(bench), bench.record.result.localization.foreground)
    np.testing.assert_allclose(seen(bench, "background"), 1 - seen(bench))


def test_maps_are_compared_though_they_are_large(bench, live):
    from napari_pixelcam.controllers.comparison import ComparisonController

    paint(bench)
    bench.session.background.run()
    comparison = ComparisonController(bench.session)
    comparison.next_swipe()
    before, after = bench.layer("before"), bench.layer("after")
    assert np.array_equal(
        before.data, bench.record.previous.localization.foreground[:, : before.data.shape[1]]
    )
    assert (after.data == np.float32(0.9)).all()
    comparison.close()
