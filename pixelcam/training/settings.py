"""Every setting of training and fine-tuning, its default and its range, once."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from pixelcam.errors import ConfigError
from pixelcam.model.encoder import FINAL, EncoderInfo
from pixelcam.model.heads import IMAGE_HEADS
from pixelcam.seeds.samplers import SamplerSettings
from pixelcam.teachers import FINAL_METHODS, MAP_METHODS, TEACHERS, Teacher
from pixelcam.teachers.eigen import EigenSettings
from pixelcam.training.augment import AUGMENTATIONS
from pixelcam.training.values import Settings


@dataclass(frozen=True)
class TrainSettings(Settings):
    """How a model is trained: first the WSOL classifier, then image and pixel head jointly.

    Attributes
    ----------
    dataset, root, fold, scheme
        See `pixelcam.datasets.open_dataset`.
    encoder, weights, pretrained
        timm name; a safetensors or PyTorch file of backbone weights; or fetch timm's own from the hub.
    image_head, levels, output_stride, standardise
        See `PixelCAM`; `None` as levels takes every level of stride 4 and above (CNN) or four
        blocks (transformer), at the encoder's own output stride: dilation makes a CPU several times slower.
    input_size
        Side in pixels that images are resized to, regardless of aspect ratio, when the model is used.
    view_size
        Side in pixels of the random views that it is trained on. `None` takes that at which tissue appears
        as large as it will in use: views are crops, and so enlarge (Touvron et al. 2019, NeurIPS).
    mpp
        Microns per pixel of the images as they are on disk, where the data set does not say.
    teacher, teacher_levels, teacher_scales, teacher_flips, teacher_score, teacher_margin
        See `Teacher`; `None` levels take the last two (CAM and attention: the final map).
    teacher_epochs, teacher_base
        Where the teacher is one of `TRAINED_TEACHERS`: the epochs of its training. The base is the teacher
        whose maps NEGEV and F-CAM are taught by, or that tells eigen maps foreground from background; the
        settings above then belong to it.
    eigen_level, eigen_sides, eigen_rounds, eigen_by_label
        Level whose leading component eigen maps begin with (`None`: the last but one of a CNN, the block at
        three quarters of a transformer's depth), sizes in pixels that images are resized to for it (`None`:
        4/7 to 1 of the view; smaller where objects are large in the images), times that they are refitted,
        and whether images of each label are learnt from by themselves; see `EigenSettings`.
    pixel_loss
        "soft": cross-entropy of all pixels, the map itself being each label's probability. "partial": of
        seeds drawn anew at each step, as in the paper.
    sampler, seeds, low_area, high_area, erosion, certain
        Of the partial loss; see `SamplerSettings`.
    augment, augment_classifier
        Of the second and of the first stage. "strong" (hue, saturation, gains, gamma, grey, blur, scale
        crops: the label must not be readable from the stain), "moderate" (the same, within what stains and
        scanners do), or "paper" (crop, flips, mild jitter).
    glass
        Share of the images that bare glass is laid over a part of, as background, see `lay_glass`; and
        unless it is 0, what is glass in the training images is background whatever the teacher says. 0 is
        for data in which what is looked for is white.
    epochs_classifier, epochs_joint, rounds
        Length of the two stages, and times that the second one runs: each further round learns from the
        averaged maps of the one before.
    batch, rate_classifier, rate_joint, head_factor, pixel_factor, momentum, weight_decay, pixel_weight_decay
        SGD with Nesterov momentum; the image head learns `head_factor` times as fast as the encoder, the
        pixel head `pixel_factor` times; the rate falls along half a cosine to its hundredth.
    clip
        Norm above which the gradient of a step is shortened; 0 for never. Some encoders, MobileNetV2 among
        them, diverge without at rates that suit others; 1 holds them.
    pixel_weight
        Lambda, the weight of the pixel loss.
    selection
        "masks": the few masks of valpx choose best-loc and the threshold (B-LOC). "mask-free": no mask is
        read, best-loc is the last epoch and the threshold 0.5.
    dropout
        Share of final channels dropped before the image head.
    seed, device
        Same seed, data and machine: same checkpoint.
    name, description, licence, foreground_name
        For the checkpoint's card.
    half
        Store checkpoints in half precision.
    """

    BEFORE: ClassVar[Mapping[str, Any]] = {"glass": 0.0}

    dataset: str
    root: Path
    fold: int = 0
    scheme: str = "official"
    encoder: str = "tf_efficientnet_lite0"
    weights: Path | None = None
    pretrained: bool = False
    image_head: str = "average"
    levels: tuple[int, ...] | None = None
    output_stride: int | None = None
    standardise: bool = True
    input_size: int = 288
    view_size: int | None = None
    mpp: float | None = None
    teacher: str = "eigen"
    teacher_levels: tuple[int, ...] | None = None
    teacher_scales: tuple[float, ...] = (1.0,)
    teacher_flips: bool = False
    teacher_score: str = "log-odds"
    teacher_margin: int = 32
    teacher_epochs: int = 10
    teacher_base: str = "layercam-abs"
    eigen_level: int | None = None
    eigen_sides: tuple[int, ...] | None = None
    eigen_rounds: int = 3
    eigen_by_label: bool = True
    pixel_loss: str = "soft"
    sampler: str = "certain"
    seeds: int = 100
    low_area: float = 0.3
    high_area: float = 0.3
    erosion: int = 11
    certain: float = 0.1
    augment: str = "moderate"
    augment_classifier: str = "strong"
    glass: float = 0.25
    epochs_classifier: int = 40
    epochs_joint: int = 40
    rounds: int = 1
    batch: int = 16
    rate_classifier: float = 0.005
    rate_joint: float = 0.003
    head_factor: float = 10.0
    pixel_factor: float = 3.0
    momentum: float = 0.9
    weight_decay: float = 1e-4
    pixel_weight_decay: float = 0.01
    clip: float = 0.0
    pixel_weight: float = 1.0
    selection: str = "masks"
    dropout: float = 0.1
    seed: int = 0
    device: str = "auto"
    name: str = ""
    description: str = ""
    licence: str = ""
    foreground_name: str = ""
    half: bool = False

    def __post_init__(self) -> None:
        for chosen in (self.augment, self.augment_classifier):
            _need(chosen in AUGMENTATIONS, f"augment is {' or '.join(AUGMENTATIONS)}, not {chosen!r}")
        _need_finite(self)
        _need(
            self.selection in ("masks", "mask-free"),
            f"selection is masks or mask-free, not {self.selection!r}",
        )
        _need(32 <= self.input_size <= 2048, "input_size lies between 32 and 2048 pixels")
        _need(self.epochs_classifier >= 0 and self.epochs_joint >= 0, "the numbers of epochs are 0 or more")
        _need(self.epochs_classifier + self.epochs_joint > 0, "at least one stage needs an epoch")
        _need(self.mpp is None or 0.01 <= self.mpp <= 100, "mpp lies between 0.01 and 100 microns")
        _need(self.batch >= 2, "batch is at least 2, because batch statistics need two images")
        _need(
            min(self.rate_classifier, self.rate_joint, self.head_factor, self.pixel_factor) > 0,
            "learning rates are above 0",
        )
        _need(
            0 <= self.dropout < 1 and 0 <= self.momentum < 1, "dropout and momentum lie in 0..1, 1 excluded"
        )
        _need(
            min(self.weight_decay, self.pixel_weight_decay, self.pixel_weight) >= 0, "weights are 0 or more"
        )
        _need(self.clip >= 0, "clip is 0 or more")
        _need(0 <= self.glass <= 1, "glass lies between 0 and 1")
        _need(
            self.image_head in IMAGE_HEADS,
            f"image_head is one of {', '.join(IMAGE_HEADS)}, not {self.image_head!r}",
        )
        _need(self.view_size is None or self.view_size >= 32, "view_size is at least 32 pixels")
        _need(self.teacher_epochs >= 1, "teacher_epochs is at least 1")
        _need(self.pixel_loss in ("soft", "partial"), "pixel_loss is soft or partial")
        _need(self.rounds >= 1, "rounds is at least 1")
        _need(self.eigen_rounds >= 0, "eigen_rounds is 0 or more")
        if self.teacher not in TEACHERS:
            raise ConfigError(f"There is no teacher {self.teacher!r}; choose one of: {', '.join(TEACHERS)}.")
        _need(self.teacher_base in MAP_METHODS, f"teacher_base is one of {', '.join(MAP_METHODS)}")
        self.sampler_settings()
        Teacher(self.map_method, score=self.teacher_score)

    def sampler_settings(self) -> SamplerSettings:
        """Return the sampler's part of the settings."""
        return SamplerSettings(
            self.sampler, self.seeds, self.low_area, self.high_area, self.erosion, self.certain
        )

    def view_of(self, info: EncoderInfo) -> int:
        """Return the side in pixels of the views that are trained on."""
        if self.view_size is not None:
            return self.view_size
        enlargement = sum(AUGMENTATIONS[self.augment].scale) / 2
        return max(1, round(self.input_size * enlargement / info.step)) * info.step

    @property
    def map_method(self) -> str:
        """The teacher that needs no training: the teacher itself, or its base."""
        return self.teacher if self.teacher in MAP_METHODS else self.teacher_base

    def teacher_of(self, info: EncoderInfo) -> Teacher:
        """Return the teacher for an encoder; of a trained one, the teacher whose maps it is taught by.

        Raises
        ------
        ConfigError
            The encoder has no such level.
        """
        levels = self.teacher_levels
        if levels is None:
            last = len(info.strides) - 1
            levels = (FINAL,) if self.map_method in FINAL_METHODS else (last - 1, last)
        count = len(info.strides)
        _need(
            all(FINAL <= level < count for level in levels),
            f"the teacher's levels lie in {FINAL}..{count - 1} for {self.encoder}",
        )
        return Teacher(
            self.map_method,
            levels,
            self.teacher_scales,
            self.teacher_flips,
            self.teacher_score,
            self.teacher_margin,
        )

    def eigen_of(self, info: EncoderInfo) -> EigenSettings:
        """Return the settings of eigen maps for an encoder.

        Raises
        ------
        ConfigError
            The encoder has no such level, or cannot take images of such a size.
        """
        count = len(info.strides)
        level = self.eigen_level
        if level is None:
            level = count * 3 // 4 - 1 if info.transformer else max(0, count - 2)
        _need(0 <= level < count, f"eigen_level lies in 0..{count - 1} for {self.encoder}")
        view = self.view_of(info)
        sides = self.eigen_sides or _multiples(view, (4 / 7, 5 / 7, 6 / 7, 1), info.step)
        _need(
            all(side > info.step and side % info.step == 0 for side in sides),
            f"eigen_sides are multiples of {info.step} above {info.step} for {self.encoder}",
        )
        return EigenSettings(
            level,
            sides=sides,
            refit_levels=self.levels or default_levels(info),
            refit_sides=_multiples(view, (1, 1.5, 2), info.step),
            rounds=self.eigen_rounds,
            by_label=self.eigen_by_label,
            grid=max(4, view // 8),
        )


@dataclass(frozen=True)
class FinetuneSettings(Settings):
    """How a model learns from a reviewer's exported seeds.

    Attributes
    ----------
    seeds
        Folder of exported seeds with their sidecars.
    model
        Name or file of the model to start from.
    epochs, steps
        Epochs, and optimiser steps in each.
    rate, encoder_factor, momentum, weight_decay
        SGD with Nesterov momentum; `rate` is the heads', the encoder learns `encoder_factor` times as fast.
    teacher_weight
        Weight of the maps that the pixel head gives once it is refitted to the reviewer's seeds, image by
        image.
    seed_weight
        Weight of the painted pixels by themselves. They lie where the model is wrong: the more they weigh,
        the better it agrees with them, and the worse it becomes on other images.
    label_weight
        Weight of the image labels, those that the reviewer confirmed or corrected.
    seed, device, name
        As in `TrainSettings`.
    """

    seeds: Path
    model: str = "starter"
    epochs: int = 10
    steps: int = 8
    crop: int = 256
    batch: int = 4
    rate: float = 0.01
    encoder_factor: float = 0.05
    momentum: float = 0.9
    weight_decay: float = 1e-4
    teacher_weight: float = 1.0
    seed_weight: float = 0.05
    label_weight: float = 0.2
    seed: int = 0
    device: str = "auto"
    name: str = ""

    def __post_init__(self) -> None:
        _need(
            self.epochs >= 1 and self.steps >= 1 and self.batch >= 1, "epochs, steps and batch are at least 1"
        )
        _need(self.crop >= 32, "crop is at least 32 pixels")
        _need(self.rate > 0 and self.encoder_factor > 0, "rate and encoder_factor are above 0")
        _need_finite(self)
        weights = (self.teacher_weight, self.seed_weight, self.label_weight)
        _need(min(*weights, self.weight_decay) >= 0, "weights are 0 or more")
        _need(self.teacher_weight + self.seed_weight > 0, "teacher_weight or seed_weight is above 0")
        _need(0 <= self.momentum < 1, "momentum lies in 0..1, 1 excluded")


def default_levels(info: EncoderInfo) -> tuple[int, ...]:
    """Return the pixel-feature levels that are taken unless told otherwise."""
    if info.transformer:
        depth = len(info.strides)
        return tuple(sorted({depth * (quarter + 1) // 4 - 1 for quarter in range(4)} - {-1}))
    return tuple(level for level, stride in enumerate(info.strides) if stride >= 4)


def _multiples(size: int, scales: tuple[float, ...], step: int) -> tuple[int, ...]:
    """Return scaled sizes as multiples of a step, each once, and larger than the margins mirrored at them."""
    return tuple(sorted({max(2, round(size * scale / step)) * step for scale in scales}))


def _need_finite(settings: Settings) -> None:
    for name, value in vars(settings).items():
        numbers = value if isinstance(value, tuple) else (value,)
        finite = all(not isinstance(number, float) or math.isfinite(number) for number in numbers)
        _need(finite, f"{name} is a finite number")


def _need(condition: bool, rule: str) -> None:
    if not condition:
        raise ConfigError(f"A setting is out of its range: {rule}.")
