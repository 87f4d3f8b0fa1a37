"""What corrections on a few images bring to images that nobody has corrected.

Run by `make bench-teaching`; writes ``benchmarks/results/teaching.{md,json}``. A simulated reviewer corrects
some training images of a fold of GlaS, `pixelcam finetune` learns from the seeds with its defaults, and the
model before and after it is measured on the fold's validation images; on EBHI-SEG too, where it is at hand,
to see what becomes of what it knew. Interrupted, the same command goes on.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import pixelcam
from benchmarks.localization.environment import environment
from pixelcam.datasets import Dataset, Sample, open_dataset
from pixelcam.evaluation import evaluate
from pixelcam.events import Event
from pixelcam.export import SeedImage, SeedSidecar, write_seeds
from pixelcam.export.atomic import write_text
from pixelcam.refine.oracle import correct
from pixelcam.slides import open_slide
from pixelcam.training import FinetuneSettings, finetune

RESULTS = Path(__file__).resolve().parent / "results"
WORK = Path(__file__).resolve().parent / ".work" / "teaching"
FIGURES = ("pxap", "dice", "accuracy")


def main(arguments: Sequence[str] | None = None) -> None:
    """Correct, fine-tune and measure, fold by fold, and write the report."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.teaching", description=__doc__)
    parser.add_argument("--glas", type=Path, default=os.environ.get("PIXELCAM_GLAS"))
    parser.add_argument("--ebhi", type=Path, default=os.environ.get("PIXELCAM_EBHI"))
    parser.add_argument("--model", default="starter")
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--images", type=int, nargs="+", default=[8])
    parser.add_argument("--clicks", type=int, default=10)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--work", type=Path, default=WORK)
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)
    if options.glas is None:
        parser.error("give the folder of GlaS: --glas FOLDER, or the variable PIXELCAM_GLAS")
    digest = _digest(options.model)
    cells = []
    for count in options.images:
        for fold in range(options.folds):
            folder = options.work / f"{digest}-{count}-images-{options.clicks}-clicks-fold{fold}"
            cells.append(cell(folder, options, count, fold))
            report = {"clicks": options.clicks, "cells": cells}
            write_text(options.results / "teaching.json", json.dumps(report, indent=2) + "\n")
            write_text(options.results / "teaching.md", page(report))
    print(page(report))


def _digest(model: str) -> str:
    """Return a name for what is measured: the model, and the settings that it learns by."""
    settings = FinetuneSettings(Path("seeds"), pixelcam.load(model, "cpu").model.sha256, device="cpu")
    return hashlib.sha256(json.dumps(settings.to_dict(), sort_keys=True).encode()).hexdigest()[:8]


def cell(folder: Path, options: argparse.Namespace, count: int, fold: int) -> dict[str, Any]:
    """Return the figures of one fold and number of images, measured now or before."""
    done = folder / "figures.json"
    if done.is_file():
        return json.loads(done.read_text())
    model = pixelcam.load(options.model, options.device)
    training = open_dataset("glas", options.glas, "train", fold)
    corrected = paint(model, chosen(training, count), options.clicks, folder / "seeds")
    agreements: list[float] = []

    def heard(event: Event) -> None:
        if "agreement" in event.metrics:
            agreements.append(float(event.metrics["agreement"]))

    before = time.perf_counter()
    settings = FinetuneSettings(folder / "seeds", options.model, device=options.device)
    finetune(settings, folder / "run", on_event=heard)
    seconds = time.perf_counter() - before
    tuned = pixelcam.load(folder / "run" / "checkpoints" / "best-loc.safetensors", options.device)
    others = {"GlaS validation": open_dataset("glas", options.glas, "valcl", fold)}
    if options.ebhi is not None:
        others["EBHI-SEG test"] = open_dataset("ebhi", options.ebhi, "test", 0)
    found = {
        "fold": fold,
        "images": count,
        "corrected": corrected,
        "seconds": seconds,
        "agreement": agreements,
        "familiarity kept": tuned.network.familiarity is not None,
        "before": {name: figures(model, each) for name, each in others.items()},
        "after": {name: figures(tuned, each) for name, each in others.items()},
        **environment(),
    }
    write_text(done, json.dumps(found))
    return found


def chosen(dataset: Dataset, count: int) -> list[Sample]:
    """Return masked samples, of each class in turn, drawn once and for all."""
    order = np.random.default_rng(0).permutation(len(dataset.masked))
    by_class: dict[int, list[Sample]] = {}
    for index in order:
        sample = dataset.masked[index]
        by_class.setdefault(sample.label, []).append(sample)
    kinds = [by_class[label] for label in sorted(by_class)]
    return [kinds[turn % len(kinds)][turn // len(kinds)] for turn in range(count)]


def paint(
    model: pixelcam.Localizer, samples: Iterable[Sample], clicks: int, folder: Path
) -> list[list[float]]:
    """Correct images and export the seeds; return each one's Dice before and after."""
    dice = []
    for sample in samples:
        curve, labels = correct(model, sample, clicks, model.card.threshold)
        write_seeds(folder, labels, SeedSidecar(SeedImage.of(open_slide(sample.image))))
        dice.append([curve.dice[0], curve.dice[-1]])
    return dice


def figures(model: pixelcam.Localizer, dataset: Dataset) -> dict[str, float | None]:
    """Return PxAP, its chance, Dice at the model's threshold, and accuracy, in percent."""
    measured = evaluate(model, dataset).to_json()
    return {name: measured[name] for name in (*FIGURES, "chance_pxap")}


def page(report: dict[str, Any]) -> str:
    """Return the report as Markdown."""
    cells = report["cells"]
    lines = [
        "# What corrections on a few images bring to others",
        "",
        "Made by `make bench-teaching`; do not edit. A simulated reviewer corrects training images of GlaS "
        f"with {report['clicks']} clicks each (discs of radius 3, foreground and background in turn, where "
        "the map that follows is most wrong); `pixelcam finetune` with its defaults learns from these seeds. "
        "Measured before and after it, in percent, on images that nobody has corrected.",
        "",
        "| corrected images | fold | their Dice | measured on | PxAP | chance | Dice | accuracy "
        "| agrees with seeds | minutes |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for each in cells:
        own = 100 * np.mean(each["corrected"], axis=0)
        for name, after in each["after"].items():
            before = each["before"][name]
            told = [arrow(before[key], after[key]) for key in FIGURES]
            agreement = arrow(each["agreement"][0], max(each["agreement"][1:]), 0)
            lines.append(
                f"| {each['images']} | {each['fold']} | {arrow(*own)} | {name} | {told[0]} "
                f"| {after['chance_pxap']:.1f} | {told[1]} | {told[2]} | {agreement} "
                f"| {each['seconds'] / 60:.1f} |"
            )
    lines += [""]
    for count in sorted({each["images"] for each in cells}):
        rows = [each for each in cells if each["images"] == count]
        for name in rows[0]["after"]:
            means = []
            for key in FIGURES:
                before, after = (mean(each[when][name][key] for each in rows) for when in ("before", "after"))
                means.append(f"{key} {arrow(before, after)}")
            lines.append(f"- {count} images, mean of {len(rows)} folds, {name}: {', '.join(means)}")
    commits = sorted({each["commit"] for each in cells})
    lines += ["", f"Commit {', '.join(commits)}; torch {cells[0]['torch']}; {cells[0]['machine']}.", ""]
    return "\n".join(lines)


def mean(values: Iterable[float | None]) -> float | None:
    """Return the mean, or None where there is nothing to average."""
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def arrow(before: float | None, after: float | None, digits: int = 1) -> str:
    """Return two figures as the table prints them."""
    if before is None or after is None:
        return "-"
    return f"{before:.{digits}f} → {after:.{digits}f}"


if __name__ == "__main__":
    main()
