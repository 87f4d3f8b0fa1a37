"""`pixelcam export`: results and seeds that are on disk already, in other formats."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pixelcam.cli import options
from pixelcam.cli.console import print_error, print_json, print_note
from pixelcam.cli.failures import describe
from pixelcam.cli.formats import Format
from pixelcam.cli.inputs import Input, list_folder
from pixelcam.cli.outputs import prepare_folder
from pixelcam.errors import ConfigError, ImageError
from pixelcam.listing import is_folder

if TYPE_CHECKING:
    from pixelcam.export.naming import Places

SEEDS_ENDING = ".seeds.json"


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

    Of results: regions at the threshold as geojson (for QuPath), histomics (for HistomicsUI), coco (runs, for
    pycocotools) and mask (8-bit PNG, 255 in the regions); the map as ome-tiff, ome-zarr, npz (all float) and
    png (8-bit); both as dicom-seg. Of seeds: png, npz, ome-zarr, geojson, histomics, coco and dicom-seg.
    Regions are cut at the threshold of the results, unless --threshold gives another. What is in folders of
    PATH goes into such folders of OUT; never over a file that is not of the same image and work.
    """
    sources = [source for path in paths for source in _sources(path)]
    prepare_folder(out)
    from pixelcam.export.naming import Places

    places = Places()
    written: list[Path] = []
    failed: list[dict[str, str]] = []
    for source in sources:
        folder = out / source.place
        try:
            if source.path.name.endswith(SEEDS_ENDING):
                written += _export_seeds(source.path, folder, formats, places)
            else:
                written += _export_result(source.path, folder, formats, threshold, places)
        except Exception as error:
            failed.append({"path": str(source.path), "error": describe(error)})
    if as_json:
        print_json({"files": [str(path) for path in written], "failed": failed})
    else:
        for path in written:
            print_note(str(path))
    for failure in failed:
        print_error(failure["error"])
    if failed:
        raise typer.Exit(1)


def _sources(path: Path) -> list[Input]:
    """Return the summaries and sidecars that a path stands for: itself, or those in and below a folder."""
    if not is_folder(path):
        return [Input(path)]
    found = list(_below(path, Path(), set()))
    if not found:
        raise ImageError(f"{path} holds neither results of localize nor seeds; give a folder that does.")
    return found


def _below(folder: Path, place: Path, seen: set[Path]) -> Iterator[Input]:
    from pixelcam.export.reading import is_summary

    seen.add(folder.resolve())
    folders = []
    for path in list_folder(folder):
        if path.name.startswith("."):
            continue
        if is_folder(path):
            folders.append(path)
        elif path.suffix == ".json" and (path.name.endswith(SEEDS_ENDING) or is_summary(path)):
            yield Input(path, place)
    for path in folders:
        if path.suffix != ".zarr" and path.resolve() not in seen:
            yield from _below(path, place / path.name, seen)


def _export_seeds(sidecar: Path, out: Path, formats: list[Format], places: Places) -> list[Path]:
    from pixelcam.export import SEED_FORMATS, export_seeds
    from pixelcam.export.seeds import read_seed_record

    unfit = [form for form in formats if form not in SEED_FORMATS]
    if unfit:
        *others, last = SEED_FORMATS
        raise ConfigError(
            f"{sidecar} cannot be written as {unfit[0]}; seeds take {', '.join(others)} and {last}."
        )
    record = read_seed_record(sidecar)
    described = replace(record.sidecar, image=replace(record.sidecar.image, path=str(record.image_path)))
    stem = sidecar.name.removesuffix(SEEDS_ENDING)
    return export_seeds(out, record.labels, described, formats, stem=stem, places=places)


def _export_result(
    summary: Path, out: Path, formats: list[Format], threshold: float | None, places: Places
) -> list[Path]:
    from pixelcam.export import export_result, write_summary
    from pixelcam.export.reading import read_localization

    found = read_localization(summary)
    written = export_result(out, found, formats, threshold, summary.stem, places, summary.absolute())
    replaced = out.resolve() == summary.parent.resolve() and threshold is not None
    if replaced and Format.GEOJSON in formats:  # regions and figures side by side must agree
        written.append(write_summary(summary, found, f"{summary.stem}.fg.ome.tif", threshold))
    return written
