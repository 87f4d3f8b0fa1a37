"""The benchmark of teaching corrects, fine-tunes, measures, and goes on where it ended."""

import json

import pytest

from benchmarks import teaching
from pixelcam.training import FinetuneSettings

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def quick(monkeypatch):
    """Fine-tune for one step at a rate, and count how often."""
    made, finetune = [], teaching.finetune

    def counting(settings, run, on_event):
        made.append(settings.rate)
        finetune(settings, run, on_event=on_event)

    def at(rate):
        def settings(seeds, model, device):
            return FinetuneSettings(
                seeds, model, epochs=1, steps=1, crop=64, batch=1, rate=rate, device=device
            )

        monkeypatch.setattr(teaching, "FinetuneSettings", settings)
        return made

    monkeypatch.setattr(teaching, "finetune", counting)
    return at


def test_figures_before_and_after_are_written_and_kept(glas_root, ebhi_root, trained_model, tmp_path, quick):
    given = [
        *("--glas", str(glas_root), "--ebhi", str(ebhi_root), "--model", str(trained_model), "--folds", "2"),
        *("--images", "2", "--clicks", "2", "--device", "cpu", "--work", str(tmp_path / "work")),
        *("--results", str(tmp_path)),
    ]
    made = quick(rate=0.01)
    teaching.main(given)
    report = json.loads((tmp_path / "teaching.json").read_text())
    assert [each["fold"] for each in report["cells"]] == [0, 1]
    for each in report["cells"]:
        assert len(each["corrected"]) == 2
        assert set(each["before"]) == set(each["after"]) == {"GlaS validation", "EBHI-SEG test"}
        assert each["before"] != each["after"]
        assert 0 <= each["after"]["GlaS validation"]["pxap"] <= 100
    text = (tmp_path / "teaching.md").read_text()
    assert text.count("| GlaS validation |") == 2
    assert "mean of 2 folds, EBHI-SEG test: pxap" in text
    assert str(tmp_path) not in text + json.dumps(report)
    teaching.main(given)
    assert made == [0.01, 0.01], "what was measured is not measured again"
    quick(rate=0.02)
    teaching.main([*given, "--folds", "1"])
    assert made == [0.01, 0.01, 0.02], "with other settings it is"


def test_the_images_are_of_all_classes_in_turn(glas_root):
    training = teaching.open_dataset("glas", glas_root, "train", 0)
    labels = [sample.label for sample in teaching.chosen(training, 4)]
    assert labels == [0, 1, 0, 1]
    names = [sample.name for sample in teaching.chosen(training, 2)]
    assert names == [sample.name for sample in teaching.chosen(training, 4)][:2]


def test_without_glas_it_says_what_is_missing(monkeypatch, capsys):
    monkeypatch.delenv("PIXELCAM_GLAS", raising=False)
    with pytest.raises(SystemExit):
        teaching.main([])
    assert "--glas FOLDER" in capsys.readouterr().err
