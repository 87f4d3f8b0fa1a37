"""`pixelcam review`."""

from __future__ import annotations

import json
import sys
import types

import numpy as np
import pytest
from PIL import Image

from pixelcam.review import Project


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    for seed, name in enumerate(("one", "two")):
        pixels = np.random.default_rng(seed).integers(0, 255, (64, 80, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{name}.png")
    return folder


@pytest.fixture
def folder(command, images, tmp_path):
    ending = command("review", "new", tmp_path / "project", images, "--reviewer", "Ann", "--name", "Colon")
    assert (ending.code, ending.err) == (0, "")
    return tmp_path / "project"


def listed(command, folder, reviewer="Ann"):
    return json.loads(command("review", "list", folder, "--json", "--reviewer", reviewer).out)


def paint(folder, reviewer, value):
    with Project.open(folder, reviewer=reviewer) as project:
        image = project.images()[0].id
        labels = np.zeros((64, 80), np.uint8)
        labels[10:20, 10:30] = value
        labels[30:34, 10:30] = 1
        project.write_changes(image, labels)


def test_a_project_is_made_and_listed(command, folder, images):
    with Project.open(folder, reviewer="Ann") as project:
        assert project.name == "Colon"
    rows = listed(command, folder)
    assert [(row["name"], row["status"]) for row in rows] == [("one", "to do"), ("two", "to do")]
    line = command("review", "list", folder).out.splitlines()[0].split("\t")
    assert line == ["one", "to do", "", "", "0", "0", str(images / "one.png")]


def test_on_a_terminal_the_list_keeps_to_its_width_and_an_empty_history_says_so(command, folder, monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "80")
    lines = command("review", "list", folder).out.splitlines()
    assert sum("one" in line or "two" in line for line in lines) == 2
    assert not any(".png" in line for line in lines)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    ending = command("review", "history", folder, "one")
    assert "No seeds were painted on one yet." in ending.out + ending.err


def test_images_are_added_to_a_project_that_is_there(command, folder, images, tmp_path):
    Image.new("RGB", (20, 20), "pink").save(images / "three.png")
    (images / "broken.png").write_bytes(b"no image")
    ending = command("review", "new", folder, images, "--reviewer", "Ann")
    assert ending.failed_with("broken.png")
    assert [row["name"] for row in listed(command, folder)] == ["one", "two", "three"]
    assert command("review", "new", folder, images, "--name", "Other").failed_with("keeps its name")


def test_localize_fills_what_is_missing_and_no_more(command, folder, tiny_model, images):
    assert command("review", "localize", folder, "--model", tiny_model, "--reviewer", "Ann").code == 0
    rows = listed(command, folder)
    assert all(row["predicted"] in ("benign", "malignant") and 0 <= row["uncertainty"] <= 1 for row in rows)
    times = [row["localized"] for row in rows]
    command("review", "localize", folder, "--model", tiny_model, "--reviewer", "Ann")
    assert [row["localized"] for row in listed(command, folder)] == times
    with Project.open(folder, reviewer="Ann") as project:
        assert len([event for event in project.events() if event.what == "opened"]) >= 3
        assert project.localization(project.images()[0].id).foreground.shape == (64, 80)


def test_a_project_is_localized_again_from_four_views(command, folder, tiny_model):
    options = ("--model", tiny_model, "--reviewer", "Ann")
    assert command("review", "localize", folder, *options).code == 0
    assert {row["model"]["views"] for row in listed(command, folder)} == {1}
    assert command("review", "localize", folder, *options, "--views", 4, "--again").code == 0
    assert {row["model"]["views"] for row in listed(command, folder)} == {4}


def test_an_image_that_is_gone_does_not_stop_the_others(command, folder, tiny_model, images, tmp_path):
    (images / "one.png").rename(tmp_path / "moved.png")
    ending = command("review", "localize", folder, "--model", tiny_model, "--reviewer", "Ann")
    assert ending.failed_with("one", "is missing")
    assert [row["predicted"] is None for row in listed(command, folder)] == [True, False]
    assert command("review", "relink", folder, images, "--reviewer", "Ann").failed_with(
        "choose another folder"
    )
    assert command("review", "relink", folder, tmp_path, "--reviewer", "Ann").code == 0
    assert listed(command, folder)[0]["path"] == str(tmp_path / "moved.png")


def test_history_and_restore_lead_back(command, folder):
    paint(folder, "Ann", 2)
    with Project.open(folder, reviewer="Ann") as project:
        first = project.seeds(1)
        project.write_changes(1, np.zeros((64, 80), np.uint8), "clear")
    saves = json.loads(command("review", "history", folder, "one", "--json").out)
    assert [(save["kind"], save["foreground"]) for save in saves] == [("stroke", 200), ("clear", 0)]
    ending = command("review", "restore", folder, "one.png", saves[0]["seq"], "--reviewer", "Ann")
    assert ending.code == 0
    with Project.open(folder, reviewer="Ann") as project:
        np.testing.assert_array_equal(project.seeds(1), first)
    assert len(command("review", "history", folder, "1").out.splitlines()) == 3
    assert command("review", "history", folder, "nonesuch").failed_with("nonesuch", "list")
    assert command("review", "restore", folder, "one", 99, "--reviewer", "Ann").failed_with("99", "history")


def test_exported_seeds_are_what_finetune_reads(command, folder, tmp_path):
    from pixelcam.export import read_seeds

    assert command("review", "export", folder, "--out", tmp_path / "out", "--reviewer", "Ann").failed_with(
        "nothing to export"
    )
    paint(folder, "Ann", 2)
    paint(folder, "Bob", 1)
    done = command("review", "export", folder, "--out", tmp_path / "out", "--reviewer", "Ann", "--json")
    assert len(json.loads(done.out)["files"]) == 2
    (record,) = read_seeds(tmp_path / "out")
    assert (record.sidecar.reviewer, record.sidecar.counts.foreground) == ("Ann", 200)
    assert (
        command("review", "export", folder, "--out", tmp_path / "all", "--everyone", "--format", "npz").code
        == 0
    )
    assert sorted(path.name for path in (tmp_path / "all").iterdir()) == ["Ann", "Bob"]
    assert command("review", "export", folder, "--out", tmp_path / "out", "--reviewer", " Ann ").code == 0
    ending = command("review", "export", folder, "--out", tmp_path / "out", "--reviewer", "Cem")
    assert ending.failed_with("'Cem'", "Ann, Bob")


def test_merging_tells_agreement_and_conflicts(command, folder, images, tmp_path):
    command("review", "new", tmp_path / "bobs", images, "--reviewer", "Bob")
    paint(folder, "Ann", 2)
    paint(tmp_path / "bobs", "Bob", 1)
    out = tmp_path / "merged"
    ending = command("review", "merge", out, folder, tmp_path / "bobs", "--reviewer", "Chief", "--json")
    found = json.loads(ending.out)
    assert (ending.code, found["images"], found["reviewers"]) == (0, 2, ["Ann", "Bob"])
    assert found["agreement"][0]["pixels"] == 280
    assert found["conflicts"] == [
        {
            "image": "one",
            "what": "seeds",
            "reviewers": ["Ann", "Bob"],
            "values": ["200 foreground, 0 background", "0 foreground, 200 background"],
        }
    ]
    again = command("review", "merge", out, folder, "--reviewer", "Chief")
    assert "Ann and Bob: 0 of 0 images alike (kappa not defined), 80 of 280 pixels alike" in again.out
    assert "one: seeds differs" in again.out


def test_open_hands_over_to_the_window(command, folder, monkeypatch, tmp_path):
    calls = []

    def open_project(folder, reviewer, *, read_only):
        calls.append((folder, reviewer, read_only))
        return 0

    stand_in = types.SimpleNamespace(open_project=open_project)
    monkeypatch.setitem(sys.modules, "napari_pixelcam.workbench", stand_in)
    assert command("review", "open", folder, "--reviewer", "Bob", "--read-only").code == 0
    assert calls == [(folder, "Bob", True)]
    assert command("review", "open", tmp_path).failed_with("holds no project", "review new")
    assert len(calls) == 1


def test_a_damaged_project_is_rescued_by_word(command, folder):
    paint(folder, "Ann", 2)
    with (folder / "project.sqlite").open("r+b") as file:
        file.write(bytes(100))
    assert command("review", "list", folder).failed_with("damaged", f"pixelcam review rescue {folder}")
    ending = command("review", "rescue", folder)
    assert (ending.code, ending.err) == (0, "")
    assert "2 images" in ending.out
    assert "1 edits of seeds were saved" in ending.out
    assert listed(command, folder)[0]["foreground"] == 200


def test_a_name_in_use_and_a_folder_without_a_project_are_one_sentence(command, folder, tiny_model, tmp_path):
    with Project.open(folder, reviewer="Ann"):
        ending = command("review", "localize", folder, "--model", tiny_model, "--reviewer", "Ann")
        assert ending.failed_with("Somebody works in", "use another name")
    for arguments in (("list",), ("localize",), ("history", "one"), ("restore", "one", "1"), ("rescue",)):
        name, *rest = arguments
        assert command("review", name, tmp_path, *rest).failed_with("holds no project")
