"""What leaves a project is what fine-tuning and other programs read."""

from __future__ import annotations

import json

import numpy as np
import pytest

from pixelcam.errors import ConfigError, MissingImageError
from pixelcam.export import SEED_FORMATS, read_seeds
from pixelcam.localize import ModelRef
from pixelcam.review import Project, export_project
from pixelcam.review.exporting import export_seeds_of
from tests.pixelcam.review.conftest import localization, paint, write_image


@pytest.fixture
def painted(project, image):
    rng = np.random.default_rng(50)
    for _ in range(3):
        paint(project, image, rng)
    project.keep_localization(image, localization("b", 700, 600), 0.2)
    project.set_label(image, "benign")
    project.set_threshold(image, 0.35)
    return project


def test_exported_seeds_are_read_back_with_all_that_is_known_of_them(painted, image, tmp_path, pictures):
    files = export_project(painted, tmp_path / "out", ["png", "npz"])
    assert sorted(path.name for path in files) == ["b.seeds.json", "b.seeds.npz", "b.seeds.png"]
    (record,) = read_seeds(tmp_path / "out")
    np.testing.assert_array_equal(record.labels, painted.seeds(image))
    assert record.image_path.samefile(pictures[1])
    sidecar, history = record.sidecar, painted.history(image)
    assert (sidecar.reviewer, sidecar.corrected_label, sidecar.threshold) == ("Ann", "benign", 0.35)
    assert (sidecar.predicted, sidecar.model) == ("malignant", ModelRef("starter", "ab" * 32))
    assert sidecar.started == history[0].time.isoformat(timespec="seconds")
    assert sidecar.saved == history[-1].time.isoformat(timespec="seconds")
    assert (sidecar.counts.foreground, sidecar.counts.background) == (
        history[-1].foreground,
        history[-1].background,
    )


def test_the_seeds_of_several_reviewers_go_into_a_folder_each(painted, image, tmp_path):
    with Project.open(painted.folder, reviewer="Bob") as bob:
        bob.write_changes(image, np.ones((700, 600), np.uint8))
    export_project(painted, tmp_path / "out", reviewers=["Ann", "Bob"])
    for name in ("Ann", "Bob"):
        (record,) = read_seeds(tmp_path / "out" / name)
        assert record.sidecar.reviewer == name
        np.testing.assert_array_equal(record.labels, painted.seeds(image, name))


def test_maps_leave_at_the_reviewers_threshold_when_asked_for(painted, tmp_path):
    from PIL import Image

    files = export_project(painted, tmp_path / "out", ["png", "mask"], results=True)
    assert {path.name for path in files} >= {"b.seeds.png", "b.fg.png", "b.mask.png"}
    with Image.open(tmp_path / "out" / "b.mask.png") as mask:
        share = (np.array(mask) > 0).mean()
    assert share == pytest.approx(0.65, abs=0.01)


def test_images_of_one_name_do_not_overwrite_each_other(painted, tmp_path):
    other = write_image(tmp_path / "elsewhere" / "b.png", 40, 50, seed=60)
    (entry,) = painted.add_images([other])
    paint(painted, entry.id, np.random.default_rng(1))
    painted.keep_localization(entry.id, localization("b", 40, 50), 0.2)
    export_project(painted, tmp_path / "out", ["png", "mask"], results=True)
    assert sorted(record.image_path.parent.name for record in read_seeds(tmp_path / "out")) == [
        "elsewhere",
        "images",
    ]
    assert len(list((tmp_path / "out").glob("*.mask.png"))) == 2


@pytest.mark.parametrize("form", SEED_FORMATS)
def test_seeds_of_images_of_one_name_are_kept_apart_in_every_format(project, tmp_path, form):
    folders = [tmp_path / patient for patient in ("one", "two")]
    pictures = [write_image(each / "slide.tif", 40, 50, number) for number, each in enumerate(folders)]
    entries = project.add_images(pictures)
    if form == "dicom-seg":
        pytest.importorskip("highdicom")
        with project._database.writing() as connection:
            connection.execute("UPDATE images SET mpp = 0.5")
    for value, entry in enumerate(entries, start=1):
        project.write_seeds(entry.id, (0, 0, 2, 2), np.full((2, 2), value, np.uint8))
    first, again = (set(export_project(project, tmp_path / "out", [form])) for _ in range(2))
    assert {path.name.split(".")[0] for path in first} == {"slide", f"slide-{entries[1].fingerprint[:8]}"}
    assert again == first
    assert {path.name for path in first} == {path.name for path in (tmp_path / "out").iterdir()}


def test_seeds_that_were_cleared_are_cleared_in_an_older_export_too(painted, image, tmp_path):
    out = tmp_path / "out"
    export_project(painted, out, ["png", "geojson"])
    painted.write_changes(image, np.zeros((700, 600), np.uint8))
    with Project.open(painted.folder, reviewer="Bob") as bob:
        bob.write_seeds(image, (0, 0, 2, 2), np.ones((2, 2), np.uint8))
        bob.write_seeds(image, (0, 0, 2, 2), np.zeros((2, 2), np.uint8))
        assert export_project(bob, out, ["png", "geojson"]) == []  # the seeds there are Ann's
    assert read_seeds(out)[0].labels.any()
    assert export_seeds_of(painted, tmp_path / "elsewhere", [image]).paths == []
    assert len(export_project(painted, out, ["png", "geojson"])) == 3
    assert not read_seeds(out)[0].labels.any()
    assert '"features": []' in (out / "b.seeds.geojson").read_text()


def test_a_format_that_fits_nothing_is_refused_before_anything_is_written(painted, tmp_path):
    for name, results in (("mask", False), ("docx", True)):
        with pytest.raises(ConfigError, match=f"cannot be exported as {name} here; choose among png"):
            export_project(painted, tmp_path / "out", ["png", name], results=results)
    assert not (tmp_path / "out").exists()


def test_seeds_of_a_missing_image_are_not_exported_as_if_it_were_there(painted, tmp_path, pictures):
    pictures[1].rename(tmp_path / "gone.png")
    with pytest.raises(MissingImageError, match=r"b\.png is missing"):
        export_project(painted, tmp_path / "out")


def test_seeds_of_some_images_are_written_without_those_of_a_missing_one(project, pictures, tmp_path):
    for entry in project.images():
        project.write_seeds(entry.id, (0, 0, 2, 2), np.full((2, 2), 2, np.uint8))
    pictures[0].unlink()
    done = export_seeds_of(project, tmp_path / "out", [1, 2])
    assert sorted(path.name for path in done.paths) == ["b.seeds.json", "b.seeds.png"]
    assert len(done.left_out) == 1
    assert "a.png is missing" in done.left_out[0]
    assert export_seeds_of(project, tmp_path / "none", []).paths == []


@pytest.mark.parametrize("names", [("Lab/Ann", "Lab_Ann"), ("Ann B", "Ann_B"), ("a-b", "b"), ("..", ".")])
def test_reviewers_of_like_names_have_a_folder_each(painted, image, tmp_path, names):
    for value, name in enumerate(names, start=1):
        seeds = np.full((700, 600), value, np.uint8)
        if name == painted.reviewer:
            painted.write_changes(image, seeds)
            continue
        with Project.open(painted.folder, reviewer=name) as project:
            project.write_changes(image, seeds)
    for _ in range(2):
        export_project(painted, tmp_path / "out", reviewers=dict.fromkeys(["Ann", *names]))
    folders = [path for path in (tmp_path / "out").iterdir() if path.is_dir()]
    assert len({path.name.casefold() for path in folders}) == len({"Ann", *names})
    found = {}
    for folder in folders:
        (record,) = read_seeds(folder)
        found[record.sidecar.reviewer] = set(np.unique(record.labels))
    assert {name: found[name] for name in names} == {name: {i} for i, name in enumerate(names, start=1)}


def test_two_reviewers_seeds_in_one_folder_are_kept_apart(painted, image, tmp_path):
    with Project.open(painted.folder, reviewer="Bob") as bob:
        bob.write_changes(image, np.ones((700, 600), np.uint8))
    for _ in range(2):
        for name in ("Ann", "Bob"):
            export_project(painted, tmp_path / "out", reviewers=[name])
    records = read_seeds(tmp_path / "out")
    assert {record.sidecar.reviewer for record in records} == {"Ann", "Bob"}
    assert len(records) == 2


def test_results_of_a_project_name_their_image_and_replace_nothing_of_a_persons(painted, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "b.coco.json").write_text("{}")
    for _ in range(2):
        files = export_project(painted, out, ["coco", "mask"], results=True)
    assert (out / "b.coco.json").read_text() == "{}"
    (coco,) = [path for path in files if path.name.endswith(".coco.json") and ".seeds." not in path.name]
    assert json.loads(coco.read_text())["images"][0]["file_name"] == "b.png"
