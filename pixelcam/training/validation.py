"""Measuring a model on validation images while it is trained."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
from numpy.typing import NDArray

from pixelcam.datasets import open_dataset
from pixelcam.errors import DatasetError
from pixelcam.localize.localizer import Localizer
from pixelcam.metrics import best_threshold, chance_pxap, pxap, right_labels, score_histograms
from pixelcam.training.data import ImageStack, load_masks, load_stack
from pixelcam.training.settings import TrainSettings


class Validation:
    """The validation images: labels of valcl, masks of valpx where there are any."""

    def __init__(self, valcl: ImageStack, valpx: ImageStack | None, masks: list[NDArray[np.uint8]]) -> None:
        self.valcl, self.valpx, self.masks = valcl, valpx, masks

    @classmethod
    def load(cls, settings: TrainSettings) -> Validation:
        """Decode the validation images that the settings name."""
        s = settings
        valcl = load_stack(open_dataset(s.dataset, s.root, "valcl", s.fold, s.scheme), s.input_size)
        try:
            valpx = open_dataset(s.dataset, s.root, "valpx", s.fold, s.scheme)
        except DatasetError:  # no masks at hand: selection does without
            return cls(valcl, None, [])
        masked = dataclasses.replace(valpx, samples=valpx.masked) if valpx.masked else None
        if masked is None:
            return cls(valcl, None, [])
        return cls(valcl, load_stack(masked, s.input_size), load_masks(masked, s.input_size))

    def measure(self, localizer: Localizer, *, pixels: bool) -> tuple[dict[str, float], float]:
        """Return the validation figures and the threshold of the best Dice (0.5 where there are no masks)."""
        right = 0
        for chosen in torch.arange(len(self.valcl)).split(32):
            probabilities, _ = localizer.predict_batch(self.valcl.images[chosen].numpy())
            right += int(right_labels(probabilities, self.valcl.labels[chosen].numpy()).sum())
        figures = {"valcl_accuracy": 100 * right / len(self.valcl)}
        if self.valpx is None or not pixels:
            return figures, 0.5
        foreground = background = np.zeros(1001, dtype=np.int64)
        for index, mask in enumerate(self.masks):
            _, maps = localizer.predict_batch(self.valpx.images[index : index + 1].numpy())
            found = score_histograms(maps[0], mask)
            foreground, background = foreground + found[0], background + found[1]
        figures |= {
            "valpx_pxap": pxap(foreground, background),
            "valpx_chance": chance_pxap(foreground, background),
            "valpx_images": float(len(self.masks)),
        }
        return figures, best_threshold(foreground, background)
