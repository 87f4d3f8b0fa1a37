"""`pixelcam import`: annotations and label images from other programs, as seeds."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from pixelcam.cli import options
from pixelcam.cli.console import print_error, print_json, print_note
from pixelcam.cli.outputs import prepare_folder


def import_(
    file: Annotated[
        Path,
        typer.Argument(
            help="GeoJSON of QuPath, JSON of HistomicsUI, or a label image: PNG, TIFF, NPZ or OME-Zarr.",
            metavar="FILE",
        ),
    ],
    image: Annotated[Path, typer.Option(help="The image that it belongs to.", metavar="IMAGE")],
    out: options.OutFolder,
    meanings: Annotated[
        list[str] | None,
        typer.Option(
            "--map",
            help="What a class or value means, e.g. Tumor=foreground or 255=background; "
            "several times for several. The rest is left unlabelled.",
            metavar="NAME=MEANING",
        ),
    ] = None,
    reviewer: Annotated[str, typer.Option(help="Who drew them.")] = "",
    series: options.Series = None,
    as_json: options.AsJson = False,
) -> None:
    """Turn annotations or a label image into seeds of an image, as fine-tuning reads them.

    Writes OUT/STEM.seeds.png and its sidecar OUT/STEM.seeds.json. Classes must be called foreground or
    background, and values be 0 (none), 1 (background) and 2 (foreground), unless --map says what they mean.
    A label image must have the size of the image, or of one of its levels. What was imported from the same
    FILE, for the same reviewer, is replaced; where OUT has other seeds of the image, the reviewer's name or
    FILE's is added to STEM.
    """
    chosen = _meanings(meanings)
    from pixelcam.export import SeedImage, SeedSidecar, safe_stem, write_seeds
    from pixelcam.export.importing import read_labels
    from pixelcam.seeds import count_seeds
    from pixelcam.seeds.grid import seed_grid
    from pixelcam.slides import open_slide

    slide = open_slide(image, series)
    for note in slide.notes:
        print_error(note)
    labels = read_labels(file, slide, chosen, on_event=lambda event: print_error(event.message))
    grid = seed_grid([(level.shape[0], level.shape[1]) for level in slide.levels])
    prepare_folder(out)
    sidecar = SeedSidecar(
        image=SeedImage.of(slide),
        level=grid.level,
        scale=grid.scale,
        translate=grid.translate,
        reviewer=reviewer,
        source=str(file.absolute()),
        source_sha256=_digest(file),
        started=datetime.now().astimezone().isoformat(timespec="seconds"),
    )
    written = write_seeds(out, labels, sidecar, formats=["png"])
    called = written[-1].name.removesuffix(".seeds.json")
    if called != safe_stem(slide.name):
        print_error(f"{out} holds other seeds of an image called {slide.name}; these are called {called}.")
    foreground, background = count_seeds(labels)
    if as_json:
        files = [str(path) for path in written]
        print_json({"files": files, "foreground": foreground, "background": background})
    else:
        print_note(f"{file}: {foreground} foreground and {background} background pixels, written to {out}.")


def _digest(file: Path) -> str:
    """Return the digest of a file, "" where it is a folder, as a zarr is."""
    from pixelcam.slides import hash_file

    return hash_file(file) if file.is_file() else ""


def _meanings(values: list[str] | None) -> dict[str, str] | None:
    if not values:
        return None
    found = {}
    for value in values:
        name, equals, meaning = value.rpartition("=")
        if not equals or not name or meaning not in ("foreground", "background", "ignore"):
            raise typer.BadParameter(
                f"{value!r} is not NAME=foreground, NAME=background or NAME=ignore.", param_hint="--map"
            )
        found[name] = meaning
    return found
