"""Where the dock keeps seeds, and how they come back when the same image is opened again."""

from __future__ import annotations

import getpass
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pixelcam.errors import ImageError, SeedsError
from pixelcam.export import SeedImage, SeedSidecar, write_seeds
from pixelcam.export.atomic import output_error
from pixelcam.files import inside

if TYPE_CHECKING:
    from napari_pixelcam.controllers.session import ImageRecord, Session
    from pixelcam.slides import Slide

CANNOT_TELL = "cannot tell"
"""What a sidecar's corrected label says when the reviewer cannot name the class."""


@dataclass(frozen=True)
class Kept:
    """Seeds found on disk: (h, w) uint8 labels, their sidecar, and when they were written."""

    labels: NDArray[np.uint8]
    sidecar: SeedSidecar
    saved: datetime


def autosave_folder(session: Session, fingerprint: str) -> Path:
    """Return where the seeds of an image are kept: one folder an image, named by the fingerprint."""
    root = session.preferences.seeds_folder or session.home / "seeds"
    return root / fingerprint[:16]


def make_sidecar(record: ImageRecord, slide: Slide) -> SeedSidecar:
    """Return what goes beside a record's seeds; `write_seeds` counts them and notes the time."""
    localization = record.result.localization if record.result is not None else None
    threshold = None
    if localization is not None:
        threshold = localization.threshold if record.threshold is None else record.threshold
    return SeedSidecar(
        image=SeedImage.of(slide),
        level=record.seeds_level,
        scale=record.seeds_scale,
        translate=record.seeds_translate,
        model=localization.model if localization is not None else None,
        threshold=threshold,
        predicted=localization.predicted if localization is not None else None,
        corrected_label=record.corrected_label,
        reviewer=user_name(),
        started=record.started or "",
    )


def save(
    folder: Path,
    labels: NDArray[np.uint8],
    sidecar: SeedSidecar,
    slide: Slide,
    formats: tuple[str, ...] = ("png",),
) -> list[Path]:
    """Write seeds, sidecar, and the image where it is in no file; each whole or not at all."""
    image = slide.read() if slide.path is None else None
    return write_seeds(folder, labels, sidecar, formats=formats, image=image)


def find_kept(folder: Path, fingerprint: str) -> Kept | None:
    """Return the latest seeds of an image in a folder of autosaved ones, `None` where there are none.

    Unlike `pixelcam.export.read_seeds` it does not look for the image, which is on the screen.

    Raises
    ------
    SeedsError
        There are some, but they cannot be read.
    """
    found = [_read(path) for path in sorted(folder.glob("*.seeds.json"))]
    mine = [
        kept for kept in found if fingerprint in (kept.sidecar.image.fingerprint, kept.sidecar.image.pixels)
    ]
    return max(mine, key=lambda kept: kept.saved, default=None)


State = dict[str, bytes]
"""The sidecars of a folder of autosaved seeds, name to content, by which a change of them is told."""


def state(folder: Path) -> State:
    """Return what a folder of autosaved seeds holds."""
    try:
        return {path.name: path.read_bytes() for path in sorted(folder.glob("*.seeds.json"))}
    except OSError:  # as it cannot be read, it is not told
        return {}


def set_aside(folder: Path) -> Path:
    """Move what a folder of autosaved seeds holds to a new folder in it, where it is kept; return that."""
    aside = folder / f"set aside {datetime.now():%Y-%m-%d %H.%M.%S.%f}"
    try:
        aside.mkdir()
        for path in sorted(folder.glob("*.seeds.*")):
            path.rename(aside / path.name)
    except OSError as error:
        raise output_error(aside, error) or error from error
    return aside


def _read(path: Path) -> Kept:
    from pixelcam.slides.photos import open_picture, pillow_as_needed

    folder = path.parent
    try:
        sidecar = SeedSidecar.from_json(path.read_text(encoding="utf-8"), str(path))
        array = inside(folder, sidecar.file, error=SeedsError, source=path)
        with pillow_as_needed(), open_picture(array, str(array)) as image:
            labels = np.array(image, dtype=np.uint8)
        saved = datetime.fromisoformat(sidecar.saved).astimezone()
    except (OSError, ValueError, SyntaxError, ImageError) as error:
        raise SeedsError(
            f"The seeds saved in {path.parent} are damaged and were left as they are; "
            "new ones go beside them."
        ) from error
    return Kept(labels, sidecar, saved)


def user_name() -> str:
    """Return the name of the user's account, empty where the system knows none."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # no user database, as in some containers
        return ""
