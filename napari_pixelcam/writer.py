"""Save a seed layer from napari's own File menu."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from pixelcam.errors import SeedsError


def write_seeds(path: str, data: Any, attributes: dict[str, Any]) -> list[str]:
    """Write a Labels layer as seeds.

    Parameters
    ----------
    path
        A ``.png`` or ``.npz`` file.
    data
        (h, w) integers: 0 unlabelled, 1 background, 2 foreground.

    Raises
    ------
    SeedsError
        The layer holds other labels, or is not two-dimensional.
    OutputError
        The file cannot be written.
    """
    from pixelcam.export import atomic_path

    labels = np.asarray(data)
    if labels.ndim != 2:
        raise SeedsError(
            f"Seeds have two dimensions, this layer has {labels.ndim}; save one plane at a time."
        )
    if labels.size and (labels.min() < 0 or labels.max() > 2):
        raise SeedsError(
            "Seeds are 0 (unlabelled), 1 (background) and 2 (foreground), but this layer holds other labels; "
            "save it as plain labels instead."
        )
    target = Path(path)
    with atomic_path(target) as temporary:
        if target.suffix.lower() == ".npz":
            np.savez_compressed(temporary, labels=labels.astype(np.uint8))
        else:
            from PIL import Image

            Image.fromarray(labels.astype(np.uint8)).save(temporary, format="PNG")
    return [str(target)]
