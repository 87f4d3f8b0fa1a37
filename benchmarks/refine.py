"""Time what a reviewer waits for: from the end of a stroke to the new map, and what a peer takes.

Run by `make bench-refine`; writes ``benchmarks/results/refine.{md,json}``. Every stroke adds to those before
it. Of a field that is larger than a window, what a window shows of it and its surroundings is drawn first, as
the dock does; the whole map follows. The peer is napari-convpaint with its own default model, where it is
installed; ours and it are timed on the same 512 x 512 image, in the same run, in turn.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import skimage
from numpy.typing import NDArray

import pixelcam
from benchmarks.localization.environment import environment
from pixelcam.export.atomic import write_text
from pixelcam.localize import Localizer
from pixelcam.refine import MapGrid, Refiner, extract_features
from pixelcam.seeds.seedmap import SeedMap
from pixelcam.slides import Slide

RESULTS = Path(__file__).resolve().parent / "results"
SIDES = (512, 1024, 4000)
TARGETS = {512: (50, None), 1024: (100, 200), 4000: (100, 200)}
"""Milliseconds, median and 95th percentile, that a stroke may take."""
WINDOW = 1024
"""Side in pixels of what a window shows of a field at its full size."""
SURROUNDINGS = 128
"""Pixels that the dock draws around it."""
MPP = 0.5
STROKES = 40
LENGTH, RADIUS = 40, 4
PEER = "napari_convpaint"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.refine", description=__doc__)
    parser.add_argument("--model", default="starter")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--strokes", type=int, default=STROKES)
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)
    localizer = pixelcam.load(options.model, options.device)
    peer = _peer() if importlib.util.find_spec(PEER) else None
    fields = {str(side): time_field(localizer, picture(side), options.strokes, peer) for side in SIDES}
    report = {"environment": environment(), "model": options.model, "fields": fields}
    if peer is not None:
        report["peer"] = f"napari-convpaint {importlib.metadata.version('napari-convpaint')}"
    write_text(options.results / "refine.json", json.dumps(report, indent=2) + "\n")
    write_text(options.results / "refine.md", page(report))
    print(page(report))


def picture(side: int) -> NDArray[np.uint8]:
    """Return the sample image, (side, side, 3), repeated where it is smaller."""
    image = skimage.data.immunohistochemistry()
    times = -(-side // image.shape[0])
    return np.tile(image, (times, times, 1))[:side, :side]


def time_field(
    localizer: Localizer,
    image: NDArray[np.uint8],
    strokes: int,
    peer: Callable[[NDArray[np.uint8], NDArray[np.uint8]], tuple[float, float]] | None,
) -> dict[str, object]:
    """Paint strokes one by one.

    Returns
    -------
    Seconds to extract the features, of each refit until what is in view is drawn, of drawing all of a field
    that is larger, and of the peer at every tenth stroke.
    """
    before = time.perf_counter()
    refiner = Refiner(extract_features(localizer, Slide.from_array(image, mpp=MPP)))
    prepared = time.perf_counter() - before
    labels = np.zeros(image.shape[:2], np.uint8)
    seeds, grid = SeedMap(labels.shape), MapGrid(labels.shape)
    rows, columns = (window(side) for side in labels.shape)
    seconds, wholes, peers = [], [], []
    for stroke in range(strokes):
        draw(labels, stroke)
        seeds = seeds.updated(labels, seeds.differing(labels))  # the dock knows the place of each stroke
        before = time.perf_counter()
        refit = refiner.fit(seeds)
        refiner.draw(refit, grid, rows, columns)
        seconds.append(time.perf_counter() - before)
        if len(rows) < labels.shape[0]:
            before = time.perf_counter()
            refiner.draw_all(refit, grid)
            wholes.append(time.perf_counter() - before)
        if peer is not None and stroke % 10 == 9 and max(image.shape) <= 512:
            peers.append(peer(image, labels))
    return {"prepare": prepared, "refits": seconds, "wholes": wholes, "peer": peers}


def window(side: int) -> NDArray[np.int64]:
    """Return what is drawn first along an axis of a field: all, or the middle with its surroundings."""
    half = WINDOW // 2 + SURROUNDINGS
    return np.arange(max(side // 2 - half, 0), min(side // 2 + half, side))


def draw(labels: NDArray[np.uint8], stroke: int) -> None:
    """Add a straight stroke at a place that its number decides, foreground and background in turn."""
    rng = np.random.default_rng(stroke)
    row, column = (int(rng.integers(RADIUS, side - LENGTH)) for side in labels.shape)
    labels[row : row + 2 * RADIUS, column : column + LENGTH] = 2 - stroke % 2


def _peer() -> Callable[[NDArray[np.uint8], NDArray[np.uint8]], tuple[float, float]]:
    from napari_convpaint.convpaint_model import ConvpaintModel

    model = ConvpaintModel()
    model.set_param("channel_mode", "rgb")

    def work(image: NDArray[np.uint8], labels: NDArray[np.uint8]) -> tuple[float, float]:
        channels = np.moveaxis(image, -1, 0)
        before = time.perf_counter()
        model.train(channels, labels)
        between = time.perf_counter()
        model.segment(channels)
        return between - before, time.perf_counter() - between

    return work


def page(report: dict[str, object]) -> str:
    """Return the report in Markdown."""
    lines = [
        "# From a stroke to the new map",
        "",
        f"Model {report['model']}; strokes of {LENGTH} x {2 * RADIUS} pixels, each on top of those before. "
        f"Of a larger field the {WINDOW} x {WINDOW} pixels in view are drawn first, with {SURROUNDINGS} on "
        "each side.",
        "",
        "| field | features once, s | refit, median ms | 95th percentile, ms | target, ms "
        "| the whole map after that, ms | peer, train + predict, ms |",
        "|---|---|---|---|---|---|---|",
    ]
    fields: dict[str, dict[str, list[float]]] = report["fields"]  # type: ignore[assignment]
    for side, field in fields.items():
        refits = 1000 * np.array(field["refits"])
        median, tail = TARGETS[int(side)]
        goal = f"{median}" if tail is None else f"{median}, {tail}"
        wholes = 1000 * np.array(field["wholes"])
        whole = f"{np.median(wholes):.0f}" if len(wholes) else "-"
        peers = 1000 * np.array(field["peer"]).reshape(-1, 2)
        peer = " + ".join(f"{each:.0f}" for each in np.median(peers, axis=0)) if len(peers) else "-"
        lines.append(
            f"| {side} x {side} | {field['prepare']:.1f} | {np.median(refits):.0f} "
            f"| {np.quantile(refits, 0.95):.0f} | {goal} | {whole} | {peer} |"
        )
    named = report.get("peer", "napari-convpaint was not installed")
    lines += ["", f"Peer: {named}. Command: `python -m benchmarks.refine`.", ""]
    for name, value in dict(report["environment"]).items():  # type: ignore[call-overload]
        lines.append(f"- {name}: {value}")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
