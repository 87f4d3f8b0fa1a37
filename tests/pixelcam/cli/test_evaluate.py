"""`pixelcam evaluate`: its figures on a folder of class folders."""

import dataclasses
import itertools
import json

import numpy as np
import pytest
from PIL import Image

from pixelcam.model import load_checkpoint, save_checkpoint

KEYS = [
    "pxap",
    "chance_pxap",
    "accuracy",
    "dice",
    "iou",
    "ece",
    "class_ece",
    "threshold",
    "images",
    "split",
    "fold",
    "scheme",
]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    generator = np.random.default_rng(0)
    for split in ("train", "val", "test"):
        for name in ("benign", "malignant"):
            (folder / split / name).mkdir(parents=True)
            (folder / "masks" / name).mkdir(parents=True, exist_ok=True)
            for number in range(2):
                pixels = generator.integers(0, 255, (64, 64, 3), dtype=np.uint8)
                mask = np.zeros((64, 64), np.uint8)
                mask[:, :16] = 255
                stem = f"{split}{number}"
                Image.fromarray(pixels).save(folder / split / name / f"{stem}.png")
                Image.fromarray(mask).save(folder / split / name / f"{stem}_mask.png")
    return folder


@pytest.fixture
def evaluate(command, root, tiny_model):
    def run(*more, root=root):
        options = ("--model", tiny_model, "--dataset", "folder", "--root", root, "--split", "test")
        return command("evaluate", *options, "--device", "cpu", *more)

    return run


def test_the_figures_go_to_a_file_under_their_names(evaluate, tmp_path):
    file = tmp_path / "new" / "figures.json"
    ending = evaluate("--json", file)
    assert (ending.code, ending.err) == (0, "")
    figures = json.loads(file.read_text())
    assert list(figures) == [*KEYS, "pixelcam"]
    assert figures["images"] == 4
    assert (figures["split"], figures["fold"], figures["scheme"]) == ("test", 0, "official")
    assert figures["chance_pxap"] == pytest.approx(25)
    assert figures["threshold"] == 0.5, "the model's own, chosen on validation images"


def test_warnings_are_told_where_there_is_no_terminal_too(evaluate, tmp_path):
    for place in itertools.product(("train", "val", "test"), ("benign", "malignant")):
        folder = tmp_path.joinpath(*place)
        folder.mkdir(parents=True)
        Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save(folder / "one.png")
    ending = evaluate("--json", "-", root=tmp_path)
    assert ending.code == 0
    assert json.loads(ending.out)["pxap"] is None
    assert ending.err == "No image has a mask, so there is no PxAP, Dice or IoU.\n"


def test_four_views_are_other_figures_and_are_not_of_a_teacher(evaluate, tmp_path):
    figures = []
    for views in (1, 4):
        assert evaluate("--views", views, "--json", tmp_path / "figures.json").code == 0
        figures.append(json.loads((tmp_path / "figures.json").read_text())["class_ece"])
    assert figures[0] != figures[1]
    ending = evaluate("--views", 4, "--teacher", "cam")
    assert (ending.code, ending.out) == (1, "")
    assert "--teacher-flips" in ending.err


def test_another_threshold_is_used_and_said(evaluate, tmp_path):
    assert evaluate("--json", tmp_path / "f.json", "--threshold", 0).code == 0
    figures = json.loads((tmp_path / "f.json").read_text())
    assert figures["threshold"] == 0
    assert figures["iou"] == pytest.approx(25), "at 0 all pixels are region"


def test_a_dash_prints_the_document_and_no_option_a_table(evaluate):
    assert list(json.loads(evaluate("--json", "-").out)) == KEYS
    table = evaluate().out
    assert [line.split("\t")[0] for line in table.splitlines()] == KEYS


def test_what_is_missing_is_one_sentence_and_no_file(evaluate, root, tmp_path):
    file = tmp_path / "figures.json"
    assert evaluate("--json", file, root=tmp_path / "gone").failed_with("gone")
    assert not file.exists()


def test_one_class_only_is_told(command, tiny_model, root, tmp_path):
    (tmp_path / "train").mkdir()
    (tmp_path / "test").mkdir()
    for split in ("train", "test"):
        (tmp_path / split / "benign").symlink_to(root / split / "benign")
    options = ("--model", tiny_model, "--dataset", "folder", "--root", tmp_path, "--split", "test")
    assert command("evaluate", *options).failed_with("class")


def test_a_full_disk_leaves_the_old_figures(evaluate, tmp_path, monkeypatch):
    file = tmp_path / "figures.json"
    assert evaluate("--json", file).code == 0
    before = file.read_text()

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    assert evaluate("--json", file).failed_with("disk is full")
    assert file.read_text() == before
    assert [path.name for path in tmp_path.iterdir()] == ["figures.json"]


def test_an_interrupt_ends_with_130(evaluate, tmp_path, monkeypatch):
    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("pixelcam.evaluation.load_image", interrupt)
    assert evaluate("--json", tmp_path / "figures.json").code == 130
    assert list(tmp_path.iterdir()) == []


def test_a_teachers_maps_are_measured_in_the_place_of_the_pixel_heads(evaluate, tmp_path):
    figures = {}
    for teacher, more in {"cam": (), "layercam": ("--teacher-levels=2,3", "--teacher-scales=1,1.5")}.items():
        file = tmp_path / f"{teacher}.json"
        ending = evaluate("--json", file, "--teacher", teacher, *more, "--maps-of", "true")
        assert (ending.code, ending.err) == (0, "")
        figures[teacher] = json.loads(file.read_text())
    evaluate("--json", tmp_path / "pixels.json")
    figures["pixels"] = json.loads((tmp_path / "pixels.json").read_text())
    assert len({found["pxap"] for found in figures.values()}) == 3
    assert len({found["accuracy"] for found in figures.values()}) == 1, "the classifier is the same"


def test_a_teacher_that_is_trained_learns_on_the_data_sets_training_images(evaluate):
    ending = evaluate("--teacher", "negev", "--teacher-epochs", 1, "--teacher-scales=1")
    assert (ending.code, ending.err) == (0, "")
    assert "pxap" in ending.out


def test_a_teacher_that_is_not_there_or_cannot_be_is_told(evaluate):
    assert evaluate("--teacher", "crystal-ball").failed_with("crystal-ball", "choose one of")
    assert evaluate("--teacher", "attention").failed_with("class token")


def test_a_model_of_another_fold_may_have_seen_the_images(evaluate, tiny_model, tmp_path):
    network, card = load_checkpoint(tiny_model)
    for fold, words in ((0, ""), (1, "trained on fold 1 of the official split")):
        training = {"dataset": "folder", "fold": fold, "scheme": "official"}
        path = tmp_path / f"fold{fold}.safetensors"
        save_checkpoint(path, network, dataclasses.replace(card, training=training))
        ending = evaluate("--model", path, "--fold", 0)
        assert ending.code == 0
        assert words in ending.err
        assert bool(words) == bool(ending.err)
        own = evaluate("--model", path)
        assert own.err == "", "its own fold is the default"
        assert own.out.splitlines()[-2] == f"fold\t{fold}"


def test_a_fine_tuned_models_teacher_is_measured(evaluate, tiny_model, tmp_path):
    network, card = load_checkpoint(tiny_model)
    path = tmp_path / "tuned.safetensors"
    save_checkpoint(path, network, dataclasses.replace(card, training={"seeds": None, "fold": 0}))
    assert evaluate("--model", path, "--teacher", "cam").code == 0


def test_figures_replace_figures_of_the_same_data_alone(command, folder_root, tiny_model, tmp_path):
    options = ("--dataset", "folder", "--root", folder_root, "--split", "valcl", "--model", tiny_model)
    mine, own = tmp_path / "mine.json", tmp_path / "figures.json"
    mine.write_text('{"my": "notes"}')
    ending = command("evaluate", *options, "--json", mine)
    assert ending.failed_with("mine.json", "PixelCAM did not write it")
    assert mine.read_text() == '{"my": "notes"}'
    for _ in range(2):
        assert command("evaluate", *options, "--json", own).code == 0
    before = own.read_bytes()
    ending = command("evaluate", *options[:5], "test", *options[6:], "--json", own)
    assert ending.failed_with("figures.json", "valcl images")
    assert command("simulate", "clicks", *options, "--clicks", 1, "--json", own).failed_with("another file")
    assert own.read_bytes() == before
