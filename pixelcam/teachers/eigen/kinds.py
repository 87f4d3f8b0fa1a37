"""Kinds of images: those of one label are alike enough to be learnt from by themselves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pixelcam.teachers.eigen.scale import pooled

if TYPE_CHECKING:
    from pixelcam.training.data import ImageStack

_ENOUGH = 16  # images with a region of which a label is a kind of its own


@dataclass(frozen=True)
class Kinds:
    """Which kind each image is of.

    Attributes
    ----------
    kind
        (n,) int64: 0 and up.
    learnt_from
        (kinds, n) bool: the images that each kind's maps are learnt from.
    regionless
        (n,) bool: images that hold no region.
    """

    kind: Tensor
    learnt_from: Tensor
    regionless: Tensor

    @classmethod
    def of(cls, data: ImageStack) -> Kinds:
        """Return a kind for each label of enough images, learnt from these and the regionless ones.

        Labels of fewer images are one kind together, which is learnt from all; and so is all data whose
        images have several labels.
        """
        if data.labels.ndim > 1:
            kind = torch.zeros(len(data), dtype=torch.int64)
            return cls(kind, torch.ones(1, len(data), dtype=torch.bool), data.regionless)
        kind = torch.full((len(data),), -1)
        learnt_from: list[Tensor] = []
        for label in data.labels.unique():
            own = data.labels == label
            if int((own & ~data.regionless).sum()) >= _ENOUGH:
                kind[own] = len(learnt_from)
                learnt_from.append(own | data.regionless)
        if bool((kind < 0).any()):
            kind[kind < 0] = len(learnt_from)
            learnt_from.append(torch.ones(len(data), dtype=torch.bool))
        return cls(kind, torch.stack(learnt_from), data.regionless)

    @property
    def whole(self) -> Kinds:
        """All images as one kind."""
        everything = torch.ones(1, len(self.kind), dtype=torch.bool)
        return Kinds(torch.zeros_like(self.kind), everything, self.regionless)

    def take(self, images: Tensor) -> Kinds:
        """Return the kinds of these images (k,) alone."""
        return Kinds(self.kind[images], self.learnt_from[:, images], self.regionless[images])

    def signed(self, maps: Tensor, reference: Tensor) -> Tensor:
        """Return maps (n, h, w), of each kind with the sign by which they agree with the reference."""
        result = maps.clone()
        for number in self.kind.unique():
            own = self.kind == number
            if float((maps[own] * reference[own]).mean()) < 0:
                result[own] *= -1
        return result

    def pooled(self, maps: Tensor) -> Tensor:
        """Return maps (n, h, w) less their mean over each kind's images, divided by the deviation."""
        result = torch.empty_like(maps)
        for number in self.kind.unique():
            own = self.kind == number
            result[own] = pooled(maps[own])
        return result
