"""Figures are drawn from what runs left, worst cases first, and no image of GlaS leaves the work folder."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn.functional import interpolate

import pixelcam
from pixelcam.datasets import load_mask, open_dataset
from pixelcam.events import Event
from pixelcam.metrics import dice_iou

pytest.importorskip("matplotlib", reason="the bench extra is not installed")

from benchmarks.localization import figures
from benchmarks.localization.report import write_figures
from benchmarks.localization.run import Bench


def test_a_curve_counts_the_epochs_of_all_stages_on():
    events = [
        Event("epoch", "classifier", epoch=4, epochs=4),
        Event("validation", "classifier", epoch=4, epochs=4, metrics={"valcl_accuracy": 80.0}),
        Event("validation", "joint", epoch=1, epochs=2, metrics={"valcl_accuracy": 1.0}),
        # That epoch was repeated after an interruption.
        Event(
            "validation", "joint", epoch=1, epochs=2,
            metrics={"valcl_accuracy": 85.0, "valpx_pxap": 60.0, "valpx_chance": 50.0},
        ),
        Event("validation", "joint-2", epoch=2, epochs=2, metrics={"valcl_accuracy": 90.0}),
    ]  # fmt: skip
    curve = figures.curve_of("PixelCAM", events)
    assert curve.epochs.tolist() == [4, 5, 8]
    assert curve.accuracy.tolist() == [80.0, 85.0, 90.0]
    assert np.isnan(curve.pxap[0])
    assert curve.pxap[1] == 60.0
    assert curve.chance == 50.0


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
    written = write_figures(plan, records, places, results)
    assert sorted(results.rglob("*.png")) == sorted(written)
    names = {path.name for path in written}
    assert "localization-quick-worst-ebhi.png" in names
    assert "localization-quick-curves-glas-official.png" in names
    assert not any("worst-glas" in name for name in names)
    assert (places.work / "figures" / "localization-quick-worst-glas.png").is_file()
    for path in written:
        with Image.open(path) as image:
            assert len(np.unique(np.asarray(image.convert("L")))) > 20, f"{path.name} is empty"
