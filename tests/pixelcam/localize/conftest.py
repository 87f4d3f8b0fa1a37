"""Small models with known and with random answers."""

import pytest
import torch

from tests.pixelcam.networks import linearised, louder, made_localizer


@pytest.fixture(scope="module")
def shallow():
    """A model of random weights whose pixels see little of their surroundings."""
    return made_localizer("test_resnet", louder, levels=(1, 2), mpp=0.5)


@pytest.fixture(scope="module")
def deep():
    """A model of random weights whose pixels see far."""
    return made_localizer("test_resnet", louder, levels=(1, 2, -1), mpp=0.5)


@pytest.fixture(scope="module")
def transformer():
    return made_localizer("test_vit", louder, levels=(2, 5), mpp=0.5)


@pytest.fixture(scope="module")
def lightmeter():
    """A model whose foreground is where the image is bright."""

    def change(network):
        linearised(network)
        with torch.no_grad():
            for convolution in network.pixel_head.convolutions:
                convolution.weight.mul_(10)
        return network

    return made_localizer("resnet18", change, levels=(1, 2), standardise=False, mpp=0.5, mean=(0, 0, 0))
