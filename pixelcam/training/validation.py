"""Measuring a model on validation images while it is trained."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from pixelcam.calibration import Calibration, fit_pixels, fit_temperature
from pixelcam.datasets import open_dataset
from pixelcam.errors import DatasetError, NoMasksError
from pixelcam.localize.localizer import Localizer
from pixelcam.metrics import (
    best_threshold,
    chance_pxap,
    expected_calibration_error,
    pxap,
    right_labels,
    score_histograms,
)
from pixelcam.training.data import ImageStack, load_masks, load_stack
from pixelcam.training.settings import TrainSettings

ONE_KIND = (
    "No validation masks are used, the last epoch is taken: they show foreground alone or background alone; "
    "fill them in, or take out those that are not begun."
)
_SELECTIONS = {"best-loc": "B-LOC", "best-cl": "B-CL", "last": "last epoch"}
_SURE = 1e-7  # probabilities nearer to 0 or 1 have no log-odds that single precision could tell


class Measured(NamedTuple):
    """What validation says of a model.

    Attributes
    ----------
    figures
        In percent, by name; the calibration error is what remains once the probabilities are calibrated.
    threshold
        Of the best Dice, in calibrated probabilities; 0.5 where there are no masks.
    pixels
        How the pixels' log-odds are to be scaled and moved for their probabilities to be true.
    class_scale
        What the class logits are to be multiplied by, 1 at most: a few images told right make no certainty.
    """

    figures: dict[str, float]
    threshold: float
    pixels: Calibration
    class_scale: float


class Validation:
    """The validation images: labels of valcl, masks of valpx where there are any.

    Parameters
    ----------
    valcl, valpx
        Their images; None for valpx where no masks are used.
    masks
        Those of valpx.
    caution
        Why masks that are there are not used, as a sentence.
    """

    def __init__(
        self, valcl: ImageStack, valpx: ImageStack | None, masks: list[NDArray[np.uint8]], caution: str = ""
    ) -> None:
        self.valcl, self.valpx, self.masks, self.caution = valcl, valpx, masks, caution

    @classmethod
    def load(cls, settings: TrainSettings) -> Validation:
        """Decode the validation images that the settings name."""
        s = settings
        valcl = load_stack(open_dataset(s.dataset, s.root, "valcl", s.fold, s.scheme), s.input_size)
        if s.selection == "mask-free":
            return cls(valcl, None, [])
        try:
            valpx = open_dataset(s.dataset, s.root, "valpx", s.fold, s.scheme)
        except NoMasksError:  # selection does without
            return cls(valcl, None, [])
        except DatasetError as error:
            return cls(valcl, None, [], f"No validation masks are used, the last epoch is taken: {error}")
        masked = dataclasses.replace(valpx, samples=valpx.masked) if valpx.masked else None
        if masked is None:
            return cls(valcl, None, [])
        masks = load_masks(masked, s.input_size)
        if not all(any((mask == kind).any() for mask in masks) for kind in (0, 1)):
            return cls(valcl, None, [], ONE_KIND)
        return cls(valcl, load_stack(masked, s.input_size), masks)

    def selection_of(self, name: str) -> str:
        """Return how the checkpoint of a name was chosen, and how many masks that and its threshold saw."""
        if self.valpx is None:
            return "mask-free"
        count = int((~self.valpx.regionless).sum())
        return f"{_SELECTIONS[name]}, {count} masks"

    def measure(self, localizer: Localizer, *, pixels: bool) -> Measured:
        """Measure a model; of its maps only if `pixels`, and only where there are masks."""
        found = [
            localizer.predict_batch(self.valcl.images[chosen].numpy())[0]
            for chosen in torch.arange(len(self.valcl)).split(32)
        ]
        probabilities = np.concatenate(found)
        right = right_labels(probabilities, self.valcl.labels.numpy())
        figures = {"valcl_accuracy": 100 * float(right.mean())}
        scale = min(1.0, fit_temperature(_odds(probabilities, localizer.card.multi_label), self.valcl.labels))
        if self.valpx is None or not pixels:
            return Measured(figures, 0.5, Calibration(), scale)
        maps = np.concatenate(
            [
                localizer.predict_batch(self.valpx.images[index : index + 1].numpy())[1]
                for index in range(len(self.masks))
            ]
        )
        masks = np.stack(self.masks)
        foreground, background = score_histograms(maps, masks)
        figures |= {
            "valpx_pxap": pxap(foreground, background),
            "valpx_chance": chance_pxap(foreground, background),
            "valpx_images": float(len(self.masks)),
        }
        odds = _odds(maps, True)
        calibration = fit_pixels(odds, torch.from_numpy(masks))
        scaled = torch.sigmoid(calibration.scale * odds + calibration.bias).numpy()
        figures["valpx_ece"] = expected_calibration_error(*score_histograms(scaled, masks))
        threshold = torch.tensor(best_threshold(foreground, background)).logit(eps=_SURE)
        calibrated = torch.sigmoid(calibration.scale * threshold + calibration.bias)
        return Measured(figures, float(calibrated), calibration, scale)


def _odds(probabilities: NDArray[np.float32], each: bool) -> torch.Tensor:
    """Return log-odds of probabilities that each stand alone, or logits of those that sum to 1."""
    values = torch.from_numpy(probabilities).double()
    return values.logit(eps=_SURE) if each else values.clamp(min=_SURE).log()
