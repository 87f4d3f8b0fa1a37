"""The table's figures are those that are worked out by hand."""

from __future__ import annotations

import json

import pytest

from benchmarks.localization.table import Spread, shown_command, summarise, to_json, to_markdown


def evaluation(dataset, split, selection, **figures):
    return {"dataset": dataset, "split": split, "selection": selection, "figures": figures}


def record(row, fold, *evaluations, seconds=600.0, **more):
    return {
        "row": row,
        "encoder": "resnet18",
        "initialisation": "ImageNet",
        "teacher": None,
        "dataset": "glas",
        "scheme": "official",
        "fold": fold,
        "seed": 0,
        "run": "run",
        "commands": [["pixelcam", "train", "--root", "$GLAS", "--out", "$RUNS/run"]],
        "trained": {"seconds": seconds, "masks": 6},
        "evaluations": list(evaluations),
        "environment": {"torch": "2.6", "machine": "2 cores"},
        **more,
    }


@pytest.fixture
def records():
    return [
        record(
            "PixelCAM",
            0,
            evaluation("glas", "valcl", "mask-free", pxap=70.0, chance_pxap=50.0, accuracy=90.0, dice=60.0),
            evaluation("glas", "valcl", "B-LOC", pxap=75.0, chance_pxap=50.0, accuracy=80.0, dice=None),
            evaluation("ebhi", "test", "mask-free", pxap=66.0, chance_pxap=62.0, accuracy=None),
        ),
        record(
            "PixelCAM",
            1,
            evaluation("glas", "valcl", "mask-free", pxap=74.0, chance_pxap=51.0, accuracy=100.0, dice=64.0),
            seconds=1200.0,
        ),
        {
            **record("CAM", 0),
            "evaluations": [],
            "failure": "The loss is not a number.",
        },
    ]


def test_means_and_deviations_are_over_folds(records):
    line = next(x for x in summarise(records) if x.selection == "mask-free" and not x.across)
    assert line.cells == 2
    assert line.figures["pxap"] == Spread(72.0, pytest.approx(8**0.5), 2)
    assert line.above_chance == Spread(21.5, pytest.approx(4.5**0.5), 2)
    assert line.figures["accuracy"].mean == 95.0
    assert line.figures["ece"] is None
    assert line.minutes == Spread(15.0, pytest.approx(50**0.5), 2)


def test_one_cell_has_no_deviation_and_a_missing_figure_no_value(records):
    line = next(x for x in summarise(records) if x.selection == "B-LOC")
    assert line.figures["pxap"] == Spread(75.0, None, 1)
    assert line.figures["dice"] is None
    assert line.masks == 6


def test_only_b_loc_is_said_to_have_seen_masks(records):
    assert {line.selection: line.masks for line in summarise(records)} == {"mask-free": 0, "B-LOC": 6}


def test_the_page_shows_figures_chance_failures_versions_and_commands(records):
    page = to_markdown("quick", records, 4, ["EBHI-SEG was not at hand."])
    row = "| PixelCAM | resnet18, ImageNet | mask-free | 72.0 ± 2.8 | 50.5 ± 0.7 | 21.5 ± 2.1 | 95.0 ± 7.1 |"
    assert row in page
    assert "2 of 4 cells are done, 1 failed." in page
    assert "of a part of the plan" in page
    assert "EBHI-SEG was not at hand." in page
    assert "- CAM, GlaS official, fold 0, seed 0: The loss is not a number." in page
    assert "torch 2.6, machine 2 cores" in page
    assert 'pixelcam train --root "$GLAS" --out "$RUNS/run"' in page
    assert "GlaS: 6 masks" in page
    across = page.partition("## Trained on GlaS, measured on EBHI-SEG: test")[2]
    assert "| 66.0 | 62.0 | 4.0 | - |" in across


def test_the_json_holds_every_cell_and_the_same_summary(records):
    document = json.loads(json.dumps(to_json("quick", records, 4)))
    assert document["cells"] == records
    assert document["summary"][0]["figures"]["pxap"] == {"mean": 72.0, "sd": pytest.approx(8**0.5), "n": 2}


def test_variables_stay_variables_in_a_shell_and_other_words_are_quoted():
    command = ["pixelcam", "train", "--name", "my model", "--root", "$GLAS"]
    assert shown_command(command) == "pixelcam train --name 'my model' --root \"$GLAS\""
