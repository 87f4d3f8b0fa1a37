"""Micrometres per pixel, from the places where TIFF files keep it."""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ElementTree

import tifffile

PLAUSIBLE = (0.05, 20.0)
"""Micrometres per pixel that a microscope or scanner has; beyond are print sizes and mistaken units."""

# https://docs.openmicroscopy.org/ome-model/ : UnitsLength
_OME_UNITS = {
    "µm": 1.0,
    "μm": 1.0,
    "um": 1.0,
    "nm": 1e-3,
    "mm": 1e3,
    "cm": 1e4,
    "m": 1e6,
    "Å": 1e-4,
    "pm": 1e-6,
}
_IMAGEJ_UNITS = {
    "micron": 1.0,
    "microns": 1.0,
    "µm": 1.0,
    "μm": 1.0,
    "um": 1.0,
    "\\u00b5m": 1.0,
    "nm": 1e-3,
    "mm": 1e3,
    "cm": 1e4,
    "inch": 25400.0,
}
_TAG_UNITS = {2: 25400.0, 3: 10000.0}
# https://openslide.org/formats/aperio/
_APERIO_MPP = re.compile(r"\|\s*MPP\s*=\s*([0-9.]+)")


def pixel_size(tiff: tifffile.TiffFile, series: tifffile.TiffPageSeries) -> float | None:
    """Return micrometres per pixel of the series' finest level, or None where the file does not say.

    OME metadata beat Aperio's description, which beats ImageJ's unit, which beats the resolution tags. The
    tags count only where their unit is real, and all of them only where the size is plausible. Where rows and
    columns differ by up to 5 % their mean is taken; where they differ by more there is no one size, and None
    is returned.
    """
    mpp = _noted(tiff, series)
    return mpp if mpp is not None and PLAUSIBLE[0] <= mpp <= PLAUSIBLE[1] else None


def _noted(tiff: tifffile.TiffFile, series: tifffile.TiffPageSeries) -> float | None:
    if tiff.is_ome:
        # A series is a sequence with an `index` method of its own.
        index = next(i for i, other in enumerate(tiff.series) if other is series)
        return _of_ome(tiff.ome_metadata or "", index)
    if tiff.is_svs:
        match = _APERIO_MPP.search(tiff.pages.first.description)
        return _positive(_number(match.group(1))) if match else None
    return _of_tags(tiff, series.keyframe)


def _of_ome(text: str, index: int) -> float | None:
    """Read PhysicalSizeX and PhysicalSizeY of the image at `index`."""
    try:
        root = ElementTree.fromstring(text)
        pixels = root.findall("{*}Image/{*}Pixels")[index]
        sizes = []
        for axis in "XY":
            unit = pixels.get(f"PhysicalSize{axis}Unit", "µm")
            sizes.append(float(pixels.get(f"PhysicalSize{axis}", "nan")) * _OME_UNITS.get(unit, math.nan))
    except (ElementTree.ParseError, IndexError, ValueError):
        return None
    return _mean(*sizes)


def _of_tags(tiff: tifffile.TiffFile, page: tifffile.TiffPage) -> float | None:
    """Read XResolution and YResolution, pixels per unit."""
    imagej_unit = str((tiff.imagej_metadata or {}).get("unit", "")).strip().lower()
    unit = _IMAGEJ_UNITS.get(imagej_unit) or _TAG_UNITS.get(int(page.tags.valueof("ResolutionUnit", 2)))
    sizes = []
    for name in ("XResolution", "YResolution"):
        above, below = page.tags.valueof(name, (0, 0)) or (0, 0)
        sizes.append(unit * below / above if unit and above else math.nan)
    return _mean(*sizes)


def _mean(x: float, y: float) -> float | None:
    if _positive(x) is None or _positive(y) is None or abs(x - y) > 0.05 * max(x, y):
        return None
    return (x + y) / 2


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _positive(value: float) -> float | None:
    return value if math.isfinite(value) and value > 0 else None
