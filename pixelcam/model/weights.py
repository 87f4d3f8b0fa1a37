"""Reading a user's own backbone weights, the one place where a PyTorch file is opened."""

from __future__ import annotations

import math
import warnings
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from pixelcam.errors import CheckpointError
from pixelcam.folders import expanded
from pixelcam.limits import check_memory


def read_weights(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a safetensors file or of a PyTorch file that holds nothing but tensors.

    A PyTorch file is opened with ``weights_only=True``, which refuses anything that could run code.

    Raises
    ------
    CheckpointError
        The file is missing, damaged, or holds more than tensors.
    """
    path = expanded(path)
    if not path.is_file():
        raise CheckpointError(f"There is no weights file {path}.")
    _refuse_bomb(path)
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about pickle protocols: no matter to who gives the file
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # bytes that are no model fail in more ways than can be listed
        raise CheckpointError(
            f"{path.name} is damaged or holds more than plain tensors; give a safetensors file, "
            "or a PyTorch file of a state_dict."
        ) from error
    tensors = _tensors(loaded)
    if not all(_is_plain(value) for value in tensors.values()):
        raise CheckpointError(
            f"{path.name} holds tensors that are sparse or repeat what is stored; save plain ones."
        )
    if not tensors:
        raise CheckpointError(f"{path.name} holds no tensors by name; give the state_dict of the encoder.")
    return tensors


def _refuse_bomb(path: Path) -> None:
    """Refuse a file that is larger than memory allows once it is out of its compression."""
    size = path.stat().st_size
    if zipfile.is_zipfile(path):
        with suppress(zipfile.BadZipFile, OSError, ValueError), zipfile.ZipFile(path) as archive:
            size = max(size, sum(member.file_size for member in archive.infolist()))
    subject = f"{path.name} holds {size} bytes"
    check_memory(2 * size, subject, "use weights of a smaller encoder", CheckpointError, math.inf)


def _is_plain(value: Tensor) -> bool:
    """Return whether a tensor holds its values one by one: a few bytes can stand for any number of them."""
    if value.layout != torch.strided or value.is_quantized:
        return False
    return value.numel() * value.element_size() <= value.untyped_storage().nbytes()


def _tensors(loaded: Any) -> dict[str, Tensor]:
    if not isinstance(loaded, dict):
        return {}
    for key in ("state_dict", "model"):
        if isinstance(loaded.get(key), dict):
            loaded = loaded[key]
    return {str(key): value for key, value in loaded.items() if isinstance(value, Tensor)}
