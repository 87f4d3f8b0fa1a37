"""`pixelcam models`: which models are at hand, what each says of itself, and what is familiar to it."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pixelcam.cli import options
from pixelcam.cli.console import print_json, print_note, print_result, print_table, show_progress
from pixelcam.cli.divisions import choose_division
from pixelcam.cli.failures import describe
from pixelcam.cli.outputs import prepare_folder
from pixelcam.errors import ConfigError, PixelCAMError

if TYPE_CHECKING:
    from pixelcam.model import ModelEntry

app = typer.Typer(help="The models at hand: list, look at, add, find.", no_args_is_help=True)
Name = Annotated[
    str, typer.Argument(help="A name, a .safetensors file, or hf-hub:ORG/REPO.", metavar="MODEL")
]


@app.command("list")
def list_(as_json: options.AsJson = False) -> None:
    """List the models that can be asked for by name."""
    from pixelcam.model import list_models

    rows = [_row(entry) for entry in list_models()]
    if as_json:
        print_json(rows)
        return
    columns = ("name", "source", "encoder", "classes", "path")
    print_table(columns, [tuple(str(row.get(key, "")) for key in columns) for row in rows])


@app.command()
def info(model: Name, as_json: options.AsJson = False) -> None:
    """Show what a model says of itself: encoder, classes, data, figures."""
    from pixelcam.model import file_sha256, read_card, resolve_model

    path = resolve_model(model)
    values: dict[str, Any] = {"path": str(path), "sha256": file_sha256(path), **asdict(read_card(path))}
    if as_json:
        print_json(values)
        return
    print_table(("", ""), [(key, _shown(value)) for key, value in values.items() if value not in (None, "")])


@app.command()
def add(
    file: Annotated[Path, typer.Argument(help="A .safetensors checkpoint, as training leaves it.")],
    name: Annotated[str, typer.Option(help="The name to ask for it by; the file's own by default.")] = "",
    foreground_name: Annotated[
        str | None,
        typer.Option(help="What its foreground is, such as glands; what its card says by default."),
    ] = None,
) -> None:
    """Copy a model file among your models, so that it can be asked for by name."""
    from pixelcam.model import register_model

    entry = register_model(file, name or file.stem, foreground_name)
    print_note(f"{entry.name} is now among your models: {entry.path}")


@app.command()
def path(model: Name) -> None:
    """Print the file of a model."""
    from pixelcam.model import resolve_model

    print_result(str(resolve_model(model)))


@app.command()
def familiarity(
    model: Name,
    dataset: options.DatasetName,
    root: options.Root,
    out: Annotated[
        Path, typer.Option(help="The .safetensors file to write; it may be the model's own.", metavar="FILE")
    ],
    fold: options.Fold = None,
    scheme: options.Scheme = None,
    device: options.Device = "auto",
) -> None:
    """Teach a model which images are like those that it was trained on, as training does at its end.

    For models that were trained before this, or fine-tuned: looks at training and validation images of the
    data set, whose labels are not read, and changes no weight.
    """
    prepare_folder(out.parent)
    from pixelcam.datasets import open_dataset
    from pixelcam.model import read_card, resolve_model
    from pixelcam.model.familiarity import FEWEST
    from pixelcam.model.registry import refuse_other_model
    from pixelcam.training.familiarity import add_familiarity

    path = resolve_model(model)
    refuse_other_model(out, path)
    division = choose_division(read_card(path), dataset, fold, scheme)
    training, held_out = (open_dataset(dataset, root, split, *division) for split in ("train", "valcl"))
    with show_progress() as sink:
        written = add_familiarity(path, out, training, held_out, device=device, on_event=sink)
    if not written:
        raise ConfigError(
            f"{model} cannot tell what is familiar: that takes at least {FEWEST} training and {FEWEST} "
            "validation images, and a pixel head on levels before the final map."
        )
    print_note(f"Written to {out}.")


def _row(entry: ModelEntry) -> dict[str, Any]:
    """Return what is known of a model; a damaged one is listed with what is wrong with it."""
    from pixelcam.model import read_card

    row: dict[str, Any] = {"name": entry.name, "source": entry.source, "path": str(entry.path)}
    try:
        card = read_card(entry.path)
    except PixelCAMError as error:
        return {**row, "error": describe(error), "encoder": "damaged"}
    return {**row, "encoder": card.encoder, "classes": len(card.classes), "threshold": card.threshold}


def _shown(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {each}" for key, each in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(str(each) for each in value)
    return str(value)
