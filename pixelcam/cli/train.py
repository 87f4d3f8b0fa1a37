"""`pixelcam train`: a model from images and their labels."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from pixelcam.cli import options
from pixelcam.cli.runs import numbers, settle, work

if TYPE_CHECKING:
    from pixelcam.events import EventSink, StopCheck
    from pixelcam.training import TrainSettings

DATA, NETWORK, TEACHER, SEEDS, LEARNING, MODEL = (
    "Data",
    "Network",
    "Teacher",
    "Seeds",
    "Learning",
    "The model's card",
)


def train(
    out: options.RunFolder,
    config: options.Config = None,
    dataset: Annotated[
        Literal["glas", "ebhi", "camelyon512", "folder"] | None,
        typer.Option(help="GlaS, EBHI-SEG, CAMELYON512, or a folder of class folders.", rich_help_panel=DATA),
    ] = None,
    root: Annotated[Path | None, typer.Option(help="Folder of the data set.", rich_help_panel=DATA)] = None,
    fold: Annotated[
        int | None, typer.Option(help="Fold of the data set, from 0.", rich_help_panel=DATA)
    ] = None,
    scheme: Annotated[
        Literal["official", "patient", "slide"] | None,
        typer.Option(help="The data set's own split, or one by patient or slide.", rich_help_panel=DATA),
    ] = None,
    input_size: Annotated[
        int | None, typer.Option(help="Side in pixels that images are resized to.", rich_help_panel=DATA)
    ] = None,
    view_size: Annotated[
        int | None,
        typer.Option(help="Side in pixels of the random views trained on.", rich_help_panel=DATA),
    ] = None,
    mpp: Annotated[
        float | None,
        typer.Option(help="Microns per pixel of the images, where unknown.", rich_help_panel=DATA),
    ] = None,
    augment: Annotated[
        Literal["strong", "moderate", "paper"] | None,
        typer.Option(help="How strongly colours are varied.", rich_help_panel=DATA),
    ] = None,
    augment_classifier: Annotated[
        Literal["strong", "moderate", "paper"] | None,
        typer.Option(help="The same, while the classifier is trained alone.", rich_help_panel=DATA),
    ] = None,
    encoder: Annotated[
        str | None, typer.Option(help="Any timm encoder, by name.", rich_help_panel=NETWORK)
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(help="File of backbone weights (.safetensors, .pt, .pth).", rich_help_panel=NETWORK),
    ] = None,
    pretrained: Annotated[
        bool | None,
        typer.Option(
            "--pretrained/--no-pretrained", help="Fetch timm's ImageNet weights.", rich_help_panel=NETWORK
        ),
    ] = None,
    image_head: Annotated[
        Literal["average", "max", "lse", "attention"] | None,
        typer.Option(help="How the image head pools the encoder's last map.", rich_help_panel=NETWORK),
    ] = None,
    levels: Annotated[
        str | None,
        typer.Option(help="Feature levels of the pixel head, e.g. 1,2,3.", rich_help_panel=NETWORK),
    ] = None,
    output_stride: Annotated[
        int | None, typer.Option(help="Stride of a CNN's last map: 8, 16 or 32.", rich_help_panel=NETWORK)
    ] = None,
    standardise: Annotated[
        bool | None,
        typer.Option(
            "--standardise/--no-standardise", help="Standardise the pixel features.", rich_help_panel=NETWORK
        ),
    ] = None,
    teacher: Annotated[
        str | None,
        typer.Option(help="Localization method that seeds are drawn from.", rich_help_panel=TEACHER),
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
    teacher_score: Annotated[
        str | None, typer.Option(help="What its gradients are taken of.", rich_help_panel=TEACHER)
    ] = None,
    teacher_margin: Annotated[
        int | None,
        typer.Option(help="Mirrored pixels around the image that it sees.", rich_help_panel=TEACHER),
    ] = None,
    teacher_epochs: Annotated[
        int | None, typer.Option(help="Epochs of a teacher that is trained.", rich_help_panel=TEACHER)
    ] = None,
    teacher_base: Annotated[
        str | None,
        typer.Option(help="Method that a trained or eigen teacher is taught by.", rich_help_panel=TEACHER),
    ] = None,
    eigen_level: Annotated[
        int | None, typer.Option(help="Feature level that eigen maps begin with.", rich_help_panel=TEACHER)
    ] = None,
    eigen_sides: Annotated[
        str | None,
        typer.Option(help="Sizes in pixels at which eigen maps begin.", rich_help_panel=TEACHER),
    ] = None,
    eigen_rounds: Annotated[
        int | None, typer.Option(help="Times that eigen maps are refitted.", rich_help_panel=TEACHER)
    ] = None,
    eigen_by_label: Annotated[
        bool | None,
        typer.Option(
            help="Learn eigen maps from each label's images by themselves.", rich_help_panel=TEACHER
        ),
    ] = None,
    pixel_loss: Annotated[
        Literal["soft", "partial"] | None,
        typer.Option(help="Labels of all pixels, or of drawn seeds only.", rich_help_panel=SEEDS),
    ] = None,
    sampler: Annotated[
        str | None, typer.Option(help="How seeds are drawn from the map.", rich_help_panel=SEEDS)
    ] = None,
    seeds: Annotated[
        int | None, typer.Option(help="Seeds of each kind, in each image and step.", rich_help_panel=SEEDS)
    ] = None,
    low_area: Annotated[
        float | None, typer.Option(help="Lowest share of the map for background.", rich_help_panel=SEEDS)
    ] = None,
    high_area: Annotated[
        float | None, typer.Option(help="Highest share of the map for foreground.", rich_help_panel=SEEDS)
    ] = None,
    erosion: Annotated[
        int | None, typer.Option(help="Side of the erosion after Otsu's threshold.", rich_help_panel=SEEDS)
    ] = None,
    certain: Annotated[
        float | None, typer.Option(help="How far from 0.5 a certain pixel's map is.", rich_help_panel=SEEDS)
    ] = None,
    glass: Annotated[
        float | None,
        typer.Option(
            help="Share of the images that bare glass is laid over a part of, as background; 0 where what "
            "is looked for is white.",
            rich_help_panel=DATA,
        ),
    ] = None,
    epochs_classifier: Annotated[
        int | None, typer.Option(help="Epochs of the classifier alone.", rich_help_panel=LEARNING)
    ] = None,
    epochs_joint: Annotated[
        int | None, typer.Option(help="Epochs of image and pixel head together.", rich_help_panel=LEARNING)
    ] = None,
    rounds: Annotated[
        int | None,
        typer.Option(
            help="Times that both heads are trained, each on the last maps.", rich_help_panel=LEARNING
        ),
    ] = None,
    batch: Annotated[int | None, typer.Option(help="Images in a step.", rich_help_panel=LEARNING)] = None,
    rate_classifier: Annotated[
        float | None, typer.Option(help="Learning rate of the first stage.", rich_help_panel=LEARNING)
    ] = None,
    rate_joint: Annotated[
        float | None, typer.Option(help="Learning rate of the second stage.", rich_help_panel=LEARNING)
    ] = None,
    head_factor: Annotated[
        float | None, typer.Option(help="How much faster the heads learn.", rich_help_panel=LEARNING)
    ] = None,
    pixel_factor: Annotated[
        float | None,
        typer.Option(help="How much faster yet the pixel head learns.", rich_help_panel=LEARNING),
    ] = None,
    momentum: Annotated[
        float | None, typer.Option(help="Nesterov momentum.", rich_help_panel=LEARNING)
    ] = None,
    weight_decay: Annotated[
        float | None, typer.Option(help="Weight decay.", rich_help_panel=LEARNING)
    ] = None,
    pixel_weight_decay: Annotated[
        float | None, typer.Option(help="Weight decay of the pixel head.", rich_help_panel=LEARNING)
    ] = None,
    clip: Annotated[
        float | None,
        typer.Option(
            help="Shorten gradients above this norm, where a training diverges; 0 for never.",
            rich_help_panel=LEARNING,
        ),
    ] = None,
    pixel_weight: Annotated[
        float | None, typer.Option(help="Weight of the pixel loss.", rich_help_panel=LEARNING)
    ] = None,
    selection: Annotated[
        Literal["masks", "mask-free"] | None,
        typer.Option(
            help="Choose weights and threshold by validation masks, or not.", rich_help_panel=LEARNING
        ),
    ] = None,
    dropout: Annotated[
        float | None, typer.Option(help="Dropout before the image head.", rich_help_panel=LEARNING)
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Same seed, data and machine: same model.", rich_help_panel=LEARNING)
    ] = None,
    device: options.OptionalDevice = None,
    name: Annotated[
        str | None, typer.Option(help="What people call the model.", rich_help_panel=MODEL)
    ] = None,
    description: Annotated[
        str | None, typer.Option(help="What the model is for, and not for.", rich_help_panel=MODEL)
    ] = None,
    licence: Annotated[str | None, typer.Option(help="Terms of its use.", rich_help_panel=MODEL)] = None,
    foreground_name: Annotated[
        str | None, typer.Option(help="What its foreground is, such as glands.", rich_help_panel=MODEL)
    ] = None,
    half: Annotated[
        bool | None,
        typer.Option("--half/--full", help="Store weights in half precision.", rich_help_panel=MODEL),
    ] = None,
    register: options.Register = None,
    as_json: options.AsJsonLines = False,
) -> None:
    """Train a model by image labels: first the classifier, then the pixel head on seeds from its maps.

    Leaves OUT/checkpoints/best-loc, best-cl and last (.safetensors).
    Started again on the same folder, with the same options or with --out alone, it goes on after the last
    complete epoch; Ctrl-C ends it in such a way.
    """
    from pixelcam.training import TrainSettings
    from pixelcam.training.stages import train

    given = {
        "dataset": dataset,
        "root": root,
        "fold": fold,
        "scheme": scheme,
        "input_size": input_size,
        "view_size": view_size,
        "mpp": mpp,
        "augment": augment,
        "augment_classifier": augment_classifier,
        "glass": glass,
        "encoder": encoder,
        "weights": weights,
        "pretrained": pretrained,
        "image_head": image_head,
        "levels": numbers(levels, int),
        "output_stride": output_stride,
        "standardise": standardise,
        "teacher": teacher,
        "teacher_levels": numbers(teacher_levels, int),
        "teacher_scales": numbers(teacher_scales, float),
        "teacher_flips": teacher_flips,
        "teacher_score": teacher_score,
        "teacher_margin": teacher_margin,
        "teacher_epochs": teacher_epochs,
        "teacher_base": teacher_base,
        "eigen_level": eigen_level,
        "eigen_sides": numbers(eigen_sides, int),
        "eigen_rounds": eigen_rounds,
        "eigen_by_label": eigen_by_label,
        "pixel_loss": pixel_loss,
        "sampler": sampler,
        "seeds": seeds,
        "low_area": low_area,
        "high_area": high_area,
        "erosion": erosion,
        "certain": certain,
        "epochs_classifier": epochs_classifier,
        "epochs_joint": epochs_joint,
        "rounds": rounds,
        "batch": batch,
        "rate_classifier": rate_classifier,
        "rate_joint": rate_joint,
        "head_factor": head_factor,
        "pixel_factor": pixel_factor,
        "momentum": momentum,
        "weight_decay": weight_decay,
        "pixel_weight_decay": pixel_weight_decay,
        "clip": clip,
        "pixel_weight": pixel_weight,
        "selection": selection,
        "dropout": dropout,
        "seed": seed,
        "device": device,
        "name": name,
        "description": description,
        "licence": licence,
        "foreground_name": foreground_name,
        "half": half,
    }

    def task(settings: TrainSettings, run: Path, on_event: EventSink, should_stop: StopCheck) -> None:
        train(settings, run, on_event=on_event, should_stop=should_stop)

    work(task, settle(TrainSettings, given, config, out), out, name=register, as_json=as_json)
