"""Place a layer of another resolution on its image, to the pixel, whatever the image's own transform is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from napari.utils.transforms import Affine

if TYPE_CHECKING:
    from napari.layers import Layer

Pair = tuple[float, float]

TRANSFORM_EVENTS = ("scale", "translate", "rotate", "shear", "affine", "units")
"""The events of an image layer after which what lies on it has to be placed again."""


def overlay_transform(image: Layer, scale: Pair = (1.0, 1.0), translate: Pair = (0.0, 0.0)) -> dict[str, Any]:
    """Return the transform of a layer that lies on an image.

    napari places data at ``affine @ (rotate @ shear @ diag(scale) @ x + translate)``. The overlay's pixel `j`
    lies at the image's pixel ``scale * j + translate``; as that scaling is diagonal it multiplies the image's
    own, and the rest of the image's transform carries over unchanged.

    Parameters
    ----------
    image
        A two-dimensional image layer.
    scale, translate
        Image pixels per overlay pixel, and the image position of the centre of the overlay's first pixel,
        as (y, x).

    Returns
    -------
    dict
        Keyword arguments of a layer: scale, translate, rotate, shear, affine and units.
    """
    linear = Affine(scale=image.scale, rotate=image.rotate, shear=image.shear, ndim=2).linear_matrix
    return {
        "scale": np.asarray(image.scale) * np.asarray(scale),
        "translate": linear @ np.asarray(translate, float) + np.asarray(image.translate),
        "rotate": image.rotate,
        "shear": image.shear,
        "affine": image.affine.affine_matrix,
        "units": image.units,
    }


def align(layer: Layer, image: Layer, scale: Pair = (1.0, 1.0), translate: Pair = (0.0, 0.0)) -> None:
    """Move an existing layer to where `overlay_transform` places it.

    What is so already is not set again: napari would draw its list of layers anew each time.
    """
    now = overlay_transform(layer)
    for name, value in overlay_transform(image, scale, translate).items():
        if not np.array_equal(now[name], value):
            setattr(layer, name, value)
