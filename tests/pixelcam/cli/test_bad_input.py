"""Unusual and damaged images and models: each works or ends with one clear sentence."""

import io
import json
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

PIXELS = np.random.default_rng(1).integers(0, 255, (40, 60, 3), dtype=np.uint8)


def save(image, path: Path, **options) -> Path:
    image.save(path, **options)
    return path


def rgb() -> Image.Image:
    return Image.fromarray(PIXELS)


def tiff(path: Path, array) -> Path:
    tifffile.imwrite(path, array, photometric="rgb" if array.shape[-1] == 3 else "minisblack")
    return path


UNUSUAL = {
    "gray": lambda folder: save(rgb().convert("L"), folder / "gray.png"),
    "gray-alpha": lambda folder: save(rgb().convert("LA"), folder / "la.png"),
    "rgba": lambda folder: save(rgb().convert("RGBA"), folder / "rgba.png"),
    "16-bit": lambda folder: tiff(folder / "deep.tif", PIXELS.astype(np.uint16) * 257),
    "cmyk": lambda folder: save(rgb().convert("CMYK"), folder / "cmyk.jpg"),
    "palette": lambda folder: save(rgb().quantize(16), folder / "palette.png"),
    "bilevel": lambda folder: save(rgb().convert("1"), folder / "bilevel.png"),
    "wrong suffix": lambda folder: save(rgb(), folder / "really_a.jpg", format="PNG"),
    "no suffix": lambda folder: save(rgb(), folder / "slide", format="PNG"),
    "odd name": lambda folder: save(rgb(), folder / "a (1) [ä] %s.v2.png"),
    "one pixel": lambda folder: save(rgb().resize((1, 1)), folder / "dot.png"),
    "one colour": lambda folder: save(Image.new("RGB", (64, 64), "white"), folder / "white.png"),
    "7x20000": lambda folder: save(rgb().resize((7, 20000)), folder / "strip.png"),
    "20000x7": lambda folder: save(rgb().resize((20000, 7)), folder / "belt.png"),
}


def empty(folder):
    path = folder / "empty.png"
    path.write_bytes(b"")
    return path


def truncated(folder):
    path = save(rgb(), folder / "truncated.png")
    path.write_bytes(path.read_bytes()[:500])
    return path


def truncated_jpeg(folder):
    path = save(rgb(), folder / "cut.jpg")
    path.write_bytes(path.read_bytes()[:700])
    return path


def truncated_tiff(folder):
    path = tiff(folder / "cut.tif", np.tile(PIXELS, (20, 20, 1)))
    path.write_bytes(path.read_bytes()[:2000])
    return path


def text(folder):
    path = folder / "letter.png"
    path.write_text("Dear colleague, the slide is attached.\n" * 20)
    return path


def nan(folder):
    values = PIXELS.astype(np.float32) / 255
    values[3, 4] = np.nan
    return tiff(folder / "nan.tif", values)


def bomb(folder):
    """A PNG that says it is 100,000 pixels wide and high."""
    data = io.BytesIO()
    rgb().save(data, "PNG")
    raw = bytearray(data.getvalue())
    raw[16:24] = struct.pack(">II", 100_000, 100_000)
    path = folder / "bomb.png"
    path.write_bytes(raw)
    return path


BAD = {
    "empty": empty,
    "truncated png": truncated,
    "truncated jpeg": truncated_jpeg,
    "truncated tiff": truncated_tiff,
    "text": text,
    "nan": nan,
    "bomb": bomb,
    "missing": lambda folder: folder / "missing.png",
    "two channels": lambda folder: tiff(folder / "two.ome.tif", np.zeros((2, 30, 30), np.uint8)),
}


@pytest.fixture
def localize(command, tiny_model, tmp_path):
    out = tmp_path / "out"

    def run(image, model=tiny_model):
        return command("localize", image, "--model", model, "--out", out, "--device", "cpu"), out

    return run


@pytest.mark.parametrize("kind", UNUSUAL)
def test_an_unusual_image_is_localized_at_its_own_size(localize, tmp_path, kind):
    path = UNUSUAL[kind](tmp_path)
    with Image.open(path) as image:
        width, height = image.size
    ending, out = localize(path)
    assert ending.code == 0
    cautions = {"gray": "no colours", "gray-alpha": "no colours", "bilevel": "a dark ground"}
    caution = {**cautions, "one pixel": "blank", "one colour": "blank"}.get(kind)
    assert len(ending.err.splitlines()) == (caution is not None)
    assert caution is None or caution in ending.err
    summary = json.loads((out / f"{path.stem}.json").read_text())
    assert (summary["image"]["width"], summary["image"]["height"]) == (width, height)
    foreground = tifffile.imread(out / summary["fg"]["file"])
    assert foreground.shape == (height, width)
    assert np.isfinite(foreground).all()


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_image_is_one_sentence_and_no_file(localize, tmp_path, kind):
    path = BAD[kind](tmp_path)
    ending, out = localize(path)
    assert ending.failed_with(path.name)
    assert list(out.iterdir()) == []


def test_an_image_that_may_not_be_read_is_told(localize, tissue, monkeypatch):
    real = Path.open

    def refuse(self, *args, **kwargs):
        if self.name == tissue.name:
            raise PermissionError(13, "Permission denied", str(self))
        return real(self, *args, **kwargs)

    monkeypatch.setattr(Path, "open", refuse)
    ending, _ = localize(tissue)
    assert ending.failed_with(tissue.name)


def pickled(path, good):
    path.write_bytes(pickle.dumps({"weights": [1.0, 2.0]}))


def cut(path, good):
    path.write_bytes(good.read_bytes()[:-1000])


def nothing(path, good):
    path.write_bytes(b"")


def other_encoder(path, good):
    from safetensors.torch import save_file

    from pixelcam.model import load_checkpoint, read_card

    network, _ = load_checkpoint(good)
    header = json.loads(good.read_bytes()[8 : 8 + int.from_bytes(good.read_bytes()[:8], "little")])[
        "__metadata__"
    ]
    card = json.loads(header["card"])
    assert card["encoder"] == read_card(good).encoder
    header["card"] = json.dumps({**card, "encoder": "test_resnet"})
    save_file({key: value.contiguous() for key, value in network.state_dict().items()}, path, metadata=header)


def foreign(path, good):
    import torch
    from safetensors.torch import save_file

    save_file({"weight": torch.zeros(3)}, path)


@pytest.mark.parametrize("damage", [pickled, cut, nothing, other_encoder, foreign])
def test_a_bad_model_is_one_sentence_and_no_file(localize, tissue, tiny_model, tmp_path, damage):
    path = tmp_path / "bad.safetensors"
    damage(path, tiny_model)
    ending, out = localize(tissue, path)
    assert ending.failed_with("bad.safetensors")
    assert list(out.iterdir()) == []


def test_a_pickle_is_never_loaded(localize, tissue, tmp_path):
    class Trap:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "sprung",))

    path = tmp_path / "trap.pt"
    path.write_bytes(pickle.dumps(Trap()))
    ending, _ = localize(tissue, path)
    assert ending.failed_with("trap.pt")
    assert not (tmp_path / "sprung").exists()


def test_a_model_that_is_not_there_is_told(localize, tissue):
    ending, _ = localize(tissue, "nonesuch")
    assert ending.failed_with("nonesuch")
