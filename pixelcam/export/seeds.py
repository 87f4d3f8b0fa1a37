"""A reviewer's partial labels on disk: PNG and NPZ beside a sidecar, and back."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelcam.errors import ConfigError, ImageError, SeedsError
from pixelcam.export.arrays import save_arrays, save_png
from pixelcam.export.marks import Mark, replacing, replacing_all
from pixelcam.export.naming import seed_mark, seed_stem
from pixelcam.export.sidecar import SeedCounts, SeedImage, SeedSidecar
from pixelcam.files import inside
from pixelcam.limits import read_npz
from pixelcam.seeds import count_seeds
from pixelcam.slides import hash_file, is_file_of
from pixelcam.slides.photos import open_picture, pillow_as_needed

FORMATS = ("png", "npz")
_SIDECAR = ".seeds.json"


@dataclass(frozen=True, eq=False)
class SeedRecord:
    """One image's seeds as read back.

    Parameters
    ----------
    labels
        (h, w) uint8; 0 unlabelled, 1 background, 2 foreground. All of them may be 0: look at
        `sidecar.counts`.
    sidecar
        What was saved with them; its counts are those of `labels`.
    image_path
        The image, found and verified to be the one that was painted on.
    """

    labels: NDArray[np.uint8]
    sidecar: SeedSidecar
    image_path: Path


def write_seeds(
    folder: str | Path,
    labels: NDArray[Any],
    sidecar: SeedSidecar,
    formats: Sequence[str] = FORMATS,
    image: NDArray[np.uint8] | None = None,
    stem: str | None = None,
) -> list[Path]:
    """Write one image's seeds and their sidecar; all of them are replaced, or none.

    The files are named ``<stem>.seeds.png``, ``<stem>.seeds.npz`` (array ``labels``) and
    ``<stem>.seeds.json``. Seeds of the same image by the same reviewer from the same source are replaced;
    where the folder has others of that name already, the reviewer, the source or a part of the fingerprint is
    added to the stem, so that nobody's strokes are lost.

    Parameters
    ----------
    folder
        Made where it is missing.
    labels
        (h, w) integers 0, 1, 2, of the size that the sidecar says (`SeedSidecar.shape`).
    sidecar
        What to save along. Counts, file name, relative path, and, where empty, the time are filled in.
    formats
        "png", "npz" or both.
    image
        (height, width, 3) pixels of an image that is in no file. They are written once as
        ``<stem>.image.png``, and the sidecar points to that.
    stem
        What file names begin with; by default the first one that is free, see `seed_stem`.

    Returns
    -------
    list[Path]
        The files of the seeds, the sidecar last, and before all the image where it was given.

    Raises
    ------
    SeedsError
        The labels are not of the image's size or hold other values.
    ConfigError
        A format is unknown.
    OutputError
        A file cannot be written; older files stay as they were.
    """
    folder = Path(folder)
    if not formats or not set(formats) <= set(FORMATS):
        raise ConfigError(f"Seeds are written as png or npz, not as {', '.join(formats) or 'nothing'}.")
    values = _checked(np.asarray(labels), sidecar, sidecar.image.name)
    endings = [f".seeds.{name}" for name in FORMATS if name in formats]
    if stem is None:
        image_too = [] if image is None else [".image.png"]
        stem = seed_stem(folder, sidecar, [_SIDECAR, *endings, *image_too])
    mark = seed_mark(sidecar)
    described, written = _place_image(folder, stem, sidecar.image, image, mark)
    arrays = [folder / f"{stem}{ending}" for ending in endings]
    sidecar = replace(complete_sidecar(sidecar, values), image=described, file=arrays[0].name)
    with replacing_all(folder / f"{stem}{_SIDECAR}", *arrays, mark=mark) as (new_sidecar, *new_arrays):
        for path in new_arrays:
            _save_labels(path, values, mark)
        new_sidecar.write_bytes(sidecar.to_json().encode())
    return [*written, *arrays, folder / f"{stem}{_SIDECAR}"]


def complete_sidecar(sidecar: SeedSidecar, labels: NDArray[np.uint8]) -> SeedSidecar:
    """Return a sidecar with the counts of these labels and, where it has none, the time.

    Raises
    ------
    SeedsError
        The labels are not of the image's size or hold other values than 0, 1, 2.
    """
    counts = SeedCounts(*count_seeds(_checked(np.asarray(labels), sidecar, sidecar.image.name)))
    saved = sidecar.saved or datetime.now().astimezone().isoformat(timespec="seconds")
    return replace(sidecar, counts=counts, saved=saved)


def read_seeds(folder: str | Path) -> list[SeedRecord]:
    """Read all seeds of a folder, in the order of their names.

    An image is looked for where it lies from the sidecar, then at its absolute path, then beside the
    sidecar, and must be, byte for byte, the one that was painted on.

    Raises
    ------
    SeedsError
        There are none; a sidecar is missing, damaged or of a newer version; labels are missing, damaged, of
        another size than their image, or hold other values than 0, 1, 2; an image is missing or has
        changed.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise SeedsError(f"{folder} is not a folder; give the folder that seeds were exported to.")
    # Names with a dot before them are macOS' own notes about the files.
    sidecars = sorted(folder.glob(f"[!.]*{_SIDECAR}"))
    for array in sorted([*folder.glob("[!.]*.seeds.png"), *folder.glob("[!.]*.seeds.npz")]):
        if not array.with_suffix(".json").exists():
            raise SeedsError(
                f"{array} lacks its sidecar {array.with_suffix('.json').name}; copy that here too."
            )
    if not sidecars:
        raise SeedsError(f"{folder} holds no seeds (*.seeds.png with *.seeds.json); export some first.")
    return [read_seed_record(path) for path in sidecars]


def read_seed_record(path: Path) -> SeedRecord:
    """Read one image's seeds by their sidecar.

    Raises
    ------
    SeedsError
        As `read_seeds`.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise SeedsError(
            f"{path} cannot be read; check its permissions or export these seeds again."
        ) from error
    sidecar = SeedSidecar.from_json(text, str(path))
    array = inside(path.parent, sidecar.file, error=SeedsError, source=path)
    labels = _checked(_load_labels(array), sidecar, str(array))
    counts = SeedCounts(*count_seeds(labels))
    return SeedRecord(labels, replace(sidecar, counts=counts), _find_image(path, sidecar.image))


def _checked(labels: NDArray[Any], sidecar: SeedSidecar, subject: str) -> NDArray[np.uint8]:
    """Return labels as uint8, or say what is wrong with them."""
    height, width = sidecar.shape
    if labels.shape != (height, width):
        size = " x ".join(str(n) for n in labels.shape[::-1])
        raise SeedsError(
            f"The seeds of {subject} have {size} pixels, but their image has {width} x {height}; "
            "export them again from that image."
        )
    if labels.dtype.kind not in "uib" or labels.min() < 0 or labels.max() > 2:
        raise SeedsError(
            f"The seeds of {subject} hold other values than 0 (unlabelled), 1 (background), 2 (foreground)."
        )
    return labels.astype(np.uint8)


def _find_image(sidecar_path: Path, image: SeedImage) -> Path:
    folder = sidecar_path.parent
    # Where the image lies is for the sidecar to say: it is only read, and taken only if its bytes are known.
    names = [folder / image.relative_path] if image.relative_path else []
    if image.path:
        # A path from Windows names no folder that is known here, but its last part is still the file's name.
        names += [Path(image.path), folder / image.path.replace("\\", "/").rsplit("/", 1)[-1]]
    found = [path for path in names if os.path.isfile(path)]  # noqa: PTH113 - Path raises where it may not look
    for path in found:
        with suppress(ImageError):
            if is_file_of(path, image.fingerprint):
                return path
    if found:
        raise SeedsError(
            f"{found[0]} is not the image that {sidecar_path.name} was painted on (its content differs); "
            "put the original back."
        )
    raise SeedsError(
        f"The image {image.path or image.name} of the seeds {sidecar_path.name} is missing; "
        f"put it back, or beside the seeds in {folder}."
    )


def _saved_image(folder: Path, stem: str) -> SeedImage | None:
    path = folder / f"{stem}{_SIDECAR}"
    try:
        return SeedSidecar.from_json(path.read_text(encoding="utf-8"), str(path)).image
    except (OSError, ValueError, SeedsError):
        return None


def _place_image(
    folder: Path, stem: str, image: SeedImage, pixels: NDArray[np.uint8] | None, mark: Mark
) -> tuple[SeedImage, list[Path]]:
    """Return the image as seen from the folder, after writing its pixels there where they are in no file."""
    if pixels is None:
        if not image.path:
            raise SeedsError(f"{image.name} is in no file; give its pixels to be saved beside the seeds.")
        return replace(image, relative_path=_relative(Path(image.path), folder)), []
    path = folder / f"{stem}.image.png"
    before = _saved_image(folder, stem)
    unchanged = before is not None and before.pixels == image.fingerprint and path.is_file()
    if before is None or not unchanged or hash_file(path) != before.fingerprint:
        with replacing(path, mark) as temporary:
            save_png(temporary, np.ascontiguousarray(pixels), mark, compress_level=1)
            fingerprint = hash_file(temporary)
    else:
        fingerprint = before.fingerprint
    described = replace(
        image,
        path=str(path.absolute()),
        relative_path=path.name,
        fingerprint=fingerprint,
        pixels=image.fingerprint,
    )
    return described, [path]


def _relative(path: Path, folder: Path) -> str:
    try:
        return Path(os.path.relpath(path, folder)).as_posix()
    except ValueError:  # another drive of Windows
        return ""


def _save_labels(path: Path, labels: NDArray[np.uint8], mark: Mark) -> None:
    if path.suffix == ".png":
        save_png(path, labels, mark)
    else:
        save_arrays(path, {"labels": labels}, mark)


def _load_labels(path: Path) -> NDArray[Any]:
    try:
        if path.suffix == ".npz":
            return read_npz(path, "labels", SeedsError, "export these seeds again")
        with pillow_as_needed(), open_picture(path, str(path)) as image:
            return np.array(image)
    except ImageError as error:
        raise SeedsError(str(error)) from error
    except SeedsError:
        raise
    except FileNotFoundError as error:
        raise SeedsError(f"{path} is missing, but its sidecar is there; copy it here too.") from error
    except Exception as error:  # the decoders raise whatever they stumble over
        raise SeedsError(f"{path} is damaged or no seeds file; export these seeds again.") from error
