"""`pixelcam export`: results and seeds that are on disk already, in other formats."""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from pixelcam.cli import options
from pixelcam.cli.console import print_error, print_json, print_note
from pixelcam.cli.failures import describe
from pixelcam.cli.inputs import list_folder, refuse_same_stems
from pixelcam.cli.outputs import prepare_folder
from pixelcam.errors import ConfigError, ImageError
from pixelcam.listing import is_folder

SEEDS_ENDING = ".seeds.json"


class Format(StrEnum):
    """What results and seeds can be written as."""

    GEOJSON = "geojson"
    HISTOMICS = "histomics"
    COCO = "coco"
    PNG = "png"
    MASK = "mask"
    NPZ = "npz"
    OME_TIFF = "ome-tiff"
    OME_ZARR = "ome-zarr"
    DICOM_SEG = "dicom-seg"


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
        raise ImageError(f"{path} holds neither results of localize nor seeds; give a folder that does.")
    return found


def _export_seeds(sidecar: Path, out: Path, formats: list[Format]) -> list[Path]:
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
    return export_seeds(out, record.labels, described, formats)


def _export_result(summary: Path, out: Path, formats: list[Format], threshold: float | None) -> list[Path]:
    from pixelcam.export import export_result, write_summary
    from pixelcam.export.reading import read_localization

    found = read_localization(summary)
    written = export_result(out, found, formats, threshold, stem=summary.stem)
    replaced = out.resolve() == summary.parent.resolve() and threshold is not None
    if replaced and Format.GEOJSON in formats:  # regions and figures side by side must agree
        written.append(write_summary(summary, found, f"{summary.stem}.fg.ome.tif", threshold))
    return written
