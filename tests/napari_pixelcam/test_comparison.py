"""Before and after, by blinking and by a divider, on a bare viewer model."""

from dataclasses import replace

import numpy as np
import pytest

from napari_pixelcam.controllers.comparison import ComparisonController


@pytest.fixture
def twice(bench, fake):
    """Return the bench after two localizations that differ, and a comparison."""
    bench.localize.run()
    fake.tilt = 0.2
    bench.localize.run()
    bench.comparison = ComparisonController(bench.session)
    return bench


def names(bench):
    return [layer.name for layer in bench.viewer.layers]


def columns_shown(bench, role):
    """Return the image columns that a layer's pixels lie in."""
    layer = bench.layer(role)
    image = bench.viewer.layers["tissue"]
    first = image.world_to_data(layer.data_to_world((0, 0)))[1]
    last = image.world_to_data(layer.data_to_world((0, layer.data.shape[1] - 1)))[1]
    return round(float(first), 3), round(float(last), 3)


def test_holding_the_key_shows_the_earlier_map_and_letting_go_the_present_one(twice):
    before, layers = twice.record.previous.localization.foreground, names(twice)
    twice.threshold.set_threshold(0.5)
    twice.comparison.blink(True)
    shown = twice.layer("before")
    np.testing.assert_array_equal(shown.data, before)
    assert shown.visible
    assert not twice.layer("foreground").visible
    assert shown.contrast_limits == twice.layer("foreground").contrast_limits
    twice.comparison.blink(False)
    assert names(twice) == layers
    assert twice.layer("foreground").visible


def test_without_an_earlier_map_blinking_says_so(bench):
    comparison = ComparisonController(bench.session)
    bench.localize.run()
    comparison.blink(True)
    assert comparison.mode == "off"
    assert "no earlier map" in bench.said[-1][1]


def test_the_divider_parts_the_earlier_map_from_the_present_one(twice):
    twice.comparison.next_swipe()
    before, now = (
        twice.record.previous.localization.foreground,
        twice.record.result.localization.foreground,
    )
    for share in (0.5, 0.25, 0.75):
        twice.comparison.set_divider(share)
        column = round(share * 128)
        np.testing.assert_array_equal(twice.layer("before").data, before[:, :column])
        np.testing.assert_array_equal(twice.layer("after").data, now[:, column:])
        assert columns_shown(twice, "before") == (0, column - 1)
        assert columns_shown(twice, "after") == (column, 127)


def test_the_divider_goes_to_both_ends(twice):
    twice.comparison.next_swipe()
    twice.comparison.set_divider(0)
    assert not twice.layer("before").visible
    assert columns_shown(twice, "after") == (0, 127)
    twice.comparison.set_divider(1)
    assert columns_shown(twice, "before") == (0, 127)
    assert not twice.layer("after").visible


def test_the_key_goes_on_to_image_beside_map_and_then_off(twice):
    layers = names(twice)
    twice.comparison.next_swipe()
    twice.comparison.next_swipe()
    assert twice.comparison.mode == "image"
    assert "tissue · before" not in names(twice)
    assert columns_shown(twice, "after") == (64, 127)
    twice.comparison.next_swipe()
    assert twice.comparison.mode == "off"
    assert names(twice) == layers


def test_it_follows_the_maps_look_and_a_new_map(twice, fake):
    twice.comparison.next_swipe()
    twice.threshold.set_threshold(0.55)
    foreground = twice.layer("foreground")
    foreground.opacity = 0.9
    for role in ("before", "after"):
        assert twice.layer(role).contrast_limits == foreground.contrast_limits
        assert twice.layer(role).opacity == 0.9
    fake.tilt = 0.3
    twice.localize.run()
    now = twice.record.result.localization.foreground
    np.testing.assert_array_equal(twice.layer("after").data, now[:, 64:])
    assert not foreground.visible


def test_it_follows_the_map_that_follows_the_strokes(twice):
    twice.comparison.next_swipe()
    maps = twice.record.result
    scores = 1 - maps.localization.foreground
    twice.record.result = replace(maps, localization=replace(maps.localization, foreground=scores))
    twice.layer("foreground").data = scores
    twice.session.refined.emit(twice.record)
    np.testing.assert_array_equal(twice.layer("after").data, scores[:, 64:])


def test_the_pointer_moves_the_divider_while_shift_is_held(twice):
    class Move:
        modifiers = ("Shift",)
        position = (10, 31.5)

    twice.comparison.next_swipe()
    (callback,) = twice.viewer.mouse_move_callbacks
    callback(twice.viewer, Move())
    assert columns_shown(twice, "after") == (32, 127)
    Move.modifiers, Move.position = (), (10, 90)
    callback(twice.viewer, Move())
    assert columns_shown(twice, "after") == (32, 127)


def test_the_brush_stays_in_hand_and_another_image_ends_it(twice):
    twice.seeds.take("foreground")
    twice.comparison.next_swipe()
    assert twice.seeds.state.brush == "foreground"
    twice.viewer.add_image(np.zeros((20, 20, 3), np.uint8), name="other", rgb=True)
    twice.session.choose_image(twice.viewer.layers["other"])
    assert twice.comparison.mode == "off"
    assert twice.viewer.layers["tissue · foreground"].visible


def test_deleting_the_map_or_a_compared_layer_does_no_harm(twice):
    twice.comparison.next_swipe()
    twice.viewer.layers.remove(twice.layer("after"))
    twice.viewer.layers.remove(twice.layer("foreground"))
    assert twice.comparison.mode == "off"
    assert "tissue · before" not in names(twice)


def test_a_coarse_large_map_is_thinned_and_stays_in_place(bench, fake, monkeypatch):
    monkeypatch.setattr("napari_pixelcam.controllers.comparison.LARGEST", 32)
    fake.downsample = 2
    bench.localize.run()
    comparison = ComparisonController(bench.session)
    bench.comparison = comparison
    comparison.next_swipe()
    assert max(bench.layer("after").data.shape) <= 32
    assert columns_shown(bench, "after")[0] == pytest.approx(64.5)
