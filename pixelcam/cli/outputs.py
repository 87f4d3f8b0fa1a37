"""Folders that results go to, looked at before the work and not after it."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any


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


def prepare_file(path: Path, of: str, subject: str) -> dict[str, Any]:
    """Make a file's folder, and see that nothing of somebody else's is in the way; return the file's mark.

    Parameters
    ----------
    path
        The file to be written after the work.
    of
        What it will hold, such as "figures of evaluate".
    subject
        Of which data it will be.

    Raises
    ------
    OutputError
        The folder cannot be written to, or the file is there already and holds something else.
    """
    from pixelcam.export.marks import refuse_others

    prepare_folder(path.parent)
    mark = {"kind": of, "image": {"name": subject}}
    refuse_others(path, mark)
    return mark


def write_figures(path: Path, document: Mapping[str, Any], mark: Mapping[str, Any]) -> None:
    """Write figures as JSON with their mark; see `prepare_file`.

    Raises
    ------
    OutputError
        The file cannot be written, or another is in the way by now.
    """
    from pixelcam.export.marks import KEY, replace_text

    replace_text(path, json.dumps({**document, KEY: dict(mark)}, indent=2) + "\n", mark)
