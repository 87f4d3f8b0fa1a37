"""`pixelcam evaluate`: the figures of a model on a data set."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

import typer

from pixelcam.cli import options
from pixelcam.cli.console import print_json, print_table, show_progress
from pixelcam.cli.outputs import prepare_folder


def evaluate(
    dataset: options.DatasetName,
    root: options.Root,
    split: Annotated[
        Literal["train", "valcl", "valpx", "test"], typer.Option(help="Which images of the data set.")
    ],
    model: options.Model = "starter",
    fold: options.Fold = 0,
    scheme: options.Scheme = "official",
    threshold: options.Threshold = None,
    device: options.Device = "auto",
    json_file: Annotated[
        Path | None,
        typer.Option("--json", help="Write the figures to this file; - is stdout.", metavar="FILE"),
    ] = None,
) -> None:
    """Measure a model on a data set: PxAP beside chance, accuracy, Dice, IoU, all in percent.

    Dice and IoU are at the model's own threshold, which was chosen on validation images, unless --threshold
    says otherwise.
    """
    to_file = json_file is not None and str(json_file) != "-"
    if json_file is not None and to_file:
        prepare_folder(json_file.parent)
    import pixelcam
    from pixelcam.datasets import open_dataset
    from pixelcam.evaluation import evaluate as measure
    from pixelcam.export.atomic import write_text

    images = open_dataset(dataset, root, split, fold, scheme)
    localizer = pixelcam.load(model, device)
    with show_progress() as sink:
        figures = measure(localizer, images, threshold=threshold, on_event=sink).to_json()
    if json_file is not None and to_file:
        write_text(json_file, json.dumps(figures, indent=2) + "\n")
    elif json_file is not None:
        print_json(figures)
        return
    print_table(("figure", "value"), [(name, _shown(value)) for name, value in figures.items()])


def _shown(value: float | int | None) -> str:
    if value is None:
        return "-"
    return str(value) if isinstance(value, int) else f"{value:.4g}"
