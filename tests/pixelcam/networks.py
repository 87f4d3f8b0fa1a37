"""Networks whose answer is known without training them, and such of random weights."""

import torch
from torch import nn

from pixelcam.localize import Localizer, ModelRef
from pixelcam.model import ModelCard


class _Averaging(nn.Module):
    """Max pooling looks where its largest input is; averaging over the same window looks at its middle."""

    def __init__(self, pool):
        super().__init__()
        self.pool = nn.AvgPool2d(pool.kernel_size, pool.stride, pool.padding)

    def forward(self, values):
        return self.pool(values)


def linearised(network):
    """Let every weight say: look evenly at all that you see; all is then linear for small inputs above zero.

    Heads too: more light is more of class 1, and more foreground.
    """
    for module in list(network.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.MaxPool2d):
                setattr(module, name, _Averaging(child))
        if isinstance(module, nn.Conv2d):
            nn.init.constant_(module.weight, 1 / module.weight[0].numel())
    if hasattr(network, "image_head"):
        rows = [network.image_head.classify, *network.pixel_head.convolutions]
        for row in rows:
            nn.init.constant_(row.weight[0], -1 / row.weight[0].numel())
            nn.init.constant_(row.weight[1], 1 / row.weight[0].numel())
            if row.bias is not None:
                nn.init.zeros_(row.bias)
    return network.eval()


def made_localizer(encoder="test_efficientnet", change=lambda network: network, views=1, **card):
    torch.manual_seed(0)
    described = ModelCard(**{"encoder": encoder, "classes": ("dark", "bright"), "input_size": 64, **card})
    network = change(described.build())
    return Localizer(network, described, ModelRef("made", "00" * 32, views), torch.device("cpu"))


def louder(network):
    """Let the pixel head of random weights speak up, so that its map is not the same grey everywhere."""
    for convolution in network.pixel_head.convolutions:
        torch.nn.init.normal_(convolution.weight, std=1.0)
    return network
