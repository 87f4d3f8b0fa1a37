"""The losses of PixelCAM."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

_IGNORE = -1


def partial_cross_entropy(pixel_logits: Tensor, labels: Tensor) -> Tensor:
    """Return the mean cross-entropy over the labelled pixels, 0 where there are none.

    Parameters
    ----------
    pixel_logits
        (n, 2, h, w): background, foreground.
    labels
        (n, h, w) int64: 0 unlabelled, 1 background, 2 foreground.
    """
    # The contract's 0, 1, 2 becomes the loss's ignore index, 0, 1 here and nowhere else.
    target = labels - 1
    total = functional.cross_entropy(pixel_logits.float(), target, ignore_index=_IGNORE, reduction="sum")
    return total / (target != _IGNORE).sum().clamp(min=1)
