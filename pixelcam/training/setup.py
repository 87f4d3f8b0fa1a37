"""Before the first step: the run's folder, the card of the model to be, and its network."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path

from pixelcam.datasets import Dataset
from pixelcam.errors import ConfigError, DatasetError, RunError
from pixelcam.events import Event, EventSink, ignore_events
from pixelcam.export.atomic import write_text
from pixelcam.limits import parse_own_json
from pixelcam.model.checkpoint import ModelCard, check_foreground_name
from pixelcam.model.encoder import encoder_info, load_encoder_weights
from pixelcam.model.network import PixelCAM
from pixelcam.model.weights import read_weights
from pixelcam.slides.labels import picture_size
from pixelcam.teachers.maps import EIGEN
from pixelcam.training.augment import AUGMENTATIONS
from pixelcam.training.settings import FinetuneSettings, TrainSettings, default_levels

_PLACE = ("device",)  # settings that may change between the sessions of one run


def claim_run(run: Path, settings: TrainSettings) -> None:
    """Write the settings into the run folder, or check that it was begun with the same ones.

    Raises
    ------
    RunError
        The folder was begun with other settings, or its ``config.json`` is damaged.
    """
    refuse_other_settings(run, settings)
    write_text(run / "config.json", json.dumps(settings.to_dict(), indent=2))


def refuse_other_settings(run: Path, settings: TrainSettings | FinetuneSettings) -> None:
    """Raise `RunError` when the folder holds weights of a run with other settings.

    A run that ended before it had any, for a mistyped path say, binds nobody.
    """
    path = run / "config.json"
    if not path.is_file() or not any(any((run / name).glob("*")) for name in ("state", "checkpoints")):
        return
    found = settings.read_run(path)
    wanted = settings.to_dict()
    different = [key for key in wanted if key not in _PLACE and found.get(key, wanted[key]) != wanted[key]]
    if different:
        raise RunError(
            f"{run} was begun with other settings ({', '.join(different)}); "
            "use the same ones to resume it, or choose another folder."
        )


def claim_data(run: Path, parts: Mapping[str, Dataset]) -> None:
    """Note in the run folder what its images are, or check that they are those that it was begun with.

    What was learned so far is kept by the images' places in the list: of others it would be wrong.

    Raises
    ------
    RunError
        The images of a part have changed since.
    """
    path = run / "data.json"
    now = {name: dataset.fingerprint for name, dataset in parts.items()}
    if path.is_file() and any((run / "state").glob("*")):
        try:
            before = parse_own_json(path.read_text(encoding="utf-8"))
            changed = [name for name in now if before[name] != now[name]]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RunError(f"{path} is damaged; delete the run folder and start anew.") from error
        if changed:
            raise RunError(
                f"The {changed[0]} images have changed since {run} was begun; put them back to go on with "
                "it, or choose another folder to train on what is there now."
            )
    write_text(path, json.dumps(now, indent=2))


def plan_card(settings: TrainSettings, dataset: Dataset) -> ModelCard:
    """Return the card of the model to be trained.

    Raises
    ------
    DatasetError
        The training images are all of one class, or all of classes without a region.
    ConfigError
        The encoder does not fit the input size, the views' size, or the teacher's levels or sizes.
    """
    labels = {sample.labels for sample in dataset.samples}
    if len(labels) < 2:
        names = ", ".join(dataset.classes[label] for label in labels.pop())
        raise DatasetError(
            f"All training images are of one class ({names}); a classifier needs at least two."
        )
    if all(label in dataset.regionless for sample in dataset.samples for label in sample.labels):
        raise DatasetError("All training images are of classes without a region; some must show one.")
    info = encoder_info(settings.encoder)
    settings.teacher_of(info)
    if settings.teacher == EIGEN:
        settings.eigen_of(info)
    if settings.input_size % info.step:
        near = max(1, round(settings.input_size / info.step)) * info.step
        raise ConfigError(
            f"The input size {settings.input_size} does not fit {settings.encoder}: "
            f"it must be a multiple of {info.step}, for example {near}."
        )
    view = settings.view_of(info)
    if info.transformer and view % info.step:
        raise ConfigError(f"view_size is a multiple of {info.step} for {settings.encoder}, not {view}.")
    check_foreground_name(settings.foreground_name)
    return ModelCard(
        encoder=settings.encoder,
        classes=dataset.classes,
        input_size=settings.input_size,
        name=settings.name or f"{dataset.name}-{settings.encoder}",
        mpp=_working_mpp(settings, dataset, view),
        output_stride=settings.output_stride,
        standardise=settings.standardise,
        image_head=settings.image_head,
        multi_label=dataset.multi_label,
        levels=settings.levels or default_levels(info),
        regionless=tuple(dataset.classes[label] for label in sorted(dataset.regionless)),
        trained_on=f"{dataset.name}, fold {settings.fold}, {settings.scheme} split, image labels only",
        training={
            key: value
            for key, value in settings.to_dict().items()
            if key not in ("root", "weights", "device")
        },
        licence=settings.licence,
        foreground_name=settings.foreground_name,
        description=settings.description,
    )


def _working_mpp(settings: TrainSettings, dataset: Dataset, view: int) -> float | None:
    """Return the mean microns per pixel of what training shows: crops of images, enlarged to views."""
    mpp = settings.mpp or dataset.mpp
    if mpp is None:
        return None
    sides = [
        math.sqrt(width * height) for width, height in (picture_size(each.image) for each in dataset.samples)
    ]
    crop = sum(AUGMENTATIONS[settings.augment].scale) / 2
    return mpp * sum(sides) / len(sides) * crop / view


def build_network(settings: TrainSettings, card: ModelCard, on_event: EventSink = ignore_events) -> PixelCAM:
    """Return the network to train, its encoder initialised as the settings say.

    What of a file of weights is left out, a classifier, is told by a warning.
    """
    network = card.build(dropout=settings.dropout, pretrained=settings.pretrained)
    if settings.weights is not None:
        in_order = settings.weights.suffix != ".safetensors"
        left_out = load_encoder_weights(network.encoder, read_weights(settings.weights), in_order)
        if left_out:
            message = f"Left out of {settings.weights}, as a classifier: {', '.join(left_out)}."
            on_event(Event("warning", message=message))
    return network
