"""The loop from the command line, with real learning on synthetic tissue: train, correct, learn again."""

import json
import os
import shutil
import signal
import time

import numpy as np
import pytest
import tifffile
from PIL import Image

from pixelcam.cli import main
from pixelcam.export import SeedImage, SeedSidecar, write_seeds
from pixelcam.jobs import Run
from pixelcam.model import read_card
from pixelcam.review import Project
from pixelcam.slides import open_slide
from tests.synthetic import tissue as make_tissue
from tests.synthetic import write_folder

TRAINING = (
    *("--encoder", "test_efficientnet", "--input-size", "64", "--batch", "8"),
    *("--teacher-scales", "1", "--no-teacher-flips", "--device", "cpu"),
)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_folder(tmp_path_factory.mktemp("data"), per_class=8, size=64, divided=True)


def arguments(data, run, *more):
    epochs = ("--epochs-classifier", "1", "--epochs-joint", "2")
    return ("train", "--dataset", "folder", "--root", data, *TRAINING, *epochs, *more, "--out", run)


def train(command, data, run, *more):
    return command(*arguments(data, run, *more))


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory):
    """The run folder of a training that nobody disturbed."""
    run = tmp_path_factory.mktemp("trained") / "run"
    assert main([str(each) for each in arguments(data, run)]) == 0
    return run


def wait_for_checkpoint(run):
    deadline = time.monotonic() + 120
    while run.checkpoint() is None:
        assert time.monotonic() < deadline
        assert not run.has_ended, run.error_message()
        time.sleep(0.02)


def test_an_interrupted_run_resumed_by_its_folder_equals_an_uninterrupted_one(
    command, data, trained, tmp_path, monkeypatch
):
    cut = tmp_path / "cut"
    names = sorted(path.name for path in (trained / "checkpoints").iterdir())
    assert names == ["best-cl.safetensors", "best-loc.safetensors", "last.safetensors"]

    from pixelcam.training import stages

    real, calls = stages.save_state, []

    def save_and_interrupt(*args):
        real(*args)
        calls.append(args)
        if len(calls) == 2:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(stages, "save_state", save_and_interrupt)
    assert train(command, data, cut).code == 130
    assert Run.open(cut).state == "stopped"
    monkeypatch.undo()
    assert command("train", "--out", cut).code == 0
    for name in names:
        assert (cut / "checkpoints" / name).read_bytes() == (trained / "checkpoints" / name).read_bytes(), (
            name
        )


def test_a_reviewers_seeds_change_what_the_model_sees(command, trained, tmp_path):
    model = trained / "checkpoints" / "best-loc.safetensors"
    pixels, mask = make_tissue("round", 3, 96)
    image = tmp_path / "round.png"
    Image.fromarray(pixels).save(image)
    labels = np.where(mask, 2, 1).astype(np.uint8)
    labels[::3] = 0
    write_seeds(tmp_path / "seeds", labels, SeedSidecar(SeedImage.of(open_slide(image))))
    run = tmp_path / "run"
    learning = ("--epochs", 3, "--steps", 12, "--crop", 64, "--rate", 0.1)
    options = ("--model", model, *learning, "--device", "cpu")
    ending = command("finetune", "--seeds", tmp_path / "seeds", *options, "--register", "tuned", "--out", run)
    assert (ending.code, ending.err) == (0, "")
    assert "finetune epoch 1/3: loss " in ending.out
    kinds = {event.kind for event in Run.open(run).events()[0]}
    assert {"started", "step", "epoch", "validation", "checkpoint", "done"} <= kinds
    maps = {}
    for name in (model, "tuned"):
        out = tmp_path / f"out-{len(maps)}"
        assert command("localize", image, "--model", name, "--out", out, "--device", "cpu").code == 0
        maps[str(name)] = tifffile.imread(out / "round.fg.ome.tif")
    before, after = maps.values()
    assert after[mask].mean() - after[~mask].mean() > before[mask].mean() - before[~mask].mean()
    assert read_card(run / "checkpoints" / "best-loc.safetensors").parent


def test_the_seeds_of_a_project_teach_a_model_that_then_localizes_the_project(command, trained, tmp_path):
    model = trained / "checkpoints" / "best-loc.safetensors"
    folder, images = tmp_path / "project", tmp_path / "images"
    images.mkdir()
    masks = {}
    for seed, name in enumerate(("one", "two", "three")):
        pixels, masks[name] = make_tissue("round", seed, 96)
        Image.fromarray(pixels).save(images / f"{name}.png")
    assert command("review", "new", folder, images, "--reviewer", "Ann").code == 0
    localize = ("review", "localize", folder, "--reviewer", "Ann", "--device", "cpu", "--model")
    assert command(*localize, model).code == 0
    with Project.open(folder, reviewer="Ann") as project:
        maps = {entry.name: project.localization(entry.id).foreground for entry in project.images()}
        for entry in project.images():
            if entry.name != "three":
                labels = np.where(masks[entry.name], 2, 1).astype(np.uint8)
                labels[::3] = 0
                project.write_changes(entry.id, labels)
    assert command("review", "export", folder, "--reviewer", "Ann", "--out", tmp_path / "seeds").code == 0
    learning = ("--epochs", 3, "--steps", 12, "--crop", 64, "--rate", 0.1, "--device", "cpu")
    options = ("--seeds", tmp_path / "seeds", "--model", model, *learning, "--register", "project-tuned")
    assert command("finetune", *options, "--out", tmp_path / "run").code == 0
    assert command(*localize, "project-tuned", "--again").code == 0
    with Project.open(folder, reviewer="Ann") as project:
        entry = next(entry for entry in project.images() if entry.name == "three")
        after, before = project.localization(entry.id).foreground, maps["three"]
        assert len(project.models()) == 2
    mask = masks["three"]
    assert after[mask].mean() - after[~mask].mean() > before[mask].mean() - before[~mask].mean()


def test_a_job_in_its_own_process_trains_and_is_cancelled(data, tmp_path):
    folder = tmp_path / "run"
    run = Run.start(folder, [str(each) for each in arguments(data, folder, "--epochs-joint", 500)])
    wait_for_checkpoint(run)
    run.cancel()
    assert run.wait(120) == "cancelled"
    assert not (folder / "checkpoints").exists()
    assert not (folder / "state").exists()
    assert json.loads((folder / "env.json").read_text())["versions"]["torch"]


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda root: shutil.rmtree(root / "train" / "round"), ("class",)),
        (lambda root: shutil.rmtree(root), ("data",)),
        (lambda root: next(iter((root / "train").rglob("*.png"))).write_bytes(b"x"), (".png",)),
    ],
    ids=["one class only", "gone", "damaged image"],
)
def test_bad_data_is_one_sentence_and_leaves_no_checkpoint(command, data, tmp_path, spoil, words):
    root = tmp_path / "data"
    shutil.copytree(data, root)
    spoil(root)
    assert train(command, root, tmp_path / "run").failed_with(*words)
    assert Run.open(tmp_path / "run").state == "failed"
    assert not list((tmp_path / "run").rglob("*.safetensors"))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--encoder", "resnet5000"), ("resnet5000",)),
        (("--teacher", "crystal-ball"), ("crystal-ball",)),
        (("--sampler", "dice"), ("dice",)),
        (("--weights", "nowhere.safetensors"), ("nowhere.safetensors",)),
        (("--device", "cuda:99"), ("cuda:99",)),
        (("--batch", "1"), ("batch",)),
        (("--levels", "77"), ("77",)),
        (("--fold", "99", "--dataset", "glas"), ("fold",)),
    ],
    ids=lambda value: value[0].strip("-") if value[0].startswith("--") else "",
)
def test_settings_that_cannot_be_are_one_sentence(command, data, tmp_path, options, words):
    assert train(command, data, tmp_path / "run", *options).failed_with(*words)
    assert not list(tmp_path.rglob("*.safetensors"))


def no_seeds(folder):
    for path in folder.iterdir():
        path.unlink()


def nothing_painted(folder):
    Image.fromarray(np.zeros((48, 80), np.uint8)).save(folder / "tissue.seeds.png")


def other_size(folder):
    Image.fromarray(np.ones((30, 30), np.uint8)).save(folder / "tissue.seeds.png")


def other_values(folder):
    Image.fromarray(np.full((48, 80), 7, np.uint8)).save(folder / "tissue.seeds.png")


def no_sidecar(folder):
    (folder / "tissue.seeds.json").unlink()


def other_image(folder):
    Image.new("RGB", (80, 48)).save(folder.parent / "tissue.png")


def unknown_class(folder):
    path = folder / "tissue.seeds.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "corrected_label": "hedgehog"}))


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (shutil.rmtree, ("seeds", "not a folder")),
        (no_seeds, ("no seeds",)),
        (nothing_painted, ("painted",)),
        (other_size, ("30 x 30", "80 x 48")),
        (other_values, ("tissue", "other values")),
        (no_sidecar, ("sidecar",)),
        (other_image, ("tissue.png",)),
        (unknown_class, ("hedgehog", "benign")),
    ],
)
def test_bad_seeds_are_one_sentence_and_leave_no_checkpoint(
    command, tiny_model, tissue, tmp_path, spoil, words
):
    folder = tmp_path / "seeds"
    labels = np.zeros((48, 80), np.uint8)
    labels[:10], labels[20:30] = 1, 2
    write_seeds(folder, labels, SeedSidecar(SeedImage.of(open_slide(tissue))), ["png"])
    spoil(folder)
    options = ("--seeds", folder, "--model", tiny_model, "--device", "cpu", "--out", tmp_path / "run")
    assert command("finetune", *options).failed_with(*words)
    assert not list((tmp_path / "run").rglob("*.safetensors"))


def test_a_full_disk_ends_a_training_with_one_sentence(command, data, tmp_path, monkeypatch):
    from safetensors import SafetensorError

    from pixelcam.model import checkpoint

    def full(*args, **kwargs):
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(checkpoint, "save_file", full)
    assert train(command, data, tmp_path / "run").failed_with("disk is full")
    assert list((tmp_path / "run" / "checkpoints").iterdir()) == []
    assert Run.open(tmp_path / "run").state == "failed"
