"""`pixelcam simulate`: what corrections would bring, measured with a simulated reviewer."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from pixelcam.cli import options
from pixelcam.cli.console import print_json, print_table, show_progress
from pixelcam.cli.divisions import caution_of, choose_division
from pixelcam.cli.outputs import prepare_file, write_figures
from pixelcam.events import Event

WORSE = 0.02

app = typer.Typer(help="What corrections would bring, with a simulated reviewer.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Keep `clicks` a command of its own, though it is the only one."""


@app.command(
    help="Let a simulated reviewer click on the largest wrong areas of every image with a mask, or draw "
    "strokes through them, and refine the map after each; tells the mean Dice after each, and the share of "
    f"images that are worse by more than {WORSE} away from all labels than the model's own map had them."
)
def clicks(
    dataset: options.DatasetName,
    root: options.Root,
    split: Annotated[
        Literal["train", "valcl", "valpx", "test"], typer.Option(help="Which images of the data set.")
    ],
    model: options.Model = "starter",
    fold: options.Fold = None,
    scheme: options.Scheme = None,
    count: Annotated[
        int,
        typer.Option("--clicks", min=1, max=10_000, help="Clicks, or strokes, on each image, of all kinds."),
    ] = 20,
    order: Annotated[
        Literal["alternate", "background-first", "foreground", "background", "random"],
        typer.Option(help="Of which kind each is: in turn, beginning with foreground or not; one; by lot."),
    ] = "alternate",
    strokes: Annotated[bool, typer.Option("--strokes", help="Draw strokes instead of clicking.")] = False,
    brush: Annotated[
        int | None,
        typer.Option(min=1, max=1000, help="Diameter of strokes in pixels; the dock's by default."),
    ] = None,
    threshold: options.Threshold = None,
    views: options.Views = 1,
    device: options.Device = "auto",
    json_file: Annotated[
        Path | None,
        typer.Option(
            "--json",
            help="Write the mean curve, each image's, and the times to this file; - is stdout.",
            metavar="FILE",
        ),
    ] = None,
) -> None:
    """Simulate a reviewer's clicks or strokes."""
    to_file = json_file is not None and str(json_file) != "-"
    if json_file is not None and to_file:
        subject = f"the {split} images of {dataset} in {root.absolute()}"
        mark = prepare_file(json_file, "figures of simulate", subject)
    import pixelcam
    from pixelcam.datasets import open_dataset
    from pixelcam.refine.oracle import Manner, simulate_clicks
    from pixelcam.seeds import BRUSH

    localizer = pixelcam.load(model, device, views=views)
    division = choose_division(localizer.card, dataset, fold, scheme)
    images = open_dataset(dataset, root, split, *division)
    with show_progress() as sink:
        sink(Event("started", message=f"On the {split} images of {division}."))
        for note in images.notes:
            sink(Event("warning", message=note))
        if caution := caution_of(localizer.card, dataset, division):
            sink(Event("warning", message=caution))
        manner = Manner(order, (brush or BRUSH) if strokes else None)
        result = simulate_clicks(localizer, images, count, threshold=threshold, manner=manner, on_event=sink)
    document = {"split": split, **division._asdict(), **result.to_json()}
    if json_file is not None and to_file:
        write_figures(json_file, document, mark)
    elif json_file is not None:
        print_json(document)
        return
    rows = zip(range(count + 1), result.mean, result.worse, strict=True)
    names = ("strokes" if strokes else "clicks", "mean Dice", "worse elsewhere")
    print_table(names, [(str(at), f"{dice:.3f}", f"{100 * worse:.0f} %") for at, dice, worse in rows])
