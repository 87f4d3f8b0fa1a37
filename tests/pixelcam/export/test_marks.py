"""No file is written over that is not ours, or is of another image or of other work; each kind of file."""

from __future__ import annotations

import dataclasses
import json
import shutil
import warnings

import numpy as np
import pytest
import tifffile
import zarr
from PIL import Image

from pixelcam.errors import OutputError
from pixelcam.export.formats import RESULT_FORMATS, RESULT_WRITERS, SEED_FORMATS, export_result, export_seeds
from pixelcam.export.marks import is_same_work, read_mark
from pixelcam.export.naming import ENDINGS, RESULT_ENDINGS
from pixelcam.export.reading import read_localization
from pixelcam.export.results import export_localization
from pixelcam.export.seeds import read_seeds
from pixelcam.export.sidecar import SeedImage, SeedSidecar


@pytest.fixture
def first(localize):
    """A map of an image called slide.png."""
    rng = np.random.default_rng(0)
    return localize(
        rng.random((40, 30)), image_name="slide", image_file="slide.png", fingerprint="a1" * 32, mpp=0.5
    )


@pytest.fixture
def second(first):
    """A map of another image of that name and size."""
    return dataclasses.replace(first, fingerprint="b2" * 32, foreground=1 - first.foreground)


def sidecar_of(found, reviewer="", source="", digest=""):
    image = SeedImage("slide", f"/images/{found.image_file}", "", found.fingerprint, 30, 40, 0.5)
    return SeedSidecar(image, reviewer=reviewer, source=source, source_sha256=digest)


def content(folder):
    """Return what is in a folder, hidden files and files of folders included."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def strangers_file(path, found):
    """Put a file there as another program would write it, of the very content that would be written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix in (".json", ".geojson"):
        path.write_text(json.dumps({"type": "FeatureCollection", "features": [], "classes": {}, "fg": {}}))
    elif path.suffix == ".png":
        Image.fromarray((255 * found.foreground).astype(np.uint8)).save(path)
    elif path.suffix == ".tif":
        tifffile.imwrite(path, found.foreground, ome=True, metadata={"axes": "YX"})
    elif path.suffix == ".npz":
        np.savez(path, foreground=found.foreground, labels=np.zeros((40, 30), np.uint8))
    elif path.suffix == ".zarr":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            group = zarr.open_group(path, mode="w", zarr_format=2)
            group.create_array("0", data=found.foreground)
            group.attrs.put({"multiscales": [{"datasets": [{"path": "0"}]}]})
    else:
        pydicom = pytest.importorskip("pydicom")
        dataset = pydicom.Dataset()
        dataset.PatientID = "mine"
        dataset.file_meta = pydicom.dataset.FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
        dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = (
            pydicom.uid.SecondaryCaptureImageStorage
        )
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = pydicom.uid.generate_uid()
        dataset.save_as(path, enforce_file_format=True)


@pytest.fixture(params=RESULT_FORMATS)
def form(request):
    if request.param == "dicom-seg":
        pytest.importorskip("highdicom")
    return request.param


@pytest.fixture(params=SEED_FORMATS)
def seed_form(request):
    if request.param == "dicom-seg":
        pytest.importorskip("highdicom")
    return request.param


def test_every_ending_of_a_format_is_known():
    assert {end for writers in RESULT_WRITERS.values() for end, _ in writers} | {".json"} == set(
        RESULT_ENDINGS
    )


def test_a_file_of_ours_says_of_which_image_it_is(first, second, form, tmp_path):
    for path in export_result(tmp_path, first, [form], 0.5):
        mark = read_mark(path)
        assert mark["image"]["file"] == "slide.png"
        assert mark["image"]["fingerprint"] == first.fingerprint
        assert is_same_work(mark, read_mark(export_result(tmp_path, first, ["npz"])[0]))
        other = read_mark(export_result(tmp_path / "other", second, ["npz"])[0])
        assert not is_same_work(mark, other)


def test_results_of_one_image_are_replaced(first, form, tmp_path):
    before = export_result(tmp_path, first, [form], 0.5)
    newer = dataclasses.replace(first, foreground=first.foreground**2, model=first.model, threshold=0.4)
    assert export_result(tmp_path, newer, [form], 0.3) == before
    assert {path.name for path in tmp_path.iterdir()} == {path.name for path in before}


@pytest.mark.parametrize("broken", [False, True])
def test_results_never_replace_a_strangers_file(first, form, tmp_path, broken):
    """Neither a sound one nor one that cannot be read."""
    names = [f"slide{ending}" for ending, _ in RESULT_WRITERS[form]]
    for name in names:
        strangers_file(tmp_path / name, first)
        if broken and (tmp_path / name).is_file():
            (tmp_path / name).write_bytes(b"{\x00\xff" * 40)
    before = content(tmp_path)
    for _ in range(2):  # the same command again replaces its own
        written = export_result(tmp_path, first, [form])
        assert [path.name for path in written] == [name.replace("slide", "slide-a1a1a1a1") for name in names]
    assert before.items() <= content(tmp_path).items()
    for name, path in zip(names, written, strict=True):
        for ending, write in RESULT_WRITERS[form]:
            if name.endswith(ending):
                with pytest.raises(OutputError, match="PixelCAM did not write it"):
                    write(tmp_path / name, first, 0.5)
        assert read_mark(path) is not None
    assert before.items() <= content(tmp_path).items()


def test_results_of_two_images_of_one_name_are_kept_apart(first, second, form, tmp_path):
    one = export_result(tmp_path, first, [form])
    before = content(tmp_path)
    two = export_result(tmp_path, second, [form])
    assert not set(one) & set(two)
    assert before.items() <= content(tmp_path).items()
    after = content(tmp_path)
    for path in one:
        for ending, write in RESULT_WRITERS[form]:
            if path.name.endswith(ending):
                with pytest.raises(OutputError, match=r"another image called slide\.png"):
                    write(path, second, 0.5)
    assert content(tmp_path) == after
    assert export_result(tmp_path, first, [form]) == one
    assert export_result(tmp_path, second, [form]) == two


@pytest.mark.parametrize("name", ["slide.tif", "Slide.png"])
def test_an_image_with_another_ending_or_capitals_is_another_image(first, tmp_path, name):
    """Also a copy with the very same bytes."""
    copy = dataclasses.replace(first, image_name=name.split(".")[0], image_file=name)
    written = [*export_localization(first, tmp_path).values(), *export_localization(copy, tmp_path).values()]
    assert len({path.name.casefold() for path in written}) == 6
    assert [read_localization(path).image_file for path in sorted(tmp_path.glob("*.json"))].count(name) == 1


def test_the_three_files_of_a_result_stay_together_where_one_name_is_taken(first, tmp_path):
    (tmp_path / "slide.geojson").write_text('{"type": "FeatureCollection", "features": []}')
    before = content(tmp_path)
    for _ in range(2):
        written = export_localization(first, tmp_path)
    assert {path.name for path in written.values()} == {
        "slide-a1a1a1a1.json",
        "slide-a1a1a1a1.geojson",
        "slide-a1a1a1a1.fg.ome.tif",
    }
    assert before.items() <= content(tmp_path).items()
    assert read_localization(written["summary"]).image_name == "slide"


def test_a_link_is_not_taken_for_a_free_name(first, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "slide.json").symlink_to(tmp_path / "elsewhere" / "precious")
    written = export_localization(first, tmp_path / "out")
    assert written["summary"].name == "slide-a1a1a1a1.json"
    assert (tmp_path / "out" / "slide.json").is_symlink()


def test_where_no_name_is_free_that_is_said(first, tmp_path):
    for name in ("slide", "slide-a1a1a1a1"):
        (tmp_path / f"{name}.json").write_text("{}")
    third = export_localization(first, tmp_path)["summary"]
    third.write_text("changed by hand")
    with pytest.raises(OutputError, match="choose another folder"):
        export_localization(first, tmp_path)
    assert third.read_text() == "changed by hand"


def test_a_map_and_a_summary_of_two_runs_are_told(first, tmp_path):
    """As a kill between two renames would leave them."""
    old = export_localization(first, tmp_path / "old")
    new = export_localization(dataclasses.replace(first, foreground=first.foreground**2), tmp_path / "new")
    shutil.copy(new["foreground"], old["foreground"])
    from pixelcam.errors import ImageError

    with pytest.raises(ImageError, match="of two different runs"):
        read_localization(old["summary"])


def test_seeds_of_two_reviewers_of_one_image_are_kept_apart(first, seed_form, tmp_path):
    labels = np.zeros((40, 30), np.uint8)
    labels[:5] = 2
    ann, bob = sidecar_of(first, "Ann"), sidecar_of(first, "Bob")
    one = export_seeds(tmp_path, labels, ann, [seed_form])
    before = content(tmp_path)
    two = export_seeds(tmp_path, labels[::-1], bob, [seed_form])
    assert not set(one) & set(two)
    assert before.items() <= content(tmp_path).items()
    assert all(path.name.startswith("slide-Bob.") for path in two)
    assert export_seeds(tmp_path, labels, ann, [seed_form]) == one
    assert export_seeds(tmp_path, labels, bob, [seed_form]) == two


def test_seeds_from_two_sources_are_kept_apart(first, seed_form, tmp_path):
    labels = np.zeros((40, 30), np.uint8)
    written = [
        export_seeds(tmp_path, labels, sidecar_of(first, "", source, digest), [seed_form])
        for source, digest in (("/x/ann.json", "1"), ("/x/bob.json", "2"), ("/y/bob.json", "3"))
    ]
    assert len({path for each in written for path in each}) == 3 * len(written[0])
    again = export_seeds(
        tmp_path, labels, sidecar_of(first, "", "/x/bob.json", "corrected since"), [seed_form]
    )
    assert again == written[1]
    moved = export_seeds(tmp_path, labels, sidecar_of(first, "", "/moved/ann.json", "1"), [seed_form])
    assert moved == written[0]


def test_seeds_never_replace_a_strangers_file(first, seed_form, tmp_path):
    labels = np.zeros((40, 30), np.uint8)
    written = export_seeds(tmp_path / "trial", labels, sidecar_of(first), [seed_form])
    for path in written:
        strangers_file(tmp_path / "out" / path.name, first)
    before = content(tmp_path / "out")
    for _ in range(2):
        other = export_seeds(tmp_path / "out", labels, sidecar_of(first), [seed_form])
        assert not {path.name for path in other} & {path.name for path in written}
        assert before.items() <= content(tmp_path / "out").items()


def test_a_strangers_annotations_beside_our_seeds_stay(first, tmp_path):
    """Our sidecar has the name, and a file of another format that has it too is a person's own."""
    labels = np.zeros((40, 30), np.uint8)
    export_seeds(tmp_path, labels, sidecar_of(first), ["png"])
    own = tmp_path / "slide.seeds.geojson"
    own.write_text('{"type": "FeatureCollection", "features": []}')
    written = export_seeds(tmp_path, labels, sidecar_of(first), ["png", "geojson"])
    assert own not in written
    assert own.read_text() == '{"type": "FeatureCollection", "features": []}'


def test_a_picture_of_seeds_that_somebody_drew_over_stays(first, tmp_path):
    labels = np.zeros((40, 30), np.uint8)
    png, _ = export_seeds(tmp_path, labels, sidecar_of(first), ["png"])
    Image.fromarray(labels + 2).save(png)  # as a drawing program saves it: without our text
    drawn = png.read_bytes()
    export_seeds(tmp_path, labels, sidecar_of(first), ["png"])
    assert png.read_bytes() == drawn


def test_seeds_of_an_earlier_version_are_replaced(first, tmp_path):
    """Its arrays had no mark, and its sidecar no source: the sidecar vouches for them."""
    image_path = tmp_path / "images" / "slide.png"
    image_path.parent.mkdir()
    Image.fromarray(np.zeros((40, 30, 3), np.uint8)).save(image_path)
    labels = np.ones((40, 30), np.uint8)
    out = tmp_path / "seeds"
    from pixelcam.slides import hash_file

    image = SeedImage("slide", str(image_path), "", hash_file(image_path), 30, 40, 0.5)
    export_seeds(out, labels, SeedSidecar(image, reviewer="Ann"), ["png"])
    Image.fromarray(labels).save(out / "slide.seeds.png")
    described = json.loads((out / "slide.seeds.json").read_text())
    del described["source"], described["source_sha256"]
    (out / "slide.seeds.json").write_text(json.dumps(described))
    before = content(out)
    assert len(read_seeds(out)) == 1
    export_seeds(out, labels, SeedSidecar(image, reviewer="Ann"), ["png"])
    assert content(out).keys() == before.keys()
    export_seeds(out, labels, SeedSidecar(image, reviewer="Bob"), ["png"])
    assert len(read_seeds(out)) == 2


def test_a_long_name_is_cut_and_two_that_begin_alike_are_kept_apart(first, tmp_path):
    names = ["x" * 240 + end for end in ("one", "two")]
    found = [dataclasses.replace(first, image_name=name, image_file="") for name in names]
    written = [export_result(tmp_path, each, RESULT_FORMATS[:-1]) for each in found]
    assert len({path for each in written for path in each}) == 2 * len(written[0])
    assert len(ENDINGS) > 0


def test_a_name_that_is_not_utf_8_is_written_and_read_back(first, tmp_path):
    name = b"slide-\xff\xe9".decode("utf-8", "surrogateescape")
    found = dataclasses.replace(first, image_name=name, image_file=f"{name}.png")
    written = export_localization(found, tmp_path)
    assert read_localization(written["summary"]).image_file == f"{name}.png"
    forms = [form for form in RESULT_FORMATS if form != "dicom-seg"]
    for path in export_result(tmp_path, found, forms):
        assert read_mark(path)["image"]["file"] == f"{name}.png"
