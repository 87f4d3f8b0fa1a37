"""What a reviewer's corrections do to a map one by one: of both kinds, of one alone, by lot.

Run by ``python -m benchmarks.strokes``; writes ``benchmarks/results/strokes.{md,json}``. A simulated
reviewer corrects images with masks in several manners, each from the model's own map: clicks of radius 3,
and strokes as wide as the dock's brush. Every count is shown, odd ones too, for a correction must never
leave a map worse than it was. Each ``--images NAME=DATASET:FOLDER:SPLIT:FOLD`` is one table; ``SPLIT`` may
end in ``/2`` for every second image.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pixelcam
from benchmarks.localization.environment import environment
from pixelcam.datasets import Sample, open_dataset
from pixelcam.export.atomic import write_text
from pixelcam.refine.oracle import (
    WORSE,
    ClickCurve,
    ClickResult,
    Manner,
    Order,
    Prepared,
    correct_prepared,
)
from pixelcam.seeds.labels import BRUSH

RESULTS = Path(__file__).resolve().parent / "results"
PLANS: tuple[tuple[Order, int], ...] = (
    ("alternate", 20),
    ("background-first", 9),
    ("background", 8),
    ("foreground", 8),
    ("random", 12),
)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.strokes", description=__doc__)
    parser.add_argument("--model", default="starter")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--images", action="append", required=True, metavar="NAME=DATASET:FOLDER:SPLIT:FOLD")
    parser.add_argument("--name", default="strokes", help="of the files that are written")
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)
    model = pixelcam.load(options.model, options.device)
    tables = {}
    for each in options.images:
        name, place = each.split("=", 1)
        tables[name] = measure(model, chosen(place))
        report = {"environment": environment(), "model": model.card.name, "tables": tables}
        write_text(options.results / f"{options.name}.json", json.dumps(rounded(report)) + "\n")
        write_text(options.results / f"{options.name}.md", page(report))
    print(page(report))


def chosen(place: str) -> list[Sample]:
    """Return the samples with masks of ``DATASET:FOLDER:SPLIT[/N]:FOLD``."""
    dataset, folder, split, fold = place.split(":")
    split, _, step = split.partition("/")
    return list(open_dataset(dataset, folder, split, int(fold)).masked)[:: int(step or 1)]


def measure(model: pixelcam.Localizer, samples: Sequence[Sample]) -> list[dict[str, Any]]:
    """Return the figures of each manner; an image's features are extracted once for all."""
    manners = [(Manner(order, brush), count) for brush in (None, BRUSH) for order, count in PLANS]
    curves: list[list[ClickCurve]] = [[] for _ in manners]
    for sample in samples:
        image = Prepared.of(model, sample, model.card.threshold)
        for found, (manner, count) in zip(curves, manners, strict=True):
            found.append(correct_prepared(image, count, manner)[0])
    return [
        ClickResult(tuple(found), model.card.threshold, manner).to_json()
        for found, (manner, _) in zip(curves, manners, strict=True)
    ]


def rounded(value: Any) -> Any:
    """Return figures at four digits and without times, which other benchmarks take."""
    if isinstance(value, dict):
        return {key: rounded(each) for key, each in value.items() if key != "seconds"}
    if isinstance(value, list | tuple):
        return [rounded(each) for each in value]
    return round(value, 4) if isinstance(value, float) else value


def page(report: dict[str, Any]) -> str:
    """Return the report as Markdown."""
    lines = [
        "# What corrections do to a map, one by one",
        "",
        "Made by `python -m benchmarks.strokes`; do not edit. A simulated reviewer corrects the largest "
        f"missed or false area again and again, truthfully: by clicks of radius 3, or by strokes {BRUSH} "
        "pixels wide. Mean Dice over the images after each correction; by how much it fell after one at "
        f"most; and the share of images that are worse by more than {WORSE} away from all labels than by "
        "the model's own map, after one "
        "correction and after the last. Where nothing is wrong of a kind, nothing is painted.",
    ]
    for name, manners in report["tables"].items():
        lines += [
            "",
            f"## {name}, {manners[0]['images']} images, model {report['model']}",
            "",
            "| by | order | mean Dice after 0, 1, 2, ... corrections | fell at most | worse elsewhere |",
            "|---|---|---|---|---|",
        ]
        for each in manners:
            told = " ".join(f"{dice:.3f}" for dice in each["mean_dice"])
            worse = f"{100 * each['worse_elsewhere'][1]:.0f} %, {100 * each['worse_elsewhere'][-1]:.0f} %"
            kind = "strokes" if each["brush"] else "clicks"
            lines.append(f"| {kind} | {each['order']} | {told} | {each['largest_drop']:.3f} | {worse} |")
    lines += [""]
    for name, value in dict(report["environment"]).items():
        lines.append(f"- {name}: {value}")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
