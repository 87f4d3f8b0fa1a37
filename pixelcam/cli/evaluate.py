"""`pixelcam evaluate`: the figures of a model on a data set."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from pixelcam.cli import options
from pixelcam.cli.console import print_json, print_table, show_progress
from pixelcam.cli.divisions import caution_of, choose_division
from pixelcam.cli.outputs import prepare_file, write_figures
from pixelcam.cli.runs import numbers
from pixelcam.errors import ConfigError
from pixelcam.events import Event

if TYPE_CHECKING:
    from pixelcam.model import ModelCard
    from pixelcam.training import TrainSettings

TEACHER = "A teacher as a baseline"


def evaluate(
    dataset: options.DatasetName,
    root: options.Root,
    split: Annotated[
        Literal["train", "valcl", "valpx", "test"], typer.Option(help="Which images of the data set.")
    ],
    model: options.Model = "starter",
    fold: options.Fold = None,
    scheme: options.Scheme = None,
    threshold: options.Threshold = None,
    views: options.Views = 1,
    device: options.Device = "auto",
    teacher: Annotated[
        str | None,
        typer.Option(
            help="Measure this localization method's maps of the model's classifier, not its pixel head.",
            rich_help_panel=TEACHER,
        ),
    ] = None,
    teacher_levels: Annotated[
        str | None, typer.Option(help="Its feature levels, e.g. 3.", rich_help_panel=TEACHER)
    ] = None,
    teacher_scales: Annotated[
        str | None, typer.Option(help="Image sizes to average over, e.g. 1,1.5.", rich_help_panel=TEACHER)
    ] = None,
    teacher_flips: Annotated[
        bool | None,
        typer.Option(
            "--teacher-flips/--no-teacher-flips", help="Average over flips.", rich_help_panel=TEACHER
        ),
    ] = None,
    teacher_epochs: Annotated[
        int | None, typer.Option(help="Epochs of a teacher that is trained.", rich_help_panel=TEACHER)
    ] = None,
    teacher_root: Annotated[
        Path | None,
        typer.Option(
            help="Folder of the model's own data set, whose training images a trained teacher learns on; "
            "--root where it is the same.",
            rich_help_panel=TEACHER,
        ),
    ] = None,
    maps_of: Annotated[
        Literal["predicted", "true"],
        typer.Option(help="Which class the teacher's maps are of.", rich_help_panel=TEACHER),
    ] = "predicted",
    json_file: Annotated[
        Path | None,
        typer.Option("--json", help="Write the figures to this file; - is stdout.", metavar="FILE"),
    ] = None,
) -> None:
    """Measure a model on a data set: PxAP beside chance, accuracy, Dice, IoU, all in percent.

    Dice and IoU are at the model's own threshold, which was chosen on validation images, unless --threshold
    says otherwise; a teacher's are at 0.5. The figures end with the split, fold and scheme that they are of:
    those that the model was trained on, where --fold and --scheme do not say.
    """
    if teacher is not None and views != 1:
        raise ConfigError("--views is of the pixel head; average a teacher's maps with --teacher-flips.")
    to_file = json_file is not None and str(json_file) != "-"
    if json_file is not None and to_file:
        subject = f"the {split} images of {dataset} in {root.absolute()}"
        mark = prepare_file(json_file, "figures of evaluate", subject)
    import pixelcam
    from pixelcam.datasets import open_dataset
    from pixelcam.evaluation import evaluate as measure

    localizer = pixelcam.load(model, device, views=views)
    division = choose_division(localizer.card, dataset, fold, scheme)
    images = open_dataset(dataset, root, split, *division)
    with show_progress() as sink:
        for note in images.notes:
            sink(Event("warning", message=note))
        if caution := caution_of(localizer.card, dataset, division):
            sink(Event("warning", message=caution))
        if teacher is None:
            figures = measure(localizer, images, threshold=threshold, on_event=sink).to_json()
        else:
            from pixelcam.teachers.evaluation import evaluate_maps, load_teacher

            wanted = {
                "teacher": teacher,
                "teacher_levels": numbers(teacher_levels, int),
                "teacher_scales": numbers(teacher_scales, float),
                "teacher_flips": teacher_flips,
                "teacher_epochs": teacher_epochs,
            }
            settings = _teacher_settings(wanted, localizer.card, dataset, root, teacher_root)
            network = localizer.network.to(localizer.device)
            made = load_teacher(settings, network, localizer.card, on_event=sink)
            figures = evaluate_maps(
                made, network, localizer.card, images, of=maps_of, threshold=threshold, on_event=sink
            ).to_json()
    document = {**figures, "split": split, **division._asdict()}
    if json_file is not None and to_file:
        write_figures(json_file, document, mark)
    elif json_file is not None:
        print_json(document)
        return
    print_table(("figure", "value"), [(name, _shown(value)) for name, value in document.items()])


def _teacher_settings(
    wanted: Mapping[str, object], card: ModelCard, dataset: str, root: Path, teacher_root: Path | None
) -> TrainSettings:
    """Return the settings of a teacher: as wanted, else the defaults, on the model's own data set."""
    from pixelcam.teachers import TRAINED_TEACHERS
    from pixelcam.training import TrainSettings

    own = str(card.training.get("dataset", dataset))
    if wanted["teacher"] in TRAINED_TEACHERS and own != dataset and teacher_root is None:
        raise ConfigError(
            f"The teacher {wanted['teacher']} is trained on the images of {own} that the model learned from; "
            "give their folder with --teacher-root."
        )
    kept = ("fold", "scheme", "augment", "sampler", "seeds", "low_area", "high_area", "seed")
    values = {key: card.training[key] for key in kept if card.training.get(key) is not None}
    values |= {key: value for key, value in wanted.items() if value is not None}
    values |= {"dataset": own, "root": teacher_root or root}
    return TrainSettings.from_dict({**values, "encoder": card.encoder, "input_size": card.input_size})


def _shown(value: float | int | str | None) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
