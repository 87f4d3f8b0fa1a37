"""What all trained localizers have in common: their settings, a step's batch, and their interface."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from pixelcam.errors import ConfigError
from pixelcam.model.network import PixelCAM
from pixelcam.seeds.samplers import SamplerSettings
from pixelcam.teachers.maps import TRAINED_TEACHERS
from pixelcam.training.augment import AUGMENTATIONS


@dataclass(frozen=True)
class LocalizerSettings:
    """How a localizer is trained.

    Attributes
    ----------
    kind
        One of `TRAINED_TEACHERS`.
    size
        Side in pixels of the views that it is trained on; a multiple of the encoder's step.
    epochs, batch, rate
        Passes over the images, images in a step, and full learning rate, which falls along half a cosine;
        `None` takes what suits the kind.
    augment
        See `pixelcam.training.augment.AUGMENTATIONS`.
    sampler
        How seeds are drawn from the seed maps (NEGEV, F-CAM).
    colour_weight
        Of the colour affinity (F-CAM).
    area_weight, barrier_start, barrier_growth, barrier_end
        Weight of the areas' log-barriers (F-CAM, MaxMin); their t at the first step, what it is multiplied
        by after each, and where it stays.
    slope, middle
        Of MaxMin's mask ``sigmoid(slope * (map - middle))``.
    seed
        Same seed, images, classifier and machine: same localizer.
    """

    kind: str
    size: int = 224
    epochs: int = 10
    batch: int = 8
    rate: float | None = None
    augment: str = "strong"
    sampler: SamplerSettings = field(default_factory=lambda: SamplerSettings("extremes", 100, 0.3, 0.3))
    colour_weight: float = 1.0
    area_weight: float = 0.1
    barrier_start: float = 1.0
    barrier_growth: float = 1.01
    barrier_end: float = 10.0
    slope: float = 8.0
    middle: float = 0.5
    seed: int = 0

    def __post_init__(self) -> None:
        if self.kind not in TRAINED_TEACHERS:
            raise ConfigError(
                f"There is no trained teacher {self.kind!r}; choose one of: {', '.join(TRAINED_TEACHERS)}."
            )
        if self.augment not in AUGMENTATIONS:
            raise ConfigError(f"augment is {' or '.join(AUGMENTATIONS)}, not {self.augment!r}.")
        if self.epochs < 1 or self.batch < 1:
            raise ConfigError("A trained teacher needs at least one epoch and one image in a batch.")
        if self.rate is not None and self.rate <= 0:
            raise ConfigError("A trained teacher's learning rate is above 0.")
        if min(self.barrier_start, self.barrier_end) <= 0 or self.barrier_growth < 1 or self.slope <= 0:
            raise ConfigError(
                "A trained teacher's barriers and slope are above 0 and its barriers do not shrink."
            )

    def barrier(self, step: int) -> float:
        """Return t of the log-barriers at a step, counted from 0."""
        return min(self.barrier_start * self.barrier_growth ** min(step, 10_000), self.barrier_end)


@dataclass(frozen=True)
class Batch:
    """One step's views.

    Attributes
    ----------
    inputs
        (n, 3, s, s) float, recoloured and normalised.
    colours
        (n, 3, s, s) float in [0, 1], the same views in their own colours.
    labels
        (n,) int64.
    regionless
        (n,) bool: images that hold no region.
    seeds
        (n, s / 4, s / 4) int64 partial labels drawn for this step, `None` where the kind needs none.
    """

    inputs: Tensor
    colours: Tensor
    labels: Tensor
    regionless: Tensor
    seeds: Tensor | None


class TrainedLocalizer(ABC):
    """A localizer with weights of its own, made from a classifier that stays as it was.

    Attributes
    ----------
    network
        Its own copy of the classifier.
    settings
        How it was trained.
    """

    def __init__(self, network: PixelCAM, settings: LocalizerSettings) -> None:
        # A copy, so that neither changes with the other, whoever is trained further.
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self.settings = settings

    @abstractmethod
    def parameter_groups(self) -> list[dict[str, Any]]:
        """Return what is trained, in the groups of an optimiser, each with its learning rate."""

    @abstractmethod
    def losses(self, batch: Batch, t: float) -> dict[str, Tensor]:
        """Return the weighted terms of the loss of one step; t is that of the log-barriers."""

    @abstractmethod
    def maps(self, images: Tensor, labels: Tensor) -> Tensor:
        """Return maps (n, h / 4, w / 4) float32 in [0, 1], as `Teacher.maps` does.

        They are probabilities, not scaled to each image's own range, and the same whatever the labels.

        Parameters
        ----------
        images
            (n, 3, h, w) float, normalised; sides multiples of the encoder's step.
        labels
            (n,) int64.
        """

    @property
    def modules(self) -> list[nn.Module]:
        """What `train` and `eval` switch; a frozen classifier stays in evaluation mode."""
        return []
