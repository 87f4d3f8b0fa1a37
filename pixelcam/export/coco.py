"""Regions as COCO annotations with run-length encoded masks, as pycocotools reads them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pixelcam.export.areas import Area, Grid, ImageAreas
from pixelcam.export.marks import KEY, document_text, replace_text

_Box = tuple[slice, slice]


def write_coco(path: str | Path, areas: ImageAreas, compressed: bool = True) -> Path:
    """Write each connected part of named areas as an object with its mask, of the image's own size.

    Categories are numbered from 1 in the order of the areas. A mask on a coarser grid than the image is
    repeated up to the image's pixels, without ever being held at that size. Where the areas come from is kept
    in ``info``. Format: https://cocodataset.org/#format-data.

    Parameters
    ----------
    path
        The file to write.
    areas
        The areas.
    compressed
        Whether the runs are written as COCO's compressed text, or as plain numbers.

    Raises
    ------
    OutputError
        The file cannot be written, or another is in the way.
    """
    annotations = [
        {"id": number, "image_id": 1, **described}
        for number, described in enumerate(_objects(areas, compressed), start=1)
    ]
    # Other tools open the image by this name.
    file_name = areas.image_file or areas.image_name
    document = {
        "info": {"description": f"PixelCAM {areas.image_name}", KEY: areas.about},
        "images": [{"id": 1, "file_name": file_name, "width": areas.width, "height": areas.height}],
        "categories": [
            {"id": number, "name": area.name, "supercategory": ""}
            for number, area in enumerate(areas.areas, start=1)
        ],
        "annotations": annotations,
    }
    return replace_text(path, document_text(document), areas.about)


def _objects(areas: ImageAreas, compressed: bool) -> Iterator[dict[str, Any]]:
    for category, area in enumerate(areas.areas, start=1):
        for box, part in _parts(area):
            runs = _runs(box, part, areas)
            if not len(runs):
                continue
            counts = run_lengths(runs, areas.height * areas.width)
            yield {
                "category_id": category,
                "segmentation": {
                    "size": [areas.height, areas.width],
                    "counts": compress(counts) if compressed else counts,
                },
                "area": int((runs[:, 1] - runs[:, 0]).sum()),
                "bbox": _bounds(runs, areas.height),
                # The format page keeps runs for crowds, but evaluation passes over crowds.
                "iscrowd": 0,
            }


def _parts(area: Area) -> Iterator[tuple[_Box, NDArray[np.bool_]]]:
    labels, _ = ndimage.label(area.mask)
    for label, box in enumerate(ndimage.find_objects(labels), start=1):
        yield box, labels[box] == label


def _runs(box: _Box, part: NDArray[np.bool_], areas: ImageAreas) -> NDArray[np.int64]:
    """Return (n, 2) where runs of set pixels begin and end, counting the image's pixels column by column."""
    tops = _first_pixels(part.shape[0], box[0].start, areas.height, areas, 0)
    lefts = _first_pixels(part.shape[1], box[1].start, areas.width, areas, 1)
    steps = np.diff(np.pad(part, ((1, 1), (0, 0))).astype(np.int8), axis=0).T
    column, begin = np.nonzero(steps == 1)
    _, end = np.nonzero(steps == -1)
    times = np.diff(lefts)[column]
    # Each run of a grid column stands in every image column that this grid column covers.
    run = np.repeat(np.arange(len(column)), times)
    within = np.arange(len(run)) - np.repeat(np.cumsum(times) - times, times)
    offset = (lefts[column[run]] + within) * areas.height
    runs = np.stack([offset + tops[begin[run]], offset + tops[end[run]]], axis=1)
    runs = runs[runs[:, 0] < runs[:, 1]]
    runs = runs[np.argsort(runs[:, 0], kind="stable")]
    # A run to the foot of a column goes on at the head of the next.
    opens = np.append(True, runs[1:, 0] != runs[:-1, 1])[: len(runs)]
    closes = np.append(opens[1:], True)[: len(runs)]
    return np.asarray(np.stack([runs[opens, 0], runs[closes, 1]], axis=1))


def _first_pixels(count: int, start: int, size: int, grid: Grid, axis: int) -> NDArray[np.int64]:
    """Return the first image pixel of grid pixels `start` to `start + count`, one past the end last.

    An image pixel belongs to the grid pixel whose square holds its centre.
    """
    scale, translate = grid.scale[axis], grid.translate[axis]
    edges = (np.arange(start, start + count + 1) - 0.5) * scale + translate
    return np.asarray(np.clip(np.ceil(edges), 0, size), np.int64)


def _bounds(runs: NDArray[np.int64], height: int) -> list[int]:
    """Return [x, y, width, height] of runs."""
    first, last = runs[:, 0], runs[:, 1] - 1
    left, right = int(first.min() // height), int(last.max() // height)
    if (first // height != last // height).any():  # a run that goes round a column's foot spans all rows
        return [left, 0, right - left + 1, height]
    top, bottom = int((first % height).min()), int((last % height).max())
    return [left, top, right - left + 1, bottom - top + 1]


def run_lengths(runs: NDArray[np.int64], total: int) -> list[int]:
    """Return COCO's counts, the lengths of runs of 0 and of 1 in turn, 0 first.

    Parameters
    ----------
    runs
        (n, 2) begin and end of each run of 1, in order, none touching the next.
    total
        Number of pixels.
    """
    lengths: list[int] = np.diff(np.concatenate([[0], runs.ravel(), [total]])).tolist()
    return lengths if lengths[-1] else lengths[:-1]


def compress(counts: Sequence[int]) -> str:
    """Return counts as COCO's compressed text.

    Each is written as its difference from the one before the last, in groups of five bits, low ones first,
    a sixth bit telling that more follow; 48 is added so that all are printable. The third count is the first
    to be written as a difference plus one place: as pycocotools does, counts up to index 2 stand as they are.
    """
    text = []
    for index, count in enumerate(counts):
        value = count - counts[index - 2] if index > 2 else count
        more = True
        while more:
            bits = value & 31
            value >>= 5
            more = value != (-1 if bits & 16 else 0)
            text.append(chr(bits + 32 * more + 48))
    return "".join(text)
