"""Small models with known and with random answers."""

import pytest
import torch

from pixelcam.localize import Localizer, ModelRef
from pixelcam.model import ModelCard
from tests.pixelcam.networks import linearised


def made_localizer(encoder="test_efficientnet", change=lambda network: network, **card):
    torch.manual_seed(0)
    described = ModelCard(**{"encoder": encoder, "classes": ("dark", "bright"), "input_size": 64, **card})
    network = change(described.build())
    return Localizer(network, described, ModelRef("made", "00" * 32), torch.device("cpu"))


def louder(network):
    """Let the pixel head of random weights speak up, so that its map is not the same grey everywhere."""
    for convolution in network.pixel_head.convolutions:
        torch.nn.init.normal_(convolution.weight, std=1.0)
    return network


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
