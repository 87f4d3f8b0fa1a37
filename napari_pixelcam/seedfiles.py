"""Where the dock keeps seeds, and how they come back when the same image is opened again."""

from __future__ import annotations

import getpass
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pixelcam.errors import PixelCAMError
from pixelcam.export import SeedSidecar

if TYPE_CHECKING:
    from napari_pixelcam.controllers.session import ImageRecord, Session

CANNOT_TELL = "cannot tell"
"""What a sidecar's corrected label says when the reviewer cannot name the class."""


@dataclass(frozen=True)
class Kept:
    """Seeds found on disk: (h, w) uint8 labels, their sidecar, and when they were written."""

    labels: NDArray[np.uint8]
    sidecar: SeedSidecar
    saved: datetime


def autosave_folder(session: Session, fingerprint: str) -> Path:
    """Return where the seeds of an image are kept: one folder an image, named by what is in the image's file."""
    root = session.preferences.seeds_folder or session.home / "seeds"
    return root / fingerprint[:16]


def make_sidecar(record: ImageRecord, counts: tuple[int, int]) -> SeedSidecar:
    """Return what goes beside a record's seeds.

    Parameters
    ----------
    record
        An image whose slide is known.
    counts
        Background and foreground pixels.
    """
    ...


def save(folder: Path, labels: NDArray[np.uint8], sidecar: SeedSidecar) -> None:
    """Write seeds and sidecar, each whole or not at all."""
    from pixelcam.export import write_seeds

    write_seeds(folder, labels, sidecar, formats=("png",))
