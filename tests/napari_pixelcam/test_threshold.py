"""The threshold: shown by colours alone, measured exactly, and in step with the layer's own slider."""

from dataclasses import replace

import numpy as np
import pytest

from napari_pixelcam.histogram import ScoreHistogram
from napari_pixelcam.overlays import PROBABILITY, TWO_COLOURS
from napari_pixelcam.palette import BACKGROUND, FOREGROUND


@pytest.mark.parametrize("threshold", [0.0, 0.001, 0.25, 0.3, 0.5, 0.999, 1.0])
def test_the_histogram_counts_what_the_region_holds(threshold):
    rng = np.random.default_rng(0)
    scores = np.round(rng.random((300, 200)), 3).astype(np.float32)  # many pixels lie right on a threshold
    expected = float((scores >= threshold).mean())
    assert ScoreHistogram.of(scores).fraction(threshold) == pytest.approx(expected, abs=1e-12)


def test_the_slider_moves_the_contrast_limits_and_touches_no_pixel(bench):
    bench.localize.run()
    layer = bench.layer("foreground")
    data, before = layer.data, layer.data.copy()
    bench.threshold.set_threshold(0.437)
    assert layer.data is data
    np.testing.assert_array_equal(data, before)
    assert np.mean(layer.contrast_limits) == pytest.approx(0.437, abs=1e-6)
    assert np.ptp(layer.contrast_limits) < 0.001
    assert layer.colormap.interpolation == "zero"


@pytest.mark.parametrize("threshold", [0.0, 0.2, 0.437, 0.5, 1.0])
def test_each_pixel_takes_the_colour_of_its_side(bench, threshold):
    bench.localize.run()
    bench.threshold.set_threshold(threshold)
    for role in ("foreground", "background"):
        layer = bench.layer(role)
        low, high = layer.contrast_limits
        scaled = np.clip((layer.data.astype(float) - low) / (high - low), 0, 1)
        shown = layer.colormap.map(scaled.ravel()).reshape(*scaled.shape, 4)
        is_yellow = np.abs(shown[..., :3] - hex_colour(FOREGROUND)).max(axis=-1) < 0.01
        is_blue = np.abs(shown[..., :3] - hex_colour(BACKGROUND)).max(axis=-1) < 0.01
        assert (is_yellow ^ is_blue).all()
        scores = bench.layer("foreground").data
        clear = np.abs(scores - threshold) > 0.001
        np.testing.assert_array_equal(is_yellow[clear], (scores >= threshold)[clear])


def hex_colour(text):
    return np.array([int(text[i : i + 2], 16) / 255 for i in (1, 3, 5)])


def test_it_follows_the_layers_own_contrast_limits(bench):
    bench.localize.run()
    bench.threshold.set_threshold(0.5)
    seen = []
    bench.threshold.changed.connect(seen.append)
    bench.layer("foreground").contrast_limits = (0.2, 0.4)
    assert bench.threshold.state.threshold == pytest.approx(0.3)
    assert seen[-1].threshold == pytest.approx(0.3)
    assert tuple(bench.layer("foreground").contrast_limits) == (0.2, 0.4)  # it does not fight the user's hand


def test_contrast_limits_of_the_probability_view_are_no_threshold(bench):
    bench.localize.run()
    bench.layer("foreground").contrast_limits = (0.1, 0.2)
    assert bench.threshold.state.threshold == 0.4


def test_reset_goes_back_to_the_models_default(bench):
    bench.localize.run()
    bench.threshold.set_threshold(0.9)
    bench.threshold.reset()
    assert bench.threshold.state.threshold == bench.threshold.state.default == 0.4


def test_views_switch_between_shades_and_two_colours(bench):
    bench.localize.run()
    layer = bench.layer("foreground")
    assert bench.threshold.state.view == PROBABILITY
    bench.threshold.set_view(TWO_COLOURS)
    assert np.mean(layer.contrast_limits) == pytest.approx(0.4, abs=1e-6)
    bench.threshold.set_view(PROBABILITY)
    assert tuple(layer.contrast_limits) == (0, 1)
    assert layer.colormap.interpolation == "linear"


def test_the_area_is_in_square_millimetres_where_the_pixel_size_is_known(bench):
    bench.localize.run()
    assert bench.threshold.state.area_mm2 is None
    image = bench.record.layer
    image.scale = (0.5, 0.5)
    image.units = ("um", "um")
    bench.localize.run()
    state = bench.threshold.state
    pixels = int((bench.layer("foreground").data >= 0.4).sum())
    assert state.fraction == pytest.approx(pixels / (96 * 128))
    assert state.area_mm2 == pytest.approx(pixels * 0.0005**2)


def test_a_moved_threshold_and_view_survive_localizing_again(bench):
    bench.localize.run()
    bench.threshold.set_threshold(0.6)
    bench.localize.run()
    assert bench.threshold.state.threshold == 0.6
    assert np.mean(bench.layer("foreground").contrast_limits) == pytest.approx(0.6, abs=1e-6)


def test_it_says_what_the_foreground_is_where_the_model_does(bench):
    bench.localize.run()
    assert bench.threshold.state.called == "foreground"
    maps = bench.record.result
    named = replace(maps.localization, foreground_name="glands")
    bench.localize.show(bench.record, replace(maps, localization=named))
    assert bench.threshold.state.called == "glands"
