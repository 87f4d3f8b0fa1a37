"""The sample image that comes with scikit-image: what every machine has."""

from __future__ import annotations

from typing import Any

IHC_NAME = "IHC colon"


def immunohistochemistry() -> list[tuple[Any, dict[str, Any], str]]:
    """Return colon glands stained with DAB and haematoxylin, 512 x 512; its pixel size is not known."""
    from skimage.data import immunohistochemistry as image

    return [(image(), {"name": IHC_NAME, "rgb": True}, "image")]
