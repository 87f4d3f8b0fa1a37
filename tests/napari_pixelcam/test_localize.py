"""Localizing on a bare viewer model: layers made and renewed, failures said, vanished images survived."""

import numpy as np

from napari_pixelcam.controllers.localize import describe_change
from pixelcam.errors import CancelledError


def names(bench):
    return [layer.name for layer in bench.viewer.layers]


def test_localizing_adds_both_maps_above_the_image_and_keeps_the_selection(bench):
    bench.viewer.add_labels(np.zeros((96, 128), np.uint8), name="other")
    bench.viewer.layers.selection.active = bench.viewer.layers["tissue"]
    bench.localize.run()
    assert names(bench) == ["tissue", "tissue · background", "tissue · foreground", "other"]
    assert bench.viewer.layers.selection.active is bench.viewer.layers["tissue"]
    foreground, background = bench.layer("foreground").data, bench.layer("background").data
    np.testing.assert_allclose(foreground + background, 1, atol=1e-6)
    assert bench.layer("foreground").visible
    assert not bench.layer("background").visible


def test_localizing_again_renews_the_same_layers_in_place(bench, fake):
    bench.localize.run()
    layer, before = bench.layer("foreground"), bench.layer("foreground").data.copy()
    layer.opacity = 0.3
    fake.tilt = 0.2
    bench.localize.run()
    assert bench.layer("foreground") is layer
    assert len(bench.viewer.layers) == 3
    assert layer.opacity == 0.3
    assert layer.data.mean() > before.mean()
    assert "changed side" in describe_change(bench.record)


def test_four_views_are_taken_told_and_kept_apart_from_one(bench, fake):
    bench.localize.run()
    assert fake.choice == ("tiny", "auto", 1)
    assert bench.record.result.maker == "tiny"
    bench.session.choose_views(4)
    assert bench.record.result.maker == "tiny", "nothing is made until it is asked for"
    fake.tilt = 0.2
    bench.localize.run()
    assert fake.choice == ("tiny", "auto", 4)
    assert bench.record.result.maker == "tiny, 4 views"
    assert describe_change(bench.record).startswith("Since tiny: ")
    fake.tilt = 0.0
    bench.session.choose_views(1)
    bench.localize.run()
    assert describe_change(bench.record).startswith("Since tiny, 4 views: ")


def test_a_deleted_map_comes_back(bench):
    bench.localize.run()
    bench.viewer.layers.remove(bench.layer("foreground"))
    assert bench.threshold.state is None
    bench.localize.run()
    assert "tissue · foreground" in names(bench)
    assert bench.threshold.state is not None


def test_a_renamed_image_takes_the_names_of_its_layers_along(bench):
    bench.localize.run()
    bench.layer("background").name = "mine"
    bench.viewer.layers["tissue"].name = "slide 7"
    assert names(bench) == ["slide 7", "mine", "slide 7 · foreground"]
    bench.localize.run()
    assert len(bench.viewer.layers) == 3


def test_maps_are_no_images_to_choose(bench):
    bench.localize.run()
    assert [layer.name for layer in bench.session.images()] == ["tissue"]


def test_choosing_a_map_in_the_layer_list_chooses_its_image(bench):
    bench.localize.run()
    bench.viewer.add_image(np.zeros((20, 20, 3), np.uint8), name="second", rgb=True)
    assert bench.record.name == "second"
    bench.viewer.layers.selection.active = bench.viewer.layers["tissue · foreground"]
    assert bench.record.name == "tissue"


def test_a_failure_is_said_once_in_the_words_of_the_core_and_loses_nothing(bench, fake, failing):
    bench.localize.run()
    before = bench.layer("foreground").data
    ended = []
    bench.localize.ended.connect(lambda level, text: ended.append((level, text)))
    fake.error = failing
    bench.localize.run()
    assert ended == [("error", str(failing))] == bench.said
    assert bench.layer("foreground").data is before
    assert not bench.localize.running


def test_an_unexpected_error_is_said_as_such(bench, fake):
    fake.error = ZeroDivisionError("division by zero")
    bench.localize.run()
    assert "unexpected" in bench.said[-1][1]
    assert "ZeroDivisionError: division by zero" in bench.said[-1][1]


def test_cancelling_midway_leaves_everything_as_it_was(bench, fake):
    ended = []
    bench.localize.ended.connect(lambda level, text: ended.append((level, text)))
    fake.steps = 5
    events = []
    bench.localize.progressed.connect(events.append)

    def stop(step):
        if step == 2:
            raise CancelledError

    fake.on_step = stop
    bench.localize.run()
    assert [event.step for event in events if event.step] == [1, 2]
    assert ended == [("info", "Cancelled; 'tissue' is as it was.")]
    assert names(bench) == ["tissue"]
    assert bench.said == []


def test_an_image_removed_meanwhile_gets_no_layers(bench, fake):
    fake.on_step = lambda step: bench.viewer.layers.clear()
    ended = []
    bench.localize.ended.connect(lambda level, text: ended.append(text))
    bench.localize.run()
    assert names(bench) == []
    assert "was removed" in ended[0]


def test_data_replaced_meanwhile_are_not_overlaid_with_the_map_of_the_old(bench, fake):
    def replace(step):
        bench.viewer.layers["tissue"].data = np.zeros((40, 40, 3), np.uint8)

    fake.on_step = replace
    bench.localize.run()
    assert names(bench) == ["tissue"]
    assert "changed while it was being localized" in bench.said[0][1]


def test_a_stack_is_refused_with_advice(bench):
    bench.viewer.add_image(np.zeros((3, 20, 20), np.uint8), name="stack")
    bench.localize.run()
    assert bench.said[-1][1].startswith("'stack' is a stack of 3 planes of 20 × 20 pixels: take it apart")
    assert bench.localize.obstacle == bench.said[-1][1]


def test_without_an_image_it_says_how_to_get_one(bench):
    bench.viewer.layers.clear()
    assert "Open an image" in bench.localize.obstacle
    bench.localize.run()
    assert not bench.localize.running


def test_gray_images_work_too(bench):
    bench.viewer.add_image((np.random.default_rng(1).random((30, 50)) * 255).astype(np.uint8), name="gray")
    bench.localize.run()
    assert bench.layer("foreground").data.shape == (30, 50)
