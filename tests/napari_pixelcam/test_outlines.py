"""The outline of a region: on the edges of its pixels, as wide on the screen at any magnification, live."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, maximum_filter, minimum_filter

from napari_pixelcam import livemap, overlays
from napari_pixelcam.controllers.refine import RefineController
from napari_pixelcam.outlines import BRIGHT, DARK, NOTHING, Outline
from napari_pixelcam.overlays import OUTLINE, PROBABILITY, TWO_COLOURS
from napari_pixelcam.palette import LINE
from tests.napari_pixelcam.helpers import tissue
from tests.napari_pixelcam.test_dock import localize

IMAGE = (tissue(), {"name": "tissue", "rgb": True})


def scores(height=37, width=53):
    found = gaussian_filter(np.random.default_rng(0).random((height, width)), 2).astype(np.float32)
    return found, float(np.median(found))


def reader(found):
    return lambda rows, columns: found[np.ix_(np.array(rows), np.array(columns))]


def near_an_edge(inside, width):
    """Return which pixels have another side of the region no further away than a width, by another way."""
    size = 2 * width + 1
    inside = inside.astype(np.uint8)
    return maximum_filter(inside, size, mode="nearest") != minimum_filter(inside, size, mode="nearest")


@pytest.mark.parametrize("zoom", [0.3, 0.7, 1, 1.7, 5, 20])
def test_each_level_is_what_filters_make_of_the_region(zoom):
    found, threshold = scores()
    outline = Outline(found.shape, reader(found), threshold, zoom)
    for level in outline.levels():
        step = level._step
        if step >= 1:
            inside = (found >= threshold)[int(step) // 2 :: int(step), int(step) // 2 :: int(step)]
        else:
            inside = np.kron(found >= threshold, np.ones((round(1 / step),) * 2, bool))
        core, casing = outline.widths(step)
        wanted = np.where(near_an_edge(inside, casing), DARK, NOTHING)
        wanted[near_an_edge(inside, core)] = BRIGHT
        np.testing.assert_array_equal(np.asarray(level), wanted)
        np.testing.assert_array_equal(level[3:30, 7:20], wanted[3:30, 7:20])
        np.testing.assert_array_equal(level[::3, ::2], wanted[::3, ::2])


def test_what_is_not_known_has_no_border():
    found, threshold = scores()
    found[:, 20:] = np.nan
    outline = Outline(found.shape, reader(found), threshold)
    level = next(level for level in outline.levels() if level._step == 1)
    drawn = np.asarray(level)
    assert drawn[:, :18].any()
    assert not drawn[:, 23:].any()
    found[:, :20] = 1
    assert not np.asarray(level).any()


def test_the_outline_view_hides_the_maps_follows_the_threshold_and_gives_way_again(bench):
    bench.localize.run()
    assert "outline" not in bench.record.overlays
    bench.threshold.set_view(OUTLINE)
    maps = bench.record.overlays
    assert [role for role, layer in maps.items() if layer.visible] == ["outline"]
    assert bench.viewer.layers.selection.active is bench.viewer.layers["tissue"]

    def drawn():
        return np.asarray(maps["outline"].data[5])  # a pixel of the map for one of the level

    def wanted():
        inside = bench.record.result.localization.region(bench.threshold.state.threshold)
        return near_an_edge(inside, bench.record.outline.widths(1)[1])

    for threshold in (0.4, 0.45, 0.6):
        bench.threshold.set_threshold(threshold)
        assert bench.threshold.state.view == OUTLINE
        np.testing.assert_array_equal(drawn() > 0, wanted())
    bench.threshold.set_view(TWO_COLOURS)
    assert [role for role, layer in maps.items() if layer.visible] == ["foreground"]
    bench.threshold.set_threshold(0.5)
    bench.threshold.set_view(OUTLINE)
    np.testing.assert_array_equal(drawn() > 0, wanted())


def test_it_lies_on_the_map_and_moves_with_the_image(bench, fake):
    fake.downsample = 4
    bench.localize.run()
    bench.threshold.set_view(OUTLINE)
    image = bench.viewer.layers["tissue"]

    def aligned():
        lines, scores = (bench.layer(role) for role in ("outline", "foreground"))
        for corner in ((0, 0), (5, 7)):
            # The corner of a pixel of the map is that of its 32 x 32 fine ones.
            fine = np.array(corner) * 32 - 0.5
            np.testing.assert_allclose(
                lines.data_to_world(fine), scores.data_to_world(np.array(corner) - 0.5)
            )

    aligned()
    image.scale, image.translate, image.rotate = (0.5, 0.25), (7, -3), 30
    aligned()


def test_it_follows_the_strokes_another_map_and_another_size(bench, fake):
    bench.localize.run()
    bench.threshold.set_view(OUTLINE)
    fake.tilt = 0.2
    bench.localize.run()
    inside = bench.record.result.localization.region(bench.threshold.state.threshold)
    level = bench.record.overlays["outline"].data[5]
    np.testing.assert_array_equal(
        np.asarray(level) > 0, near_an_edge(inside, bench.record.outline.widths(1)[1])
    )
    fake.downsample = 2
    bench.localize.run()
    assert bench.record.overlays["outline"].data[5].shape == (48, 64)
    assert [role for role, layer in bench.record.overlays.items() if layer.visible] == ["outline"]
    bench.localize.show(bench.record, bench.record.result)
    changed = bench.record.result.localization.foreground
    changed[:] = 0
    changed[10:20, 30:40] = 1
    overlays.change_maps(bench.session, bench.record)
    drawn = np.asarray(bench.record.overlays["outline"].data[5])
    assert (drawn[10:20, 28] == NOTHING).all() or bench.record.outline.widths(1)[1] > 1
    assert (drawn[12:18, 29:31] == BRIGHT).all()


def test_of_a_large_map_it_shows_what_is_drawn_so_far(bench, monkeypatch):
    monkeypatch.setattr(overlays, "LARGE", 100)
    bench.localize.run()
    RefineController(bench.session)
    bench.threshold.set_view(OUTLINE)
    level = bench.record.overlays["outline"].data[5]
    patch = np.zeros((96, 64), np.float32)
    patch[20:40, 20:40] = 1
    view = livemap.View((0, 0, 96, 64))
    bench.record.live.show_patches([livemap.Patch(view, patch)])
    drawn = np.asarray(level)
    assert (drawn[25:35, 19:21] == BRIGHT).all()
    assert not drawn[:, 66:].any()


def test_a_deleted_outline_gives_the_map_back(bench):
    bench.localize.run()
    bench.threshold.set_view(OUTLINE)
    bench.viewer.layers.remove(bench.layer("outline"))
    assert bench.threshold.state.view == PROBABILITY
    assert bench.layer("foreground").visible
    bench.threshold.set_view(OUTLINE)
    assert bench.layer("outline").visible


def test_on_the_canvas_it_is_exact_and_as_wide_at_any_magnification(
    open_dock, fake, qtbot, make_napari_viewer_proxy
):
    viewer, dock = open_dock(IMAGE, viewer=make_napari_viewer_proxy(show=True))
    viewer.window.resize(1300, 800)
    localize(qtbot, dock)
    dock.threshold_controller.set_threshold(0.5)
    dock.threshold.outline.click()
    inside = dock.session.record.result.localization.region(0.5)
    camera, colour = viewer.scene.camera, np.array([int(LINE[at : at + 2], 16) for at in (1, 3, 5)])
    for zoom in (2.0, 5.0, 7.0, 16.0):
        camera.center, camera.zoom = (0, 24.2, 30.3), zoom
        qtbot.wait(300)
        shot = viewer.screenshot(canvas_only=True, flash=False)[..., :3].astype(int)
        bright = np.abs(shot - colour).max(axis=-1) < 12
        rows, columns = (
            np.rint(middle + (np.arange(size) + 0.5 - size / 2) / zoom).astype(int)
            for middle, size in zip(camera.center[-2:], shot.shape[:2], strict=True)
        )
        there = np.ix_((rows >= 0) & (rows < 96), (columns >= 0) & (columns < 128))
        rows, columns = rows[(rows >= 0) & (rows < 96)], columns[(columns >= 0) & (columns < 128)]
        bright, sides = bright[there], inside[np.ix_(rows, columns)]
        within = slice(4, -4), slice(4, -4)
        assert bright.any()
        assert not (bright & ~near_an_edge(sides, 3))[within].any(), zoom
        reached = maximum_filter(bright.astype(np.uint8), 3) > 0  # the screen's pixels are not the map's
        assert not (near_an_edge(sides, 1) & ~reached)[within].any(), zoom
