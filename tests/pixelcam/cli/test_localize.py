"""`pixelcam localize`: its files, its figures, and one image's failure beside the others' success."""

import errno
import json
import shutil

import numpy as np
import pytest
import tifffile
from PIL import Image

import pixelcam
from pixelcam.cli.inputs import gather_images
from pixelcam.errors import DeviceError
from pixelcam.export.reading import read_localization
from pixelcam.slides import hash_file


@pytest.fixture
def localize(command, tiny_model, tmp_path):
    def run(*images, out=None):
        return command(
            "localize", *images, "--model", tiny_model, "--out", out or tmp_path / "out", "--device", "cpu"
        )

    return run


def test_the_three_files_keep_the_contract(command, localize, tiny_model, tissue, tmp_path):
    ending = command(
        "localize", tissue, "--model", tiny_model, "--out", tmp_path / "new" / "out", "--threshold", 0.4
    )
    assert (ending.code, ending.out, ending.err) == (0, "", "")
    out = tmp_path / "new" / "out"
    assert sorted(path.name for path in out.iterdir()) == [
        "tissue.fg.ome.tif",
        "tissue.geojson",
        "tissue.json",
    ]
    foreground = tifffile.imread(out / "tissue.fg.ome.tif")
    assert foreground.shape == (48, 80)
    assert foreground.dtype == np.float32
    assert foreground.min() >= 0
    assert foreground.max() <= 1
    summary = json.loads((out / "tissue.json").read_text())
    assert set(summary["classes"]) == {"benign", "malignant"}
    assert sum(summary["classes"].values()) == pytest.approx(1)
    assert summary["predicted"] == max(summary["classes"], key=summary["classes"].get)
    assert summary["threshold"] == 0.4
    assert summary["foreground_fraction"] == pytest.approx((foreground >= 0.4).mean())
    assert set(summary["model"]) == {"name", "sha256"}
    assert summary["image"] == {"width": 80, "height": 48, "mpp": None}
    assert summary["fg"] == {"file": "tissue.fg.ome.tif", "scale": [1.0, 1.0], "translate": [0.0, 0.0]}
    assert json.loads((out / "tissue.geojson").read_text())["type"] == "FeatureCollection"


def test_the_number_of_views_is_used_and_told(command, localize, tiny_model, tissue, tmp_path):
    options = ("--model", tiny_model, "--device", "cpu")
    assert localize(tissue).code == 0
    assert command("localize", tissue, *options, "--out", tmp_path / "four", "--views", 4).code == 0
    maps = [tifffile.imread(tmp_path / name / "tissue.fg.ome.tif") for name in ("out", "four")]
    assert not np.array_equal(*maps)
    summary = json.loads((tmp_path / "four" / "tissue.json").read_text())
    assert set(summary["model"]) == {"name", "sha256", "views"}
    assert summary["model"]["views"] == 4
    assert read_localization(tmp_path / "four" / "tissue.json").model.views == 4
    assert read_localization(tmp_path / "out" / "tissue.json").model.views == 1
    ending = command("localize", tissue, *options, "--out", tmp_path / "two", "--views", 2)
    assert ending.code == 2
    assert "2 is neither 1 nor 4" in ending.err
    assert not (tmp_path / "two").exists()


def test_a_pixel_size_that_is_told_is_used_and_kept(command, tiny_model, tissue, tmp_path):
    for mpp, name in ((0.5, "told"), (None, "not told")):
        options = ("--model", tiny_model, "--out", tmp_path / name, *(("--mpp", mpp) if mpp else ()))
        assert command("localize", tissue, *options).code == 0
        summary = json.loads((tmp_path / name / "tissue.json").read_text())
        assert summary["image"]["mpp"] == mpp
    with tifffile.TiffFile(tmp_path / "told" / "tissue.fg.ome.tif") as file:
        assert 'PhysicalSizeX="0.5"' in file.ome_metadata


def test_json_on_stdout_is_one_document(command, tiny_model, tissue, tmp_path):
    gone = tmp_path / "gone.png"
    ending = command("localize", tissue, gone, "--model", tiny_model, "--out", tmp_path, "--json")
    document = json.loads(ending.out)
    assert [each["path"] for each in document["images"]] == [str(tissue)]
    assert document["images"][0]["predicted"] in ("benign", "malignant")
    assert [each["path"] for each in document["failed"]] == [str(gone)]
    assert ending.failed_with("gone.png")


def test_a_second_time_replaces_the_results(localize, tissue, tmp_path):
    assert localize(tissue).code == 0
    first = (tmp_path / "out" / "tissue.json").read_bytes()
    before = json.loads(first)
    (tmp_path / "out" / "tissue.json").write_text(json.dumps({**before, "predicted": "old"}))
    assert localize(tissue).code == 0
    assert (tmp_path / "out" / "tissue.json").read_bytes() == first


def test_a_failing_image_does_not_stop_the_others(localize, tissue, tmp_path):
    broken, missing, good = tmp_path / "broken.png", tmp_path / "missing.png", tmp_path / "good.png"
    broken.write_bytes(tissue.read_bytes()[:60])
    shutil.copy(tissue, good)
    ending = localize(tissue, broken, missing, good)
    assert ending.code == 1
    lines = ending.err.splitlines()
    assert len(lines) == 2
    assert "broken.png" in lines[0]
    assert "missing.png" in lines[1]
    assert {path.name for path in (tmp_path / "out").glob("*.json")} == {"tissue.json", "good.json"}


def test_a_failure_that_does_not_name_its_image_is_told_with_it(localize, tissue, monkeypatch):
    def out_of_memory(self, image, **kwargs):
        raise DeviceError("The device ran out of memory; close other programs.")

    monkeypatch.setattr(pixelcam.Localizer, "localize", out_of_memory)
    assert localize(tissue).failed_with("tissue.png", "ran out of memory")


def test_a_folder_stands_for_its_images_and_not_for_earlier_results(localize, tissue, tmp_path):
    folder = tmp_path / "scans"
    (folder / "inner").mkdir(parents=True)
    for name in ("b.png", "a.JPG", ".hidden.png", "inner/c.png"):
        Image.open(tissue).convert("RGB").save(folder / name)
    (folder / "notes.txt").write_text("not an image")
    first = localize(folder, out=folder)
    assert first.code == 0
    assert first.err == f"{folder}: 3 images; 2 passed over (1 .txt, 1 hidden).\n"
    assert localize(folder, out=folder).code == 0
    assert sorted(path.stem for path in folder.rglob("*.json")) == ["a", "b", "c"]


def test_an_image_named_twice_is_looked_at_once(tissue, tmp_path):
    assert gather_images([tissue, tmp_path, tmp_path / "missing.png"]) == [tissue, tmp_path / "missing.png"]


def test_a_folder_without_images_is_told(localize, tmp_path):
    (tmp_path / "empty").mkdir()
    assert localize(tmp_path / "empty").failed_with("no image", "empty")


@pytest.fixture
def tree(tmp_path):
    """Class folders with one name in each, another ending, and capitals; no two pictures alike."""
    rng = np.random.default_rng(1)
    for name in ("a/slide.png", "b/slide.png", "b/deep/er/slide.png", "slide.png", "slide.tif", "Slide.png"):
        path = tmp_path / "tree" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (32, 40, 3), dtype=np.uint8)).save(path)
    return tmp_path / "tree"


def described(out):
    """Return the fingerprint that each summary below a folder names, by its path from there."""
    found = {}
    for path in out.rglob("*.json"):
        if not path.name.endswith(".coco.json"):
            assert read_localization(path).fingerprint
            found[path.relative_to(out).as_posix()] = json.loads(path.read_text())["pixelcam"]["image"]
    return found


def test_a_tree_is_kept_as_a_tree(localize, tree, tmp_path):
    for _ in range(2):  # again, over its own
        ending = localize(tree)
        assert ending.code == 0
    found = described(tmp_path / "out")
    for folder in ("a", "b", "b/deep/er"):
        image = found.pop(f"{folder}/slide.json")
        assert image["fingerprint"] == hash_file(tree / folder / "slide.png")
    assert {image["file"]: image["fingerprint"] for image in found.values()} == {
        name: hash_file(tree / name) for name in ("slide.png", "slide.tif", "Slide.png")
    }
    assert len({name.casefold() for name in found}) == 3
    assert len(ending.err.splitlines()) == 2, "two of three have another name, and that is told"


def test_a_name_twice_in_one_folder_is_kept_apart_by_one_command_and_by_several(localize, tree, tmp_path):
    both = tree / "a" / "slide.png", tree / "b" / "slide.png"
    assert localize(*both, out=tmp_path / "one").code == 0
    for path in (*both, *both):
        assert localize(path, out=tmp_path / "two").code == 0
    assert described(tmp_path / "one") == described(tmp_path / "two")
    prints = {image["fingerprint"] for image in described(tmp_path / "one").values()}
    assert prints == {hash_file(path) for path in both}


def test_two_copies_of_one_image_have_two_results(localize, tissue, tmp_path):
    (tmp_path / "copy").mkdir()
    shutil.copy(tissue, tmp_path / "copy" / "tissue.png")
    for _ in range(2):
        assert localize(tissue, tmp_path / "copy" / "tissue.png").code == 0
        assert len(described(tmp_path / "out")) == 2


@pytest.mark.parametrize("ending", [".geojson", ".json", ".fg.ome.tif"])
def test_a_persons_own_file_beside_the_image_stays(localize, tissue, ending):
    own = tissue.with_name(f"tissue{ending}")
    own.write_text('{"type": "FeatureCollection", "features": []}')
    for _ in range(2):
        told = localize(tissue, out=tissue.parent)
        assert told.code == 0
        assert "not ours, or of another image" in told.err
        assert own.read_text() == '{"type": "FeatureCollection", "features": []}'
        assert len(list(tissue.parent.glob("tissue-*.json"))) == 1


def test_further_formats_lie_beside_and_name_the_image_with_its_ending(command, tiny_model, tissue, tmp_path):
    options = ("--model", tiny_model, "--device", "cpu", "--format", "coco", "--format", "mask")
    assert command("localize", tissue, "--out", tmp_path / "out", *options).code == 0
    document = json.loads((tmp_path / "out" / "tissue.coco.json").read_text())
    assert document["images"][0]["file_name"] == "tissue.png"
    assert (tmp_path / "out" / "tissue.mask.png").exists()
    assert command("export", tmp_path / "out", "--out", tmp_path / "later", "--format", "coco").code == 0
    document = json.loads((tmp_path / "later" / "tissue.coco.json").read_text())
    assert document["images"][0]["file_name"] == "tissue.png"


def test_pictures_of_one_file_are_kept_apart(command, tiny_model, tmp_path):
    path = tmp_path / "two.tif"
    rng = np.random.default_rng(0)
    with tifffile.TiffWriter(path) as writer:
        for size in ((40, 60, 3), (32, 48, 3)):
            writer.write(rng.integers(0, 255, size, dtype=np.uint8), photometric="rgb", metadata=None)
    options = ("--out", tmp_path / "out", "--model", tiny_model, "--device", "cpu")
    for number in (1, 2):
        assert command("localize", path, *options, "--series", number).code == 0
    found = described(tmp_path / "out")
    assert len(found) == 2
    assert {(image["width"], image["height"]) for image in found.values()} == {(60, 40), (48, 32)}
    assert "number 1" in command("localize", path, *options).err


def test_a_tree_of_results_is_exported_as_a_tree(command, localize, tree, tmp_path):
    assert localize(tree).code == 0
    for _ in range(2):
        assert command("export", tmp_path / "out", "--out", tmp_path / "coco", "--format", "coco").code == 0
    found = {}
    for path in (tmp_path / "coco").rglob("*.coco.json"):
        document = json.loads(path.read_text())
        image = document["info"]["pixelcam"]["image"]
        assert document["images"][0]["file_name"] == image["file"]
        found[path.parent.relative_to(tmp_path / "coco").as_posix(), image["file"]] = image["fingerprint"]
    assert found == {
        (path.parent.relative_to(tree).as_posix(), path.name): hash_file(path)
        for path in tree.rglob("*")
        if path.is_file()
    }


def test_a_file_in_the_way_of_the_folder_is_told(localize, tissue, tmp_path):
    (tmp_path / "out").write_text("mine")
    assert localize(tissue).failed_with("out")
    assert (tmp_path / "out").read_text() == "mine"


def test_a_read_only_folder_is_told_before_the_model_is_loaded(localize, tissue, tmp_path, monkeypatch):
    def refuse(**kwargs):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr("pixelcam.cli.outputs.tempfile.TemporaryFile", refuse)
    monkeypatch.setattr(pixelcam, "load", None)
    assert localize(tissue).failed_with("read-only")
    assert list((tmp_path / "out").iterdir()) == []


def test_a_folder_that_one_may_not_write_to_is_told(command, tissue, unprivileged_folder):
    unprivileged_folder.become_nobody()  # who may not look at the image either, nor stop because of it
    ending = command("localize", tissue, "--out", unprivileged_folder / "out")
    assert ending.failed_with("out", "not permitted")
    assert list(unprivileged_folder.iterdir()) == []


def test_a_folder_of_images_that_one_may_not_read_is_told(command, tmp_path, unprivileged_folder):
    inner = unprivileged_folder / "scans"
    inner.mkdir(mode=0o700)
    unprivileged_folder.become_nobody()
    assert command("localize", inner, "--out", tmp_path).failed_with("scans", "permission")


def test_a_full_disk_leaves_the_earlier_results_whole(localize, tissue, tmp_path, monkeypatch):
    out = tmp_path / "out"
    assert localize(tissue).code == 0
    before = {path.name: path.read_bytes() for path in out.iterdir()}

    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    assert localize(tissue).failed_with("disk is full")
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_a_write_that_breaks_off_leaves_nothing(localize, tissue, tmp_path):
    resource = pytest.importorskip("resource")  # not on Windows
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4000, limit[1]))
    try:
        ending = localize(tissue)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert ending.failed_with("tissue")
    assert list((tmp_path / "out").iterdir()) == []


def test_the_device_that_is_not_there_is_told(command, tissue, tiny_model, tmp_path):
    ending = command(
        "localize", tissue, "--model", tiny_model, "--out", tmp_path / "out", "--device", "cuda:99"
    )
    assert ending.failed_with("cuda:99", "cpu")


def test_an_interrupt_leaves_no_half_file(localize, tissue, tmp_path, monkeypatch):
    def interrupt(descriptor):
        raise KeyboardInterrupt

    monkeypatch.setattr("os.fsync", interrupt)
    assert localize(tissue).code == 130
    assert list((tmp_path / "out").iterdir()) == []


def test_a_person_is_told_of_an_image_unlike_the_training_images(
    command, trained_model, tmp_path, monkeypatch
):
    from pixelcam.cli import console

    board = np.kron(np.indices((12, 12)).sum(axis=0) % 2, np.full((8, 8), 255)).astype(np.uint8)
    colours = np.where(board[..., None], np.array([240, 200, 230]), np.array([110, 60, 150])).astype(np.uint8)
    Image.fromarray(colours).save(tmp_path / "board.png")
    monkeypatch.setattr("pixelcam.cli.localize.print_note", console.print_result)
    ending = command(
        "localize", tmp_path / "board.png", "--model", trained_model, "--out", tmp_path, "--device", "cpu"
    )
    told = [line.strip() for line in ending.out.splitlines()]
    assert sum(line.startswith("Unlike the training images: ") for line in told) == 1
    assert json.loads((tmp_path / "board.json").read_text())["caution"] in told


def test_an_image_that_is_no_stained_tissue_is_told_terminal_or_not(localize, tmp_path):
    gray = np.random.default_rng(0).integers(0, 255, (64, 64), dtype=np.uint8)
    Image.fromarray(gray).save(tmp_path / "gray.png")
    ending = localize(tmp_path / "gray.png")
    sentence = "The image has no colours, so it is no H&E: do not rely on its class or its map."
    assert (ending.code, ending.err) == (0, f"{tmp_path / 'gray.png'}: {sentence}\n")
    summary = json.loads((tmp_path / "out" / "gray.json").read_text())
    assert summary["caution"] == summary["image_caution"] == sentence
    assert read_localization(tmp_path / "out" / "gray.json").image_caution == sentence
