"""`pixelcam localize`: maps, regions and class probabilities of images."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pixelcam.cli import options
from pixelcam.cli.console import print_error, print_json, print_note, show_progress
from pixelcam.cli.failures import describe
from pixelcam.cli.inputs import gather_images, refuse_same_stems
from pixelcam.cli.outputs import prepare_folder
from pixelcam.errors import CancelledError, PixelCAMError
from pixelcam.events import Event
from pixelcam.limits import parse_json

if TYPE_CHECKING:
    from pixelcam import Localization
    from pixelcam.slides import Slide


def localize(
    images: Annotated[list[Path], typer.Argument(help="Image files, or folders of images.", metavar="IMAGE")],
    out: options.OutFolder,
    model: options.Model = "starter",
    threshold: options.Threshold = None,
    mpp: options.PixelSize = None,
    views: options.Views = 1,
    device: options.Device = "auto",
    as_json: options.AsJson = False,
) -> None:
    """Say what each image is, and where the model sees it.

    Writes OUT/STEM.fg.ome.tif (foreground probability), OUT/STEM.geojson (regions, for QuPath) and
    OUT/STEM.json (class probabilities and figures) for each image.
    An image that fails does not stop the others.
    """
    paths = gather_images(images, print_error)
    refuse_same_stems(paths)
    prepare_folder(out)
    import pixelcam

    localizer = pixelcam.load(model, device, views=views)
    done: list[dict[str, Any]] = []
    failed: list[dict[str, str]] = []
    with show_progress() as sink:
        for number, path in enumerate(paths, start=1):
            try:
                found = localizer.localize(_open(path, mpp), on_event=sink)
                done.append({"path": str(path), **_export(found, out, threshold)})
            except CancelledError:
                raise
            except Exception as error:
                failed.append({"path": str(path), "error": _sentence(path, error)})
            if len(paths) > 1:
                sink(Event("step", "images", step=number, total=len(paths)))
    if as_json:
        print_json({"images": done, "failed": failed})
    else:
        _tell(done, out)
    for failure in failed:
        print_error(failure["error"])
    if failed:
        raise typer.Exit(1)


def _open(path: Path, mpp: float | None) -> Slide:
    """Open an image, with its pixel size as it is or as the user knows better."""
    from pixelcam.slides import open_slide

    slide = open_slide(path)
    return slide if mpp is None else replace(slide, mpp=mpp)


def _export(found: Localization, out: Path, threshold: float | None) -> dict[str, Any]:
    """Write an image's files, and return what its summary says."""
    from pixelcam.export import export_localization

    files = export_localization(found, out, threshold)
    summary: dict[str, Any] = parse_json(files["summary"].read_text(encoding="utf-8"))
    return summary


def _sentence(path: Path, error: Exception) -> str:
    """Describe an error so that it is clear which of the images it is about."""
    if os.environ.get("PIXELCAM_DEBUG") and not isinstance(error, PixelCAMError):
        raise error
    sentence = describe(error)
    return sentence if path.name in sentence else f"{path}: {sentence}"


def _tell(summaries: list[dict[str, Any]], out: Path) -> None:
    for summary in summaries:
        predicted = summary["predicted"]
        print_note(
            f"{summary['path']}: {predicted} ({summary['classes'][predicted]:.0%}), "
            f"foreground {summary['foreground_fraction']:.1%} at threshold {summary['threshold']:.2f}"
        )
        if "caution" in summary:
            print_note(f"  {summary['caution']}")
    if summaries:
        print_note(f"Written to {out}.")
