"""The benchmark of live refinement writes what it measured."""

import json

import numpy as np

from benchmarks import refine


def test_each_stroke_adds_to_those_before():
    labels = np.zeros((64, 96), np.uint8)
    counts = []
    for stroke in range(6):
        refine.draw(labels, stroke)
        counts.append(np.count_nonzero(labels))
    assert counts == sorted(counts)
    assert counts[0] == 8 * refine.LENGTH
    assert set(np.unique(labels)) == {0, 1, 2}


def test_table_and_figures_are_written(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(refine, "SIDES", (512,))
    monkeypatch.setattr(refine, "_peer", lambda: None)
    refine.main(["--strokes", "2", "--results", str(tmp_path)])
    report = json.loads((tmp_path / "refine.json").read_text())
    assert len(report["fields"]["512"]["refits"]) == 2
    assert report["fields"]["512"]["wholes"] == []
    assert min(report["fields"]["512"]["refits"]) > 0
    page = (tmp_path / "refine.md").read_text()
    assert "| 512 x 512 |" in page
    assert page in capsys.readouterr().out


def test_of_a_field_larger_than_the_window_the_rest_is_timed_apart(tmp_path, monkeypatch):
    monkeypatch.setattr(refine, "SIDES", (512,))
    monkeypatch.setattr(refine, "WINDOW", 128)
    monkeypatch.setattr(refine, "SURROUNDINGS", 16)
    monkeypatch.setattr(refine, "_peer", lambda: None)
    assert refine.window(512).tolist() == list(range(176, 336))
    assert refine.window(100).tolist() == list(range(100))
    refine.main(["--strokes", "2", "--results", str(tmp_path)])
    field = json.loads((tmp_path / "refine.json").read_text())["fields"]["512"]
    assert len(field["wholes"]) == len(field["refits"]) == 2
