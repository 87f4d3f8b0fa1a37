"""Figures are drawn from what runs left, worst cases first, and no image of GlaS leaves the work folder."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn.functional import interpolate

import pixelcam
from pixelcam.datasets import load_mask, open_dataset
from pixelcam.metrics import dice_iou

pytest.importorskip("matplotlib", reason="the bench extra is not installed")

from benchmarks.localization import figures
from benchmarks.localization.report import write_figures
from benchmarks.localization.run import Bench


def test_worst_cases_come_in_order_of_their_dice(trained_model, learning_root):
    localizer = pixelcam.load(trained_model, "cpu")
    images = open_dataset("folder", learning_root, "test")
    cases = figures.worst_cases(localizer, images, 3)
    assert len(cases) == 3
    every = []
    for sample in images.masked:
        picture = figures.load_image(sample, localizer.card.input_size)
        _, maps = localizer.predict_batch(picture[None])
        scores = interpolate(torch.from_numpy(maps)[None], (224, 224), mode="bilinear")[0, 0].numpy()
        region = scores >= localizer.card.threshold
        every.append(dice_iou(region, load_mask(sample, 224))[0])
    assert [case.dice for case in cases] == pytest.approx(sorted(every)[:3])


def test_pictures_of_glas_stay_in_the_work_folder(plan, places, fake, trained_model, tmp_path, monkeypatch):
    records = []
    for dataset in ("glas", "ebhi"):
        for cell in plan.cells()[2:3]:
            record = Bench(places, fake, report=lambda line: None).run(cell)
            records.append({**record, "dataset": dataset})
    checkpoints = places.work / "runs" / records[0]["run"] / "checkpoints"
    checkpoints.mkdir()
    (checkpoints / "last.safetensors").write_bytes(trained_model.read_bytes())
    results = tmp_path / "results"
    (results / "figures").mkdir(parents=True)
    # Of a row that the table had once; and of another plan.
    stale, others = (
        results / "figures" / f"localization-{name}-curves-ebhi-patient.png" for name in ("quick", "full")
    )
    for path in (stale, others):
        path.touch()
    written = write_figures(plan, records, places, results)
    assert sorted(results.rglob("*.png")) == sorted([*written, others])
    names = {path.name for path in written}
    assert "localization-quick-worst-ebhi.png" in names
    assert "localization-quick-curves-glas-official.png" in names
    assert not any("worst-glas" in name for name in names)
    assert (places.work / "figures" / "localization-quick-worst-glas.png").is_file()
    for path in written:
        with Image.open(path) as image:
            assert len(np.unique(np.asarray(image.convert("L")))) > 20, f"{path.name} is empty"


def test_a_run_that_two_rows_measure_is_one_curve_and_one_without_leaves_the_figure_as_it_is(
    plan, places, fake, tmp_path, monkeypatch
):
    [record] = [Bench(places, fake, report=lambda line: None).run(cell) for cell in plan.cells()[2:3]]
    drawn = []
    monkeypatch.setattr(figures, "draw_curves", lambda curves, title, path: drawn.append(curves))
    write_figures(plan, [record, {**record, "row": "PixelCAM, four views"}], places, tmp_path / "results")
    [curves] = drawn
    assert [name for name, _ in curves] == ["PixelCAM"]
    del record["trained"]["curve"]
    write_figures(plan, [record], places, tmp_path / "results")
    assert len(drawn) == 1, "a figure is drawn anew only of all that belongs to it"
