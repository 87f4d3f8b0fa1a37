"""`pixelcam finetune`: a model that learns from a reviewer's seeds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pixelcam.cli import options
from pixelcam.cli.runs import settle, work

if TYPE_CHECKING:
    from pixelcam.events import EventSink, StopCheck
    from pixelcam.training import FinetuneSettings

LEARNING = "Learning"


def finetune(
    out: options.RunFolder,
    seeds: Annotated[Path | None, typer.Option(help="Folder of exported seeds with their sidecars.")] = None,
    model: Annotated[
        str | None, typer.Option(help="Name or file of the model to start from; starter by default.")
    ] = None,
    config: options.Config = None,
    epochs: Annotated[int | None, typer.Option(help="Epochs.", rich_help_panel=LEARNING)] = None,
    steps: Annotated[int | None, typer.Option(help="Steps in an epoch.", rich_help_panel=LEARNING)] = None,
    crop: Annotated[
        int | None, typer.Option(help="Side in pixels of the crops.", rich_help_panel=LEARNING)
    ] = None,
    batch: Annotated[int | None, typer.Option(help="Crops in a step.", rich_help_panel=LEARNING)] = None,
    rate: Annotated[
        float | None, typer.Option(help="Learning rate of the heads.", rich_help_panel=LEARNING)
    ] = None,
    encoder_factor: Annotated[
        float | None, typer.Option(help="How fast the encoder learns beside them.", rich_help_panel=LEARNING)
    ] = None,
    momentum: Annotated[
        float | None, typer.Option(help="Nesterov momentum.", rich_help_panel=LEARNING)
    ] = None,
    weight_decay: Annotated[
        float | None, typer.Option(help="Weight decay.", rich_help_panel=LEARNING)
    ] = None,
    teacher_weight: Annotated[
        float | None,
        typer.Option(help="Weight of the maps refitted to the seeds.", rich_help_panel=LEARNING),
    ] = None,
    seed_weight: Annotated[
        float | None,
        typer.Option(help="Weight of the painted pixels by themselves.", rich_help_panel=LEARNING),
    ] = None,
    label_weight: Annotated[
        float | None, typer.Option(help="Weight of the image labels.", rich_help_panel=LEARNING)
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Same seed, seeds and machine: same model.", rich_help_panel=LEARNING)
    ] = None,
    device: options.OptionalDevice = None,
    name: Annotated[str | None, typer.Option(help="What people call the model.")] = None,
    register: options.Register = None,
    as_json: options.AsJsonLines = False,
) -> None:
    """Let a model learn from the seeds that a reviewer has painted and exported.

    Leaves OUT/checkpoints/best-loc and last (.safetensors).
    """
    from pixelcam.training import FinetuneSettings
    from pixelcam.training.finetuning import finetune

    given = {
        "seeds": seeds,
        "model": model,
        "epochs": epochs,
        "steps": steps,
        "crop": crop,
        "batch": batch,
        "rate": rate,
        "encoder_factor": encoder_factor,
        "momentum": momentum,
        "weight_decay": weight_decay,
        "teacher_weight": teacher_weight,
        "seed_weight": seed_weight,
        "label_weight": label_weight,
        "seed": seed,
        "device": device,
        "name": name,
    }

    def task(settings: FinetuneSettings, run: Path, on_event: EventSink, should_stop: StopCheck) -> None:
        finetune(settings, run, on_event=on_event, should_stop=should_stop)

    work(task, settle(FinetuneSettings, given, config, out), out, name=register, as_json=as_json)
