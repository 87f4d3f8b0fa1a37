"""Folders that results go to, looked at before the work and not after it."""

from __future__ import annotations

import tempfile
from pathlib import Path


def prepare_folder(folder: Path) -> None:
    """Make the folder where it is missing, and try whether files can be written there.

    Raises
    ------
    OutputError
        It cannot be made, a file is in the way, or it cannot be written to.
    """
    from pixelcam.export.atomic import output_error

    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise output_error(folder, error) or error from error
