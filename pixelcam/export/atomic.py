"""Write a file whole or not at all: under a temporary name in its folder, then renamed."""

from __future__ import annotations

import errno
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from pixelcam.errors import OutputError

_ADVICE = {
    errno.ENOSPC: "the disk is full; free some space or choose another folder",
    errno.EDQUOT: "your disk quota is used up; free some space or choose another folder",
    errno.EACCES: "writing there is not permitted; choose a folder that you may write to",
    errno.EPERM: "writing there is not permitted; choose a folder that you may write to",
    errno.EROFS: "that place is read-only; choose a folder that you may write to",
    errno.ENOTDIR: "a part of that path is a file, not a folder; choose another folder",
    errno.EEXIST: "a part of that path is a file, not a folder; choose another folder",
    errno.EISDIR: "a folder of that name is in the way; choose another name",
    errno.ENOTEMPTY: "a folder of that name is in the way; choose another name",
    errno.ENAMETOOLONG: "the name is too long for this file system; choose a shorter one",
    errno.EFBIG: "the file would be larger than this file system allows; choose another disk",
    errno.EIO: "the disk reported an error; choose another disk and check this one",
}
# numpy's `tofile`, which tifffile writes through, reports a full disk without an error number.
_SHORT_WRITE = re.compile(r"\d+ requested and \d+ written")
# safetensors writes from Rust, whose errors carry the number in their text.
_RUST_ERROR = re.compile(r"\(os error (\d+)\)")


def output_error(path: Path, error: Exception) -> OutputError | None:
    """Say in one sentence why `path` could not be written; None where `error` is about something else."""
    text = str(error)
    if match := _RUST_ERROR.search(text):
        code: int | None = int(match.group(1))
    elif isinstance(error, OSError):
        code = errno.ENOSPC if error.errno is None and _SHORT_WRITE.search(text) else error.errno
    else:
        return None
    advice = _ADVICE.get(code or 0, f"{os.strerror(code) if code else text}; choose another folder")
    return OutputError(f"{path} cannot be written: {advice}.")


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it to `path` on success, remove it on any failure.

    The folder is made where it is missing. The temporary name keeps the suffix of `path`, because some
    writers choose the format by it. The bytes are flushed to the disk before the rename, so that after a
    crash there is either the old file or the new one. Keep everything but the writing itself out of the
    block: every `OSError` raised inside it is taken for a failure to write.

    Parameters
    ----------
    path
        The file to write. An older file of that name stays intact until the new one is complete.

    Yields
    ------
    Path
        Where to write instead; it does not exist yet.

    Raises
    ------
    OutputError
        The folder is read-only, the disk is full, a folder or a device is in the way, or the like.
    """
    path = Path(path)
    if path.exists() and not (path.is_file() or path.is_dir()):
        # A rename would replace a device such as /dev/null, for all programs of the machine.
        raise OutputError(f"{path} is a device, not a file; choose another name.")
    temporary = path.parent / f".pixelcam-{secrets.token_hex(4)}{path.suffix}"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        if path.exists() and not os.access(
            path, os.W_OK, effective_ids=os.access in os.supports_effective_ids
        ):
            # A rename would replace a file that its owner has write-protected.
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        yield temporary
        with temporary.open("r+b") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        if isinstance(error, Exception) and (refusal := output_error(path, error)) is not None:
            raise refusal from error
        raise
    _flush_folder(path.parent)


@contextmanager
def atomic_folder(path: str | Path, marker: str) -> Iterator[Path]:
    """Do as `atomic_path` for a folder that is one document, such as a zarr store.

    Parameters
    ----------
    path
        The folder to write. An older one stays intact until the new one is complete.
    marker
        The name of a file that every such document holds: an older folder without it is somebody else's, and
        is not replaced.

    Yields
    ------
    Path
        An empty folder to write into instead.

    Raises
    ------
    OutputError
        As `atomic_path`, or another folder of that name is in the way.
    """
    path = Path(path)
    temporary, old = (path.parent / f".pixelcam-{secrets.token_hex(4)}{path.suffix}" for _ in range(2))
    try:
        if path.exists() and not (path / marker).is_file():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        temporary.mkdir(parents=True)
        yield temporary
        for file in temporary.rglob("*"):
            if file.is_file():
                with file.open("r+b") as opened:
                    os.fsync(opened.fileno())
        if path.exists():
            path.rename(old)
        temporary.rename(path)
    except BaseException as error:
        shutil.rmtree(temporary, ignore_errors=True)
        if old.exists() and not path.exists():
            old.rename(path)
        if isinstance(error, Exception) and (refusal := output_error(path, error)) is not None:
            raise refusal from error
        raise
    shutil.rmtree(old, ignore_errors=True)
    _flush_folder(path.parent)


def _flush_folder(folder: Path) -> None:
    """Make the rename itself durable, where the system lets a folder be flushed (Windows does not)."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def write_bytes(path: str | Path, data: bytes) -> Path:
    """Write `data` to `path` whole or not at all; see `atomic_path`."""
    path = Path(path)
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)
    return path


def write_text(path: str | Path, text: str) -> Path:
    """Write `text` as UTF-8 to `path` whole or not at all; see `atomic_path`."""
    return write_bytes(path, text.encode())


@contextmanager
def atomic_paths(*paths: Path) -> Iterator[list[Path]]:
    """Do as `atomic_path` for files that belong together: none is renamed before all are written.

    The first is renamed last: name the one that tells readers that the others are there first.
    """
    with ExitStack() as stack:
        yield [stack.enter_context(atomic_path(path)) for path in paths]
