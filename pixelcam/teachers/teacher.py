"""A teacher: one WSOL method, averaged over levels, sizes and flips of the image."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

from pixelcam.errors import ConfigError
from pixelcam.model.encoder import FINAL
from pixelcam.model.geometry import MIRRORINGS, Grid, interpolation_matrix
from pixelcam.model.network import PixelCAM
from pixelcam.teachers.attention import attention_map, check_attention
from pixelcam.teachers.maps import (
    FINAL_METHODS,
    GRADIENT_METHODS,
    MAP_METHODS,
    TRAINED_TEACHERS,
    class_activation_map,
    class_rows,
    min_max,
)

MAP_STRIDE = 4
"""Image pixels per pixel of a teacher's map."""
NOISY_COPIES = 8
NOISE = 0.15
"""Standard deviation of the noise of Smooth Grad-CAM++, as a share of the image's own range."""


@dataclass(frozen=True)
class Teacher:
    """How a classifier's localisation maps are made.

    Attributes
    ----------
    method
        One of `MAP_METHODS`; `pixelcam.teachers.trained` makes the others.
    levels
        Encoder levels whose maps are averaged; `FINAL_METHODS` know only the final one.
    scales
        Sizes, relative to the image, whose maps are averaged.
    flips
        Average over the four mirror images.
    score
        What is differentiated: the class's "logit", or its "log-odds" against all other classes (for two
        classes the difference of the logits), which does not credit what speaks for every class alike. Of an
        image of several labels it is the sum of their logits either way.
    margin
        Pixels of the mirrored image that are added on each side and cut off the map again.
    """

    method: str = "layercam"
    levels: tuple[int, ...] = (FINAL,)
    scales: tuple[float, ...] = (1.0,)
    flips: bool = False
    score: str = "logit"
    margin: int = 0

    def __post_init__(self) -> None:
        if self.method in TRAINED_TEACHERS:
            raise ConfigError(
                f"The teacher {self.method} must be trained first; train_localizer does so, "
                f"or choose one of: {', '.join(MAP_METHODS)}."
            )
        if self.method not in MAP_METHODS:
            raise ConfigError(
                f"There is no teacher {self.method!r}; choose one of: "
                f"{', '.join((*MAP_METHODS, *TRAINED_TEACHERS))}."
            )
        if self.score not in ("logit", "log-odds"):
            raise ConfigError(f"A teacher's score is logit or log-odds, not {self.score!r}.")
        if self.margin < 0 or self.margin % MAP_STRIDE:
            raise ConfigError(f"A teacher's margin is a multiple of {MAP_STRIDE} pixels, not {self.margin}.")
        if not self.levels or not self.scales or min(self.scales) <= 0:
            raise ConfigError("A teacher needs at least one level and one scale above 0.")
        if self.method in FINAL_METHODS and self.levels != (FINAL,):
            name = "CAM" if self.method == "cam" else f"The teacher {self.method}"
            raise ConfigError(f"{name} is defined on the final level only; leave the teacher's levels out.")

    def check(self, network: PixelCAM) -> None:
        """Refuse a network that the method cannot map.

        Raises
        ------
        ConfigError
            The encoder has no class token or the image head no attention, and the method reads it.
        """
        if self.method in FINAL_METHODS and self.method != "cam":
            check_attention(network, self.method)

    def maps(self, network: PixelCAM, images: Tensor, labels: Tensor) -> Tensor:
        """Return the maps of the images' labels.

        Parameters
        ----------
        network
            In evaluation mode.
        images
            (n, 3, h, w) float, normalised.
        labels
            (n,) int64, or (n, classes) float of 0 and 1: the map is then of all labels of the image at once,
            and one value all over where it has none.

        Returns
        -------
        maps
            (n, h / 4, w / 4) float32 in [0, 1], each scaled to its own minimum and maximum, on a plain grid.

        Raises
        ------
        ConfigError
            See `check`.
        """
        self.check(network)
        margin = min(self.margin, (min(images.shape[2:]) - 1) // MAP_STRIDE * MAP_STRIDE)
        images = functional.pad(images, (margin, margin, margin, margin), mode="reflect")
        size = (images.shape[2] // MAP_STRIDE, images.shape[3] // MAP_STRIDE)
        total = torch.zeros(len(images), *size, device=images.device)
        for scale in self.scales:
            scaled = _rescale(images, scale, network.stride)
            for axes in MIRRORINGS if self.flips else MIRRORINGS[:1]:
                flipped = torch.flip(scaled, axes) if axes else scaled
                for found in self._one_pass(network, flipped, labels, size):
                    total += torch.flip(found, [axis - 1 for axis in axes]) if axes else found
        rim = margin // MAP_STRIDE
        return min_max(total[:, rim : size[0] - rim, rim : size[1] - rim])

    def _one_pass(
        self, network: PixelCAM, images: Tensor, labels: Tensor, size: tuple[int, int]
    ) -> Iterator[Tensor]:
        ratio = size[0] * MAP_STRIDE / images.shape[2], size[1] * MAP_STRIDE / images.shape[3]
        for level, found in zip(self.levels, self._raw(network, images, labels), strict=True):
            grid = network.encoder.info.grid(level)
            # The cells' places in the rescaled image, told in pixels of the image itself, along each axis.
            rows, columns = (Grid(grid.stride * r, (grid.offset + 0.5) * r - 0.5) for r in ratio)
            target = Grid.plain(MAP_STRIDE)
            vertical = interpolation_matrix(rows, found.shape[1], target, size[0], found)
            horizontal = interpolation_matrix(columns, found.shape[2], target, size[1], found)
            yield vertical @ min_max(found) @ horizontal.T

    def _raw(self, network: PixelCAM, images: Tensor, labels: Tensor) -> list[Tensor]:
        if self.method == "cam":
            with torch.no_grad():
                final, _ = network.encoder(images)
            return [
                class_activation_map(final, class_rows(network.image_head.classify.weight.detach(), labels))
            ]
        if self.method in FINAL_METHODS:
            return [attention_map(network, images, labels, self.method)]
        activations, gradients = self._differentiate(network, images, labels)
        if self.method == "smooth-grad-cam++":
            copies = [self._differentiate(network, copy, labels)[1] for copy in _noisy(images)]
            gradients = [torch.stack(each) for each in zip(*copies, strict=True)]
        method = GRADIENT_METHODS[self.method]
        return [method(a, g) for a, g in zip(activations, gradients, strict=True)]

    def _differentiate(
        self, network: PixelCAM, images: Tensor, labels: Tensor
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Return each level's activations and the score's gradients there, as maps (n, c, h, w)."""
        with _captured(network, self.levels) as captured, torch.enable_grad():
            images = images.detach().requires_grad_()  # so that a frozen encoder has a graph too
            final, _ = network.encoder(images)
            score = _score(network.image_head(final), labels, self.score)
            activations = [final if level == FINAL else captured[level] for level in self.levels]
            gradients = torch.autograd.grad(score.sum(), activations)
        shape = (images.shape[2], images.shape[3])
        return (
            [_as_map(each.detach(), network, shape) for each in activations],
            [_as_map(each.detach(), network, shape) for each in gradients],
        )


def _noisy(images: Tensor) -> Iterator[Tensor]:
    """Yield copies of images with Gaussian noise, the same at every call and for every image of a batch."""
    generator = torch.Generator().manual_seed(0)
    span = images.amax(dim=(1, 2, 3), keepdim=True) - images.amin(dim=(1, 2, 3), keepdim=True)
    for _ in range(NOISY_COPIES):
        noise = torch.randn(1, *images.shape[1:], generator=generator).to(images.device)
        yield images + NOISE * span * noise


def _score(logits: Tensor, labels: Tensor, kind: str) -> Tensor:
    if labels.dim() == 2:  # of several labels: each logit is the log-odds of its class against its absence
        return (logits * labels).sum(dim=1)
    chosen = logits.gather(1, labels[:, None])[:, 0]
    if kind == "logit":
        return chosen
    others = logits.scatter(1, labels[:, None], -torch.inf)
    return chosen - others.logsumexp(dim=1)


def _rescale(images: Tensor, scale: float, step: int) -> Tensor:
    size = [max(step, round(side * scale / step) * step) for side in images.shape[2:]]
    if tuple(size) == tuple(images.shape[2:]):
        return images
    return functional.interpolate(images, size=size, mode="bilinear", align_corners=False, antialias=True)


@contextmanager
def _captured(network: PixelCAM, levels: tuple[int, ...]) -> Iterator[dict[int, Tensor]]:
    """Keep the outputs of the modules that make the levels, as tensors that the class score depends on."""
    kept: dict[int, Tensor] = {}

    def keep(level: int, module: nn.Module, inputs: object, output: Tensor) -> None:
        kept[level] = output

    handles = [
        network.encoder.body.get_submodule(network.encoder.info.modules[level]).register_forward_hook(
            partial(keep, level)
        )
        for level in levels
        if level != FINAL
    ]
    try:
        yield kept
    finally:
        for handle in handles:
            handle.remove()


def _as_map(values: Tensor, network: PixelCAM, shape: tuple[int, int]) -> Tensor:
    """Return tokens (n, t, c) of a transformer as a map (n, c, h, w); maps stay as they are."""
    return values if values.dim() == 4 else network.encoder.tokens_to_map(values, shape)
