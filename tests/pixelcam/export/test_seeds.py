"""Seeds come back as they were painted, on the image that they were painted on, or not at all."""

from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import datetime

import numpy as np
import pytest
from PIL import Image

from pixelcam.errors import ConfigError, OutputError, SeedsError
from pixelcam.export import atomic, seeds
from pixelcam.export.seeds import read_seeds, write_seeds
from pixelcam.export.sidecar import SeedCounts, SeedImage, SeedSidecar
from pixelcam.slides import Slide, open_slide

SHAPE = (20, 30)


@pytest.fixture
def labels():
    labels = np.zeros(SHAPE, np.uint8)
    labels[2:5, 3:7] = 2
    labels[10:12, :5] = 1
    return labels


@pytest.fixture
def make_sidecar(tmp_path):
    """Return a function that writes an image and describes it."""

    def make_sidecar(name="field", folder="images", fill=7):
        path = tmp_path / folder / f"{name}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(np.full((*SHAPE, 3), fill, np.uint8)).save(path)
        return SeedSidecar(SeedImage.of(open_slide(path)))

    return make_sidecar


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def refusal(folder):
    """Return the message with which a folder is refused, having checked that it is one sentence."""
    with pytest.raises(SeedsError) as caught:
        read_seeds(folder)
    message = str(caught.value)
    assert message.endswith(".")
    assert "\n" not in message
    return message


def test_seeds_come_back_with_their_image(labels, make_sidecar, tmp_path):
    sidecar = replace(make_sidecar(), reviewer="me", corrected_label="normal")
    written = write_seeds(tmp_path / "seeds", labels, sidecar)
    assert [path.name for path in written] == ["field.seeds.png", "field.seeds.npz", "field.seeds.json"]
    assert names(tmp_path / "seeds") == sorted(path.name for path in written)
    (record,) = read_seeds(tmp_path / "seeds")
    np.testing.assert_array_equal(record.labels, labels)
    assert record.labels.dtype == np.uint8
    assert record.image_path.samefile(tmp_path / "images" / "field.png")
    assert record.sidecar.counts == SeedCounts(foreground=12, background=10)
    assert (record.sidecar.reviewer, record.sidecar.corrected_label) == ("me", "normal")
    assert record.sidecar.file == "field.seeds.png"
    assert record.sidecar.image.relative_path == "../images/field.png"
    assert datetime.fromisoformat(record.sidecar.saved).tzinfo is not None


def test_the_files_hold_zero_one_and_two(labels, make_sidecar, tmp_path):
    png, npz, _ = write_seeds(tmp_path / "seeds", labels, make_sidecar())
    with Image.open(png) as image:
        assert image.mode == "L"
        np.testing.assert_array_equal(np.asarray(image), labels)
    with np.load(npz, allow_pickle=False) as arrays:
        np.testing.assert_array_equal(arrays["labels"], labels)


@pytest.mark.parametrize("form", ["png", "npz"])
def test_one_format_is_enough(labels, make_sidecar, tmp_path, form):
    write_seeds(tmp_path / "seeds", labels, make_sidecar(), formats=[form])
    assert names(tmp_path / "seeds") == sorted([f"field.seeds.{form}", "field.seeds.json"])
    np.testing.assert_array_equal(read_seeds(tmp_path / "seeds")[0].labels, labels)


def test_other_integer_types_are_taken(labels, make_sidecar, tmp_path):
    write_seeds(tmp_path / "seeds", labels.astype(np.int64), make_sidecar())
    np.testing.assert_array_equal(read_seeds(tmp_path / "seeds")[0].labels, labels)


def test_unlabelled_seeds_are_read_with_counts_of_zero(make_sidecar, tmp_path):
    write_seeds(tmp_path / "seeds", np.zeros(SHAPE, np.uint8), make_sidecar())
    assert read_seeds(tmp_path / "seeds")[0].sidecar.counts == SeedCounts(0, 0)


def test_counts_are_those_of_the_labels(labels, make_sidecar, tmp_path):
    png, _ = write_seeds(tmp_path / "seeds", labels, make_sidecar(), formats=["png"])
    labels[0, 0] = 1
    Image.fromarray(labels).save(png)
    assert read_seeds(tmp_path / "seeds")[0].sidecar.counts == SeedCounts(12, 11)


def test_several_images_come_in_the_order_of_their_names(labels, make_sidecar, tmp_path):
    for name in ("b", "a", "c"):
        write_seeds(tmp_path / "seeds", labels, make_sidecar(name))
    assert [record.sidecar.image.name for record in read_seeds(tmp_path / "seeds")] == ["a", "b", "c"]


def test_saving_again_replaces(labels, make_sidecar, tmp_path):
    sidecar = make_sidecar()
    write_seeds(tmp_path / "seeds", np.zeros_like(labels), sidecar)
    write_seeds(tmp_path / "seeds", labels, sidecar)
    (record,) = read_seeds(tmp_path / "seeds")
    np.testing.assert_array_equal(record.labels, labels)


def test_another_image_of_the_same_name_keeps_its_own_seeds(labels, make_sidecar, tmp_path):
    first, second = make_sidecar(folder="ward a", fill=1), make_sidecar(folder="ward b", fill=2)
    write_seeds(tmp_path / "seeds", labels, first)
    for _ in range(2):
        write_seeds(tmp_path / "seeds", np.ones_like(labels), second)
    records = {r.sidecar.image.fingerprint: r for r in read_seeds(tmp_path / "seeds")}
    assert len(records) == 2
    np.testing.assert_array_equal(records[first.image.fingerprint].labels, labels)
    assert (records[second.image.fingerprint].labels == 1).all()


def test_a_damaged_sidecar_does_not_let_its_seeds_be_overwritten(labels, make_sidecar, tmp_path):
    sidecar = make_sidecar()
    *_, written = write_seeds(tmp_path / "seeds", labels, sidecar, formats=["png"])
    written.write_text("{")
    write_seeds(tmp_path / "seeds", np.ones_like(labels), sidecar, formats=["png"])
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "seeds" / "field.seeds.png")), labels)


def test_an_image_from_memory_is_written_beside_its_seeds(labels, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 255, (*SHAPE, 3), dtype=np.uint8)
    sidecar = SeedSidecar(SeedImage.of(Slide.from_array(pixels, name="camera")))
    written = write_seeds(tmp_path / "seeds", labels, sidecar, image=pixels)
    assert written[0].name == "camera.image.png"
    (record,) = read_seeds(tmp_path / "seeds")
    assert record.image_path == tmp_path / "seeds" / "camera.image.png"
    np.testing.assert_array_equal(open_slide(record.image_path).read(), pixels)


def test_an_image_from_memory_is_written_once(labels, tmp_path):
    pixels = np.zeros((*SHAPE, 3), np.uint8)
    sidecar = SeedSidecar(SeedImage.of(Slide.from_array(pixels, name="camera")))
    write_seeds(tmp_path / "seeds", labels, sidecar, image=pixels)
    before = (tmp_path / "seeds" / "camera.image.png").stat()
    write_seeds(tmp_path / "seeds", 2 * labels // 2, sidecar, image=pixels)
    assert len(read_seeds(tmp_path / "seeds")) == 1
    after = (tmp_path / "seeds" / "camera.image.png").stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    (tmp_path / "seeds" / "camera.image.png").unlink()
    write_seeds(tmp_path / "seeds", labels, sidecar, image=pixels)
    assert len(read_seeds(tmp_path / "seeds")) == 1


def test_an_image_from_memory_must_be_given(labels, tmp_path):
    sidecar = SeedSidecar(SeedImage.of(Slide.from_array(np.zeros((*SHAPE, 3), np.uint8))))
    with pytest.raises(SeedsError, match="in no file"):
        write_seeds(tmp_path, labels, sidecar)


def test_seeds_move_with_their_images(labels, make_sidecar, tmp_path):
    write_seeds(tmp_path / "seeds", labels, make_sidecar())
    for part in ("seeds", "images"):
        shutil.move(tmp_path / part, tmp_path / "cluster" / part)
    (record,) = read_seeds(tmp_path / "cluster" / "seeds")
    assert record.image_path.samefile(tmp_path / "cluster" / "images" / "field.png")


def test_seeds_moved_alone_find_their_image_where_it_was(labels, make_sidecar, tmp_path):
    write_seeds(tmp_path / "seeds", labels, make_sidecar())
    shutil.move(tmp_path / "seeds", tmp_path / "a" / "b" / "seeds")
    (record,) = read_seeds(tmp_path / "a" / "b" / "seeds")
    assert record.image_path == tmp_path / "images" / "field.png"


def test_an_image_beside_its_seeds_is_found(labels, make_sidecar, tmp_path):
    write_seeds(tmp_path / "seeds", labels, make_sidecar())
    shutil.move(tmp_path / "images" / "field.png", tmp_path / "seeds" / "field.png")
    assert read_seeds(tmp_path / "seeds")[0].image_path == tmp_path / "seeds" / "field.png"


def test_of_two_candidates_the_unchanged_image_counts(labels, make_sidecar, tmp_path):
    write_seeds(tmp_path / "one" / "seeds", labels, make_sidecar())
    shutil.copytree(tmp_path / "one", tmp_path / "two" / "one")
    (tmp_path / "two" / "images").mkdir()
    (tmp_path / "two" / "images" / "field.png").write_bytes(b"another")
    (record,) = read_seeds(tmp_path / "two" / "one" / "seeds")
    assert record.image_path == tmp_path / "images" / "field.png"


def test_what_macos_notes_beside_files_is_passed_over(labels, make_sidecar, tmp_path):
    for path in write_seeds(tmp_path / "seeds", labels, make_sidecar()):
        path.with_name(f"._{path.name}").write_bytes(b"\0\5\26\7")
    assert len(read_seeds(tmp_path / "seeds")) == 1


def test_a_missing_image_is_told(labels, make_sidecar, tmp_path):
    write_seeds(tmp_path / "seeds", labels, make_sidecar())
    (tmp_path / "images" / "field.png").unlink()
    assert "field.seeds.json is missing" in refusal(tmp_path / "seeds")


def test_a_changed_image_is_told(labels, make_sidecar, tmp_path):
    write_seeds(tmp_path / "seeds", labels, make_sidecar())
    make_sidecar(fill=9)
    assert "is not the image that field.seeds.json was painted on" in refusal(tmp_path / "seeds")


def test_seeds_of_another_images_size_are_told(labels, make_sidecar, tmp_path):
    png, *_ = write_seeds(tmp_path / "seeds", labels, make_sidecar(), formats=["png"])
    Image.fromarray(labels[:, :29]).save(png)
    assert "have 29 x 20 pixels, but their image has 30 x 20" in refusal(tmp_path / "seeds")
    with pytest.raises(SeedsError, match="have 29 x 20 pixels"):
        write_seeds(tmp_path / "other", labels[:, :29], make_sidecar())
    Image.fromarray(np.dstack([labels] * 3)).save(png)
    assert "have 3 x 30 x 20 pixels" in refusal(tmp_path / "seeds")


@pytest.mark.parametrize("value", [3, 255, -1])
def test_other_values_are_told(labels, make_sidecar, tmp_path, value):
    wrong = labels.astype(np.int16)
    wrong[0, 0] = value
    with pytest.raises(SeedsError, match="other values than 0"):
        write_seeds(tmp_path / "seeds", wrong, make_sidecar())
    png, *_ = write_seeds(tmp_path / "seeds", labels, make_sidecar(), formats=["png"])
    Image.fromarray(wrong.astype(np.uint8)).save(png)
    assert "other values than 0" in refusal(tmp_path / "seeds")


def test_fractions_are_told(labels, make_sidecar, tmp_path):
    with pytest.raises(SeedsError, match="other values than 0"):
        write_seeds(tmp_path, labels / 2, make_sidecar())


def test_a_folder_without_seeds_is_told(tmp_path):
    assert "holds no seeds" in refusal(tmp_path)
    assert "is not a folder" in refusal(tmp_path / "none")
    (tmp_path / "file").write_text("")
    assert "is not a folder" in refusal(tmp_path / "file")


@pytest.mark.parametrize("form", ["png", "npz"])
def test_missing_parts_are_told(labels, make_sidecar, tmp_path, form):
    array, sidecar = write_seeds(tmp_path / "seeds", labels, make_sidecar(), formats=[form])
    content = array.read_bytes()
    array.unlink()
    assert f"field.seeds.{form} is missing" in refusal(tmp_path / "seeds")
    array.write_bytes(content)
    sidecar.unlink()
    assert "lacks its sidecar field.seeds.json" in refusal(tmp_path / "seeds")


@pytest.mark.parametrize("form", ["png", "npz"])
def test_damaged_labels_are_told(labels, make_sidecar, tmp_path, form):
    array, _ = write_seeds(tmp_path / "seeds", labels, make_sidecar(), formats=[form])
    array.write_bytes(array.read_bytes()[:-60])
    assert "is damaged or no seeds file" in refusal(tmp_path / "seeds")


def test_a_damaged_sidecar_is_told(labels, make_sidecar, tmp_path):
    *_, sidecar = write_seeds(tmp_path / "seeds", labels, make_sidecar())
    sidecar.write_bytes(b"\xff\xfe{")
    assert "field.seeds.json cannot be read" in refusal(tmp_path / "seeds")
    sidecar.write_text("{")
    assert "field.seeds.json is damaged" in refusal(tmp_path / "seeds")


def test_coarse_seeds_have_the_size_that_the_scale_says(make_sidecar, tmp_path):
    sidecar = replace(make_sidecar(), level=1, scale=(4.0, 4.0), translate=(1.5, 1.5))
    write_seeds(tmp_path / "seeds", np.ones((5, 8), np.uint8), sidecar)
    (record,) = read_seeds(tmp_path / "seeds")
    assert record.labels.shape == (5, 8)
    assert (record.sidecar.scale, record.sidecar.translate) == ((4.0, 4.0), (1.5, 1.5))


def test_unknown_formats_are_told(labels, make_sidecar, tmp_path):
    for formats in (["tiff"], []):
        with pytest.raises(ConfigError, match="png or npz"):
            write_seeds(tmp_path, labels, make_sidecar(), formats=formats)


@pytest.mark.parametrize("call", [1, 2, 3])
def test_a_full_disk_at_any_file_leaves_the_old_seeds(labels, make_sidecar, tmp_path, monkeypatch, call):
    sidecar = make_sidecar()
    write_seeds(tmp_path / "seeds", labels, sidecar)
    before = {path: path.read_bytes() for path in (tmp_path / "seeds").iterdir()}
    calls = []
    save_labels = seeds._save_labels

    def save(path, values, mark):
        calls.append(path)
        if len(calls) == call:
            path.write_bytes(b"half")
            raise OSError(28, "No space left on device")
        save_labels(path, values, mark)

    fsync = atomic.os.fsync

    def flush(descriptor):
        if call == 3:
            raise OSError(28, "No space left on device")
        fsync(descriptor)

    monkeypatch.setattr(seeds, "_save_labels", save)
    monkeypatch.setattr(atomic.os, "fsync", flush)
    with pytest.raises(OutputError, match="the disk is full"):
        write_seeds(tmp_path / "seeds", np.ones_like(labels), sidecar)
    assert {path: path.read_bytes() for path in (tmp_path / "seeds").iterdir()} == before
