"""`pixelcam import`: annotations and label images as seeds that fine-tuning reads."""

import json

import numpy as np
import pytest
from PIL import Image

from pixelcam.export import read_seeds


@pytest.fixture
def mask(tmp_path):
    values = np.zeros((48, 80), np.uint8)
    values[3:9, 4:20] = 255
    Image.fromarray(values).save(tmp_path / "mask.png")
    return values


def test_a_mask_becomes_seeds_of_its_image(command, tissue, mask, tmp_path):
    options = ("--map", "255=foreground", "--map", "0=background", "--reviewer", "me", "--json")
    ending = command(
        "import", tmp_path / "mask.png", "--image", tissue, "--out", tmp_path / "seeds", *options
    )
    assert (ending.code, ending.err) == (0, "")
    told = json.loads(ending.out)
    assert (told["foreground"], told["background"]) == (96, 48 * 80 - 96)
    (record,) = read_seeds(tmp_path / "seeds")
    np.testing.assert_array_equal(record.labels, np.where(mask, 2, 1))
    assert record.image_path.samefile(tissue)
    assert record.sidecar.reviewer == "me"


def test_exported_seeds_come_back_from_every_format(command, tissue, mask, tmp_path):
    options = ("--map", "255=foreground")
    command("import", tmp_path / "mask.png", "--image", tissue, "--out", tmp_path / "seeds", *options)
    formats = [part for name in ("geojson", "histomics", "ome-zarr", "npz") for part in ("--format", name)]
    assert command("export", tmp_path / "seeds", "--out", tmp_path / "out", *formats).code == 0
    for name in ("geojson", "histomics.json", "ome.zarr", "npz"):
        source = tmp_path / "out" / f"tissue.seeds.{name}"
        ending = command("import", source, "--image", tissue, "--out", tmp_path / "back" / name)
        assert (ending.code, ending.err) == (0, ""), name
        (record,) = read_seeds(tmp_path / "back" / name)
        np.testing.assert_array_equal(record.labels, np.where(mask, 2, 0))


def test_a_crossing_polygon_is_told_and_taken(command, tissue, tmp_path):
    ring = [[0, 0], [30, 30], [30, 0], [0, 30], [0, 0]]
    feature = {
        "type": "Feature",
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "properties": {"classification": {"name": "foreground"}},
    }
    (tmp_path / "a.geojson").write_text(json.dumps(feature))
    ending = command("import", tmp_path / "a.geojson", "--image", tissue, "--out", tmp_path / "seeds")
    assert ending.code == 0
    assert ending.err.splitlines() == [
        "a.geojson: annotation 1 (foreground) crosses itself; it is filled by the even-odd rule."
    ]


def test_what_does_not_fit_is_one_sentence_and_no_file(command, tissue, mask, tmp_path):
    out = tmp_path / "seeds"
    ending = command("import", tmp_path / "mask.png", "--image", tissue, "--out", out)
    assert ending.failed_with("mask.png has the values 0 and 255", "--map 255=foreground")
    Image.fromarray(mask[:, :-1] // 255).save(tmp_path / "mask.png")
    ending = command("import", tmp_path / "mask.png", "--image", tissue, "--out", out)
    assert ending.failed_with("79 x 48", "80 x 48")
    ending = command("import", tmp_path / "mask.png", "--image", tmp_path / "gone.png", "--out", out)
    assert ending.failed_with("gone.png does not exist")
    assert not out.exists()


@pytest.mark.parametrize("value", ["Tumor", "=foreground", "Tumor=gland"])
def test_a_mapping_that_says_nothing_is_wrong_usage(command, tissue, mask, tmp_path, value):
    ending = command(
        "import", tmp_path / "mask.png", "--image", tissue, "--out", tmp_path / "o", "--map", value
    )
    assert ending.code == 2


def annotations(path, name, x):
    square = [[x, 5], [x + 8, 5], [x + 8, 13], [x, 13], [x, 5]]
    outline = {
        "type": "polyline",
        "closed": True,
        "points": [[*corner, 0] for corner in square],
        "group": "foreground",
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"annotation": {"name": name, "elements": [outline]}}))
    return path


@pytest.mark.parametrize("reviewers", [("", ""), ("Ann", "Bob"), ("Lab/Ann", "Lab_Ann")])
@pytest.mark.parametrize("files", [("ann.json", "bob.json"), ("ann/drawn.json", "bob/drawn.json")])
def test_the_work_of_two_people_on_one_image_is_kept_apart(command, tissue, tmp_path, reviewers, files):
    out, pairs = tmp_path / "seeds", list(zip(files, reviewers, (5, 40), strict=True))
    for _ in range(2):  # again: each replaces its own
        for file, reviewer, x in pairs:
            drawn = annotations(tmp_path / file, file, x)
            ending = command("import", drawn, "--image", tissue, "--out", out, "--reviewer", reviewer)
            assert ending.code == 0
    assert "holds other seeds of an image called tissue" in ending.err
    records = read_seeds(out)
    assert [record.sidecar.source for record in records] != []
    found = {(r.sidecar.source, r.sidecar.reviewer, int(r.labels.any(0).argmax())) for r in records}
    assert found == {(str(tmp_path / file), reviewer, x) for file, reviewer, x in pairs}
    assert len({path.name.casefold() for path in out.iterdir()}) == 4


def test_the_same_annotations_drawn_on_replace_what_was_imported_of_them(command, tissue, tmp_path):
    for x in (5, 40):
        drawn = annotations(tmp_path / "ann.json", "ann", x)
        assert command("import", drawn, "--image", tissue, "--out", tmp_path / "seeds").code == 0
    (record,) = read_seeds(tmp_path / "seeds")
    assert record.labels.any(0).argmax() == 40


def test_import_writes_over_nothing_of_somebody_elses(command, tissue, mask, tmp_path):
    out = tmp_path / "seeds"
    out.mkdir()
    Image.fromarray(mask).save(out / "tissue.seeds.png")
    own = (out / "tissue.seeds.png").read_bytes()
    command("import", tmp_path / "mask.png", "--image", tissue, "--out", out, "--map", "255=foreground")
    assert (out / "tissue.seeds.png").read_bytes() == own
    assert len(list(out.glob("*.seeds.json"))) == 1
