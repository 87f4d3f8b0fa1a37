"""One model in one safetensors file, with everything needed to use it in the file's header."""

from __future__ import annotations

import hashlib
import json
import math
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from pixelcam.errors import CheckpointError, ConfigError
from pixelcam.export.atomic import atomic_path
from pixelcam.limits import check_memory, parse_json
from pixelcam.model.encoder import FINAL
from pixelcam.model.familiarity import PREFIX, Familiarity
from pixelcam.model.network import PixelCAM

FORMAT = "pixelcam-1"
_Shape = tuple[int, ...]
_MOST_INPUT = 8192
"""The largest side in pixels of the images that a model is trained on whole."""
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
LONGEST_FOREGROUND = 40
"""Characters of what a model's foreground is called: it stands in the dock's lines."""
BEFORE = {"7f557d0ca327a224625c433ab7b43d3565c14339c4cd2ca349ec70dc5de80285": "glands"}
"""What the foreground is of models that were made before cards said it, by the sha256 of their files.

The bundled starter keeps the file that maps and fine-tuned models know it by.
"""


@dataclass(frozen=True)
class ModelCard:
    """What a checkpoint says of itself.

    Attributes
    ----------
    name
        What people call the model.
    encoder, classes, levels, output_stride, standardise, image_head
        How to build the network; see `PixelCAM`.
    multi_label
        Whether an image may show several classes or none; see `pixelcam.model.heads.class_probabilities`.
    input_size
        Side in pixels of the square images it was trained on.
    mpp
        Microns per pixel of those images, `None` where unknown.
    mean, std
        Normalisation of RGB in [0, 1].
    threshold
        Default foreground threshold in [0, 1].
    regionless
        Classes whose images hold no foreground.
    trained_on
        Data, split and supervision, in words.
    training
        The settings of the run, as JSON values.
    metrics
        Figures measured on validation data.
    parent
        sha256 of the checkpoint it was fine-tuned from.
    licence, description
        For people.
    selection
        How this checkpoint of its run was chosen and how many masks that saw, in words; empty where unknown.
    foreground_name
        What its foreground is, as people say it, such as "glands"; empty where unknown.
    """

    encoder: str
    classes: tuple[str, ...]
    input_size: int
    name: str = "model"
    levels: tuple[int, ...] = (FINAL,)
    output_stride: int | None = None
    standardise: bool = True
    mpp: float | None = None
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    threshold: float = 0.5
    regionless: tuple[str, ...] = ()
    trained_on: str = ""
    training: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    parent: str | None = None
    licence: str = ""
    description: str = ""
    image_head: str = "average"
    multi_label: bool = False
    selection: str = ""
    foreground_name: str = ""

    def build(self, *, dropout: float = 0.0, pretrained: bool = False) -> PixelCAM:
        """Return the network that the card describes, with fresh heads."""
        return PixelCAM(
            self.encoder,
            len(self.classes),
            levels=self.levels,
            output_stride=self.output_stride,
            dropout=dropout,
            standardise=self.standardise,
            pretrained=pretrained,
            image_head=self.image_head,
        )


def save_checkpoint(path: Path, network: PixelCAM, card: ModelCard, *, half: bool = False) -> str:
    """Write a checkpoint in one step and return its sha256.

    Parameters
    ----------
    half
        Store floating-point tensors in half precision, but for those that tell what is familiar.

    Raises
    ------
    OutputError
        The file cannot be written; an older file of that name stays as it was.
    """
    tensors = {
        key: _stored(value, half and not key.startswith(PREFIX))
        for key, value in network.state_dict().items()
    }
    header = {"format": FORMAT, "card": json.dumps(asdict(card), sort_keys=True)}
    with atomic_path(path) as temporary:
        try:
            save_file(tensors, temporary, metadata=header)
        except SafetensorError as error:  # safetensors wraps the system's error in its own
            raise OSError(str(error)) from error
        _sort_metadata(temporary)
    return file_sha256(path)


def check_foreground_name(name: str) -> None:
    """Refuse what cannot be shown as the name of a foreground.

    Raises
    ------
    ConfigError
        It is longer than `LONGEST_FOREGROUND`, or not one line of printable text.
    """
    if len(name) > LONGEST_FOREGROUND or not name.isprintable() or name != name.strip():
        raise ConfigError(
            f"What the foreground is called is one line of at most {LONGEST_FOREGROUND} characters, "
            "such as glands."
        )


def name_foreground(checkpoint: Path, path: Path, name: str) -> None:
    """Copy a checkpoint, with another name of what its foreground is; no byte of its tensors changes.

    Raises
    ------
    ConfigError
        As `check_foreground_name`.
    CheckpointError
        As `read_card`.
    OutputError
        The copy cannot be written.
    """
    check_foreground_name(name)
    card = replace(read_card(checkpoint), foreground_name=name)
    with atomic_path(path) as temporary, checkpoint.open("rb") as source, temporary.open("wb") as target:
        header = json.loads(source.read(int.from_bytes(source.read(8), "little")))
        header["__metadata__"]["card"] = json.dumps(asdict(card), sort_keys=True)
        text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
        text = text.ljust(-(-len(text) // 8) * 8)  # so that the tensors lie as the format wants them
        target.write(len(text).to_bytes(8, "little") + text)
        shutil.copyfileobj(source, target)


def _sort_metadata(path: Path) -> None:
    """Put the metadata of a safetensors file in order: the library leaves it in that of a random hash."""
    with path.open("r+b") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
        text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
        if len(text) <= length:  # the format lets spaces follow
            file.seek(8)
            file.write(text.ljust(length))


def _stored(value: Tensor, half: bool) -> Tensor:
    value = value.detach().to("cpu")
    if half and value.is_floating_point() and (value.abs() <= torch.finfo(torch.half).max).all():
        value = value.half()
    return value.contiguous().clone()


def read_card(path: Path) -> ModelCard:
    """Read only the metadata of a checkpoint.

    Raises
    ------
    CheckpointError
        The file is missing, not a safetensors file, damaged, or not a PixelCAM checkpoint.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"There is no model file {path}.")
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
    except (SafetensorError, OSError, RuntimeError) as error:  # the last where torch cannot open it
        raise CheckpointError(_why_unreadable(path)) from error
    if header.get("format") != FORMAT:
        raise CheckpointError(
            f"{path.name} holds tensors but no PixelCAM metadata; use a checkpoint written by pixelcam, "
            "or pass plain encoder weights to `pixelcam train --weights`."
        )
    try:
        card = _card_from_json(header["card"])
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise CheckpointError(
            f"The metadata of {path.name} is incomplete or damaged ({error}); get the file anew."
        ) from error
    if card.foreground_name:
        return card
    # Made before cards said it: it is the starter, or was fine-tuned from it.
    known = card.parent or (file_sha256(path) if card.name == "starter" else "")
    return replace(card, foreground_name=BEFORE.get(known, ""))


def _why_unreadable(path: Path) -> str:
    try:
        with path.open("rb") as file:
            start = file.read(16)
    except OSError as error:
        return f"{path} cannot be read ({error.strerror}); check its permissions."
    if start[:2] == b"PK" or start[:1] == b"\x80":
        return (
            f"{path.name} is a pickled PyTorch file, which may run code when loaded; "
            "only safetensors files are read."
        )
    return f"{path.name} is not a whole safetensors file; it may be truncated, so get it anew."


def _card_from_json(text: str) -> ModelCard:
    values: dict[str, Any] = parse_json(text)
    known = {entry.name for entry in fields(ModelCard)}
    kept: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value
        for key, value in values.items()
        if key in known
    }
    card = ModelCard(**kept)
    if not isinstance(card.classes, tuple) or len(card.classes) < 2 or not _all_are(str, card.classes):
        raise ValueError("fewer than two classes")
    if len(set(card.classes)) < len(card.classes):
        raise ValueError("two classes of one name")
    if not isinstance(card.foreground_name, str):
        raise ValueError("a foreground that is called by other than a name")
    try:
        check_foreground_name(card.foreground_name)
    except ConfigError as error:
        raise ValueError("a foreground of too long a name, or of several lines") from error
    if card.mpp is not None and not (math.isfinite(card.mpp) and card.mpp > 0):
        raise ValueError("a pixel size of other than micrometres")
    if not isinstance(card.encoder, str) or not _all_are(int, card.levels):
        raise ValueError("an encoder or levels of another kind")
    if not isinstance(card.image_head, str) or not isinstance(card.multi_label, bool):
        raise ValueError("an image head or multi_label of another kind")
    if any(len(v) != 3 or not _all_are((int, float), v) for v in (card.mean, card.std)):
        raise ValueError("a normalisation of other than three channels")
    if (
        not isinstance(card.input_size, int)
        or not 16 <= card.input_size <= _MOST_INPUT
        or not 0 <= card.threshold <= 1
    ):
        raise ValueError("an input size or threshold out of range")
    return card


def _all_are(kind: type | tuple[type, ...], values: tuple[Any, ...]) -> bool:
    return all(isinstance(value, kind) for value in values)


def load_checkpoint(path: Path) -> tuple[PixelCAM, ModelCard]:
    """Build the network of a checkpoint, in evaluation mode and single precision on the CPU.

    Raises
    ------
    CheckpointError
        As `read_card`, or the tensors do not fit the encoder that the metadata names.
    """
    path = Path(path)
    card = read_card(path)
    shapes = _shapes(path)
    try:
        # First without memory: a few bytes can name an encoder of any size.
        with torch.device("meta"):
            planned = _with_familiarity(card.build(), shapes)
        _check_fit(path, card, _shapes_of(planned), shapes)
        _check_memory(path, shapes)
        network = _with_familiarity(card.build(), shapes)
    except ConfigError as error:
        raise CheckpointError(f"{path.name} cannot be used: {error}") from error
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - not a mapping
    except (SafetensorError, OSError) as error:
        raise CheckpointError(_why_unreadable(path)) from error
    _check_numbers(path, tensors)
    network.load_state_dict(
        {key: value.float() if value.is_floating_point() else value for key, value in tensors.items()}
    )
    return network.eval(), card


def _shapes(path: Path) -> dict[str, _Shape]:
    """Return the shapes of the tensors of a checkpoint, without reading them."""
    try:
        with safe_open(path, framework="pt") as file:
            return {key: tuple(file.get_slice(key).get_shape()) for key in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise CheckpointError(_why_unreadable(path)) from error


def _shapes_of(network: PixelCAM) -> dict[str, _Shape]:
    return {key: tuple(value.shape) for key, value in network.state_dict().items()}


def _with_familiarity(network: PixelCAM, shapes: Mapping[str, _Shape]) -> PixelCAM:
    """Give a network the part that tells what is familiar, where the file holds one."""
    axes = shapes.get(f"{PREFIX}variances")
    if axes is not None:
        shown = shapes.get(f"{PREFIX}shown")
        network.familiarity = Familiarity(network.measured, math.prod(axes), shown[0] if shown else 0)
    return network


def _check_memory(path: Path, shapes: Mapping[str, _Shape]) -> None:
    """Refuse a model that is too large for this machine: its tensors are held twice while it is loaded."""
    values = sum(math.prod(shape) for shape in shapes.values())
    subject = f"{path.name} is a model of {values} parameters"
    check_memory(
        8 * values, subject, "use a smaller model, or close other programs", CheckpointError, math.inf
    )


def is_half(path: Path) -> bool:
    """Say whether a checkpoint's weights are stored in half precision.

    Raises
    ------
    CheckpointError
        As `read_card`.
    """
    read_card(path)
    with safe_open(path, framework="pt") as file:
        return any(file.get_slice(key).get_dtype() == "F16" for key in file.keys())  # noqa: SIM118


def _check_fit(
    path: Path, card: ModelCard, wanted: Mapping[str, _Shape], found: Mapping[str, _Shape]
) -> None:
    missing = sorted(set(wanted) - set(found))
    extra = sorted(set(found) - set(wanted))
    if missing or extra:
        example = (missing or extra)[0]
        raise CheckpointError(
            f"{path.name} does not fit its encoder {card.encoder}: {len(missing)} tensors are missing "
            f"and {len(extra)} are foreign (for example {example}); it is a checkpoint of another network."
        )
    for key, shape in wanted.items():
        if found[key] != shape:
            raise CheckpointError(
                f"{path.name} does not fit its encoder {card.encoder}: {key} has shape "
                f"{found[key]} instead of {shape}; it is a checkpoint of another network."
            )


def _check_numbers(path: Path, found: Mapping[str, Tensor]) -> None:
    broken = [
        key for key, value in found.items() if value.is_floating_point() and not torch.isfinite(value).all()
    ]
    if broken:
        raise CheckpointError(
            f"{path.name} holds values that are not numbers (in {broken[0]}); its training failed."
        )


def file_sha256(path: Path) -> str:
    """Return the sha256 of a file's bytes as hexadecimal text."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
