"""Maps and seeds as OME-Zarr, the format of the Next-Generation File Formats (NGFF) of OME."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import zarr
from numpy.typing import NDArray

from pixelcam.errors import SeedsError
from pixelcam.export.areas import BACKGROUND_COLOUR, FOREGROUND_COLOUR, Grid, about_map
from pixelcam.export.maps import PYRAMID_ABOVE, halve
from pixelcam.export.marks import KEY, replacing_folder
from pixelcam.files import inside, refuse_links_below
from pixelcam.limits import check_zarr
from pixelcam.seeds import BACKGROUND, FOREGROUND

if TYPE_CHECKING:
    from pixelcam.export.sidecar import SeedSidecar
    from pixelcam.localize import Localization

VERSION = "0.4"
"""The version that QuPath, Fiji, napari and the rest all read."""

MARKER = ".zattrs"
_CHUNK = 1024
_ZLIB: Mapping[str, Any] = {"id": "zlib", "level": 6}  # all readers know it, not all know zstd

_Values = NDArray[Any]


def write_map_zarr(path: str | Path, localization: Localization) -> Path:
    """Write the foreground probability as an OME-Zarr image, float32, with the axes y and x.

    A map of more than 2048 pixels on a side carries coarser levels, each the mean of 2 x 2 pixels. Scale and
    translation of each level are in micrometres, or in level-0 pixels where the pixel size is unknown; the
    centre of the image's first pixel is the origin. Format: https://ngff.openmicroscopy.org/0.4.

    Raises
    ------
    OutputError
        The folder cannot be written, or another is in the way.
    """
    values = np.asarray(localization.foreground, np.float32)
    pyramid = _Pyramid("foreground", localization.mpp, localization, halve)
    return _write(path, values, pyramid, {KEY: about_map(localization)})


def write_seeds_zarr(path: str | Path, labels: NDArray[np.uint8], sidecar: SeedSidecar) -> Path:
    """Write a reviewer's seeds as an OME-Zarr label image, uint8: 0 unlabelled, 1 background, 2 foreground.

    Coarser levels keep every stroke visible: each of their pixels is the largest of 2 x 2. Placement as
    `write_map_zarr`; the whole sidecar is kept under "pixelcam".

    Raises
    ------
    OutputError
        The folder cannot be written, or another is in the way.
    """
    described = ((BACKGROUND, "background", BACKGROUND_COLOUR), (FOREGROUND, "foreground", FOREGROUND_COLOUR))
    label = {
        "version": VERSION,
        "colors": [{"label-value": value, "rgba": [*colour, 255]} for value, _, colour in described],
        "properties": [{"label-value": value, "name": name} for value, name, _ in described],
    }
    attributes = {"image-label": label, KEY: json.loads(sidecar.to_json())}
    pyramid = _Pyramid("seeds", sidecar.image.mpp, sidecar, _largest)
    return _write(path, labels, pyramid, attributes)


@dataclass(frozen=True)
class _Pyramid:
    name: str
    mpp: float | None
    grid: Grid
    reduce: Callable[[_Values], _Values]


def _write(path: str | Path, values: _Values, pyramid: _Pyramid, attributes: Mapping[str, Any]) -> Path:
    path = Path(path)
    levels = [values]
    while max(levels[-1].shape) > PYRAMID_ABOVE:
        levels.append(pyramid.reduce(levels[-1]))
    with replacing_folder(path, MARKER, attributes[KEY]) as temporary:
        group = zarr.open_group(temporary, mode="w", zarr_format=2)
        for number, level in enumerate(levels):
            array = group.create_array(
                str(number),
                shape=level.shape,
                dtype=level.dtype,
                chunks=tuple(min(_CHUNK, side) for side in level.shape),
                compressors=_ZLIB,
                chunk_key_encoding={"name": "v2", "separator": "/"},
            )
            array[:] = level
        group.attrs.put({"multiscales": [_multiscale(pyramid, len(levels))], **attributes})
    return path


def _multiscale(pyramid: _Pyramid, levels: int) -> dict[str, Any]:
    unit = {} if pyramid.mpp is None else {"unit": "micrometer"}
    size = 1.0 if pyramid.mpp is None else pyramid.mpp
    datasets = []
    for number in range(levels):
        factor = 2**number
        # The first pixel of a level lies amid the first factor x factor pixels of the finest.
        places = [
            (size * scale * factor, size * (translate + scale * (factor - 1) / 2))
            for scale, translate in zip(pyramid.grid.scale, pyramid.grid.translate, strict=True)
        ]
        transformations = [
            {"type": "scale", "scale": [scale for scale, _ in places]},
            {"type": "translation", "translation": [translate for _, translate in places]},
        ]
        datasets.append({"path": str(number), "coordinateTransformations": transformations})
    axes = [{"name": name, "type": "space", **unit} for name in "yx"]
    return {"version": VERSION, "name": pyramid.name, "axes": axes, "datasets": datasets}


def _largest(values: _Values) -> _Values:
    """Return the largest of each 2 x 2 pixels; an odd last row or column stands alone."""
    values = np.pad(values, [(0, size % 2) for size in values.shape])
    height, width = values.shape
    return np.asarray(values.reshape(height // 2, 2, width // 2, 2).max(axis=(1, 3)))


def read_label_zarr(path: str | Path) -> tuple[_Values, str]:
    """Return the finest level (h, w) of an OME-Zarr label image, and its image's fingerprint where noted.

    Raises
    ------
    SeedsError
        The folder is no OME-Zarr image of two axes, or is damaged.
    """
    refuse_links_below(path, SeedsError)
    try:
        group = zarr.open_group(Path(path), mode="r")
        attributes: dict[str, Any] = dict(group.attrs)
        described = attributes.get("ome", attributes)["multiscales"][0]
        name = described["datasets"][0]["path"]
        place = inside(path, name, error=SeedsError, source=Path(path) / MARKER)
        array: Any = group[name]
        check_zarr(array, place, SeedsError, "export the labels at a coarser level of the image")
        values = np.asarray(array)
        if values.ndim != 2:
            raise ValueError("labels have two axes")
        about = attributes.get("pixelcam", {})
        return values, str(about.get("image", {}).get("fingerprint", ""))
    except SeedsError:
        raise
    except Exception as error:  # the decoders raise whatever they stumble over
        raise SeedsError(f"{path} is damaged or no OME-Zarr label image; export the labels again.") from error
