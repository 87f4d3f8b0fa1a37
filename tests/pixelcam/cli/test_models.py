"""`pixelcam models`."""

import hashlib
import json
import pickle
import shutil

import pytest


def test_a_model_can_be_added_found_and_looked_at(command, tiny_model, user_folder):
    assert command("models", "add", tiny_model, "--name", "mine").code == 0
    rows = json.loads(command("models", "list", "--json").out)
    mine = next(row for row in rows if row["name"] == "mine")
    assert mine["source"] == "user"
    assert mine["encoder"] == "test_efficientnet"
    assert command("models", "path", "mine").out.strip() == str(user_folder / "models" / "mine.safetensors")
    values = json.loads(command("models", "info", "mine", "--json").out)
    assert values["classes"] == ["benign", "malignant"]
    assert values["sha256"] == hashlib.sha256(tiny_model.read_bytes()).hexdigest()


def test_what_the_foreground_is_can_be_said_as_a_model_is_added(command, tiny_model):
    assert command("models", "add", tiny_model, "--name", "mine", "--foreground-name", "tumour").code == 0
    assert json.loads(command("models", "info", "mine", "--json").out)["foreground_name"] == "tumour"
    assert "foreground_name\ttumour" in command("models", "info", "mine").out
    assert command("models", "add", tiny_model, "--name", "other", "--foreground-name", "n" * 99).failed_with(
        "40"
    )


def test_the_list_for_a_pipe_is_one_line_a_model(command, tiny_model):
    command("models", "add", tiny_model, "--name", "one")
    command("models", "add", tiny_model, "--name", "two")
    names = [line.split("\t")[0] for line in command("models", "list").out.splitlines()]
    assert names[-2:] == ["one", "two"]


def test_info_is_for_people_unless_asked_otherwise(command, tiny_model):
    assert "encoder\ttest_efficientnet" in command("models", "info", tiny_model).out


def test_a_name_that_is_taken_is_refused(command, tiny_model):
    assert command("models", "add", tiny_model).code == 0
    assert command("models", "add", tiny_model).failed_with("tiny")


@pytest.mark.parametrize("name", ["../escape", "a b", ".hidden", "a/b"])
def test_a_name_that_is_no_file_name_is_refused(command, tiny_model, user_folder, name):
    assert command("models", "add", tiny_model, "--name", name).failed_with()
    assert not list(user_folder.rglob("*.safetensors"))


def test_what_is_no_checkpoint_is_not_added(command, tmp_path, user_folder):
    pickled, cut = tmp_path / "pickled.safetensors", tmp_path / "cut.safetensors"
    pickled.write_bytes(pickle.dumps({"weights": [1, 2, 3]}))
    cut.write_bytes(b"")
    for file in (pickled, cut, tmp_path / "missing.safetensors"):
        assert command("models", "add", file).failed_with(file.name)
    assert not list(user_folder.rglob("*.safetensors"))


def test_a_damaged_model_does_not_hide_the_others(command, tiny_model, user_folder):
    command("models", "add", tiny_model, "--name", "good")
    broken = user_folder / "models" / "broken.safetensors"
    broken.write_bytes(tiny_model.read_bytes()[:100])
    rows = {row["name"]: row for row in json.loads(command("models", "list", "--json").out)}
    assert "error" in rows["broken"]
    assert "error" not in rows["good"]


def test_an_unknown_model_is_answered_with_those_at_hand(command, tiny_model):
    command("models", "add", tiny_model, "--name", "mine")
    assert command("models", "path", "yours").failed_with("yours", "mine")
    assert command("models", "info", "yours.safetensors").failed_with("yours.safetensors")


def test_a_models_folder_that_cannot_be_written_is_told(command, tiny_model, user_folder):
    (user_folder / "models").write_text("a file in the way")
    assert command("models", "add", tiny_model, "--name", "mine").failed_with("models")


def test_a_full_disk_leaves_no_half_model(command, tiny_model, user_folder, monkeypatch):
    def full(source, target, **kwargs):
        target.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shutil, "copyfile", full)
    assert command("models", "add", tiny_model, "--name", "mine").failed_with("disk is full")
    assert [path for path in user_folder.rglob("*") if path.is_file()] == []


def test_a_model_can_be_taught_what_is_familiar(command, trained_model, learning_root, tmp_path):
    from pixelcam.model import load_checkpoint, save_checkpoint

    network, card = load_checkpoint(trained_model)
    network.familiarity = None
    old, out = tmp_path / "old.safetensors", tmp_path / "deep" / "new.safetensors"
    save_checkpoint(old, network, card)
    teach = ("models", "familiarity", old, "--dataset", "folder", "--root", learning_root, "--device", "cpu")
    assert command(*teach, "--out", out).code == 0
    assert load_checkpoint(old)[0].familiarity is None
    assert load_checkpoint(out)[0].familiarity is not None


def test_too_few_images_to_tell_what_is_familiar_are_told(command, trained_model, folder_root, tmp_path):
    out = tmp_path / "new.safetensors"
    teach = ("models", "familiarity", trained_model, "--dataset", "folder", "--root", folder_root)
    assert command(*teach, "--out", out).failed_with("at least 5 training and 5 validation images")
    assert not out.exists()
