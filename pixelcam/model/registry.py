"""Model names: the bundled ones, the user's own, files, and Hugging Face hub ids."""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pixelcam.errors import CheckpointError, ConfigError, ModelNotFoundError, OutputError
from pixelcam.export.atomic import atomic_path
from pixelcam.export.naming import is_reserved
from pixelcam.folders import expanded, user_dir

BUNDLED = Path(__file__).resolve().parent.parent / "models"
HUB_PREFIX = "hf-hub:"
SUFFIX = ".safetensors"
LONGEST_NAME = 100
"""Characters: with its suffix the name is a file's, which systems hold to 255 bytes at most."""


@dataclass(frozen=True)
class ModelEntry:
    """A model that can be asked for by name."""

    name: str
    path: Path
    source: Literal["bundled", "user"]


def list_models() -> list[ModelEntry]:
    """Return every model with a name, the user's after the bundled ones, each group by name."""
    groups: tuple[tuple[Path, Literal["bundled", "user"]], ...] = (
        (BUNDLED, "bundled"),
        (user_dir() / "models", "user"),
    )
    return [
        ModelEntry(path.stem, path, source)
        for folder, source in groups
        if folder.is_dir()
        for path in sorted(folder.glob(f"*{SUFFIX}"))
        if not path.name.startswith(".") and path.is_file()
    ]


def resolve_model(name: str | Path) -> Path:
    """Return the checkpoint file of a name, a path, or ``hf-hub:org/repository[/file.safetensors]``.

    A user's model of the same name as a bundled one is not chosen by the bare name: give its path.

    Raises
    ------
    ModelNotFoundError
        Nothing of that name is at hand; the message lists what is, or which file to put where.
    """
    text = str(name)
    if text.startswith(HUB_PREFIX):
        return _from_hub(text.removeprefix(HUB_PREFIX))
    known = list_models()
    for entry in known:
        if entry.name == text:
            return entry.path
    path = expanded(text)
    if os.path.isfile(path):  # noqa: PTH113 - Path raises for a name that is too long
        return path
    if path.suffix or len(path.parts) > 1:
        raise ModelNotFoundError(f"There is no model file {path}.")
    names = ", ".join(entry.name for entry in known) or "none"
    raise ModelNotFoundError(
        f"There is no model named {text!r}; at hand: {names}. Give one of these or a .safetensors file."
    )


def _from_hub(identifier: str) -> Path:
    from huggingface_hub import hf_hub_download  # takes long to import and is rarely needed

    parts = identifier.split("/")
    if len(parts) not in (2, 3):
        raise ModelNotFoundError(
            f"{identifier!r} is not a hub id; write {HUB_PREFIX}organisation/repository[/file{SUFFIX}]."
        )
    filename = parts[2] if len(parts) == 3 else f"model{SUFFIX}"
    repository = "/".join(parts[:2])
    # Two files of one repository must not take each other's place.
    name = parts[1] if len(parts) == 2 else f"{parts[1]}-{filename.removesuffix(SUFFIX)}"
    local = user_dir() / "models" / f"{name}{SUFFIX}"
    try:
        return Path(hf_hub_download(repository, filename))
    except Exception as error:  # the hub client raises many kinds, all of which mean: not obtained
        if local.is_file():
            return local
        raise ModelNotFoundError(
            f"{repository} cannot be fetched from the Hugging Face hub; download its {filename} on a machine "
            f"that can and put it at {local}, then use the model name {name!r}."
        ) from error


def check_new_name(name: str) -> None:
    """Refuse a name that no new model can have, before the work that makes the model.

    Raises
    ------
    ConfigError
        The name holds other characters than letters, digits, ``.``, ``_``, ``-``, is longer than
        `LONGEST_NAME`, is no file's name on some system, or is taken, capitals aside.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        raise ConfigError(
            f"{name!r} cannot be a model's name; use letters, digits, dots, dashes and underscores."
        )
    if len(name) > LONGEST_NAME:
        raise ConfigError(f"A model's name has at most {LONGEST_NAME} characters: choose a shorter one.")
    if is_reserved(name) or name.endswith(".") or name.lower().endswith(SUFFIX):
        raise ConfigError(f"{name!r} cannot be a model's name, because some systems cannot have such a file.")
    taken = {entry.name.casefold(): entry.name for entry in list_models()}
    if name.casefold() in taken:
        raise ConfigError(f"There is a model named {taken[name.casefold()]!r} already; choose another name.")
    if os.path.lexists(user_dir() / "models" / f"{name}{SUFFIX}"):
        raise ConfigError(f"There is something called {name}{SUFFIX} already; choose another name.")


def refuse_other_model(out: Path, model: Path) -> None:
    """Refuse to write a new version of a model over a file that is none of it.

    Raises
    ------
    OutputError
        The file is there, and is neither the model's own nor a checkpoint of the same training.
    """
    if not os.path.lexists(out) or (out.exists() and out.samefile(model)):
        return
    from pixelcam.model.checkpoint import read_card

    try:
        cards = [read_card(path) for path in (out, model)]
    except CheckpointError:
        cards = []
    kept = [(card.encoder, card.classes, card.levels, card.trained_on, card.training) for card in cards]
    if not kept or kept[0] != kept[1]:
        raise OutputError(f"{out} is there already and is not of the model {model}; choose another name.")


def foreground_name_of(model: str, sha256: str) -> str:
    """Return what the foreground of a model is called, as its card says; empty where it is not at hand.

    Parameters
    ----------
    model, sha256
        Its name on the list, and the digest of its file, by which another of that name is told.
    """
    from pixelcam.model.checkpoint import BEFORE, file_sha256, read_card

    for entry in list_models():
        try:
            if entry.name == model and file_sha256(entry.path) == sha256:
                return read_card(entry.path).foreground_name
        except (OSError, CheckpointError):
            continue  # it is a word beside a number: nothing stops for the want of it
    return BEFORE.get(sha256, "")


def register_model(checkpoint: Path, name: str, foreground_name: str | None = None) -> ModelEntry:
    """Copy a checkpoint into the user's models under a name, and return its entry.

    Parameters
    ----------
    checkpoint, name
        What to copy, and what to ask for it by.
    foreground_name
        What its foreground is called, where its card is to say something else than it does.

    Raises
    ------
    ConfigError
        As `check_new_name`.
    CheckpointError
        The file is not a checkpoint.
    OutputError
        The models folder cannot be written.
    """
    from pixelcam.model.checkpoint import name_foreground, read_card  # which need torch; names do not

    check_new_name(name)
    read_card(checkpoint)
    path = user_dir() / "models" / f"{name}{SUFFIX}"
    if foreground_name is not None:
        name_foreground(Path(checkpoint), path, foreground_name)
    else:
        with atomic_path(path) as temporary:
            shutil.copyfile(checkpoint, temporary)
    return ModelEntry(name, path, "user")
