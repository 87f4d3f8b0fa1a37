"""A simulated reviewer, which corrects where the map is most wrong, to measure how fast corrections help.

Interactive-segmentation work calls it the oracle (Xu et al., "Deep interactive object selection", CVPR 2016).
"""

from __future__ import annotations

import math
import time
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

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

Order = Literal["alternate", "background-first", "foreground", "background", "random"]
"""Of which kind a correction is: foreground and background in turn, beginning with either; always the same;
or by lot."""
ORDERS: tuple[Order, ...] = get_args(Order)
RADIUS = 3
LENGTH = 40
"""Pixels that a stroke goes from the middle of a wrong area, to either side."""
DIRECTIONS = 12
AWAY = 40
"""Pixels around labels, along either axis, past which the rest of an image begins."""
WORSE = 0.02
"""Dice of that rest by which an image is called worse than the model's own map had it."""

Point = tuple[float, float]


@dataclass(frozen=True)
class Manner:
    """How the oracle corrects.

    Parameters
    ----------
    order
        Of which kind each correction is.
    brush
        Diameter in pixels of straight strokes through the middle of a wrong area, as long as it reaches;
        `None` for clicks, discs of `RADIUS`.
    """

    order: Order = "alternate"
    brush: int | None = None


@dataclass(frozen=True)
class ClickCurve:
    """How one image's Dice grew click by click, or stroke by stroke.

    Attributes
    ----------
    name
        The sample's name.
    dice
        Of the model's own map, in [0, 1], and after each click.
    seconds
        Of each refit, from the click's pixels to the new map.
    rest
        How much higher the Dice of what is further than `AWAY` from all labels is than by the model's own
        map; 0 before the first click.
    """

    name: str
    dice: tuple[float, ...]
    seconds: tuple[float, ...]
    rest: tuple[float, ...] = ()


@dataclass(frozen=True)
class ClickResult:
    """The curves of all images.

    Attributes
    ----------
    curves
        In the data set's order.
    threshold
        At which maps were cut.
    manner
        How was corrected.
    """

    curves: tuple[ClickCurve, ...]
    threshold: float
    manner: Manner = Manner()

    @property
    def mean(self) -> list[float]:
        """Mean Dice over the images, before the first click and after each."""
        return [float(each) for each in np.mean([curve.dice for curve in self.curves], axis=0)]

    @property
    def worse(self) -> list[float]:
        """Share of the images whose rest is worse than the model's own map had it, in [0, 1], after each."""
        return [float(each) for each in np.mean([np.less(c.rest, -WORSE) for c in self.curves], axis=0)]

    @property
    def largest_drop(self) -> float:
        """By how much the mean Dice fell after one click at most; 0 where it never did."""
        return float(max(0.0, -min(np.diff(self.mean))))

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
            "order": self.manner.order,
            "brush": self.manner.brush,
            "radius": None if self.manner.brush else RADIUS,
            "threshold": self.threshold,
            "mean_dice": self.mean,
            "largest_drop": self.largest_drop,
            "worse_elsewhere": self.worse,
            "clicks_to": {str(goal): _reached(self.clicks_to(goal)) for goal in (0.85, 0.9)},
            "refit_seconds": {
                "median": float(np.median(seconds)) if seconds else None,
                "p95": float(np.quantile(seconds, 0.95)) if seconds else None,
            },
            "per_image": [
                {
                    "name": each.name,
                    "dice": list(each.dice),
                    "rest": list(each.rest),
                    "seconds": list(each.seconds),
                }
                for each in self.curves
            ],
        }


def simulate_clicks(
    localizer: Localizer,
    dataset: Dataset,
    clicks: int = 20,
    *,
    threshold: float | None = None,
    manner: Manner = Manner(),
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
        On each image; strokes, where the manner has a brush.
    threshold
        In [0, 1]; the model's own by default.
    manner
        How is corrected: by default by clicks, foreground and background in turn.

    Raises
    ------
    ConfigError
        No clicks, no such order, a brush of no width, or a threshold outside [0, 1].
    DatasetError
        No sample has a mask.
    ImageError, DeviceError, CancelledError
    """
    if clicks < 1:
        raise ConfigError(f"The oracle needs at least one click, not {clicks}.")
    if manner.order not in ORDERS:
        raise ConfigError(f"There is no order {manner.order}; choose one of {', '.join(ORDERS)}.")
    if manner.brush is not None and manner.brush < 1:
        raise ConfigError(f"A brush is at least one pixel wide, not {manner.brush}.")
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
        curves.append(correct(localizer, sample, clicks, cut, manner)[0])
        on_event(Event("step", stage="clicks", step=index + 1, total=len(samples)))
    on_event(Event("done", stage="clicks"))
    return ClickResult(tuple(curves), cut, manner)


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
    found = _largest_wrong(region, truth, value)
    return None if found is None else found[1]


def correct(
    localizer: Localizer, sample: Sample, clicks: int, threshold: float, manner: Manner = Manner()
) -> tuple[ClickCurve, NDArray[np.uint8]]:
    """Let the oracle correct one image that has a mask; see `simulate_clicks`.

    Returns
    -------
    curve, labels
        How the map became, and what the oracle painted, (h, w) uint8.
    """
    return correct_prepared(Prepared.of(localizer, sample, threshold), clicks, manner)


@dataclass(frozen=True, eq=False)
class Prepared:
    """What the oracle needs of one image, whatever the manner.

    Attributes
    ----------
    name
        The sample's.
    truth
        (h, w) uint8: 1 foreground, 0 background, 255 neither.
    own
        (h, w) bool: foreground by the model's own map.
    refiner
        Of the image.
    threshold
        At which maps are cut.
    """

    name: str
    truth: NDArray[np.uint8]
    own: NDArray[np.bool_]
    refiner: Refiner
    threshold: float

    @classmethod
    def of(cls, localizer: Localizer, sample: Sample, threshold: float) -> Prepared:
        """Localize an image that has a mask, and extract its features."""
        slide = open_slide(sample.image)
        truth = load_mask(sample, (slide.height, slide.width))
        own = localizer.localize(slide).region(threshold)
        return cls(sample.name, truth, own, Refiner(extract_features(localizer, slide)), threshold)


def correct_prepared(
    image: Prepared, clicks: int, manner: Manner = Manner()
) -> tuple[ClickCurve, NDArray[np.uint8]]:
    """Let the oracle correct one image; see `correct`."""
    truth, own = image.truth, image.own
    labels, region = np.full(truth.shape, UNLABELLED, dtype=np.uint8), own
    dice, rest, seconds = [_dice(own, truth)], [0.0], []
    for value in _kinds(image.name, clicks, manner.order):
        found = _largest_wrong(region, truth, value)
        if found is not None:
            _paint(labels, truth, *found, value, manner.brush)
            before = time.perf_counter()
            foreground = image.refiner.refine(labels).foreground
            seconds.append(time.perf_counter() - before)
            region = foreground >= image.threshold
        dice.append(_dice(region, truth))
        away = np.where(ndimage.maximum_filter(labels != UNLABELLED, 2 * AWAY + 1), 255, truth)
        rest.append(_dice(region, away) - _dice(own, away))
    return ClickCurve(image.name, tuple(dice), tuple(seconds), tuple(rest)), labels


def _kinds(name: str, count: int, order: Order) -> list[int]:
    """Return the kinds of an image's corrections; those drawn by lot are always the same for its name."""
    if order == "random":
        lots = np.random.default_rng(zlib.crc32(name.encode()))
        return [int(each) for each in lots.choice((BACKGROUND, FOREGROUND), count)]
    turns = {
        "alternate": (FOREGROUND, BACKGROUND),
        "background-first": (BACKGROUND, FOREGROUND),
        "foreground": (FOREGROUND, FOREGROUND),
        "background": (BACKGROUND, BACKGROUND),
    }
    return [turns[order][turn % 2] for turn in range(count)]


def _largest_wrong(
    region: NDArray[np.bool_], truth: NDArray[np.uint8], value: int
) -> tuple[NDArray[np.bool_], tuple[int, int]] | None:
    """Return the largest wrong area of a kind, (h, w), and the pixel deepest inside; see `next_click`."""
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
    return areas == largest, (int(row) - 1 + box[0].start, int(column) - 1 + box[1].start)


def _paint(
    labels: NDArray[np.uint8],
    truth: NDArray[np.uint8],
    area: NDArray[np.bool_],
    place: tuple[int, int],
    value: int,
    brush: int | None,
) -> None:
    """Click or draw, in place. A stroke that is broader than the area leaves out what is not of its kind."""
    if brush is None:
        labels[_swept(labels.shape, place, place, RADIUS)] = value
    else:
        swept = _swept(labels.shape, *_ends(area, place), brush / 2)
        labels[swept & (truth == (1 if value == FOREGROUND else 0))] = value


def _ends(area: NDArray[np.bool_], middle: tuple[int, int]) -> tuple[Point, Point]:
    """Return the ends of the longest straight line through a place that stays inside an area."""
    best: tuple[int, Point, Point] = (-1, middle, middle)
    for angle in np.pi * np.arange(DIRECTIONS) / DIRECTIONS:
        step = np.array([np.sin(angle), np.cos(angle)])
        reached = [_reach(area, middle, way) for way in (-step, step)]
        if sum(reached) > best[0]:
            first, last = (np.array(middle) + n * w for n, w in zip(reached, (-step, step), strict=True))
            best = sum(reached), (float(first[0]), float(first[1])), (float(last[0]), float(last[1]))
    return best[1], best[2]


def _reach(area: NDArray[np.bool_], start: tuple[int, int], step: NDArray[np.float64]) -> int:
    """Return how many steps lead from a place to the last one in an area, at most `LENGTH`."""
    places = np.rint(np.array(start) + np.arange(1, LENGTH + 1)[:, None] * step).astype(int)
    inside = np.array(((places >= 0) & (places < area.shape)).all(axis=1), dtype=bool)
    inside[inside] = area[tuple(places[inside].T)]
    return LENGTH if inside.all() else int(inside.argmin())


def _swept(shape: tuple[int, ...], first: Point, last: Point, radius: float) -> NDArray[np.bool_]:
    """Return the pixels (h, w) that a disc covers on its straight way from one place to another."""
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    y, x = last[0] - first[0], last[1] - first[1]
    along = ((rows - first[0]) * y + (columns - first[1]) * x) / max(y * y + x * x, 1e-9)
    along = np.clip(along, 0, 1)
    across = rows - first[0] - along * y, columns - first[1] - along * x
    near: NDArray[np.bool_] = np.less_equal(across[0] ** 2 + across[1] ** 2, radius**2)
    return near


def _dice(region: NDArray[np.bool_], truth: NDArray[np.uint8]) -> float:
    """Return Dice in [0, 1]; where both are empty, 1."""
    dice = metrics.dice_iou(region, truth)[0]
    return 1.0 if math.isnan(dice) else dice / 100


def _reached(counts: Sequence[int | None]) -> dict[str, float | int | None]:
    """Return how many images reach a goal, and the median number of clicks of those."""
    found = [count for count in counts if count is not None]
    return {"images": len(found), "median_clicks": float(np.median(found)) if found else None}
