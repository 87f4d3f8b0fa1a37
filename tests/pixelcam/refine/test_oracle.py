"""The simulated reviewer."""

import dataclasses
import json

import numpy as np
import pytest
from PIL import Image

from pixelcam.datasets import load_mask, open_dataset
from pixelcam.errors import CancelledError, ConfigError, DatasetError
from pixelcam.events import Stop
from pixelcam.refine import oracle
from pixelcam.refine.oracle import (
    ORDERS,
    ClickCurve,
    ClickResult,
    Manner,
    correct,
    next_click,
    simulate_clicks,
)
from pixelcam.seeds import BACKGROUND, FOREGROUND
from tests.synthetic import write_glas_like

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    root = write_glas_like(tmp_path_factory.mktemp("glas"), train=4, valcl=3, with_test=False, size=64)
    return open_dataset("glas", root, "valcl", 0)


def test_the_click_goes_into_the_middle_of_the_largest_wrong_area():
    truth = np.zeros((40, 60), np.uint8)
    truth[5:16, 10:31] = 1
    truth[30:33, 50:53] = 1
    region = np.zeros(truth.shape, bool)
    row, column = next_click(region, truth, FOREGROUND)
    assert row == 10
    assert 15 <= column <= 25
    assert next_click(region, truth, BACKGROUND) is None
    region[:] = True
    region[5:16, 10:31] = False
    row, column = next_click(region, truth, BACKGROUND)
    assert truth[row, column] == 0
    assert region[row, column]


def test_a_right_map_gets_no_click_and_ignored_pixels_are_nobodys_fault():
    truth = np.zeros((10, 10), np.uint8)
    truth[2:5, 2:5], truth[7:, 7:] = 1, 255
    region = truth == 1
    assert next_click(region, truth, FOREGROUND) is None
    assert next_click(region | (truth == 255), truth, BACKGROUND) is None


def test_clicks_bring_the_map_nearer_to_the_truth(shallow, images):
    result = simulate_clicks(shallow, images, 8)
    assert [curve.name for curve in result.curves] == [sample.name for sample in images.masked]
    assert all(len(curve.dice) == 9 for curve in result.curves)
    assert all(0 < len(curve.seconds) <= 8 for curve in result.curves)
    assert result.mean[8] > result.mean[0] + 0.05
    again = simulate_clicks(shallow, images, 8)
    assert [curve.dice for curve in again.curves] == [curve.dice for curve in result.curves]


def test_the_report_counts_clicks_to_a_goal():
    curves = (
        ClickCurve("a", (0.5, 0.86, 0.91), (0.1, 0.2), (0.0, -0.1, 0.1)),
        ClickCurve("b", (0.2, 0.3, 0.88), (0.3, 0.4), (0.0, -0.01, 0.2)),
    )
    result = ClickResult(curves, 0.5)
    assert result.clicks_to(0.85) == [1, 2]
    assert result.clicks_to(0.9) == [2, None]
    report = json.loads(json.dumps(result.to_json()))
    assert report["mean_dice"] == pytest.approx([0.35, 0.58, 0.895])
    assert report["clicks_to"]["0.85"] == {"images": 2, "median_clicks": 1.5}
    assert report["clicks_to"]["0.9"] == {"images": 1, "median_clicks": 2.0}
    assert report["refit_seconds"]["median"] == pytest.approx(0.25)
    assert report["per_image"][1]["dice"] == [0.2, 0.3, 0.88]


def test_the_report_tells_drops_and_what_became_worse_elsewhere():
    curves = (
        ClickCurve("a", (0.5, 0.3, 0.9), (), (0.0, -0.03, -0.01)),
        ClickCurve("b", (0.5, 0.4, 0.8), (), (0.0, -0.01, 0.2)),
    )
    report = ClickResult(curves, 0.5, Manner("background", 9)).to_json()
    assert report["largest_drop"] == pytest.approx(0.15)
    assert report["worse_elsewhere"] == [0, 0.5, 0]
    assert (report["order"], report["brush"], report["radius"]) == ("background", 9, None)


@pytest.mark.parametrize("brush", [None, 9])
@pytest.mark.parametrize("order", ORDERS)
def test_corrections_are_truthful_and_of_the_kinds_that_were_asked_for(shallow, images, order, brush):
    sample = images.masked[0]
    curve, labels = correct(shallow, sample, 4, 0.5, Manner(order, brush))
    truth = load_mask(sample, labels.shape)
    assert len(curve.dice) == len(curve.rest) == 5
    assert curve.rest[0] == 0
    only = {"foreground": {FOREGROUND}, "background": {BACKGROUND}}.get(order, {FOREGROUND, BACKGROUND})
    assert set(labels[labels != 0].tolist()) <= only
    assert (labels != 0).any()
    if brush is not None:
        assert (truth[labels == FOREGROUND] == 1).all()
        assert (truth[labels == BACKGROUND] == 0).all()
    assert np.array_equal(labels, correct(shallow, sample, 4, 0.5, Manner(order, brush))[1])


def test_a_stroke_runs_along_the_area_as_wide_as_the_brush():
    truth, region = np.ones((60, 200), np.uint8), np.ones((60, 200), bool)
    region[20:31, 60:100] = False
    area, place = oracle._largest_wrong(region, truth, FOREGROUND)
    labels = np.zeros(truth.shape, np.uint8)
    oracle._paint(labels, truth, area, place, FOREGROUND, 9)
    rows, columns = np.nonzero(labels)
    assert rows.max() - rows.min() + 1 == 9
    assert columns.max() - columns.min() + 1 == pytest.approx(40 + 9, abs=2)
    assert set(np.unique(labels)) == {0, FOREGROUND}


@pytest.mark.parametrize(
    "wrong",
    [{"clicks": 0}, {"threshold": 1.5}, {"manner": Manner("sideways")}, {"manner": Manner(brush=0)}],
)
def test_senseless_settings_are_refused(shallow, images, wrong):
    with pytest.raises(ConfigError):
        simulate_clicks(shallow, images, **wrong)


def test_images_without_masks_are_refused(shallow, images):
    bare = tuple(dataclasses.replace(sample, mask=None) for sample in images.samples)
    with pytest.raises(DatasetError, match="has a mask"):
        simulate_clicks(shallow, dataclasses.replace(images, samples=bare), 2)


def test_a_smaller_mask_is_brought_to_the_size_of_its_image(shallow, images, tmp_path):
    sample = images.masked[0]
    small = dataclasses.replace(sample, mask=tmp_path / "small.png")
    Image.fromarray(load_mask(sample, 32) * np.uint8(255)).save(small.mask)
    whole, found = (
        simulate_clicks(shallow, dataclasses.replace(images, samples=(each,)), 4).mean
        for each in (sample, small)
    )
    assert found[0] == pytest.approx(whole[0], abs=0.02)
    assert found[-1] > found[0]


def test_the_simulation_can_be_cancelled(shallow, images):
    with pytest.raises(CancelledError):
        simulate_clicks(shallow, images, 2, should_stop=lambda: Stop.DISCARD)
