"""Localizations of maps that a test makes."""

from __future__ import annotations

import numpy as np
import pytest

from pixelcam.localize import Localization, ModelRef


@pytest.fixture
def localize():
    """Return a function that wraps a map, or a mask, as the result of localizing an image of that size."""

    def localize(foreground, **changes):
        foreground = np.asarray(foreground, np.float32)
        values = {
            "image_name": "field",
            "width": foreground.shape[1],
            "height": foreground.shape[0],
            "mpp": None,
            "classes": {"adenocarcinoma": 0.75, "normal": 0.25},
            "foreground": foreground,
            "threshold": 0.5,
            "model": ModelRef("starter", "ab" * 32),
        }
        return Localization(**values | changes)

    return localize
