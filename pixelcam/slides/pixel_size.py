"""Micrometres per pixel, from the places where TIFF files keep it."""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ElementTree

import tifffile

PLAUSIBLE = (0.05, 20.0)
"""Micrometres per pixel that a microscope or scanner has; beyond are print sizes and mistaken units."""

# https://docs.openmicroscopy.org/ome-model/ : UnitsLength; and what programs write for people, in lower case
_UNITS = {
    **dict.fromkeys(("µm", "μm", "um", "\\u00b5m", "micron", "microns", "mkm"), 1.0),
    **dict.fromkeys(("micrometer", "micrometers", "micrometre", "micrometres"), 1.0),
    **dict.fromkeys(("nm", "nanometer", "nanometers", "nanometre", "nanometres"), 1e-3),
    **dict.fromkeys(("mm", "millimeter", "millimeters", "millimetre", "millimetres"), 1e3),
    **dict.fromkeys(("cm", "centimeter", "centimeters", "centimetre", "centimetres"), 1e4),
    **dict.fromkeys(("m", "meter", "metre"), 1e6),
    **dict.fromkeys(("in", "inch", "inches"), 25400.0),
    **dict.fromkeys(("å", "angstrom"), 1e-4),
    "pm": 1e-6,
}
_TAG_UNITS = {2: 25400.0, 3: 10000.0}
# https://openslide.org/formats/aperio/, .../philips/ (in millimetres), .../ventana/; and what libvips copies
_APERIO_MPP = re.compile(r"(?:^|[|;\n])\s*MPP\s*[=:]([^|;\r\n]*)", re.IGNORECASE)
_PHILIPS_SPACING = re.compile(
    r'Name="DICOM_PIXEL_SPACING"[^>]*>\s*(?:&quot;|")([^"&<]+)(?:&quot;|")\s+(?:&quot;|")([^"&<]+)(?:&quot;|")'
)
_VENTANA_SCALE = re.compile(r"""\bScanRes\s*=\s*["']([^"']+)["']""")
_VIPS_MPP = re.compile(r"openslide\.mpp-([xy])</name>\s*<value[^>]*>([^<]+)<")
_NUMBER = re.compile(r"[+-]?(?:\d[\d.,'’\s]*|[.,]\d+)(?:[eE][+-]?\d+)?")
_THOUSANDS = r"\d{1,3}(?:\%s\d{3})+"


def parse_number(text: str) -> float:
    """Return a number that a program wrote in whichever locale, NaN for what is none.

    Of a comma and a point the last one is the decimal one; one alone is decimal too, and several of a kind
    stand between thousands.

    Examples
    --------
    >>> [parse_number(text) for text in ("0,25", "2.5e-1", "1,024.5", "1.024,5", "1 024", "0.4.9")]
    [0.25, 0.25, 1024.5, 1024.5, 1024.0, nan]
    """
    text = re.sub(r"(?<=\d)[\s'’](?=\d{3}(?!\d))", "", text.strip())
    mantissa = re.split(r"[eE]", text)[0]
    last = max(mantissa.rfind(","), mantissa.rfind("."))
    for mark in ",.":
        thousands = mantissa.count(mark) > 1 or (mark in mantissa and mantissa.rfind(mark) < last)
        if thousands:
            whole = mantissa[: last if mantissa.rfind(mark) < last else None]
            if not re.fullmatch(r"[+-]?" + _THOUSANDS % mark, whole):
                return math.nan
            text = text.replace(mark, "")
    text = text.replace(",", ".")
    return float(text) if re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", text, re.ASCII) else math.nan


def parse_length(text: str, unit: str = "µm") -> float:
    """Return micrometres of a number that may have a unit behind it, as in "0.25 um/px"; NaN for no such.

    Parameters
    ----------
    text
        The number.
    unit
        What it is in where it does not say so.
    """
    match = _NUMBER.match(text.strip())
    if match is None:
        return math.nan
    number, rest = match.group().rstrip(), text.strip()[match.end() :].strip().lower()
    named = re.split(r"/|\bper\b|\s|\(", rest)[0].strip() or unit.strip().lower()
    return parse_number(number.rstrip(".,")) * _UNITS.get(named, math.nan)


def pixel_size(tiff: tifffile.TiffFile, series: tifffile.TiffPageSeries) -> float | None:
    """Return micrometres per pixel of the series' finest level, or None where the file does not say.

    OME metadata beat the scanner's description, which beats ImageJ's unit, which beats the resolution tags.
    Numbers may be of any locale and have a unit behind them. The tags count only where their unit is real,
    and all of them only where the size is plausible. Where rows and columns differ by up to 5 % their mean is
    taken; where they differ by more there is no one size, and None is returned.
    """
    mpp = _noted(tiff, series)
    return mpp if mpp is not None and PLAUSIBLE[0] <= mpp <= PLAUSIBLE[1] else None


def _noted(tiff: tifffile.TiffFile, series: tifffile.TiffPageSeries) -> float | None:
    if tiff.is_ome:
        # A series is a sequence with an `index` method of its own.
        index = next(i for i, other in enumerate(tiff.series) if other is series)
        return _of_ome(tiff.ome_metadata or "", index)
    described = _of_description(tiff.pages.first)
    if tiff.is_svs or described is not None:
        return described
    return _of_tags(tiff, series.keyframe)


def _of_ome(text: str, index: int) -> float | None:
    """Read PhysicalSizeX and PhysicalSizeY of the image at `index`."""
    try:
        pixels = ElementTree.fromstring(text).findall("{*}Image/{*}Pixels")[index]
    except (ElementTree.ParseError, IndexError, ValueError):
        return None
    sizes = (
        parse_length(pixels.get(f"PhysicalSize{axis}", ""), pixels.get(f"PhysicalSize{axis}Unit", "µm"))
        for axis in "XY"
    )
    return _mean(*sizes)


def _of_description(page: tifffile.TiffPage) -> float | None:
    """Read what a scanner's own description says, in whichever of the scanners' ways."""
    text = str(page.description)
    if match := _APERIO_MPP.search(text):
        return _positive(parse_length(match.group(1)))
    if spacings := _PHILIPS_SPACING.findall(text):
        # Every level has its own; the image's is the finest.
        sizes = [_mean(parse_length(x, "mm"), parse_length(y, "mm")) for x, y in spacings]
        return min((size for size in sizes if size is not None), default=None)
    if vips := dict(_VIPS_MPP.findall(text)):
        return _mean(*(parse_length(vips.get(axis, "")) for axis in "xy"))
    about = page.tags.valueof("XMP", b"") or b""
    about = about if isinstance(about, bytes) else str(about).encode()
    if match := _VENTANA_SCALE.search(about.decode("utf-8", "replace")):
        return _positive(parse_length(match.group(1)))
    return None


def _of_tags(tiff: tifffile.TiffFile, page: tifffile.TiffPage) -> float | None:
    """Read XResolution and YResolution, pixels per unit."""
    imagej_unit = str((tiff.imagej_metadata or {}).get("unit", "")).strip().lower()
    unit = _UNITS.get(imagej_unit) or _TAG_UNITS.get(int(page.tags.valueof("ResolutionUnit", 2)))
    sizes = []
    for name in ("XResolution", "YResolution"):
        above, below = page.tags.valueof(name, (0, 0)) or (0, 0)
        sizes.append(unit * below / above if unit and above else math.nan)
    return _mean(*sizes)


def _mean(x: float, y: float) -> float | None:
    if _positive(x) is None or _positive(y) is None or abs(x - y) > 0.05 * max(x, y):
        return None
    return (x + y) / 2


def _positive(value: float) -> float | None:
    return value if math.isfinite(value) and value > 0 else None
