"""A teacher as a baseline: its maps measured as a model's are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from pixelcam.datasets import Dataset, Sample, open_dataset
from pixelcam.errors import ConfigError
from pixelcam.evaluation import PROTOCOL_SIZE, EvaluationResult, Prediction, evaluate_with
from pixelcam.events import EventSink, StopCheck, ignore_events, never_stop
from pixelcam.localize.localizer import normalise
from pixelcam.model.checkpoint import ModelCard
from pixelcam.model.device import device_memory_guard
from pixelcam.model.heads import class_probabilities
from pixelcam.model.network import PixelCAM
from pixelcam.teachers.localizers import TrainedLocalizer
from pixelcam.teachers.maps import EIGEN, TRAINED_TEACHERS
from pixelcam.teachers.teacher import MAP_STRIDE, Teacher
from pixelcam.teachers.trained import prepare_teacher, teacher_maps
from pixelcam.training.data import load_stack
from pixelcam.training.settings import TrainSettings


def evaluate_maps(
    teacher: Teacher | TrainedLocalizer,
    network: PixelCAM,
    card: ModelCard,
    dataset: Dataset,
    *,
    of: Literal["predicted", "true"] = "predicted",
    threshold: float | None = None,
    size: int = PROTOCOL_SIZE,
    batch_size: int = 16,
    on_event: EventSink = ignore_events,
    should_stop: StopCheck = never_stop,
) -> EvaluationResult:
    """Measure a teacher's maps on a data set, beside the accuracy of its classifier.

    Parameters
    ----------
    teacher
        What makes the maps.
    network, card
        The classifier and its metadata; `network` on the device that it shall run on.
    of
        Class of the map: what the classifier predicts, as for an image nobody has labelled; or the image's
        true class, as in training (the predicted one where the model does not know it, or there is none).
    threshold
        In [0, 1], for Dice and IoU; `None` is 0.5, for the card's own was chosen for the pixel head.
    size, batch_size, on_event, should_stop
        See `pixelcam.evaluation.evaluate`.

    Raises
    ------
    ConfigError
        The threshold is outside [0, 1], or the teacher cannot map this network.
    CheckpointError, DeviceError, CancelledError
    """
    measured = _Measured(teacher, network.eval(), card, dataset.classes, of)
    return evaluate_with(
        measured.predict,
        card,
        dataset,
        threshold=0.5 if threshold is None else threshold,
        size=size,
        batch_size=batch_size,
        on_event=on_event,
        should_stop=should_stop,
    )


@dataclass(frozen=True)
class _Measured:
    teacher: Teacher | TrainedLocalizer
    network: PixelCAM
    card: ModelCard
    classes: tuple[str, ...]
    of: str

    def predict(self, samples: Sequence[Sample], images: NDArray[np.uint8]) -> Prediction:
        device = next(self.network.parameters()).device
        with device_memory_guard():
            inputs = normalise(torch.from_numpy(np.ascontiguousarray(images)).to(device), self.card)
            with torch.no_grad():
                probabilities = class_probabilities(self.network.classify(inputs), self.card.multi_label)
            labels = self._labels(samples, probabilities)
            maps = teacher_maps(self.teacher, self.network, inputs, labels)
        return probabilities.float().cpu().numpy(), maps.float().cpu().numpy()

    def _labels(self, samples: Sequence[Sample], probabilities: Tensor) -> Tensor:
        """Return what the maps are of: (n,) int64, or (n, classes) 0 and 1 of a model of several labels."""
        best = probabilities.argmax(dim=1)
        chosen = functional.one_hot(best, probabilities.shape[1]).to(probabilities.dtype)
        if self.card.multi_label:
            chosen = torch.maximum(chosen, (probabilities >= 0.5).to(chosen.dtype))
        if self.of == "true":
            own = {name.casefold(): index for index, name in enumerate(self.card.classes)}
            for row, sample in zip(chosen, samples, strict=True):
                known = [own.get(self.classes[label].casefold()) for label in sample.labels]
                if known and None not in known:
                    row.zero_()
                    row[known] = 1
        return chosen if self.card.multi_label else chosen.argmax(dim=1)


def load_teacher(
    settings: TrainSettings,
    network: PixelCAM,
    card: ModelCard,
    *,
    on_event: EventSink = ignore_events,
    should_stop: StopCheck = never_stop,
) -> Teacher | TrainedLocalizer:
    """Return the teacher that settings name, trained first on their training images where it must be.

    Parameters
    ----------
    settings
        The teacher, and the data set on whose training images it is trained; its labels are the model's.
    network, card
        The classifier, in evaluation mode, and its metadata.

    Raises
    ------
    ConfigError, DatasetError, RunError, CancelledError
    """
    if settings.teacher == EIGEN:
        raise ConfigError(
            "Eigen maps are made of all training images together and exist for no others; "
            "train with --teacher eigen and evaluate the model."
        )
    info = network.encoder.info
    if settings.teacher not in TRAINED_TEACHERS:
        teacher = settings.teacher_of(info)
        teacher.check(network)
        return teacher
    dataset = open_dataset(settings.dataset, settings.root, "train", settings.fold, settings.scheme)
    if [name.casefold() for name in dataset.classes] != [name.casefold() for name in card.classes]:
        raise ConfigError(
            f"The teacher {settings.teacher} is trained on images of the model's own classes "
            f"({', '.join(card.classes)}), and {settings.root} has {', '.join(dataset.classes)}; "
            "give the data set that the model was trained on."
        )
    # A seventh larger than the views that are cut from them, as in training.
    step = math.lcm(network.stride, 2 * MAP_STRIDE)
    data = load_stack(dataset, -(-settings.input_size * 8 // 7 // step) * step)
    return prepare_teacher(settings, network, card, data, on_event=on_event, should_stop=should_stop)
