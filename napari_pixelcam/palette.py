"""The colours of maps and seeds, chosen so that people with any common colour blindness can tell them apart.

Warm is foreground and cool is background everywhere; each pair also differs in lightness.
"""

from __future__ import annotations

from napari.utils.colormaps import Colormap, DirectLabelColormap

FOREGROUND = "#FFC20A"
BACKGROUND = "#0C5BDC"
FOREGROUND_SEED = "#FF5A1F"
BACKGROUND_SEED = "#33E0FF"
LINE, LINE_BELOW = "#FFE14D", "#101010"
"""Of outlines: a bright line in the middle of a dark one is seen on pink, on dark and on white alike."""

_CIVIDIS = (
    "#00224E",
    "#123570",
    "#3B496C",
    "#575D6D",
    "#707173",
    "#8A8678",
    "#A59C74",
    "#C3B369",
    "#E1CC55",
    "#FEE838",
)


def probability_colormap() -> Colormap:
    """Return the scale of the foreground map: dark blue at 0, yellow at 1 (cividis)."""
    return Colormap(list(_CIVIDIS), name="pixelcam probability", display_name="PixelCAM probability")


def background_colormap() -> Colormap:
    """Return the scale of the background map: see-through at 0, blue at 1."""
    return Colormap(
        [f"{BACKGROUND}00", BACKGROUND], name="pixelcam background", display_name="PixelCAM background"
    )


def two_colour_colormap(*, swapped: bool = False) -> Colormap:
    """Return a scale of two flat colours that meet in the middle of the contrast limits.

    Parameters
    ----------
    swapped
        For a map of the background, where high values are background.
    """
    colours = [FOREGROUND, BACKGROUND] if swapped else [BACKGROUND, FOREGROUND]
    name = f"pixelcam two colours{' (background)' if swapped else ''}"
    return Colormap(
        colours,
        controls=[0, 0.5, 1],
        interpolation="zero",
        name=name,
        display_name=name.replace("pixelcam", "PixelCAM"),
    )


def outline_colormap() -> Colormap:
    """Return the colours of 0 (nothing), 1 (the dark line below) and 2 (the line) of an outline."""
    return Colormap(
        [f"{LINE_BELOW}00", LINE_BELOW, LINE],
        controls=[0, 0.25, 0.75, 1],
        interpolation="zero",
        name="pixelcam outline",
        display_name="PixelCAM outline",
    )


def seed_colormap() -> DirectLabelColormap:
    """Return the colours of the labels 0 (none), 1 (background) and 2 (foreground)."""
    return DirectLabelColormap(
        color_dict={None: "transparent", 0: "transparent", 1: BACKGROUND_SEED, 2: FOREGROUND_SEED},
        name="pixelcam seeds",
    )
