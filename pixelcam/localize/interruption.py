"""Ending a network's pass over a large tile within a layer's time, not a tile's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn

from pixelcam.errors import CancelledError
from pixelcam.events import Stop, StopCheck, never_stop


def heed(should_stop: StopCheck) -> None:
    """Look whether to go on.

    Raises
    ------
    CancelledError
        `should_stop` said so.
    """
    if should_stop() is not Stop.NO:
        raise CancelledError


@contextmanager
def interruptible(network: nn.Module, should_stop: StopCheck) -> Iterator[None]:
    """Have `should_stop` asked before each layer of a network, which is run by one thread at a time.

    Raises
    ------
    CancelledError
        From within the network's pass, as `should_stop` said so.
    """
    if should_stop is never_stop:
        yield
        return

    def look(layer: nn.Module, inputs: Any) -> None:
        heed(should_stop)

    handles = [layer.register_forward_pre_hook(look) for layer in network.modules()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
