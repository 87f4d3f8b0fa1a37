"""The options that several commands share, each checked before anything is loaded."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

import typer


def _checked_device(value: str) -> str:
    if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", value):
        raise typer.BadParameter(f"{value!r} is none of auto, cpu, cuda, cuda:N, mps.")
    return value


def check_optional_device(value: str | None) -> str | None:
    """Refuse what cannot name a device; None stays None."""
    return None if value is None else _checked_device(value)


def _checked_threshold(value: float | None) -> float | None:
    if value is not None and not 0 <= value <= 1:  # NaN is refused too
        raise typer.BadParameter(f"{value:g} does not lie between 0 and 1.")
    return value


def _checked_pixel_size(value: float | None) -> float | None:
    if value is not None and not 0.01 <= value <= 100:
        raise typer.BadParameter(f"{value:g} does not lie between 0.01 and 100 micrometres.")
    return value


def _checked_views(value: int) -> int:
    if value not in (1, 4):
        raise typer.BadParameter(f"{value} is neither 1 nor 4.")
    return value


Model = Annotated[
    str,
    typer.Option(
        "--model", help="A name from `pixelcam models list`, a .safetensors file, or hf-hub:ORG/REPO."
    ),
]
Device = Annotated[str, typer.Option(callback=_checked_device, help="auto, cpu, cuda, cuda:N or mps.")]
OptionalDevice = Annotated[
    str | None,
    typer.Option("--device", callback=check_optional_device, help="auto, cpu, cuda, cuda:N or mps."),
]
Threshold = Annotated[
    float | None,
    typer.Option(
        callback=_checked_threshold, help="Foreground from this probability on; the model's own by default."
    ),
]
PixelSize = Annotated[
    float | None,
    typer.Option(
        "--mpp",
        callback=_checked_pixel_size,
        help="Micrometres per pixel of the images, where they do not say it or say it wrong.",
    ),
]
Series = Annotated[
    int | None,
    typer.Option(
        "--series",
        min=1,
        help="Which picture of a file that holds several, from 1; by default the largest, or the first.",
    ),
]
Views = Annotated[
    int,
    typer.Option(
        "--views",
        callback=_checked_views,
        help="1, or 4: the mean over an image and its mirror images, steadier, by four passes.",
    ),
]
OutFolder = Annotated[Path, typer.Option("--out", help="Folder for the results; made if it is not there.")]
RunFolder = Annotated[Path, typer.Option("--out", help="The run folder: checkpoints, events, settings.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]
AsJsonLines = Annotated[bool, typer.Option("--json", help="Print each event on stdout as one line of JSON.")]
DatasetName = Annotated[
    Literal["glas", "ebhi", "camelyon512", "folder"],
    typer.Option("--dataset", help="GlaS, EBHI-SEG, CAMELYON512, or a folder of class folders."),
]
Root = Annotated[Path, typer.Option("--root", help="Folder of the data set.")]
Fold = Annotated[
    int | None,
    typer.Option(
        "--fold", min=0, help="Fold of the data set, from 0; by default that which the model was trained on."
    ),
]
Scheme = Annotated[
    Literal["official", "patient", "slide"] | None,
    typer.Option(
        "--scheme",
        help="The data set's own split, or one with no patient or slide on both sides; by default that which "
        "the model was trained on.",
    ),
]
Config = Annotated[
    Path | None,
    typer.Option(help="YAML file of settings by name; options of the command line win.", metavar="FILE"),
]
Register = Annotated[
    str | None,
    typer.Option(help="Add the finished model to your models under this name.", metavar="NAME"),
]
