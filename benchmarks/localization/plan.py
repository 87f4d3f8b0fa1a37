"""What the benchmark trains and measures: rows as data, and the cells that they make."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

LITE0, MOBILENET, DEIT = "tf_efficientnet_lite0", "mobilenetv2_100", "deit_tiny_patch16_224"
FOLDS = {("glas", "official"): 5, ("glas", "patient"): 5, ("ebhi", "official"): 4}
"""How many folds a data set has under each scheme; EBHI-SEG is split by case in its only one."""

OFFICIAL = (("glas", "official"),)
USUAL = (*OFFICIAL, ("ebhi", "official"))
EVERYWHERE = (*USUAL, ("glas", "patient"))

MASK_FREE, B_LOC, B_CL = "mask-free", "B-LOC", "B-CL"
SELECTIONS = {MASK_FREE: "last", B_LOC: "best-loc", B_CL: "best-cl"}
"""The checkpoint that each way of choosing an epoch leaves in a run."""


@dataclass(frozen=True, eq=False)
class Row:
    """One line of the table: a way to train, and whose maps are measured.

    Attributes
    ----------
    name
        As the table prints it.
    settings
        Options of `pixelcam train` by setting name, on top of its defaults.
    encoder
        timm name.
    teacher
        Measure the classifier by this teacher's maps; None measures the pixel head's.
    teacher_options
        Options of `pixelcam evaluate` for that teacher.
    views
        From how many mirrored views of an image the pixel head's maps are.
    needs_weights
        Leave the row out where there is no file of ImageNet weights for its encoder, not train from noise.
    across
        Measure on the other data set too.
    seeds
        Seeds of this row; the first one is trained first.
    places
        The data sets and schemes that it is trained on.
    folds
        At most so many folds of each.
    """

    name: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    encoder: str = LITE0
    teacher: str | None = None
    teacher_options: Mapping[str, Any] = field(default_factory=dict)
    views: int = 1
    needs_weights: bool = False
    across: bool = False
    seeds: tuple[int, ...] = (0,)
    places: tuple[tuple[str, str], ...] = USUAL
    folds: int = max(FOLDS.values())

    @property
    def slug(self) -> str:
        """The name as a folder's name."""
        return re.sub(r"[^a-z0-9]+", "-", self.name.lower().replace("++", "-pp")).strip("-")

    @property
    def selections(self) -> tuple[str, ...]:
        """The ways of choosing an epoch; a teacher by itself takes the classifier's last."""
        return (MASK_FREE,) if self.teacher else (MASK_FREE, B_LOC, B_CL)


@dataclass(frozen=True, eq=False)
class Cell:
    """One row on one fold of one data set with one seed.

    Attributes
    ----------
    row
        What is trained and measured.
    dataset, scheme, fold, seed
        On what.
    settings
        All options of the training, those of the benchmark's length included.
    """

    row: Row
    dataset: str
    scheme: str
    fold: int
    seed: int
    settings: Mapping[str, Any]

    @property
    def name(self) -> str:
        """The cell's folder, below that of all cells."""
        return f"{self.row.slug}/{self.dataset}-{self.scheme}-fold{self.fold}-seed{self.seed}"

    @property
    def run(self) -> str:
        """The run's folder, below that of all runs; rows that train the same thing share it."""
        digest = hashlib.sha256(json.dumps(dict(self.settings), sort_keys=True).encode()).hexdigest()[:8]
        return f"{self.dataset}-{self.scheme}-fold{self.fold}-seed{self.seed}-{self.row.encoder}-{digest}"


@dataclass(frozen=True)
class Plan:
    """Rows, and how long and on how many folds they are trained.

    Attributes
    ----------
    name
        "quick" or "full".
    rows
        In the order of the table.
    lengths
        Options laid under every row's own, by data set.
    folds
        At most so many folds, by data set; all where it is not named.
    """

    name: str
    rows: tuple[Row, ...]
    lengths: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    folds: Mapping[str, int] = field(default_factory=dict)

    def cells(self) -> list[Cell]:
        """Return all cells, the first fold and seed of every row before the second of any.

        Ended early, such an order leaves a table with all its rows.
        """
        found = list(self._cells())
        return sorted(found, key=lambda cell: (cell.row.seeds.index(cell.seed), cell.fold))

    def _cells(self) -> Iterator[Cell]:
        for row in self.rows:
            for dataset, scheme in row.places:
                folds = FOLDS[dataset, scheme]
                for fold in range(min(self.folds.get(dataset, folds), row.folds, folds)):
                    for seed in row.seeds:
                        settings = {**self.lengths.get(dataset, {}), **row.settings}
                        if row.teacher:
                            settings["epochs_joint"] = 0
                        yield Cell(row, dataset, scheme, fold, seed, settings)


PAPER: dict[str, Any] = {
    "levels": [-1],
    "output_stride": 8,
    "standardise": False,
    "teacher": "cam",
    "teacher_scales": [1.0],
    "teacher_margin": 0,
    "teacher_score": "logit",
    "pixel_loss": "partial",
    "sampler": "probability",
    "seeds": 5,
    "augment": "paper",
    "augment_classifier": "paper",
    "glass": 0.0,
    "input_size": 224,
    "view_size": 224,
    "batch": 32,
    "head_factor": 10.0,
    "pixel_factor": 10.0,
    "weight_decay": 1e-4,
    "pixel_weight_decay": 1e-4,
}
"""PixelCAM as published (arXiv 2503.24135): last level at output stride 8, 5 + 5 seeds by probability."""

PLAIN: dict[str, Any] = {"teacher_levels": [-1], "teacher_scales": [1.0]}
"""A gradient method as published: on the final map, at one size."""

GRADIENT_METHODS = {
    "Grad-CAM": "grad-cam",
    "Grad-CAM++": "grad-cam++",
    "XGrad-CAM": "xgrad-cam",
    "Smooth Grad-CAM++": "smooth-grad-cam++",
    "LayerCAM": "layercam",
    "LayerCAM, absolute": "layercam-abs",
}
TRAINED_METHODS = {"NEGEV": "negev", "F-CAM": "f-cam", "MaxMin, EEM": "maxmin", "MaxMin, SEM": "maxmin-sem"}
ATTENTION = {"image_head": "attention"}


def full_plan() -> Plan:
    """Every teacher by itself, PixelCAM on the best, the paper's setting, two CNNs and a ViT.

    On all folds what is trained in minutes and what is recommended; what it is compared with, on the first.
    """
    plain = [
        Row(f"{name}, final map", teacher=method, teacher_options=PLAIN, places=EVERYWHERE)
        for name, method in GRADIENT_METHODS.items()
    ]
    levels = [
        Row(name, teacher=method, across=True, places=EVERYWHERE) for name, method in GRADIENT_METHODS.items()
    ]
    trained = [Row(name, teacher=method, folds=1) for name, method in TRAINED_METHODS.items()]
    one_size = {"teacher_scales": [1.0]}
    main = (
        Row("PixelCAM", across=True, places=EVERYWHERE),
        Row("PixelCAM, four views", views=4, across=True, places=EVERYWHERE),
    )
    others = (
        Row("PixelCAM, three seeds", seeds=(0, 1, 2), places=OFFICIAL),
        Row("PixelCAM, glass not taught", {"glass": 0.0}, across=True, places=OFFICIAL),
        Row("PixelCAM, paper's setting", PAPER, across=True, places=OFFICIAL),
        Row("PixelCAM, drawn seeds", {"pixel_loss": "partial"}, across=True, places=OFFICIAL),
        Row("PixelCAM, two rounds", {"rounds": 2}, across=True, places=OFFICIAL),
        Row("PixelCAM on Grad-CAM++", {"teacher": "grad-cam++"}, places=OFFICIAL),
        Row("PixelCAM on LayerCAM", {"teacher": "layercam"}, places=OFFICIAL),
        Row("PixelCAM on Deep MIL attention", {"teacher": "deep-mil", **ATTENTION}, places=OFFICIAL),
        *(
            Row(f"PixelCAM on {name}", {"teacher": method}, places=OFFICIAL)
            for name, method in TRAINED_METHODS.items()
        ),
        Row(
            "PixelCAM, MobileNetV2",
            {"clip": 1.0},
            encoder=MOBILENET,
            needs_weights=True,
            across=True,
            places=OFFICIAL,
        ),
        Row("PixelCAM, DeiT-tiny", encoder=DEIT, across=True),
    )
    rows = (
        Row("CAM", teacher="cam", teacher_options=one_size, across=True, places=EVERYWHERE),
        *plain,
        *levels,
        Row("Deep MIL attention", ATTENTION, teacher="deep-mil", across=True, folds=1),
        *trained,
        Row("TS-CAM, DeiT-tiny", encoder=DEIT, teacher="ts-cam", folds=1),
        Row("Attention, DeiT-tiny", encoder=DEIT, teacher="attention", folds=1),
        *main,
        *(replace(row, folds=1) for row in others),
    )
    # EBHI-SEG has sixteen times as many training images as GlaS: fewer epochs, one fold.
    return Plan("full", rows, {"ebhi": {"epochs_classifier": 12, "epochs_joint": 6}}, {"ebhi": 1})


def quick_plan() -> Plan:
    """A few rows, one fold and few epochs: whether all works, in minutes, not how well."""
    rows = (
        Row("CAM", teacher="cam"),
        Row("Grad-CAM++", teacher="grad-cam++"),
        Row("LayerCAM, absolute", teacher="layercam-abs"),
        Row("PixelCAM", across=True),
        Row("PixelCAM, paper's setting", PAPER, places=(("glas", "official"),)),
    )
    lengths = {
        "glas": {"epochs_classifier": 5, "epochs_joint": 2},
        "ebhi": {"epochs_classifier": 1, "epochs_joint": 1},
    }
    return Plan("quick", rows, lengths, {"glas": 1, "ebhi": 1})


PLANS = {"quick": quick_plan, "full": full_plan}


def chosen_rows(plan: Plan, names: Sequence[str]) -> Plan:
    """Return the plan with the rows of these slugs only; with none, as it is.

    Raises
    ------
    ValueError
        The plan has no such row.
    """
    known = {row.slug: row for row in plan.rows}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ValueError(f"There is no row {unknown[0]!r}: choose among {', '.join(known)}.")
    rows = tuple(row for row in plan.rows if row.slug in names) if names else plan.rows
    return Plan(plan.name, rows, plan.lengths, plan.folds)
