"""A day's images in one window: what is closed is gone, in a real viewer with a real network."""

import numpy as np

from tests.napari_pixelcam.driving import Driver
from tests.napari_pixelcam.helpers import tissue

WARM, MORE = 3, 9
"""Images after which what is kept once and for all is there, and further ones that may add nothing."""


def test_images_that_are_closed_leave_nothing_behind(open_dock, tiny, qtbot):
    viewer, dock = open_dock()
    driver = Driver(viewer, dock, lambda until: qtbot.waitUntil(until, timeout=300_000))
    footprints = []
    for number in range(WARM + MORE):
        driver.open(np.roll(tissue(), 9 * number, axis=1), f"image {number}")
        driver.localize()
        driver.paint("foreground")
        driver.paint("background", ((60, 60), (62, 70)))
        driver.close()
        footprints.append(driver.footprint())
    settled = footprints[WARM - 1]
    assert settled.records == 0
    assert settled.layers == 0
    for last in footprints[WARM:]:
        assert (last.records, last.layers) == (0, 0)
        assert last.threads <= settled.threads
        assert last.handles <= settled.handles
