"""What the trials are made of: small files of every kind that is read, and the commands that read them."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image

from pixelcam.events import Event

SIZE = (48, 80)
MAPS = ("--map", "foreground=foreground", "--map", "background=background")


@dataclass(frozen=True)
class Reader:
    """A way in.

    Attributes
    ----------
    family
        The row of the table.
    template
        The folder, within that of all templates, of which each trial gets a copy.
    targets
        Patterns of the files in it that may be damaged.
    commands
        What reads them, each a list of arguments in which ``{}`` is the copy, ``{file}`` the damaged file,
        and ``{model}`` a checkpoint; one that begins with ":" names a function of this module.
    weight
        How often it is chosen.
    all
        Whether each of the files is damaged in each trial, and read by the one command.
    """

    family: str
    template: str
    targets: tuple[str, ...]
    commands: tuple[tuple[str, ...], ...]
    weight: int = 10
    all: bool = False


_LOCALIZE = ("localize", "{file}", "--model", "{model}", "--device", "cpu", "--out", "{}/out")
_NEW = ("review", "new", "{}/new", "{file}", "--reviewer", "Ann")
_IMPORT = ("import", "{file}", "--image", "{}/slide.png", "--out", "{}/out", *MAPS)
_AS = ("--format", "geojson", "--format", "coco", "--format", "png", "--format", "npz")
_EVALUATE = ("evaluate", "--model", "{model}", "--device", "cpu", "--root", "{}", "--split", "test")
_PROJECT = ("{}/project", "--reviewer", "Ann")

_PICTURES = ("*.png", "*.jpg", "*.webp", "*.bmp", "*.gif", "*.jp2")
_SLIDES = ("*.tif", "*.svs")
_ALL = ("localize", "{}", "--model", "{model}", "--device", "cpu", "--out", "{}/out")
READERS = (
    Reader("images", "images", _PICTURES, (_ALL, ("review", "new", "{}/new", "{}", "--reviewer", "Ann")),
    30, True),
    Reader("images", "images", _PICTURES, (_LOCALIZE, _NEW), 2),
    Reader("images", "masked", ("slide.png",), (("import", "{}/mask.png", "--image", "{file}", "--out",
    "{}/o"),), 4),
    Reader("TIFF, SVS", "tiffs", _SLIDES, (_ALL, ("review", "new", "{}/new", "{}", "--reviewer", "Ann")),
    30, True),
    Reader("TIFF, SVS", "tiffs", _SLIDES, (_LOCALIZE, (":open_layers", "{file}")), 5),
    Reader("DICOM", "dicom", ("*.dcm",), (_LOCALIZE, (":open_layers", "{file}"))),
    Reader("label images", "labels", ("mask.*",), (_IMPORT,), 20),
    Reader("label images", "labels-zarr", ("mask.zarr/**/*",), (("import", "{}/mask.zarr", *_IMPORT[2:]),)),
    Reader("GeoJSON, JSON", "annotations", ("notes*",), (_IMPORT,), 20),
    Reader(
        "GeoJSON, JSON", "results", ("slide.json", "slide.geojson", "slide.fg.ome.tif"),
        (("export", "{}", "--out", "{}/out", *_AS), ("export", "{}/slide.json", "--out", "{}/out", *_AS)), 15,
    ),
    Reader("sidecars", "seeds", ("slide.seeds.json", "slide.seeds.png"), (
        ("export", "{}", "--out", "{}/out", *_AS),
        (":find_kept_seeds", "{}"),
    ), 20),
    Reader("sidecars", "seeds", ("slide.seeds.json", "slide.seeds.png"), (
        ("finetune", "--seeds", "{}", "--out", "{}/run", "--model", "{model}", "--epochs", "1", "--steps",
        "1",
         "--crop", "32", "--batch", "1", "--device", "cpu"),
    ), 2),
    Reader("checkpoints", "models", ("models/*.safetensors",), ((":list_models", "{}"),), 20, True),
    Reader("checkpoints", "checkpoints", ("m.safetensors",), (
        ("models", "info", "{file}"),
        ("localize", "{}/slide.png", "--model", "{file}", "--device", "cpu", "--out", "{}/out"),
        ("models", "add", "{file}", "--name", "added"),
    ), 15),
    Reader("tables", "labelled", ("labels.csv", "dataset.yaml"), ((*_EVALUATE, "--dataset", "folder"),), 4),
    Reader("tables", "folders", ("dataset.yaml", "masks/**/*.png", "test/*/*.png"), ((*_EVALUATE,
    "--dataset", "folder"),), 3),
    Reader("tables", "ebhi", ("index.csv",), ((*_EVALUATE, "--dataset", "ebhi"),), 3),
    Reader("tables", "glas", ("folds/**/*.txt",), ((*_EVALUATE, "--dataset", "glas", "--fold", "0",
    "--scheme", "official"),), 3),
    Reader("settings", "settings", ("train.yaml",), (("train", "--config", "{file}", "--out", "{}/run"),)),
    Reader("settings", "settings", ("finetune.yaml",), (("finetune", "--config", "{file}", "--out",
    "{}/run"),)),
    Reader("run folders", "run", ("config.json", "job.json", "events.jsonl", "env.json", "checkpoints/*"), (
        (":look_at_run", "{}"),
        ("finetune", "--out", "{}"),
    ), 4),
    Reader("run folders", "begun", ("config.json", "job.json", "data.json", "state/*"), (("train", "--out",
    "{}"),), 1),
    Reader("projects", "project", ("project/project.sqlite",), (
        ("review", "list", *_PROJECT),
        ("review", "export", *_PROJECT, "--everyone", "--results", "--out", "{}/out"),
        ("review", "report", "{}/project", "--out", "{}/report.html"),
        ("review", "history", "{}/project", "slide"),
        ("review", "restore", "{}/project", "slide", "1", "--reviewer", "Ann"),
        ("review", "merge", "{}/both", "{}/project", "--reviewer", "Ann"),
        ("review", "localize", *_PROJECT, "--model", "{model}", "--device", "cpu", "--again"),
        ("review", "rescue", "{}/project"),
        (":look_at_project", "{}/project"),
    ), 25),
    Reader("files of a project", "project", ("project/images/*/**/*",), (
        ("review", "export", *_PROJECT, "--everyone", "--results", "--out", "{}/out"),
        ("review", "report", "{}/project", "--out", "{}/report.html"),
        ("review", "merge", "{}/both", "{}/project", "--reviewer", "Ann"),
        (":look_at_project", "{}/project"),
        (":work_in_project", "{}/project"),
    ), 12),
)  # fmt: skip


# What the dock does with a file, where no command does the same.


def open_layers(path: str) -> None:
    """Open an image as napari's reader does, and look at its pixels."""
    from napari_pixelcam.reader import read_slides

    for data, _, _ in read_slides(path):
        levels = data if isinstance(data, list) else [data]
        np.asarray(levels[-1][:64, :64])


def find_kept_seeds(folder: str) -> None:
    """Look for autosaved seeds, as the dock does when an image is opened."""
    from napari_pixelcam.seedfiles import find_kept

    find_kept(Path(folder), "0" * 64)


def list_models(home: str) -> int:
    """List the models of a user's folder."""
    from tests.reliability.server import command

    os.environ["PIXELCAM_HOME"] = home
    return command("models", "list", "--json")


def look_at_run(folder: str) -> None:
    """Ask a run folder all that the dock asks it."""
    from pixelcam.jobs import Run

    run = Run.open(folder)
    _ = run.state, run.has_ended, run.checkpoint(), run.error_message(), run.arguments, run.events()


def look_at_project(folder: str) -> None:
    """Read all that the dock reads of a project."""
    from pixelcam.review import Project

    with Project.open(folder, reviewer="Ann") as project:
        _ = project.models(), project.runs(), project.events(), project.reviewers(), project.missing()
        for entry in project.images():
            _ = entry.predicted, entry.confidence, project.seed_grid(entry.id), project.thumbnail(entry.id)
            for reviewer in project.reviewers():
                project.seeds(entry.id, reviewer)
            for save in project.history(entry.id):
                project.seeds_at(entry.id, save.seq)
            _ = project.localization(entry.id), project.first_map(entry.id), project.seed_state(entry.id)


def work_in_project(folder: str) -> None:
    """Paint and judge."""
    from pixelcam.review import Project

    with Project.open(folder, reviewer="Ann") as project:
        for entry in project.images():
            project.write_seeds(entry.id, (0, 0, 4, 4), np.full((4, 4), 2, np.uint8))
            project.set_note(entry.id, "seen")
            project.seeds(entry.id)


# The templates.


def tissue(seed: int = 0, size: tuple[int, int] = SIZE) -> np.ndarray:
    """Return a picture (h, w, 3) of uint8 whose neighbouring pixels are alike."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(40, 255, (size[0] // 8, size[1] // 8, 3), dtype=np.uint8)
    return np.ascontiguousarray(np.kron(coarse, np.ones((8, 8, 1), np.uint8)))


def make_model(path: str, seed: int = 0) -> None:
    """Write a tiny checkpoint."""
    import torch

    from pixelcam.model import ModelCard, save_checkpoint

    torch.manual_seed(seed)
    card = ModelCard(encoder="test_efficientnet", classes=("benign", "malignant"), input_size=64, name="tiny")
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    save_checkpoint(Path(path), card.build(), card)


def make_templates(folder: str) -> None:
    """Write one folder for each template, and a model beside them."""
    root = Path(folder)
    make_model(str(root / "tiny.safetensors"))
    make_model(str(root / "other.safetensors"), 1)
    for make in (_images, _tiffs, _dicom, _labels, _annotations, _checkpoints, _tables, _settings, _project):
        make(root)
    _results(root)
    _seeds(root)
    _runs(root)


def _place(root: Path, name: str) -> Path:
    (root / name).mkdir(parents=True, exist_ok=True)
    return root / name


def _slide(folder: Path) -> Path:
    path = folder / "slide.png"
    Image.fromarray(tissue()).save(path)
    return path


def _images(root: Path) -> None:
    at, picture = _place(root, "images"), Image.fromarray(tissue())
    picture.save(at / "rgb.png")
    picture.convert("L").save(at / "gray.png")
    picture.convert("RGBA").save(at / "rgba.png")
    picture.quantize(16).save(at / "palette.png", transparency=3)
    picture.convert("1").save(at / "bilevel.png")
    Image.fromarray(tissue()[..., 0].astype(np.uint16) * 257).save(at / "deep.png")
    picture.save(at / "photo.jpg", exif=_exif(picture))
    picture.convert("CMYK").save(at / "cmyk.jpg")
    picture.save(at / "progressive.jpg", progressive=True)
    picture.save(at / "lossy.webp")
    picture.save(at / "lossless.webp", lossless=True)
    picture.save(at / "plain.bmp")
    picture.quantize(16).save(at / "palette.bmp")
    picture.save(at / "plain.gif")
    picture.save(at / "plain.jp2")
    masked = _place(root, "masked")
    _slide(masked)
    Image.fromarray((np.arange(SIZE[0] * SIZE[1]).reshape(SIZE) % 3).astype(np.uint8)).save(
        masked / "mask.png"
    )


def _exif(picture: Image.Image) -> Image.Exif:
    exif = picture.getexif()
    exif[0x0112] = 6
    return exif


def _tiffs(root: Path) -> None:
    at, rgb = _place(root, "tiffs"), tissue(size=(64, 96))
    gray = rgb[..., 0]
    tiled = {"tile": (16, 16), "photometric": "rgb"}
    tifffile.imwrite(at / "strips.tif", rgb, photometric="rgb")
    tifffile.imwrite(at / "deflate.tif", rgb, compression="zlib", predictor=True, **tiled)
    tifffile.imwrite(at / "lzw.tif", rgb, compression="lzw", **tiled)
    tifffile.imwrite(at / "jpeg.tif", rgb, compression="jpeg", **tiled)
    tifffile.imwrite(at / "jp2k.tif", rgb, compression="jpeg2000", **tiled)
    tifffile.imwrite(at / "zstd.tif", rgb, compression="zstd", bigtiff=True, **tiled)
    tifffile.imwrite(at / "planar.tif", np.moveaxis(rgb, -1, 0), photometric="rgb", planarconfig="separate")
    tifffile.imwrite(at / "big-endian.tif", rgb, photometric="rgb", byteorder=">")
    tifffile.imwrite(at / "deep.tif", rgb.astype(np.uint16) * 257, photometric="rgb")
    tifffile.imwrite(at / "float.tif", gray.astype(np.float32) / 255)
    tifffile.imwrite(at / "white.tif", gray, photometric="miniswhite")
    tifffile.imwrite(at / "imagej.tif", gray, imagej=True, resolution=(2.0, 2.0), metadata={"unit": "um"})
    words = "Aperio Image Library v11.2.1 \r\n96x64 [0,0 96x64] (16x16) JPEG/RGB Q=70|AppMag = 20|MPP = 0.25"
    with tifffile.TiffWriter(at / "aperio.svs") as writer:
        writer.write(rgb, compression="jpeg", description=words, metadata=None, **tiled)
        writer.write(rgb[::2, ::2], photometric="rgb", description="thumbnail", metadata=None)
        writer.write(rgb[::4, ::4], description=words, metadata=None, subfiletype=1, **tiled)
    with tifffile.TiffWriter(at / "pyramid.ome.tif") as writer:
        sizes = {"PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5, "PhysicalSizeXUnit": "µm"}
        writer.write(rgb, subifds=1, metadata={"axes": "YXS", **sizes}, **tiled)
        writer.write(rgb[::2, ::2], subfiletype=1, **tiled)


def _dicom(root: Path) -> None:
    at = _place(root, "dicom")
    try:
        import pydicom
        from pydicom.dataset import FileMetaDataset
        from pydicom.uid import ExplicitVRLittleEndian, VLWholeSlideMicroscopyImageStorage, generate_uid
    except ImportError:
        (at / "slide.dcm").write_bytes(b"\0" * 128 + b"DICM" + b"\0" * 500)
        return
    pixels = tissue(size=(32, 32))
    found = pydicom.Dataset()
    found.file_meta = FileMetaDataset()
    found.file_meta.MediaStorageSOPClassUID = found.SOPClassUID = VLWholeSlideMicroscopyImageStorage
    found.file_meta.MediaStorageSOPInstanceUID = found.SOPInstanceUID = generate_uid()
    found.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    found.SeriesInstanceUID, found.StudyInstanceUID, found.Modality = generate_uid(), generate_uid(), "SM"
    found.ImageType = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
    found.Rows, found.Columns, found.NumberOfFrames, found.SamplesPerPixel = 32, 32, 1, 3
    found.TotalPixelMatrixRows = found.TotalPixelMatrixColumns = 32
    found.PhotometricInterpretation, found.PlanarConfiguration, found.PixelRepresentation = "RGB", 0, 0
    found.BitsAllocated = found.BitsStored = 8
    found.HighBit, found.PixelSpacing, found.PixelData = 7, [0.00025, 0.00025], pixels.tobytes()
    found.save_as(at / "slide.dcm", enforce_file_format=True)


def _labels(root: Path) -> None:
    import zarr

    labels = (np.arange(SIZE[0] * SIZE[1]).reshape(SIZE) // 7 % 3).astype(np.uint8)
    at = _place(root, "labels")
    _slide(at)
    Image.fromarray(labels).save(at / "mask.png")
    palette = Image.fromarray(labels, mode="P")
    palette.putpalette([255, 255, 255, 200, 0, 0] + [0] * 762)
    palette.save(at / "mask.palette.png")
    tifffile.imwrite(at / "mask.tif", labels)
    tifffile.imwrite(at / "mask.deep.tif", labels.astype(np.uint16), compression="zlib")
    np.savez_compressed(at / "mask.npz", labels=labels)
    at = _place(root, "labels-zarr")
    _slide(at)
    group = zarr.open_group(at / "mask.zarr", mode="w", zarr_format=2)
    group.create_array("0", data=labels, chunks=(32, 32))
    axes = [{"name": name, "type": "space"} for name in "yx"]
    scale = [{"path": "0", "coordinateTransformations": [{"type": "scale", "scale": [1.0, 1.0]}]}]
    group.attrs["multiscales"] = [{"version": "0.4", "axes": axes, "datasets": scale}]
    group.attrs["image-label"] = {"version": "0.4"}


def _annotations(root: Path) -> None:
    at = _place(root, "annotations")
    _slide(at)

    def feature(x: int, name: str) -> dict[str, object]:
        ring = [[x, 4], [x + 20, 4], [x + 20, 30], [x, 30], [x, 4]]
        hole = [[x + 4, 8], [x + 4, 12], [x + 8, 12], [x + 4, 8]]
        shape = {"type": "Polygon", "coordinates": [ring, hole]}
        properties = {"objectType": "annotation", "classification": {"name": name, "color": [200, 0, 0]}}
        return {"type": "Feature", "id": f"{x}", "geometry": shape, "properties": properties}

    features = [feature(4, "foreground"), feature(40, "background")]
    several = [[[[1, 1], [3, 1], [3, 3], [1, 1]]], [[[9, 9], [12, 9], [12, 12], [9, 9]]]]
    features.append(
        {**feature(4, "foreground"), "geometry": {"type": "MultiPolygon", "coordinates": several}}
    )
    text = json.dumps({"type": "FeatureCollection", "features": features})
    (at / "notes.geojson").write_text(text)
    (at / "notes.geojson.gz").write_bytes(gzip.compress(text.encode()))
    elements = [
        {"type": "polyline", "closed": True, "group": "foreground", "points": [[4, 4, 0], [30, 4, 0], [30,
        30, 0]]},
        {"type": "rectangle", "center": [50, 20, 0], "width": 12, "height": 8, "rotation": 0.2,
        "group": "background"},
        {"type": "ellipse", "center": [60, 30, 0], "width": 12, "height": 8, "rotation": 0.2,
        "group": "background"},
        {"type": "circle", "center": [20, 36, 0], "radius": 6, "group": "foreground"},
        {"type": "point", "center": [2, 2, 0], "label": {"value": "foreground"}},
    ]  # fmt: skip
    (at / "notes.json").write_text(json.dumps({"annotation": {"name": "a", "elements": elements}}))


def _checkpoints(root: Path) -> None:
    at = _place(root, "checkpoints")
    _slide(at)
    shutil.copyfile(root / "tiny.safetensors", at / "m.safetensors")
    several = _place(root, "models/models")
    for number in range(8):
        shutil.copyfile(root / "tiny.safetensors", several / f"m{number}.safetensors")


def _tables(root: Path) -> None:
    from tests.synthetic import write_ebhi_like, write_folder, write_glas_like, write_labelled

    labelled = write_labelled(_place(root, "labelled"), number=8, size=32, split=True)
    table = (labelled / "labels.csv").read_text().replace(",val", ",test")
    (labelled / "labels.csv").write_text(table)
    (labelled / "dataset.yaml").write_text("mpp: 0.5\n")
    write_folder(_place(root, "folders"), per_class=2, size=32, divided=True)
    (root / "folders" / "dataset.yaml").write_text("regionless: []\nmpp: 0.5\n")
    write_ebhi_like(_place(root, "ebhi"), size=32)
    write_glas_like(_place(root, "glas"), size=32)


def _settings(root: Path) -> None:
    at = _place(root, "settings")
    (at / "train.yaml").write_text(
        "dataset: folder\nroot: nowhere\nencoder: test_efficientnet\ninput_size: 64\nlevels: [1, 2, 3]\n"
        "teacher: layercam\nteacher_scales: [1.0, 1.5]\nepochs_classifier: 1\nepochs_joint: 1\n"
        "rate_joint: 0.01\nname: mine\nmpp: 0.5\npretrained: false\nseed: 3\n"
    )
    (at / "finetune.yaml").write_text(
        "seeds: nowhere\nmodel: starter\nepochs: 2\nrate: 0.01\nname: mine\nseed: 1\nlabel_weight: 0.2\n"
    )


def make_project(folder: Path, images: list[Path]) -> None:
    """Make a project of two reviewers who have painted, judged and localized."""
    from pixelcam.localize import Localization, ModelRef
    from pixelcam.review import Project

    for reviewer in ("Ann", "Bob"):
        made = (
            Project.create(folder, reviewer=reviewer)
            if reviewer == "Ann"
            else Project.open(folder, reviewer=reviewer)
        )
        with made as project:
            for entry in project.add_images(images):
                shape = (entry.height, entry.width)
                gradient = np.linspace(0, 1, shape[0] * shape[1], dtype=np.float32).reshape(shape)
                classes = {"benign": 0.25, "malignant": 0.75}
                found = Localization(
                    entry.name,
                    entry.width,
                    entry.height,
                    0.5,
                    classes,
                    gradient,
                    0.5,
                    ModelRef("tiny", "ab" * 32),
                )
                project.keep_localization(entry.id, found, 0.3)
                for value in (1, 2):
                    box = (4 * value, 4, 4 * value + 8, 20)
                    project.write_seeds(entry.id, box, np.full((8, 16), value, np.uint8))
                project.set_status(entry.id, "done")
                project.set_label(entry.id, "benign")
                project.set_note(entry.id, "a note")
                project.set_threshold(entry.id, 0.4)
                project.add_seconds(entry.id, 12.5)
            project.register_run("run", "finetune", "cd" * 32)


def _project(root: Path) -> None:
    at = _place(root, "project")
    other = at / "other.png"
    Image.fromarray(tissue(1)).save(other)
    make_project(at / "project", [_slide(at), other])
    shutil.rmtree(at / "project" / "locks", ignore_errors=True)


def _run(*arguments: str | Path) -> None:
    from tests.reliability.server import command

    assert command(*map(str, arguments)) == 0, arguments


def _results(root: Path) -> None:
    at = _place(root, "results")
    model = root / "tiny.safetensors"
    _run("localize", _slide(at), "--model", model, "--device", "cpu", "--out", at)


def _seeds(root: Path) -> None:
    at = _place(root, "seeds")
    _slide(at)
    _run("import", root / "annotations" / "notes.geojson", "--image", at / "slide.png", "--out", at, *MAPS)


def _runs(root: Path) -> None:
    at = _place(root, "run")
    done = finetuning(root / "seeds", root / "tiny.safetensors", at)
    _run(*done)
    _interrupt(training(root / "folders", root / "begun"), root / "begun")


def _interrupt(arguments: list[str], run: Path) -> None:
    """Leave the folder of a training that was interrupted in its last epoch, and can go on."""
    from pixelcam.jobs import host_job
    from pixelcam.training import TrainSettings, train

    names = {"dataset": "folder", "encoder": "test_efficientnet", "teacher": "layercam", "device": "cpu"}
    sizes = {
        "input_size": 64,
        "batch": 4,
        "epochs_classifier": 1,
        "epochs_joint": 2,
        "teacher_scales": (1.0,),
    }
    settings = TrainSettings.from_dict(
        {**names, **sizes, "root": run.parent / "folders", "teacher_flips": False}
    )

    try:
        with host_job(run, tuple(arguments)) as job:

            def watch(event: Event) -> None:
                job.emit(event)
                if event.stage == "joint" and event.epoch == 1:
                    raise KeyboardInterrupt

            train(settings, job.folder, on_event=watch)
    except KeyboardInterrupt:
        return


def training(data: Path, run: Path) -> list[str]:
    """Return the command of a training that takes about two seconds."""
    sizes = ("--input-size", "64", "--batch", "4", "--epochs-classifier", "1", "--epochs-joint", "2")
    teacher = ("--teacher", "layercam", "--teacher-scales", "1", "--no-teacher-flips")
    names = ("--dataset", "folder", "--root", str(data), "--encoder", "test_efficientnet", "--device", "cpu")
    return ["train", *names, *sizes, *teacher, "--out", str(run)]


def finetuning(seeds: Path, model: Path, run: Path) -> list[str]:
    """Return the command of a fine-tuning that takes about a second."""
    sizes = ("--epochs", "2", "--steps", "1", "--crop", "32", "--batch", "1", "--device", "cpu")
    return ["finetune", "--seeds", str(seeds), "--model", str(model), "--out", str(run), *sizes]


def files_of(folder: Path, patterns: tuple[str, ...]) -> list[Path]:
    """Return the files that may be damaged, sorted, relative to their folder."""

    def found() -> Iterator[Path]:
        for pattern in patterns:
            yield from (path for path in folder.glob(pattern) if path.is_file())

    return sorted({path.relative_to(folder) for path in found()})


if __name__ == "__main__":
    from tests.reliability import cases

    cases.make_templates(sys.argv[1])
    print(subprocess.run(["du", "-sh", *Path(sys.argv[1]).iterdir()], capture_output=True, text=True).stdout)
