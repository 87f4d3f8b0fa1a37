"""Names that come from a file are joined to a folder here, and nowhere else: proved to lie inside it."""

from __future__ import annotations

import os
import re
import shutil
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import TypeGuard

from pixelcam.errors import PixelCAMError

_MOST_SHOWN = 80
"""Characters of a foreign name that a message repeats."""
_LONGEST, _LONGEST_WAY = 255, 3000
"""Bytes of a file's name, and of names of folders and files in a row, that the usual systems allow."""


def inside(
    folder: str | Path,
    *parts: str,
    error: type[PixelCAMError] = PixelCAMError,
    source: str | Path = "",
) -> Path:
    """Join a name that a file gave to a folder, and prove that it leads to a place inside that folder.

    Symbolic links are followed and must end inside as well. Whatever is read, written or removed by a name
    out of a file (a row, a table, a sidecar, metadata) goes through here.

    Parameters
    ----------
    folder
        Where the name is looked for. It may be a symbolic link itself: whoever runs the program chose it.
    parts
        The name, with forward slashes; several are joined. It need not exist.
    error
        What to raise.
    source
        The file that gave the name, for the message; "" where that is told otherwise.

    Returns
    -------
    Path
        The folder and the name, joined as they are.

    Raises
    ------
    PixelCAMError
        Of the type `error`: a part is no text, empty, absolute, has ``..``, a backslash, a drive or a zero
        byte, or is longer than any file's name; or the place lies outside, or at, the folder.

    Examples
    --------
    >>> inside("/data", "images/a.png").as_posix()
    '/data/images/a.png'
    >>> inside("/data", "../a.png")
    Traceback (most recent call last):
    pixelcam.errors.PixelCAMError: The name '../a.png' leads out of /data; give one that lies in that folder.
    """
    folder = Path(folder)
    pieces = [piece for part in parts for piece in _pieces(part, folder, error, source)]
    path = folder.joinpath(*pieces)
    try:
        # Without a link on the way there is nothing to resolve, which takes ten times as long.
        if any(is_link(place) for place in _way(folder, pieces)):
            within, place = folder.resolve(), path.resolve()
            if place == within or not place.is_relative_to(within):
                raise _refusal("/".join(parts), folder, error, source)
    except (OSError, RuntimeError, ValueError) as cause:  # a circle of links, a name that cannot be one
        raise _refusal("/".join(parts), folder, error, source) from cause
    return path


def own(folder: str | Path, *parts: str, error: type[PixelCAMError] = PixelCAMError) -> Path:
    """Join names for a place that only this program makes, where nothing but plain files and folders lies.

    Stricter than `inside`: a symbolic link that stays inside would let one file of ours be written over
    another, and a pipe would be waited on for ever.

    Raises
    ------
    PixelCAMError
        Of the type `error`: as `inside`, or something on the way below `folder`, or the place itself, is a
        symbolic link, a pipe or a device.
    """
    folder = Path(folder)
    pieces = [piece for part in parts for piece in _pieces(part, folder, error, "")]
    try:
        for place in _way(folder, pieces):
            refuse_link(place, error)
    except ValueError as cause:  # a name that cannot be one
        raise _refusal("/".join(parts), folder, error, "") from cause
    return folder.joinpath(*pieces)


def _way(folder: Path, pieces: list[str]) -> Iterator[str]:
    """Yield each place on the way from a folder to what lies in it."""
    place = os.fspath(folder)
    for piece in pieces:
        place = os.path.join(place, piece)  # noqa: PTH118 - much faster than Path
        yield place


def refuse_link(path: str | Path, error: type[PixelCAMError] = PixelCAMError) -> None:
    """Raise `error` where a place is a symbolic link, a pipe or a device; one where nothing is will do."""
    if is_link(path):
        raise error(f"{path} is a symbolic link, which is not followed; put the file or folder itself there.")
    with suppress(OSError):
        mode = os.lstat(path).st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
            raise error(f"{path} is a pipe or a device, not a file; remove it.")


def refuse_links_below(folder: str | Path, error: type[PixelCAMError] = PixelCAMError) -> None:
    """Raise `error` where a folder is, or anything in it is, a symbolic link, a pipe or a device."""
    refuse_link(folder, error)
    for parent, folders, names in os.walk(folder):
        for name in (*folders, *names):
            refuse_link(os.path.join(parent, name), error)  # noqa: PTH118 - of what the system listed


def is_link(path: str | Path) -> bool:
    """Return whether a place is a symbolic link or, on Windows, a junction, whatever it leads to."""
    if os.path.islink(path):  # noqa: PTH114 - Path raises where it may not look
        return True
    is_junction = getattr(os.path, "isjunction", None)  # Python 3.12
    return bool(is_junction and is_junction(path))


def remove_made(folder: Path, name: str, pattern: str) -> None:
    """Remove a folder that this program made, known by its name; leave anything else as it is.

    Parameters
    ----------
    folder
        The folder that it lies directly in.
    name
        Its name, as a file may give it.
    pattern
        The regular expression of the names that are given to such folders.
    """
    if is_made(name, pattern) and not is_link(folder) and not is_link(place := folder / name):
        shutil.rmtree(place, ignore_errors=True)


def is_made(name: object, pattern: str) -> TypeGuard[str]:
    """Return whether a name out of a file is one that this program gives, by a regular expression."""
    return isinstance(name, str) and re.fullmatch(pattern, name, re.ASCII) is not None


def _pieces(name: object, folder: Path, error: type[PixelCAMError], source: str | Path) -> list[str]:
    """Return the parts of a relative name; `error` where it would leave its folder on any system."""
    if not isinstance(name, str):
        raise _refusal(str(name), folder, error, source)
    posix, windows = PurePosixPath(name), PureWindowsPath(name)
    if (
        not name.strip()
        or not _is_encodable(name)
        or "\0" in name
        or "\\" in name
        or ".." in posix.parts
        or posix.is_absolute()
        or windows.drive
        or windows.root
        or (os.name == "nt" and (":" in name or windows.is_reserved()))
    ):
        raise _refusal(name, folder, error, source)
    pieces = [piece for piece in name.split("/") if piece not in ("", ".")]
    if not pieces:
        raise _refusal(name, folder, error, source)
    if max(len(os.fsencode(piece)) for piece in pieces) > _LONGEST or len(os.fsencode(name)) > _LONGEST_WAY:
        raise error(f"The name {_shown(name, source)} is longer than any file can have; correct it.")
    return pieces


def _is_encodable(name: str) -> bool:
    try:
        os.fsencode(name)
    except UnicodeEncodeError:  # half a surrogate, which JSON can hold and no file system
        return False
    return True


def _refusal(name: str, folder: Path, error: type[PixelCAMError], source: str | Path) -> PixelCAMError:
    shown = _shown(name, source)
    return error(f"The name {shown} leads out of {folder}; give one that lies in that folder.")


def _shown(name: str, source: str | Path) -> str:
    """Return a foreign name for a message, with the file that gave it."""
    shown = name if len(name) <= _MOST_SHOWN else f"{name[:_MOST_SHOWN]}..."
    return f"{shown!r} in {source}" if str(source) else repr(shown)
