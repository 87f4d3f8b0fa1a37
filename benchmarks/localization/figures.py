"""The benchmark's figures: validation curves, rows compared, and maps beside masks, worst cases first.

Images of GlaS may not be redistributed, so that pictures of them are for the work folder only; the figures
under ``benchmarks/results`` show images of EBHI-SEG (L. Shi et al. 2023, CC BY 4.0).
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray
from PIL import Image

from benchmarks.localization.table import TITLES, Line
from pixelcam.datasets import Dataset, Sample, load_image, load_mask
from pixelcam.evaluation import PROTOCOL_SIZE, Predictor, evaluate

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442", "#000000")
"""Okabe and Ito's, which people with any colour vision tell apart."""

MARKERS = "osD^vP*X"
CREDIT = {
    "ebhi": "Images: EBHI-SEG, L. Shi et al., Frontiers in Medicine 10:1114673 (2023), CC BY 4.0",
    "glas": "Images: GlaS, for research only. Do not publish.",
}
REDISTRIBUTABLE = frozenset({"ebhi"})
STYLE = {"font.size": 9, "axes.spines.top": False, "axes.spines.right": False, "figure.dpi": 110}


def draw_curves(curves: Sequence[tuple[str, Mapping[str, Any]]], title: str, path: Path) -> None:
    """Draw validation PxAP and accuracy over the epochs; one colour and marker a row, one line a run.

    Parameters
    ----------
    curves
        Names of rows, and what `benchmarks.localization.trained.curve_of` returned of their runs.
    """
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(7.5, 6), layout="constrained")
        upper, lower = figure.subplots(2, 1, sharex=True)
        names = list(dict.fromkeys(name for name, _ in curves))
        labelled: set[str] = set()
        for name, curve in curves:
            place = names.index(name)
            look = {
                "color": COLOURS[place % len(COLOURS)],
                "marker": MARKERS[place % len(MARKERS)],
                "markersize": 3.5,
                "linewidth": 1.2,
                "alpha": 0.8,
            }
            label = None if name in labelled else name
            labelled.add(name)
            epochs = np.array(curve["epochs"], np.float64)
            for axes, key in ((upper, "pxap"), (lower, "accuracy")):
                values = np.array(curve[key], np.float64)
                there = np.isfinite(values)
                axes.plot(epochs[there], values[there], label=label, **look)
        chance = next((curve["chance"] for _, curve in curves if curve["chance"] is not None), None)
        if chance is not None:
            upper.axhline(chance, color="0.4", linestyle="--", linewidth=1)
            upper.annotate(
                "chance", (0.005, chance), xycoords=("axes fraction", "data"), va="bottom", color="0.3"
            )
        upper.set_ylabel("PxAP on the masked validation images, %")
        lower.set_ylabel("accuracy on validation, %")
        lower.set_xlabel("epoch, of the classifier and then of both heads")
        upper.set_title(title, loc="left")
        figure.legend(*lower.get_legend_handles_labels(), loc="outside right upper", frameon=False)
        _save(figure, path)


def draw_rows(lines: Sequence[Line], title: str, path: Path) -> None:
    """Draw each row's PxAP with its spread beside chance, a mark for each way of choosing the epoch."""
    shown = [line for line in lines if line.figures["pxap"] is not None]
    rows = list(dict.fromkeys(line.row for line in shown))
    selections = list(dict.fromkeys(line.selection for line in shown))
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(7.5, 1.4 + 0.3 * len(rows)), layout="constrained")
        axes = figure.subplots()
        for line in shown:
            spread, chance = line.figures["pxap"], line.figures["chance_pxap"]
            assert spread is not None
            place, index = rows.index(line.row), selections.index(line.selection)
            if chance is not None:
                axes.plot([chance.mean] * 2, [place - 0.4, place + 0.4], color="0.5", linewidth=1.5)
            beside = [each.selection for each in shown if each.row == line.row]
            axes.errorbar(
                spread.mean,
                place + 0.24 * (beside.index(line.selection) - (len(beside) - 1) / 2),
                xerr=spread.sd or 0,
                color=COLOURS[index],
                marker=MARKERS[index],
                markersize=4,
                linestyle="none",
                capsize=2,
            )
        axes.set_yticks(range(len(rows)), rows)
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.set_xlabel("PxAP, %; mean and standard deviation; grey strokes are chance")
        axes.grid(axis="x", color="0.9")
        axes.set_title(title, loc="left")
        if len(selections) > 1:
            figure.legend(
                handles=[
                    Line2D([], [], color=colour, marker=marker, markersize=4, linestyle="none", label=name)
                    for name, colour, marker in zip(selections, COLOURS, MARKERS, strict=False)
                ],
                loc="outside lower center",
                ncols=len(selections),
                title="epoch chosen by",
            )
        _save(figure, path)


@dataclass(frozen=True)
class Case:
    """One image with what it should and what it does show.

    Attributes
    ----------
    sample
        The image.
    foreground
        (s, s) float32 in [0, 1].
    dice
        In percent, at the model's threshold.
    """

    sample: Sample
    foreground: NDArray[np.float32]
    dice: float


def worst_cases(localizer: Predictor, dataset: Dataset, count: int) -> list[Case]:
    """Return the `count` masked images of least Dice, the worst first."""
    scores = evaluate(localizer, dataset).per_image
    known = {sample.name: sample for sample in dataset.masked}
    ranked = sorted((s.dice, s.name) for s in scores if s.dice is not None and s.name in known)[:count]
    cases = []
    for dice, name in ranked:
        image = load_image(known[name], localizer.card.input_size)
        _, maps = localizer.predict_batch(image[None])
        cases.append(Case(known[name], maps[0], dice))
    return cases


def draw_cases(
    cases: Sequence[Case], classes: Sequence[str], threshold: float, title: str, credit: str, path: Path
) -> None:
    """Draw images, their masks, maps and regions, one case a column."""
    size = PROTOCOL_SIZE
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(1.75 * len(cases) + 0.9, 6.0), layout="constrained")
        grid = figure.subplots(3, len(cases), squeeze=False)
        shown: Any = None
        for column, case in enumerate(cases):
            image, mask = load_image(case.sample, size), load_mask(case.sample, size)
            for axes in grid[:, column]:
                axes.set_xticks([])
                axes.set_yticks([])
                axes.spines[:].set_visible(False)
            grid[0, column].imshow(image)
            grid[0, column].set_title(f"{classes[case.sample.label]}\nDice {case.dice:.0f}", fontsize=8)
            grid[1, column].imshow(image)
            _outline(grid[1, column], mask == 1, "#0072B2")
            shown = grid[2, column].imshow(
                case.foreground, cmap="cividis", vmin=0, vmax=1, extent=(-0.5, size - 0.5, size - 0.5, -0.5)
            )
            _outline(grid[2, column], mask == 1, "white")
        for row, words in enumerate(("image", "mask, outlined", "map, mask outlined")):
            grid[row, 0].set_ylabel(words)
        figure.colorbar(shown, ax=list(grid[2]), shrink=0.8, label=f"foreground; threshold {threshold:.2f}")
        figure.suptitle(title, x=0.01, ha="left")
        figure.supxlabel(credit, fontsize=7, x=0.01, ha="left")
        _save(figure, path)


def _outline(axes: Any, region: NDArray[np.bool_], colour: str) -> None:
    if region.any() and not region.all():
        axes.contour(region, levels=[0.5], colors=[colour], linewidths=1.2)


def _save(figure: Figure, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    drawn = io.BytesIO()
    figure.savefig(drawn)
    # 256 colours, for pictures of tissue are committed; no metadata, lest a version make redrawing a change.
    Image.open(drawn).convert("RGB").quantize(256).save(path, optimize=True)


def title_of(dataset: str, scheme: str) -> str:
    """Return a data set and scheme in words."""
    return f"{TITLES[dataset]}, patient-disjoint" if scheme == "patient" else TITLES[dataset]
