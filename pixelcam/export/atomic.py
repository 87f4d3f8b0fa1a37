"""Write a file whole or not at all: under a temporary name in its folder, then renamed."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import secrets
import shutil
import stat
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
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
_TEMPORARY = re.compile(
    r"\.pixelcam-(?:(?P<place>[0-9a-f]{6})-(?P<pid>\d{1,10})-(?P<start>[0-9a-f]{6})-)?[0-9a-f]{8}(?:\..*)?"
)
_ABANDONED = 24 * 3600.0
"""Seconds after which what another machine, or an earlier version, has not finished is nobody's any more."""


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
def atomic_path(path: str | Path, *, make_folder: bool = True) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it to `path` on success, remove it on any failure.

    The temporary name keeps the suffix of `path`, because some writers choose the format by it. The bytes
    are flushed to the disk before the rename, so that after a crash there is either the old file or the new
    one; what a killed process has left under a temporary name is cleared by the next one that writes there.
    Who may read the file is told by the umask, whatever the writer of the format thinks. Keep everything but
    the writing itself out of the block: every `OSError` raised inside it is taken for a failure to write.

    Parameters
    ----------
    path
        The file to write. An older file of that name stays intact until the new one is complete.
    make_folder
        Whether the folder is made where it is missing; else that is a failure.

    Yields
    ------
    Path
        Where to write instead; it does not exist yet.

    Raises
    ------
    OutputError
        The folder is read-only, the disk is full, a folder or a device is in the way, or the like.
    """
    with atomic_paths(Path(path), make_folder=make_folder) as (temporary,):
        yield temporary


@contextmanager
def atomic_paths(*paths: Path, make_folder: bool = True) -> Iterator[list[Path]]:
    """Do as `atomic_path` for files that belong together: none is renamed before all are written.

    Where one cannot be renamed, the others are put back as they were. The first is renamed last: name the one
    that tells readers that the others are there first.
    """
    staged = list[_Staged]()
    try:
        for path in paths:
            staged.append(_stage(path, make_folder))
        yield [each.temporary for each in staged]
        for each in staged:
            _finish(each.temporary)
        _rename(staged)
    except BaseException as error:
        for each in staged:
            _remove(each.temporary)
        culprit = _culprit(error, paths, staged)
        if isinstance(error, Exception) and (refusal := output_error(culprit, error)) is not None:
            raise refusal from error
        raise
    for folder in {path.parent for path in paths}:
        _flush_folder(folder)


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
    temporary, old = (_temporary(path) for _ in range(2))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if os.path.lexists(path) and (path.is_symlink() or not (path / marker).is_file()):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        _clear_once(path.parent)
        temporary.mkdir()
        yield temporary
        for file in temporary.rglob("*"):
            if file.is_file():
                _finish(file)
        if os.path.lexists(path):
            path.rename(old)
        temporary.rename(path)
    except BaseException as error:
        shutil.rmtree(temporary, ignore_errors=True)
        if os.path.lexists(old) and not os.path.lexists(path):
            with suppress(OSError):  # what is told is the first failure
                old.rename(path)
        if isinstance(error, Exception) and (refusal := output_error(path, error)) is not None:
            raise refusal from error
        raise
    _remove(old)
    _flush_folder(path.parent)


@dataclass(frozen=True)
class _Staged:
    """A file in the making: its name, and those under which the new and the old one wait."""

    path: Path
    temporary: Path
    old: Path


def _stage(path: Path, make_folder: bool) -> _Staged:
    """Look whether a file can be written, and choose what it is called meanwhile."""
    found = _status(path)
    if found is not None and not (stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)):
        # A rename would replace a device such as /dev/null, for all programs of the machine.
        raise OutputError(f"{path} is a device, not a file; choose another name.")
    if make_folder:
        path.parent.mkdir(parents=True, exist_ok=True)
    if found is not None and stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if found is not None and not os.access(
        path, os.W_OK, effective_ids=os.access in os.supports_effective_ids
    ):
        # A rename would replace a file that its owner has write-protected.
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
    _clear_once(path.parent)
    return _Staged(path, _temporary(path), _temporary(path))


def _status(path: Path) -> os.stat_result | None:
    """Return what stands at a path, a link followed; None where nothing does, or it is not told."""
    try:
        return path.stat()
    except (OSError, ValueError):
        return None


def _finish(temporary: Path) -> None:
    """Give a complete file the rights of a new one, and see it on the disk."""
    with temporary.open("r+b") as file:
        mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
        if os.name == "posix" and not mode & 0o077:
            # Some libraries write for the owner alone; the umask says whether that is meant.
            temporary.chmod(_new_mode(temporary) & 0o666 | mode)
        os.fsync(file.fileno())


def _new_mode(beside: Path) -> int:
    """Return the rights that a new file has in a folder: by making one, as the umask cannot be read alone."""
    probe = _temporary(beside)
    descriptor = os.open(probe, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
    try:
        return stat.S_IMODE(os.fstat(descriptor).st_mode)
    finally:
        os.close(descriptor)
        probe.unlink(missing_ok=True)


def _rename(staged: Sequence[_Staged]) -> None:
    """Give all files their names, the first last; where one cannot have it, all old ones come back."""
    first, *rest = staged
    if not rest:
        first.temporary.replace(first.path)
        return
    done = list[_Staged]()
    try:
        for each in (*rest, first):
            _keep(each.path, each.old)
            done.append(each)
            each.temporary.replace(each.path)
    except BaseException:
        for each in reversed(done):
            with suppress(OSError):
                if os.path.lexists(each.old):
                    os.replace(each.old, each.path)  # noqa: PTH105 - not what has just failed
                    _remove(each.old)  # of two names of one file, that has removed none
                elif not os.path.lexists(each.temporary):
                    each.path.unlink()
        raise
    for each in done:
        _remove(each.old)


def _keep(path: Path, old: Path) -> None:
    """Let a file, where there is one, have a second name, under which it can be put back."""
    if not os.path.lexists(path):
        return
    if path.is_dir() and not path.is_symlink():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    try:
        os.link(path, old, follow_symlinks=False)
    except (OSError, NotImplementedError):  # a file system without such links
        path.rename(old)


def _culprit(error: BaseException, paths: Sequence[Path], staged: Sequence[_Staged]) -> Path:
    """Return which of the files an error is about, the one in work where it does not say."""
    named = {str(name) for name in (getattr(error, "filename", None), getattr(error, "filename2", None))}
    for each in staged:
        if named & {str(each.path), str(each.temporary)}:
            return each.path
    return paths[min(len(staged), len(paths) - 1)]


def _temporary(path: Path) -> Path:
    """Return a new temporary name beside a path, which says whose it is."""
    return path.parent / f".pixelcam-{_signature()}-{secrets.token_hex(4)}{path.suffix[:20]}"


def _signature() -> str:
    return _signature_of(os.getpid())


@lru_cache(maxsize=2)  # by the process id: a fork is another process
def _signature_of(pid: int) -> str:
    from pixelcam.jobs.process import mark_process, this_place  # which writes job records through this module

    mark = mark_process(pid)
    return f"{_short(this_place())}-{pid}-{_short(mark.started if mark else '')}"


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:6]


_cleared: set[Path] = set()


def _clear_once(folder: Path) -> None:
    """Remove what killed processes have left in a folder, at this process's first write there."""
    if folder not in _cleared:
        _cleared.add(folder)
        clear_abandoned(folder)


def clear_abandoned(folder: Path) -> None:
    """Remove the unfinished files of processes that are no more; nothing happens where that is not allowed.

    A process of this machine is looked at. Of one elsewhere nothing is known but how old its file is.
    """
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            found = _TEMPORARY.fullmatch(entry.name)
            if found is not None and _is_abandoned(found, entry):
                _remove(Path(entry.path))


def _is_abandoned(found: re.Match[str], entry: os.DirEntry[str]) -> bool:
    from pixelcam.jobs.process import mark_process, this_place

    try:
        if found["place"] == _short(this_place()):
            mark = mark_process(int(found["pid"]))
            return mark is None or _short(mark.started) != found["start"]
        return time.time() - entry.stat(follow_symlinks=False).st_mtime > _ABANDONED
    except (OSError, ValueError):
        return False


def _remove(path: Path) -> None:
    """Remove a file or folder of ours where it is there; a link is not followed."""
    with suppress(OSError):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _flush_folder(folder: Path) -> None:
    """Make the rename itself durable, where the system lets a folder be flushed (Windows does not)."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def write_bytes(path: str | Path, data: bytes, *, make_folder: bool = True) -> Path:
    """Write `data` to `path` whole or not at all; see `atomic_path`."""
    path = Path(path)
    with atomic_path(path, make_folder=make_folder) as temporary:
        temporary.write_bytes(data)
    return path


def write_text(path: str | Path, text: str, *, make_folder: bool = True) -> Path:
    """Write `text` as UTF-8 to `path` whole or not at all; see `atomic_path`."""
    return write_bytes(path, text.encode(), make_folder=make_folder)
