"""A teacher as a baseline: its maps measured as a model's are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from pixelcam.datasets import Dataset, Sample
from pixelcam.evaluation import PROTOCOL_SIZE, EvaluationResult, Prediction, evaluate_with
from pixelcam.events import EventSink, StopCheck, ignore_events, never_stop
from pixelcam.localize.localizer import normalise
from pixelcam.model.checkpoint import ModelCard
from pixelcam.model.device import device_memory_guard
from pixelcam.model.heads import class_probabilities
from pixelcam.model.network import PixelCAM
from pixelcam.teachers.localizers import TrainedLocalizer
from pixelcam.teachers.teacher import Teacher
from pixelcam.teachers.trained import teacher_maps


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
        true class, as in training (the predicted one where the model does not know the class).
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
        with device_memory_guard("choose the device cpu, or close other programs that use it"):
            inputs = normalise(torch.from_numpy(np.ascontiguousarray(images)).to(device), self.card)
            with torch.no_grad():
                probabilities = class_probabilities(self.network.classify(inputs), self.card.multi_label)
            chosen = probabilities.argmax(dim=1)
            if self.of == "true":
                own = [name.casefold() for name in self.card.classes]
                for index, sample in enumerate(samples):
                    name = self.classes[sample.label].casefold()
                    if name in own:
                        chosen[index] = own.index(name)
            maps = teacher_maps(self.teacher, self.network, inputs, chosen)
        return probabilities.float().cpu().numpy(), maps.float().cpu().numpy()
