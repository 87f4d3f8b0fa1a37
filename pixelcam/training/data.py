"""Decoded images kept in memory, so that a training step never waits for the disk."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor

from pixelcam.datasets import Dataset, load_image, load_mask


@dataclass(frozen=True)
class ImageStack:
    """The images of one split.

    Attributes
    ----------
    images
        (n, s, s, 3) uint8 on the CPU.
    labels
        (n,) int64; or (n, classes) float32 of 0 and 1, where an image may have several labels or none.
    regionless
        (n,) bool: images that hold no region.
    """

    images: Tensor
    labels: Tensor
    regionless: Tensor

    def __len__(self) -> int:
        return len(self.labels)


def load_stack(dataset: Dataset, size: int) -> ImageStack:
    """Decode every image of a split at size x size pixels."""
    images = torch.empty(len(dataset), size, size, 3, dtype=torch.uint8)
    for index, sample in enumerate(dataset.samples):
        images[index] = torch.from_numpy(load_image(sample, size))
    regionless = torch.tensor([sample.regionless for sample in dataset.samples])
    return ImageStack(images, _labels(dataset), regionless)


def _labels(dataset: Dataset) -> Tensor:
    if not dataset.multi_label:
        return torch.tensor([sample.label for sample in dataset.samples])
    labels = torch.zeros(len(dataset), len(dataset.classes))
    for row, sample in zip(labels, dataset.samples, strict=True):
        row[list(sample.labels)] = 1
    return labels


def load_masks(dataset: Dataset, size: int) -> list[NDArray[np.uint8]]:
    """Return the masks (size, size) uint8 of a split's masked samples."""
    return [load_mask(sample, size) for sample in dataset.masked]


def generator_for(*parts: object) -> Generator:
    """Return a CPU generator seeded by the parts alone, so that a step is repeatable without those before."""
    digest = hashlib.sha256(repr(parts).encode()).digest()
    return Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)


def shuffled_batches(count: int, batch: int, generator: Generator) -> Iterator[Tensor]:
    """Yield the indices of one epoch's batches, at most so many at a time, and all of nearly the same size.

    A small rest would move the weights as far as a whole batch does, on the statistics of a few images. With
    an odd number of images in batches of two, one holds three: batch statistics need two.
    """
    order = torch.randperm(count, generator=generator)
    yield from order.tensor_split(max(1, min(-(-count // batch), count // 2)))
