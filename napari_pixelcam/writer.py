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
        The file cannot be written, or another is in the way: never is one replaced that is not of this layer.
    """
    from pixelcam.export.arrays import save_arrays, save_png
    from pixelcam.export.marks import replacing

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
    target, values = Path(path), labels.astype(np.uint8)
    mark = {"kind": "seed layer", "image": {"name": str(attributes.get("name", ""))}}
    with replacing(target, mark) as temporary:
        if target.suffix.lower() == ".npz":
            save_arrays(temporary, {"labels": values}, mark)
        else:
            save_png(temporary, values, mark)
    return [str(target)]
