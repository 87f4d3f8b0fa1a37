"""Measure a model on a data set: where it sees the region, and whether it gets the label right."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from pixelcam import metrics
from pixelcam.datasets import Dataset, Sample, load_image, load_mask
from pixelcam.errors import CancelledError, CheckpointError, ConfigError
from pixelcam.events import Event, EventSink, Stop, StopCheck, ignore_events, never_stop

PROTOCOL_SIZE = 224
"""Side in pixels at which maps and masks are compared, whatever size the model works at."""


Prediction = tuple[NDArray[np.float32], NDArray[np.float32]]
"""Class probabilities (n, k) and foreground maps (n, h, w) in [0, 1]."""


class Card(Protocol):
    """What an evaluation must know of a model."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the image labels, in the order of the probabilities."""

    @property
    def input_size(self) -> int:
        """Side in pixels of the square images that the model takes."""

    @property
    def threshold(self) -> float:
        """The threshold in [0, 1] chosen on validation images."""

    @property
    def multi_label(self) -> bool:
        """Whether the model finds any number of labels in an image, not one."""


class Predictor(Protocol):
    """A model as an evaluation needs it."""

    @property
    def card(self) -> Card:
        """Classes, input size in pixels, and default threshold."""

    def predict_batch(self, images: NDArray[np.uint8]) -> Prediction:
        """Return class probabilities (n, k) and foreground maps (n, s, s) of images (n, s, s, 3)."""


@dataclass(frozen=True)
class ImageScore:
    """The figures of one image; a figure that the image does not have is None.

    Parameters
    ----------
    name
        The sample's name.
    label, predicted
        Class names, the data set's and the model's; several are joined by ``;``.
    dice, iou
        In percent, at the evaluation's threshold; None without a mask, or where mask and region are empty.
    """

    name: str
    label: str
    predicted: str
    dice: float | None
    iou: float | None


@dataclass(frozen=True)
class EvaluationResult:
    """The figures of a model on a data set, in percent (0 to 100); None where there is none to give.

    Parameters
    ----------
    pxap
        Pixel average precision over the pooled pixels of all images with masks.
    chance_pxap
        PxAP of a map that knows nothing: the share of foreground pixels.
    accuracy
        Share of images whose label is right, among those whose class the model knows; of images of several
        labels or none, exactly the right set of labels.
    dice, iou
        Means over the images in which the mask or the region has a pixel, at `threshold`.
    threshold
        In [0, 1]: a pixel is region where its foreground score reaches it.
    images
        Number of images, with and without masks.
    per_image
        One entry an image, in the data set's order.
    foreground, background
        Pooled histograms of `metrics.score_histograms`, from which validation chooses a threshold.
    ece
        Expected calibration error of the foreground probabilities.
    class_ece
        That of the most probable class's probability, over the images that the accuracy is of; None where
        images may have several labels.
    label_map
        Mean average precision of the labels that data set and model share, where images may have several.
    """

    pxap: float | None
    chance_pxap: float | None
    accuracy: float | None
    dice: float | None
    iou: float | None
    threshold: float
    images: int
    per_image: tuple[ImageScore, ...]
    foreground: metrics.Histogram
    background: metrics.Histogram
    ece: float | None = None
    class_ece: float | None = None
    label_map: float | None = None

    def to_json(self) -> dict[str, float | int | None]:
        """Return the figures under their published names, without the per-image ones."""
        figures = {
            "pxap": self.pxap,
            "chance_pxap": self.chance_pxap,
            "accuracy": self.accuracy,
            "dice": self.dice,
            "iou": self.iou,
            "ece": self.ece,
            "class_ece": self.class_ece,
            "threshold": self.threshold,
            "images": self.images,
        }
        return figures if self.label_map is None else {**figures, "label_map": self.label_map}


def evaluate(
    localizer: Predictor,
    dataset: Dataset,
    *,
    threshold: float | None = None,
    size: int = PROTOCOL_SIZE,
    batch_size: int = 16,
    on_event: EventSink = ignore_events,
    should_stop: StopCheck = never_stop,
) -> EvaluationResult:
    """Measure a model on a data set.

    Images are resized to the model's input size, its maps bilinearly to `size`, masks by nearest
    neighbour to `size`. Classes are matched by name, so that a model can be measured on another data
    set: without a class in common there is no accuracy, only localization.

    Parameters
    ----------
    localizer
        The model.
    dataset
        Its samples without masks count for the accuracy only.
    threshold
        In [0, 1], for Dice and IoU; None takes the model's own, which was chosen on validation images.
    size
        Side in pixels at which maps and masks are compared.
    batch_size
        Images in one forward pass.

    Raises
    ------
    ConfigError
        The threshold is outside [0, 1].
    CheckpointError
        The model gives NaN.
    CancelledError
        The user asked to stop: half an evaluation is none.
    """
    return evaluate_with(
        lambda samples, images: localizer.predict_batch(images),
        localizer.card,
        dataset,
        threshold=threshold,
        size=size,
        batch_size=batch_size,
        on_event=on_event,
        should_stop=should_stop,
    )


def evaluate_with(
    predict: Callable[[Sequence[Sample], NDArray[np.uint8]], Prediction],
    card: Card,
    dataset: Dataset,
    *,
    threshold: float | None = None,
    size: int = PROTOCOL_SIZE,
    batch_size: int = 16,
    on_event: EventSink = ignore_events,
    should_stop: StopCheck = never_stop,
) -> EvaluationResult:
    """Measure whatever predicts, as `evaluate` does.

    Parameters
    ----------
    predict
        Given samples and their images (n, s, s, 3) uint8; its maps may be of any size.
    card
        What an evaluation must know of the model.
    """
    chosen = card.threshold if threshold is None else threshold
    if not 0 <= chosen <= 1:
        raise ConfigError(f"The threshold is {chosen:g}: it must lie between 0 and 1.")
    total = len(dataset)
    on_event(Event("started", "evaluate", step=0, total=total))
    tally = _Tally(dataset, card, chosen)
    for start, batch in _batches(dataset.samples, batch_size):
        if should_stop() is not Stop.NO:
            raise CancelledError(f"The evaluation was stopped after {start} of {total} images.")
        images = np.stack([load_image(sample, card.input_size) for sample in batch])
        probabilities, foreground = predict(batch, images)
        for sample, classes, scores in zip(batch, probabilities, _resized(foreground, size), strict=True):
            tally.add(sample, classes, scores)
        on_event(Event("step", "evaluate", step=start + len(batch), total=total))
    result = tally.result()
    for sentence in tally.warnings():
        on_event(Event("warning", "evaluate", message=sentence))
    figures = {key: value for key, value in result.to_json().items() if value is not None}
    on_event(Event("done", "evaluate", step=total, total=total, metrics=figures))
    return result


class _Tally:
    """Adds up images one by one, so that no map outlives its batch."""

    def __init__(self, dataset: Dataset, card: Card, threshold: float) -> None:
        self._labels = _Labels(dataset, card)
        self._threshold = threshold
        self._foreground = np.zeros(metrics.BINS, np.int64)
        self._background = np.zeros(metrics.BINS, np.int64)
        self._scores: list[ImageScore] = []
        self._masked = 0

    def add(self, sample: Sample, probabilities: NDArray[np.float32], scores: NDArray[np.float32]) -> None:
        if not (np.isfinite(probabilities).all() and np.isfinite(scores).all()):
            raise CheckpointError(
                f"The model gives NaN for {sample.name}: its weights are damaged, take another checkpoint."
            )
        dice = iou = math.nan
        if sample.has_mask:
            mask = load_mask(sample, scores.shape[0])
            foreground, background = metrics.score_histograms(scores, mask)
            self._foreground += foreground
            self._background += background
            self._masked += 1
            dice, iou = metrics.dice_iou(scores >= self._threshold, mask)
        label, predicted = self._labels.add(sample, probabilities)
        self._scores.append(ImageScore(sample.name, label, predicted, _or_none(dice), _or_none(iou)))

    def result(self) -> EvaluationResult:
        dice = [score.dice for score in self._scores if score.dice is not None]
        iou = [score.iou for score in self._scores if score.iou is not None]
        return EvaluationResult(
            pxap=_or_none(metrics.pxap(self._foreground, self._background)),
            chance_pxap=_or_none(metrics.chance_pxap(self._foreground, self._background)),
            accuracy=_or_none(self._labels.accuracy()),
            dice=float(np.mean(dice)) if dice else None,
            iou=float(np.mean(iou)) if iou else None,
            threshold=self._threshold,
            images=len(self._scores),
            per_image=tuple(self._scores),
            foreground=self._foreground,
            background=self._background,
            ece=_or_none(metrics.expected_calibration_error(self._foreground, self._background)),
            class_ece=_or_none(self._labels.calibration_error()),
            label_map=_or_none(self._labels.label_map()),
        )

    def warnings(self) -> Iterator[str]:
        yield from self._labels.warnings()
        if not self._masked:
            yield "No image has a mask, so there is no PxAP, Dice or IoU."
        elif not self._foreground.any():
            yield "No mask holds a foreground pixel, so PxAP is not defined."
        elif self._masked < len(self._scores):
            share = f"{self._masked} of {len(self._scores)}"
            yield f"Only {share} images have a mask: PxAP, Dice and IoU are of these."


class _Labels:
    """What images are called by the data set and by the model; names meet whatever their letter case."""

    def __init__(self, dataset: Dataset, card: Card) -> None:
        self._classes, self._model_classes = dataset.classes, card.classes
        self._exclusive = not card.multi_label
        self._ranked = card.multi_label or dataset.multi_label
        places = {name.casefold(): index for index, name in enumerate(card.classes)}
        # Of each class that both know, its index in the data set and in the model.
        self._shared = {
            index: places[name.casefold()]
            for index, name in enumerate(dataset.classes)
            if name.casefold() in places
        }
        self._right: list[bool] = []
        self._confidences: list[float] = []
        self._truths: list[list[bool]] = []
        self._probabilities: list[NDArray[np.float32]] = []

    def add(self, sample: Sample, probabilities: NDArray[np.float32]) -> tuple[str, str]:
        """Take in one image and return what it is called and what the model calls it."""
        if self._exclusive:
            found = [int(np.argmax(probabilities))]
        else:
            found = np.flatnonzero(probabilities >= 0.5).tolist()
        predicted = [self._model_classes[index] for index in found]
        labels = [self._classes[index] for index in sample.labels]
        if self._shared and self._shared.keys() >= set(sample.labels):
            # Of several labels, those are judged that the data set can tell of.
            judged = found if self._exclusive else set(found) & set(self._shared.values())
            self._right.append(set(judged) == {self._shared[index] for index in sample.labels})
            self._confidences.append(float(probabilities.max()))
        self._truths.append([index in sample.labels for index in self._shared])
        self._probabilities.append(probabilities[list(self._shared.values())])
        return ";".join(labels), ";".join(predicted)

    def accuracy(self) -> float:
        """Return the share of images whose labels are right, NaN where none can be judged."""
        return metrics.accuracy(self._right, [True] * len(self._right))

    def calibration_error(self) -> float:
        """Return the error of the class probabilities, NaN where no image or several labels can be judged."""
        if self._ranked:
            return math.nan
        return metrics.confidence_calibration_error(self._confidences, self._right)

    def label_map(self) -> float:
        """Return the mean average precision, NaN where each image has one label or no class is shared."""
        if not self._ranked or not self._shared:
            return math.nan
        return metrics.label_map(self._probabilities, self._truths)

    def warnings(self) -> Iterator[str]:
        if not self._shared:
            yield (
                f"The model's classes ({', '.join(self._model_classes)}) are none of the data set's "
                f"({', '.join(self._classes)}), so there is no accuracy."
            )
        elif unknown := [name for index, name in enumerate(self._classes) if index not in self._shared]:
            names = ", ".join(unknown)
            yield f"The model does not know the class {names}: its images are left out of the accuracy."


def _batches(samples: Sequence[Sample], size: int) -> Iterator[tuple[int, Sequence[Sample]]]:
    for start in range(0, len(samples), size):
        yield start, samples[start : start + size]


def _resized(maps: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    """Return maps (n, h, w) bilinearly resized to (n, size, size), pixel areas aligned."""
    if maps.shape[1:] == (size, size):
        return maps
    batch = torch.from_numpy(np.ascontiguousarray(maps, np.float32))[:, None]
    resized = torch.nn.functional.interpolate(batch, (size, size), mode="bilinear", align_corners=False)
    result: NDArray[np.float32] = resized[:, 0].clamp(0, 1).numpy()
    return result


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else value
