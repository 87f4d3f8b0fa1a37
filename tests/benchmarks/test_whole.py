"""The benchmark from its command on, with the real `pixelcam`: killed in a training, it goes on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("matplotlib", reason="the bench extra is not installed")

from benchmarks.localization import commands
from benchmarks.localization.__main__ import bench, main
from benchmarks.localization.commands import Ending, Places
from benchmarks.localization.plan import Plan, Row
from tests.synthetic import write_glas_like

SETTINGS = {"input_size": 64, "epochs_classifier": 2, "epochs_joint": 2, "teacher_scales": [1.0], "batch": 4}


def killed_in_training(command):
    """Run a command that is killed without warning once it has completed an epoch."""
    process = subprocess.Popen([sys.executable, "-m", *command], stderr=subprocess.DEVNULL)
    run = Path(command[command.index("--out") + 1])
    while not (run / "state" / "last.safetensors").is_file() and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    raise KeyboardInterrupt


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_benchmark_killed_in_a_training_goes_on_and_writes_table_and_figures(tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    row = Row("PixelCAM", SETTINGS, "test_efficientnet", places=(("glas", "official"),))
    plan = Plan("quick", (row,), folds={"glas": 1})
    root = write_glas_like(tmp_path / "glas", train=8, valcl=4, with_test=False, size=64)
    places, results = Places(tmp_path / "work", {"glas": root}), tmp_path / "results"
    with monkeypatch.context() as patch:
        patch.setattr(commands, "execute", killed_in_training)
        assert bench(plan, places, results, "cpu") == 130
    assert "0 of 1 cells are done" in (results / "localization-quick.md").read_text()

    assert bench(plan, places, results, "cpu") == 0
    [record] = json.loads((results / "localization-quick.json").read_text())["cells"]
    assert "failure" not in record
    events = (places.work / "runs" / record["run"] / "events.jsonl").read_text().splitlines()
    epochs = [json.loads(line) for line in events if '"epoch"' in line]
    ended = [(e["stage"], e["epoch"]) for e in epochs if e["kind"] == "epoch"]
    # The kill may fall between an epoch's event and its saved state: that one epoch is then done again.
    assert list(dict.fromkeys(ended)) == [("classifier", 1), ("classifier", 2), ("joint", 1), ("joint", 2)]
    assert ended.count(("classifier", 1)) == 1
    page = (results / "localization-quick.md").read_text()
    assert "1 of 1 cells are done, 0 failed." in page
    assert str(tmp_path) not in page + json.dumps(record)
    assert 0 < record["evaluations"][0]["figures"]["pxap"] <= 100
    assert (results / "figures" / "localization-quick-curves-glas-official.png").is_file()
    assert (places.work / "figures" / "localization-quick-worst-glas.png").is_file()


def test_a_failed_command_gives_its_code_and_its_sentence():
    ending = commands.execute(
        ["pixelcam", "evaluate", "--dataset", "glas", "--root", "nowhere", "--split", "test"]
    )
    assert ending == Ending(1, "nowhere is not a folder: give the folder of the data set.")


def test_without_a_data_set_the_command_says_how_to_name_one(tmp_path, monkeypatch, capsys):
    for name in ("PIXELCAM_GLAS", "PIXELCAM_EBHI"):
        monkeypatch.delenv(name, raising=False)
    assert main(["--work", os.fspath(tmp_path)]) == 2
    assert "--glas" in capsys.readouterr().err
