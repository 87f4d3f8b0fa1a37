"""Figures as people read them, the same in the window, on paper and in the terminal."""

from __future__ import annotations


def percent(share: float) -> str:
    """Return a share in [0, 1] in percent, to a tenth.

    Examples
    --------
    >>> percent(0.2937)
    '29.4 %'
    """
    return f"{100 * share:.1f} %"


def area(square_millimetres: float) -> str:
    """Return an area to about three digits.

    Examples
    --------
    >>> area(12.34), area(0.4801), area(0.04801)
    ('12.3 mm²', '0.48 mm²', '0.0480 mm²')
    """
    digits = 1 if square_millimetres >= 10 else 2 if square_millimetres >= 0.1 else 4
    return f"{square_millimetres:.{digits}f} mm²"


def foreground_figures(fraction: float, area_mm2: float | None) -> str:
    """Return the share of an image that is foreground, and its area where that is known.

    Examples
    --------
    >>> foreground_figures(0.2937, 0.4801), foreground_figures(0.2937, None)
    ('29.4 %, 0.48 mm²', '29.4 %')
    """
    return percent(fraction) + ("" if area_mm2 is None else f", {area(area_mm2)}")
