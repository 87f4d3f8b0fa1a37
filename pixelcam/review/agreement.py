"""How far reviewers agree: on the classes of images, and on the pixels that both have labelled."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from pixelcam.export.marks import KEY, Mark, mark_text, replacing
from pixelcam.review.entries import ImageEntry
from pixelcam.review.project import Project

NONE, ONE, AGREE, DISAGREE = 0, 1, 2, 3
"""Values of a disagreement map: nobody, one reviewer only, both alike, both unlike."""

# Of Okabe and Ito's colours, which people of any colour vision tell apart: white, grey, blue, vermilion.
_PALETTE = (255, 255, 255, 170, 170, 170, 0, 114, 178, 213, 94, 0)


@dataclass(frozen=True)
class Agreement:
    """How far two reviewers agree over a project.

    Attributes
    ----------
    reviewers
        Their names.
    images
        Images that both have given a label.
    same_label
        Those of them with the same one.
    label_kappa
        Cohen's kappa of the labels, None where it is not defined.
    pixels
        Pixels that both have labelled.
    same_pixels
        Those of them with the same label.
    seed_kappa
        Cohen's kappa of these pixels' labels, None where it is not defined.
    """

    reviewers: tuple[str, str]
    images: int
    same_label: int
    label_kappa: float | None
    pixels: int
    same_pixels: int
    seed_kappa: float | None


def kappa_of_counts(counts: ArrayLike) -> float | None:
    """Return Cohen's kappa of a square table of counts, (k, k): rows by one rater, columns by the other.

    None where it is not defined: nothing was rated, or chance alone would agree wholly.

    J. Cohen, "A coefficient of agreement for nominal scales", Educational and Psychological Measurement 20
    (1960).

    Examples
    --------
    >>> round(kappa_of_counts([[20, 5], [10, 15]]), 3)
    0.4
    """
    table = np.asarray(counts, np.float64)
    total = table.sum()
    if not total:
        return None
    observed = np.trace(table) / total
    expected = float(table.sum(0) @ table.sum(1)) / total**2
    return None if expected >= 1 else float((observed - expected) / (1 - expected))


def cohens_kappa(first: Sequence[Hashable], second: Sequence[Hashable]) -> float | None:
    """Return Cohen's kappa of two raters' categories of the same items; see `kappa_of_counts`."""
    categories = {name: index for index, name in enumerate(dict.fromkeys([*first, *second]))}
    counts = np.zeros((len(categories), len(categories)), np.int64)
    for one, other in zip(first, second, strict=True):
        counts[categories[one], categories[other]] += 1
    return kappa_of_counts(counts)


def seed_counts(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return how often two (h, w) seed maps say background or foreground where both do, (2, 2) int64."""
    both = (first > 0) & (second > 0)
    pairs = (first[both].astype(np.int64) - 1) * 2 + second[both] - 1
    return np.bincount(pairs, minlength=4).reshape(2, 2)


def disagreement_map(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return where two (h, w) seed maps agree, (h, w) uint8: `NONE`, `ONE`, `AGREE`, `DISAGREE`."""
    found = np.zeros(first.shape, np.uint8)
    found[(first > 0) ^ (second > 0)] = ONE
    both = (first > 0) & (second > 0)
    found[both & (first == second)] = AGREE
    found[both & (first != second)] = DISAGREE
    return found


def write_disagreement(path: str | Path, values: NDArray[np.uint8], mark: Mark | None = None) -> Path:
    """Write a disagreement map as a PNG with a palette, whose indices are the map's values.

    The mark tells of which image and reviewers it is: never is it written over something else.

    Raises
    ------
    OutputError
        It cannot be written, or another file is in the way.
    """
    path = Path(path)
    image = Image.fromarray(values)
    image.putpalette(_PALETTE)
    mark = {"kind": "agreement"} if mark is None else mark
    texts = PngInfo()
    texts.add_text(KEY, mark_text(mark))
    with replacing(path, mark) as temporary:
        image.save(temporary, format="PNG", pnginfo=texts)
    return path


def pairs_of_reviewers(project: Project) -> Iterator[tuple[str, str]]:
    """Yield each pair of reviewers of a project, in the order of their coming."""
    yield from combinations(project.reviewers(), 2)


def agreements(project: Project, views: dict[str, list[ImageEntry]] | None = None) -> list[Agreement]:
    """Return the agreement of each pair of reviewers who have both labelled an image or a pixel.

    `views` are all reviewers' of the project's images by name, where they are at hand.
    """
    if views is None:
        views = {name: project.images_of(name) for name in project.reviewers()}
    found = (agreement_of(project, pair, views) for pair in pairs_of_reviewers(project))
    return [each for each in found if each.images or each.pixels]


def agreement_of(project: Project, pair: tuple[str, str], views: dict[str, list[ImageEntry]]) -> Agreement:
    """Return the agreement of two reviewers, whose views of the project's images are given by name."""
    both = list(zip(*(views[name] for name in pair), strict=True))
    labels = [(one.label, other.label) for one, other in both if one.label and other.label]
    counts = np.zeros((2, 2), np.int64)
    for one, other in both:
        if has_seeds(one) and has_seeds(other):
            counts += seed_counts(*(project.seeds(one.id, name) for name in pair))
    return Agreement(
        reviewers=pair,
        images=len(labels),
        same_label=sum(one == other for one, other in labels),
        label_kappa=cohens_kappa([one for one, _ in labels], [other for _, other in labels]),
        pixels=int(counts.sum()),
        same_pixels=int(np.trace(counts)),
        seed_kappa=kappa_of_counts(counts),
    )


def has_seeds(entry: ImageEntry) -> bool:
    """Return whether an image has a seed pixel of the reviewer whose view of it this is."""
    return entry.foreground + entry.background > 0
