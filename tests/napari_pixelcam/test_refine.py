"""Live refinement from the dock: the map follows the seeds, and the model's own is one key away."""

from types import SimpleNamespace

import numpy as np
import pytest

from napari_pixelcam import backend, overlays
from napari_pixelcam.controllers import refine
from napari_pixelcam.controllers.refine import RefineController
from pixelcam.errors import DeviceError, ImageError
from pixelcam.refine import SeedSamples
from tests.napari_pixelcam.helpers import drag, tissue


class FakeFeatures:
    nbytes = 100


class FakeRefiner:
    """Says foreground where more foreground than background seeds are known, of all images together."""

    def __init__(self, slide):
        self.shape = (slide.height, slide.width)
        self.features = FakeFeatures()
        self.calls = 0

    def fit(self, seeds, others=()):
        self.calls += 1
        counted = [seeds.foreground, seeds.background]
        for other in others:
            counted[0] += int(other.labels.sum())
            counted[1] += int((1 - other.labels).sum())
        value = 0.9 if counted[0] > counted[1] else 0.1
        return SimpleNamespace(own=self.samples(seeds.array()), samples=sum(counted), value=value)

    def draw(self, refit, grid, rows, columns):
        return np.full((len(rows), len(columns)), refit.value, np.float32)

    def draw_all(self, refit, grid, should_stop):
        return np.full(grid.shape, refit.value, np.float32)

    def samples(self, labels):
        import torch

        found = torch.from_numpy(labels[labels != 0].astype(np.int64) - 1).float()
        return SeedSamples(torch.zeros(len(found), 1), found, found, found)


@pytest.fixture
def refiners(bench, monkeypatch):
    made = []

    def extract(self, slide, choice, *, should_stop):
        made.append(FakeRefiner(slide))
        return made[-1]

    monkeypatch.setattr(backend.Localizers, "refiner", extract)
    return made


@pytest.fixture
def live(bench, refiners):
    controller = RefineController(bench.session)
    bench.localize.run()
    return controller


def paint(bench, brush="foreground", points=((10, 10), (12, 20))):
    bench.seeds.take(brush)
    drag(bench.record.seeds, points)


def test_a_stroke_changes_the_map_and_its_area_at_once(bench, live, refiners):
    own = bench.layer("foreground").data.copy()
    assert len(refiners) == 1, "features are extracted as the map comes"
    assert not live.state.refined
    paint(bench)
    assert (bench.layer("foreground").data == np.float32(0.9)).all()
    np.testing.assert_allclose(bench.layer("background").data, 0.1, atol=1e-6)
    assert bench.record.result.localization.refined > 0
    assert bench.threshold.state.fraction == 1
    assert live.state.refined
    assert "ms" in live.state.text
    assert np.array_equal(bench.record.previous.localization.foreground, own), "to compare with"
    assert len(refiners) == 1, "never extracted again for a stroke"


def test_one_key_goes_back_to_the_models_map_and_forth(bench, live):
    own = bench.layer("foreground").data.copy()
    paint(bench)
    live.switch()
    assert np.array_equal(bench.layer("foreground").data, own)
    assert bench.record.result.localization.refined == 0
    assert live.state.can_switch
    live.switch()
    assert (bench.layer("foreground").data == np.float32(0.9)).all()
    live.switch()
    paint(bench, points=((30, 30), (32, 40)))
    assert live.state.refined, "the next stroke refits anyway"


def test_without_seeds_there_is_nothing_to_switch_to(bench, live):
    live.switch()
    assert bench.said[-1][0] == "info"
    assert not live.state.can_switch


def test_undoing_the_only_stroke_brings_the_models_map_back(bench, live):
    own = bench.layer("foreground").data.copy()
    paint(bench)
    bench.seeds.undo()
    assert np.array_equal(bench.layer("foreground").data, own)
    assert not live.state.refined
    assert not live.state.can_switch


def test_switched_off_strokes_change_nothing_and_on_again_they_count(bench, live):
    own = bench.layer("foreground").data.copy()
    paint(bench)
    live.set_live(False)
    assert np.array_equal(bench.layer("foreground").data, own)
    paint(bench, points=((30, 30), (32, 40)))
    assert np.array_equal(bench.layer("foreground").data, own)
    live.set_live(True)
    assert (bench.layer("foreground").data == np.float32(0.9)).all()


def test_switched_off_and_on_again_without_a_stroke_the_seeds_count_as_before(bench, live):
    paint(bench)
    live.set_live(False)
    live.set_live(True)
    assert live.state.refined
    assert (bench.layer("foreground").data == np.float32(0.9)).all()


def test_the_same_labels_are_not_fitted_twice(bench, live, refiners):
    paint(bench)
    calls = refiners[0].calls
    bench.record.seeds.refresh()
    assert refiners[0].calls == calls


def test_localizing_again_shows_what_the_model_says(bench, live, fake):
    paint(bench)
    fake.tilt = 0.05
    bench.localize.run()
    assert bench.record.result.localization.refined == 0
    assert not live.state.refined
    paint(bench, points=((30, 30), (32, 40)))
    assert live.state.refined


def test_seeds_that_were_there_before_the_map_count_at_once(bench, refiners):
    controller = RefineController(bench.session)
    paint(bench)
    bench.localize.run()
    assert controller.state.refined


def test_seeds_of_other_images_count_when_asked_for(bench, live):
    paint(bench)
    bench.viewer.add_image(tissue(64, 64), name="other", rgb=True)
    bench.session.choose_image(bench.viewer.layers["other"])
    bench.localize.run()
    own = bench.layer("foreground").data.copy()
    live.set_everywhere(True)
    assert (bench.layer("foreground").data == np.float32(0.9)).all()
    live.set_everywhere(False)
    assert np.array_equal(bench.layer("foreground").data, own)


def test_features_used_longest_ago_make_room_and_come_back(bench, live, refiners, monkeypatch):
    monkeypatch.setattr(refine, "MOST_KEPT", 150)
    bench.viewer.add_image(tissue(64, 64), name="other", rgb=True)
    bench.session.choose_image(bench.viewer.layers["other"])
    bench.localize.run()
    assert len(refiners) == 2
    bench.session.choose_image(bench.viewer.layers["tissue"])
    paint(bench)
    assert len(refiners) == 3
    assert live.state.refined


def test_the_features_are_seen_from_as_many_views_as_the_map(bench, monkeypatch):
    choices = []

    def extract(self, slide, choice, *, should_stop):
        choices.append(choice)
        return FakeRefiner(slide)

    monkeypatch.setattr(backend.Localizers, "refiner", extract)
    controller = RefineController(bench.session)
    bench.session.choose_views(4)
    bench.localize.run()
    bench.session.choose_views(1)
    controller.renew()
    paint(bench)
    assert choices == [("tiny", "auto", 4)]


def test_what_cannot_be_refined_says_so_and_stays_paintable(bench, monkeypatch):
    def refuse(self, *args, **kwargs):
        raise ImageError("The image is too large to be refined live; open a part of it.")

    monkeypatch.setattr(backend.Localizers, "refiner", refuse)
    controller = RefineController(bench.session)
    bench.localize.run()
    assert controller.state.text == "The image is too large to be refined live; open a part of it."
    paint(bench)
    assert bench.record.seeds.data.any()
    assert bench.record.result.localization.refined == 0


def test_a_refit_that_failed_is_tried_again_at_the_next_stroke(bench, live, refiners, monkeypatch):
    def fail(self, seeds, others=()):
        raise DeviceError("The device has no memory left; close other programs that use it.")

    with monkeypatch.context() as patch:
        patch.setattr(FakeRefiner, "fit", fail)
        paint(bench)
        assert live.state.text == "The device has no memory left; close other programs that use it."
        assert bench.record.result.localization.refined == 0
    paint(bench, points=((30, 30), (32, 40)))
    assert live.state.refined
    assert "follows" in live.state.text


def test_a_refit_that_failed_is_tried_again_though_the_seeds_are_the_same(bench, live, monkeypatch):
    def fail(self, seeds, others=()):
        raise DeviceError("The device has no memory left; close other programs that use it.")

    with monkeypatch.context() as patch:
        patch.setattr(FakeRefiner, "fit", fail)
        paint(bench)
    assert not live.state.refined
    bench.session.watch.edited.emit(bench.record, True)
    assert live.state.refined


def test_features_that_could_not_be_had_are_tried_again_at_the_next_stroke(bench, refiners, monkeypatch):
    def fail(self, *args, **kwargs):
        raise DeviceError("The device has no memory left; close other programs that use it.")

    controller = RefineController(bench.session)
    with monkeypatch.context() as patch:
        patch.setattr(backend.Localizers, "refiner", fail)
        bench.localize.run()
        paint(bench)
        assert controller.state.text == "The device has no memory left; close other programs that use it."
    paint(bench, points=((30, 30), (32, 40)))
    assert controller.state.refined
    assert "follows" in controller.state.text


def test_seeds_undone_on_a_hidden_layer_count_no_more(bench, live):
    own = bench.layer("foreground").data.copy()
    paint(bench)
    bench.record.seeds.visible = False
    bench.record.seeds.undo()
    bench.seeds.tick()
    assert np.array_equal(bench.layer("foreground").data, own)


@pytest.mark.parametrize("large", [False, True])
def test_a_stroke_changes_nothing_of_the_layers_but_their_pixels(bench, refiners, monkeypatch, large):
    monkeypatch.setattr(overlays, "LARGE", 1000 if large else overlays.LARGE)
    controller, heard = RefineController(bench.session), []
    bench.localize.run()
    bench.seeds.take("foreground")
    for role in ("foreground", "background"):
        bench.layer(role).events.connect(lambda event: heard.append(event.type))
    paint(bench)
    assert controller.state.refined
    assert set(heard) == {"set_data"}, "napari draws its list of layers anew at every other event"


def test_a_stroke_keeps_the_look_that_the_user_gave_the_map_and_brings_no_deleted_layer_back(bench, live):
    areas = []
    bench.threshold.changed.connect(lambda state: areas.append(state.fraction))
    foreground = bench.layer("foreground")
    foreground.colormap, foreground.contrast_limits = "magma", (0.3, 0.9)
    bench.viewer.layers.remove(bench.layer("background"))
    names = {layer.name for layer in bench.viewer.layers}
    paint(bench)
    assert bench.record.result.localization.foreground.min() == np.float32(0.9)
    np.testing.assert_array_equal(foreground.data, bench.record.result.localization.foreground)
    assert (foreground.colormap.name, list(foreground.contrast_limits)) == ("magma", [0.3, 0.9])
    assert {layer.name for layer in bench.viewer.layers} - names == {"tissue · seeds"}
    assert areas[-1] == bench.threshold.state.fraction


def test_the_refined_map_is_exported_with_its_origin(bench, live, tmp_path):
    import json

    from pixelcam.export import export_localization
    from pixelcam.export.reading import read_localization

    paint(bench)
    files = export_localization(bench.record.result.localization, tmp_path)
    cells = bench.record.result.localization.refined
    assert json.loads(files["summary"].read_text())["refined"] == cells
    assert read_localization(files["summary"]).refined == cells
    live.switch()
    files = export_localization(bench.record.result.localization, tmp_path)
    assert "refined" not in json.loads(files["summary"].read_text())
