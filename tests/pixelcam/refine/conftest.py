"""Small models of random weights."""

import pytest

from tests.pixelcam.networks import louder, made_localizer


@pytest.fixture(scope="module")
def shallow():
    return made_localizer("test_resnet", louder, levels=(1, 2), mpp=0.5)


@pytest.fixture(scope="module")
def transformer():
    return made_localizer("test_vit", louder, levels=(2, 5), mpp=0.5)
