"""`pixelcam localize`: maps, regions and class probabilities of images."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pixelcam.cli import options
from pixelcam.cli.console import print_error, print_json, print_note, show_progress
from pixelcam.cli.failures import describe
from pixelcam.cli.formats import Format
from pixelcam.cli.inputs import Input, gather_inputs
from pixelcam.cli.outputs import prepare_folder
from pixelcam.errors import CancelledError, OutputError, PixelCAMError
from pixelcam.events import Event
from pixelcam.limits import parse_json

if TYPE_CHECKING:
    from pixelcam import Localizer
    from pixelcam.events import EventSink
    from pixelcam.export.naming import Places
    from pixelcam.slides import Slide


def localize(
    images: Annotated[list[Path], typer.Argument(help="Image files, or folders of images.", metavar="IMAGE")],
    out: options.OutFolder,
    model: options.Model = "starter",
    threshold: options.Threshold = None,
    mpp: options.PixelSize = None,
    views: options.Views = 1,
    series: options.Series = None,
    formats: Annotated[
        list[Format] | None,
        typer.Option("--format", help="Write this too, as `pixelcam export` does."),
    ] = None,
    device: options.Device = "auto",
    as_json: options.AsJson = False,
) -> None:
    """Say what each image is, and where the model sees it.

    Writes OUT/STEM.fg.ome.tif (foreground probability), OUT/STEM.geojson (regions, for QuPath) and
    OUT/STEM.json (class probabilities and figures) for each image.
    What is in folders of IMAGE goes into such folders of OUT. Results of the same image are replaced; where
    OUT has other files of an image's name, a part of the image's fingerprint is added to STEM, which is told.
    An image that fails does not stop the others.
    """
    inputs = gather_inputs(images, print_error)
    prepare_folder(out)
    import pixelcam
    from pixelcam.export.naming import Places

    localizer = pixelcam.load(model, device, views=views)
    chosen = _Chosen(out, threshold, mpp, series, tuple(formats or ()), Places())
    done: list[dict[str, Any]] = []
    failed: list[dict[str, str]] = []
    with show_progress() as sink:
        for number, each in enumerate(inputs, start=1):
            path = each.path
            try:
                slide = _open(path, chosen, sink)
                done.append({"path": str(path), **_export(each, localizer, slide, chosen, sink)})
            except CancelledError:
                raise
            except Exception as error:
                failed.append({"path": str(path), "error": _sentence(path, error)})
            if len(inputs) > 1:
                sink(Event("step", "images", step=number, total=len(inputs)))
    if as_json:
        print_json({"images": done, "failed": failed})
    else:
        _tell(done, out)
    for failure in failed:
        print_error(failure["error"])
    if failed:
        raise typer.Exit(1)


@dataclass(frozen=True)
class _Chosen:
    """What the options say of every image, and which names were given already."""

    out: Path
    threshold: float | None
    mpp: float | None
    series: int | None
    formats: tuple[Format, ...]
    places: Places


def _open(path: Path, chosen: _Chosen, sink: EventSink) -> Slide:
    """Open an image, with its pixel size as it is or as the user knows better."""
    from pixelcam.slides import open_slide

    slide = open_slide(path, chosen.series)
    for note in slide.notes:
        sink(Event("warning", message=note))
    return slide if chosen.mpp is None else replace(slide, mpp=chosen.mpp)


def _export(
    given: Input, localizer: Localizer, slide: Slide, chosen: _Chosen, sink: EventSink
) -> dict[str, Any]:
    """Localize an image, write its files, and return what its summary says."""
    from pixelcam.export import export_localization, export_result, safe_stem

    found = localizer.localize(slide, on_event=sink)
    if found.image_caution:
        sink(Event("warning", "localize", message=f"{given.path}: {found.caution}"))
    folder, path = chosen.out / given.place, given.path.absolute()
    files = export_localization(found, folder, chosen.threshold, chosen.places, path)
    stem = files["summary"].stem
    if stem != safe_stem(found.image_name):
        others = f"{safe_stem(found.image_name)} in {folder} are not ours, or of another image"
        sink(Event("warning", message=f"{given.path}: files called {others}; its own are called {stem}."))
    if chosen.formats:
        export_result(folder, found, chosen.formats, chosen.threshold, stem, chosen.places, path)
    try:
        summary: dict[str, Any] = parse_json(files["summary"].read_text(encoding="utf-8"))
    except OSError as error:
        raise OutputError(f"{files['summary']} was written, but cannot be read: {error.strerror}.") from error
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
        share, called = summary["foreground_fraction"], summary.get("foreground_name", "foreground")
        print_note(
            f"{summary['path']}: {predicted} ({summary['classes'][predicted]:.0%}), "
            f"{called} {share:.1%} at threshold {summary['threshold']:.2f}"
        )
        if "caution" in summary and "image_caution" not in summary:  # which was told at once
            print_note(f"  {summary['caution']}")
    if summaries:
        print_note(f"Written to {out}.")
