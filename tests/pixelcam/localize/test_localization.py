"""What a localization says of itself."""

import numpy as np
import pytest

from pixelcam.localize import Localization, ModelRef


@pytest.fixture
def found():
    return Localization(
        image_name="field",
        width=40,
        height=20,
        mpp=0.5,
        classes={"benign": 0.2, "malignant": 0.7, "normal": 0.1},
        foreground=np.linspace(0, 1, 800, dtype=np.float32).reshape(20, 40),
        threshold=0.75,
        model=ModelRef("tiny", "00"),
    )


def test_the_predicted_class_is_the_most_probable(found):
    assert found.predicted == "malignant"


def test_the_region_is_where_the_threshold_is_reached(found):
    assert found.region().sum() == 200
    assert found.foreground_fraction() == 0.25
    assert found.foreground_fraction(0.0) == 1
    assert found.region(float(found.foreground[3, 3]))[3, 3]


def test_area_is_in_square_millimetres_of_the_image_and_unknown_without_a_pixel_size(found):
    from dataclasses import replace

    assert found.area_mm2() == pytest.approx(0.25 * 40 * 20 * 0.0005**2)
    coarse = replace(found, foreground=found.foreground[::2, ::2], scale=(2.0, 2.0), translate=(0.5, 0.5))
    assert coarse.area_mm2(0.0) == pytest.approx(40 * 20 * 0.0005**2)
    assert replace(found, mpp=None).area_mm2() is None


def test_background_is_what_foreground_is_not(found):
    np.testing.assert_allclose(found.background + found.foreground, 1)


def test_present_are_the_classes_at_least_as_probable_as_not(found):
    from dataclasses import replace

    assert found.present == ("malignant",)
    assert replace(found, classes={"gland": 0.9, "tumour": 0.5, "fat": 0.49}).present == ("gland", "tumour")
    assert replace(found, classes={"gland": 0.1, "tumour": 0.2}).present == ()
