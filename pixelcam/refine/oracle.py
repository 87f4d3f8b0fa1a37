"""A simulated reviewer, which clicks where the map is most wrong, to measure how fast corrections help.

Interactive-segmentation work calls it the oracle (Xu et al., "Deep interactive object selection", CVPR 2016).
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pixelcam import metrics
from pixelcam.datasets import Dataset, Sample, load_mask
from pixelcam.errors import CancelledError, ConfigError, DatasetError
from pixelcam.events import Event, EventSink, Stop, StopCheck, ignore_events, never_stop
from pixelcam.localize.localizer import Localizer
from pixelcam.refine.features import extract_features
from pixelcam.refine.refiner import Refiner
from pixelcam.seeds import BACKGROUND, FOREGROUND, UNLABELLED
from pixelcam.slides import open_slide

RADIUS = 3


@dataclass(frozen=True)
class ClickCurve:
    """How one image's Dice grew click by click.

    Attributes
    ----------
    name
        The sample's name.
    dice
        Of the model's own map, in [0, 1], and after each click; foreground and background in turn.
    seconds
        Of each refit, from the click's pixels to the new map.
    """

    name: str
    dice: tuple[float, ...]
    seconds: tuple[float, ...]


@dataclass(frozen=True)
class ClickResult:
    """The curves of all images.

    Attributes
    ----------
    curves
        In the data set's order.
    threshold
        At which maps were cut.
    """

    curves: tuple[ClickCurve, ...]
    threshold: float

    @property
    def mean(self) -> list[float]:
        """Mean Dice over the images, before the first click and after each."""
        return [float(each) for each in np.mean([curve.dice for curve in self.curves], axis=0)]

    def clicks_to(self, dice: float) -> list[int | None]:
        """Return for each image how many clicks reach a Dice, `None` where none does."""
        return [
            next((count for count, value in enumerate(curve.dice) if value >= dice), None)
            for curve in self.curves
        ]

    def to_json(self) -> dict[str, object]:
        """Return all figures; Dice in [0, 1], times in seconds."""
        seconds = [each for curve in self.curves for each in curve.seconds]
        return {
            "images": len(self.curves),
            "clicks": len(self.curves[0].dice) - 1,
            "radius": RADIUS,
            "threshold": self.threshold,
            "mean_dice": self.mean,
            "clicks_to": {str(goal): _reached(self.clicks_to(goal)) for goal in (0.85, 0.9)},
            "refit_seconds": {
                "median": float(np.median(seconds)) if seconds else None,
                "p95": float(np.quantile(seconds, 0.95)) if seconds else None,
            },
            "per_image": [
                {"name": each.name, "dice": list(each.dice), "seconds": list(each.seconds)}
                for each in self.curves
            ],
        }


def simulate_clicks(
    localizer: Localizer,
    dataset: Dataset,
    clicks: int = 20,
    *,
    threshold: float | None = None,
    on_event: EventSink = ignore_events,
    should_stop: StopCheck = never_stop,
) -> ClickResult:
    """Let the oracle correct every image of a data set that has a mask, each from the model's own map.

    Parameters
    ----------
    localizer
        The model.
    dataset
        Only its samples with masks are used.
    clicks
        On each image, foreground and background in turn, the first on foreground.
    threshold
        In [0, 1]; the model's own by default.

    Raises
    ------
    ConfigError
        No clicks, or a threshold outside [0, 1].
    DatasetError
        No sample has a mask.
    ImageError, DeviceError, CancelledError
    """
    if clicks < 1:
        raise ConfigError(f"The oracle needs at least one click, not {clicks}.")
    cut = localizer.card.threshold if threshold is None else threshold
    if not 0 <= cut <= 1:
        raise ConfigError(f"The threshold is between 0 and 1, not {cut}.")
    samples = dataset.masked
    if not samples:
        raise DatasetError(f"No image of {dataset.name} has a mask, and the oracle needs one to click by.")
    on_event(Event("started", stage="clicks", total=len(samples)))
    curves = []
    for index, sample in enumerate(samples):
        if should_stop() is not Stop.NO:
            raise CancelledError
        curves.append(correct(localizer, sample, clicks, cut)[0])
        on_event(Event("step", stage="clicks", step=index + 1, total=len(samples)))
    on_event(Event("done", stage="clicks"))
    return ClickResult(tuple(curves), cut)


def next_click(region: NDArray[np.bool_], truth: NDArray[np.uint8], value: int) -> tuple[int, int] | None:
    """Return where the oracle clicks next: the middle of the largest wrong area of a kind.

    Parameters
    ----------
    region
        (h, w) True where the map says foreground.
    truth
        (h, w) 1 foreground, 0 background, 255 neither.
    value
        `FOREGROUND` looks among foreground that the map misses, `BACKGROUND` among what it adds.

    Returns
    -------
    place
        (row, column) of the pixel deepest inside the largest 4-connected area; `None` where none is wrong.
    """
    wrong = (truth == 1) & ~region if value == FOREGROUND else (truth == 0) & region
    areas, count = ndimage.label(wrong)
    if not count:
        return None
    sizes = np.bincount(areas.ravel())
    sizes[0] = 0
    largest = int(sizes.argmax())
    box = ndimage.find_objects(areas)[largest - 1]
    # A border of one pixel, because what lies at the image's edge is no deeper than what lies at a region's.
    depth = ndimage.distance_transform_edt(np.pad(areas[box] == largest, 1))
    row, column = np.unravel_index(int(depth.argmax()), depth.shape)
    return int(row) - 1 + box[0].start, int(column) - 1 + box[1].start


def correct(
    localizer: Localizer, sample: Sample, clicks: int, threshold: float
) -> tuple[ClickCurve, NDArray[np.uint8]]:
    """Let the oracle correct one image that has a mask; see `simulate_clicks`.

    Returns
    -------
    curve, labels
        How the map became, and what the oracle painted, (h, w) uint8.
    """
    slide = open_slide(sample.image)
    truth = load_mask(sample, (slide.height, slide.width))
    refiner = Refiner(extract_features(localizer, slide))
    labels = np.full(truth.shape, UNLABELLED, dtype=np.uint8)
    region = localizer.localize(slide).region(threshold)
    dice, seconds = [_dice(region, truth)], []
    for value in _turns(clicks):
        place = next_click(region, truth, value)
        if place is not None:
            _click(labels, place, value)
            before = time.perf_counter()
            foreground = refiner.refine(labels).foreground
            seconds.append(time.perf_counter() - before)
            region = foreground >= threshold
        dice.append(_dice(region, truth))
    return ClickCurve(sample.name, tuple(dice), tuple(seconds)), labels


def _turns(clicks: int) -> Iterator[int]:
    for turn in range(clicks):
        yield BACKGROUND if turn % 2 else FOREGROUND


def _click(labels: NDArray[np.uint8], place: tuple[int, int], value: int) -> None:
    rows, columns = np.ogrid[: labels.shape[0], : labels.shape[1]]
    labels[(rows - place[0]) ** 2 + (columns - place[1]) ** 2 <= RADIUS**2] = value


def _dice(region: NDArray[np.bool_], truth: NDArray[np.uint8]) -> float:
    """Return Dice in [0, 1]; where both are empty, 1."""
    dice = metrics.dice_iou(region, truth)[0]
    return 1.0 if math.isnan(dice) else dice / 100


def _reached(counts: Sequence[int | None]) -> dict[str, float | int | None]:
    """Return how many images reach a goal, and the median number of clicks of those."""
    found = [count for count in counts if count is not None]
    return {"images": len(found), "median_clicks": float(np.median(found)) if found else None}
