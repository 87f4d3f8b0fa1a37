"""`pixelcam export`: results and seeds that are on disk already, in other formats."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pixelcam.cli import options
from pixelcam.cli.console import print_error, print_json, print_note
from pixelcam.cli.failures import describe
from pixelcam.cli.inputs import is_folder, list_folder, refuse_same_stems
from pixelcam.cli.outputs import prepare_folder
from pixelcam.errors import ConfigError, ImageError

if TYPE_CHECKING:
    from pixelcam.localize import Localization

SEEDS_ENDING = ".seeds.json"


class Format(StrEnum):
    """What results can be written as."""

    GEOJSON = "geojson"
    PNG = "png"
    MASK = "mask"
    NPZ = "npz"
    OME_TIFF = "ome-tiff"


ENDINGS = {
    Format.GEOJSON: ".geojson",
    Format.PNG: ".fg.png",
    Format.MASK: ".mask.png",
    Format.NPZ: ".fg.npz",
    Format.OME_TIFF: ".fg.ome.tif",
}


def export(
    paths: Annotated[
        list[Path],
        typer.Argument(help="Folders of results or seeds, or single .json files of such.", metavar="PATH"),
    ],
    out: options.OutFolder,
    formats: Annotated[
        list[Format], typer.Option("--format", help="Give it several times for several formats.")
    ],
    threshold: options.Threshold = None,
    as_json: options.AsJson = False,
) -> None:
    """Write results of localize, or exported seeds, in other formats; no model is needed.

    Of results: geojson (regions at the threshold, for QuPath), mask (8-bit PNG, 255 in the regions), png
    (8-bit map), npz (float map), ome-tiff (float map). Of seeds: png, npz, and geojson for QuPath.
    Regions are cut at the threshold of the results, unless --threshold gives another.
    """
    sources = [source for path in paths for source in _sources(path)]
    refuse_same_stems([path for path in sources if not path.name.endswith(SEEDS_ENDING)])
    refuse_same_stems([path for path in sources if path.name.endswith(SEEDS_ENDING)])
    prepare_folder(out)
    written: list[Path] = []
    failed: list[dict[str, str]] = []
    for source in sources:
        is_seeds = source.name.endswith(SEEDS_ENDING)
        try:
            if is_seeds:
                written += _export_seeds(source, out, formats)
            else:
                written += _export_result(source, out, formats, threshold)
        except Exception as error:
            failed.append({"path": str(source), "error": describe(error)})
    if as_json:
        print_json({"files": [str(path) for path in written], "failed": failed})
    else:
        for path in written:
            print_note(str(path))
    for failure in failed:
        print_error(failure["error"])
    if failed:
        raise typer.Exit(1)


def _sources(path: Path) -> list[Path]:
    """Return the summaries and sidecars that a path stands for."""
    from pixelcam.export.reading import is_summary

    if not is_folder(path):
        return [path]
    found = [
        file
        for file in list_folder(path)
        if file.suffix == ".json"
        and not file.name.startswith(".")
        and (file.name.endswith(SEEDS_ENDING) or is_summary(file))
    ]
    if not found:
        raise ImageError(f"There are neither results of localize nor seeds in {path}.")
    return found


def _export_seeds(sidecar: Path, out: Path, formats: list[Format]) -> list[Path]:
    from pixelcam.export.areas import areas_of_seeds
    from pixelcam.export.geojson import write_seed_geojson
    from pixelcam.export.seeds import read_seed_record, write_seeds

    unfit = [form for form in formats if form not in (Format.PNG, Format.NPZ, Format.GEOJSON)]
    if unfit:
        raise ConfigError(f"{sidecar} cannot be written as {unfit[0]}; seeds take png, npz and geojson.")
    record = read_seed_record(sidecar)
    stem = sidecar.name.removesuffix(SEEDS_ENDING)
    written = []
    arrays = [form.value for form in formats if form is not Format.GEOJSON]
    if arrays:
        described = replace(record.sidecar, image=replace(record.sidecar.image, path=str(record.image_path)))
        written += write_seeds(out, record.labels, described, arrays)
    if Format.GEOJSON in formats:
        written.append(
            write_seed_geojson(out / f"{stem}.seeds.geojson", areas_of_seeds(record.labels, record.sidecar))
        )
    return written


def _writer(form: Format) -> Callable[[Path, Localization, float], Path]:
    """Return what writes a map in a format; only regions ask for the threshold."""
    from pixelcam.export import arrays, maps, write_geojson

    return {
        Format.GEOJSON: write_geojson,
        Format.MASK: arrays.write_mask_png,
        Format.PNG: lambda path, found, threshold: maps.write_map_png(path, found),
        Format.NPZ: lambda path, found, threshold: arrays.write_map_npz(path, found),
        Format.OME_TIFF: lambda path, found, threshold: maps.write_foreground(path, found),
    }[form]


def _export_result(summary: Path, out: Path, formats: list[Format], threshold: float | None) -> list[Path]:
    from pixelcam.export import write_summary
    from pixelcam.export.reading import read_localization

    found = read_localization(summary)
    written = []
    for form in formats:
        path = out / f"{summary.stem}{ENDINGS[form]}"
        _writer(form)(path, found, found.threshold if threshold is None else threshold)
        written.append(path)
    replaced = out.resolve() == summary.parent.resolve() and threshold is not None
    if replaced and Format.GEOJSON in formats:  # regions and figures side by side must agree
        written.append(write_summary(summary, found, f"{summary.stem}.fg.ome.tif", threshold))
    return written
