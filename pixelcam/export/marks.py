"""What every file of ours says of itself, by which it is known again and never mistaken for somebody else's.

The mark is a JSON object: of which image a file is, whose work it holds, from where. It stands wherever a
format has room for it; `read_mark` finds it there. No writer replaces a file without the mark of the same
work.
"""

from __future__ import annotations

import html
import json
import os
import re
import stat
import struct
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from pixelcam.errors import OutputError
from pixelcam.export.atomic import atomic_folder, atomic_path, atomic_paths

KEY = "pixelcam"
"""The name under which the mark stands: in JSON, in a PNG's text, in an array's file."""

Mark = Mapping[str, Any]

_HEAD = 1 << 16
"""Bytes at the beginning of a long text in which its mark stands."""
_WHOLE = 1 << 23
"""Bytes up to which a JSON file is read whole, wherever its mark stands."""
_MOST = 1 << 20
"""Bytes that no mark reaches."""
_UNMARKED = re.compile(r"\.seeds\.(png|npz)$|\.image\.png$")
_START = re.compile(rf'"{KEY}"\s*(?::|content=")\s*(?=\{{)')


def mark_text(mark: Mark) -> str:
    """Return a mark as one line of ASCII, which every format can hold."""
    return json.dumps(mark, allow_nan=False)


def read_mark(path: Path) -> Mark | None:
    """Return what a file says of itself; None where it is not ours, or cannot be read.

    Parameters
    ----------
    path
        A file, or the folder of a zarr. How to read it is told by its ending.
    """
    try:
        if path.is_dir():
            return _of_json(path / ".zattrs")
        reader = _READERS.get(path.suffix.lower())
        return reader(path) if reader is not None and path.is_file() else None
    except Exception:  # whatever is in a stranger's file: it is not ours
        return None


def known_mark(path: Path) -> Mark | None:
    """Return a file's mark, or what is said of it beside it.

    Earlier versions wrote seeds without a mark in them, and a sidecar that tells no source.
    """
    found = read_mark(path)
    if found is not None:
        return found
    stem = _UNMARKED.sub("", path.name)
    beside = path.with_name(f"{stem}.seeds.json")
    if stem == path.name or (told := read_mark(beside)) is None or "source" in told:
        return None
    return told if not path.name.endswith(".image.png") or _image(told).get("pixels") else None


def is_same_work(one: Mark, other: Mark) -> bool:
    """Return whether two marks are of the same work: the same kind, image, reviewer, and source.

    The model, the threshold and the time may differ: who localizes again wants the new result.
    """
    return (
        kind_of(one) == kind_of(other)
        and is_same_image(_image(one), _image(other))
        and (one.get("reviewer") or "") == (other.get("reviewer") or "")
        and _is_same_source(one, other)
    )


def kind_of(mark: Mark) -> str:
    """Return what a marked file holds; the sidecar of seeds is its own mark, and tells by what it counts."""
    return str(mark.get("kind") or ("seeds" if "counts" in mark else ""))


def is_same_image(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Return whether two descriptions, as marks and sidecars hold them, are of the same image.

    Its bytes tell, or the pixels where it came from memory, and its name: a copy under another name is
    another image. Where the bytes are unknown, the size does.
    """
    prints = [{each.get("fingerprint"), each.get("pixels")} - {None, ""} for each in (one, other)]
    if any(prints):
        return bool(prints[0] & prints[1]) and _called(one) == _called(other)
    return all(one.get(key) == other.get(key) for key in ("name", "width", "height"))


def refuse_others(path: Path, mark: Mark) -> None:
    """Raise `OutputError` where a file is in the way that is not ours, or is of other work."""
    try:
        there = path.lstat()
    except (OSError, ValueError):
        return  # nothing is there, or writing will tell
    if (
        not stat.S_ISLNK(there.st_mode)
        and not stat.S_ISREG(there.st_mode)
        and not stat.S_ISDIR(there.st_mode)
    ):
        return  # a device; writing will tell
    if stat.S_ISDIR(there.st_mode) and not (path / ".zattrs").exists():
        return  # a folder in the way; writing will tell
    found = known_mark(path)
    if found is None:
        raise OutputError(
            f"{path} is there already and PixelCAM did not write it, or it was changed since; "
            "move it away, or choose another folder or name."
        )
    if not is_same_work(found, mark):
        raise OutputError(f"{path} is {_of(found, mark)}; move it away, or choose another folder or name.")


@contextmanager
def replacing(path: str | Path, mark: Mark) -> Iterator[Path]:
    """Do as `atomic_path`, but never over a file that is not ours or of other work, see `refuse_others`."""
    path = Path(path)
    refuse_others(path, mark)
    with atomic_path(path) as temporary:
        yield temporary


@contextmanager
def replacing_all(*paths: Path, mark: Mark) -> Iterator[list[Path]]:
    """Do as `replacing` for files that belong together, see `atomic_paths`."""
    for path in paths:
        refuse_others(path, mark)
    with atomic_paths(*paths) as temporaries:
        yield temporaries


@contextmanager
def replacing_folder(path: str | Path, marker: str, mark: Mark) -> Iterator[Path]:
    """Do as `replacing` for a folder that is one document, see `atomic_folder`."""
    path = Path(path)
    refuse_others(path, mark)
    with atomic_folder(path, marker) as temporary:
        yield temporary


def replace_text(path: str | Path, text: str, mark: Mark) -> Path:
    """Write a text that holds its mark; see `replacing`."""
    path = Path(path)
    with replacing(path, mark) as temporary:
        temporary.write_bytes(text.encode())
    return path


def document_text(document: Mapping[str, Any], indent: int | None = None) -> str:
    """Return a document as JSON with a line's end, letters as they are unless UTF-8 has no room for them.

    The name of a file that is not in UTF-8 has such letters; escaped, they come back as they were.
    """
    text = json.dumps(document, indent=indent, allow_nan=False, ensure_ascii=False)
    try:
        text.encode()
    except UnicodeEncodeError:
        text = json.dumps(document, indent=indent, allow_nan=False)
    return text + "\n"


def printable(name: str) -> str:
    """Return a name with a question mark for what no text can hold."""
    return name.encode("utf-8", "replace").decode()


def image_mark(
    name: str, file: str, fingerprint: str, size: tuple[int, int], mpp: float | None
) -> dict[str, Any]:
    """Return the description of an image in a mark: enough to find it again and to know it.

    Parameters
    ----------
    name, file
        What it is called, and its file's name with its ending, "" where it is in none.
    fingerprint
        SHA-256 of its file, or of its pixels where it is in none; "" where unknown.
    size
        (width, height) in level-0 pixels.
    mpp
        Micrometres per level-0 pixel, or None.
    """
    return {
        "name": name,
        "file": file,
        "fingerprint": fingerprint,
        "width": int(size[0]),
        "height": int(size[1]),
        "mpp": None if mpp is None else float(mpp),
    }


def _image(mark: Mark) -> Mapping[str, Any]:
    found = mark.get("image")
    return found if isinstance(found, Mapping) else {}


def _called(image: Mapping[str, Any]) -> str:
    """Return an image's name with its ending; that of pixels from memory, whose file is ours, without."""
    file = image.get("file") or (
        "" if image.get("pixels") else image.get("path") or image.get("relative_path")
    )
    return str(file).replace("\\", "/").rsplit("/", 1)[-1] if file else str(image.get("name") or "")


def _is_same_source(one: Mark, other: Mark) -> bool:
    sources = [each.get("source") or "" for each in (one, other)]
    digests = [each.get("source_sha256") or "" for each in (one, other)]
    return sources[0] == sources[1] or (bool(digests[0]) and digests[0] == digests[1])


def _of(found: Mark, wanted: Mark) -> str:
    """Say of what else a file is, to follow on "is"."""
    image, reviewer, source = _image(found), found.get("reviewer"), found.get("source")
    if kind_of(found) != kind_of(wanted):
        return "another file of PixelCAM's"
    if not is_same_image(image, _image(wanted)):
        name = _called(image)
        return f"of another image called {name}" if name else "of something else"
    if (reviewer or "") != (wanted.get("reviewer") or ""):
        return f"the work of {reviewer}" if reviewer else "somebody else's work"
    return f"made from {source}" if source else "made from something else"


def _of_json(path: Path) -> Mark | None:
    with path.open("rb") as file:
        if os.fstat(file.fileno()).st_size > _WHOLE:
            return _in_text(file.read(_HEAD).decode(errors="replace"))
        document = json.loads(file.read())
    for holder in (document.get("attributes"), document.get("info"), document):
        if isinstance(holder, dict) and isinstance(holder.get(KEY), dict):
            return dict(holder[KEY])
    # A sidecar is all mark.
    return dict(document) if {"image", "counts", "labels"} <= document.keys() else None


def _of_html(path: Path) -> Mark | None:
    with path.open("rb") as file:
        return _in_text(html.unescape(file.read(_HEAD).decode(errors="replace")))


def _of_tiff(path: Path) -> Mark | None:
    import tifffile

    with tifffile.TiffFile(path, _multifile=False) as file:
        return _in_text(html.unescape(file.pages.first.description[:_HEAD]))


def _of_png(path: Path) -> Mark | None:
    """Read the texts before the first pixel, and no pixel: a stranger's PNG may be a bomb."""
    with path.open("rb") as file:
        if file.read(8) != b"\x89PNG\r\n\x1a\n":
            return None
        while True:
            length, name = struct.unpack(">I4s", file.read(8))
            if name == b"IDAT":
                return None
            if name == b"tEXt" and length < _MOST:
                keyword, _, text = file.read(length).partition(b"\0")
                if keyword == KEY.encode():
                    return dict(json.loads(text))
                file.seek(4, os.SEEK_CUR)
            else:
                file.seek(length + 4, os.SEEK_CUR)


def _of_arrays(path: Path) -> Mark | None:
    with zipfile.ZipFile(path) as file:
        info = file.getinfo(f"{KEY}.npy")
        if info.file_size > _MOST:
            return None
        with file.open(info) as member:
            return dict(json.loads(str(np.lib.format.read_array(member, allow_pickle=False))))


def _of_dicom(path: Path) -> Mark | None:
    from pixelcam.export.dicom import read_private  # which needs an extra

    return dict(json.loads(read_private(path)))


def _in_text(text: str) -> Mark | None:
    found = _START.search(text)
    if found is None:
        return None
    mark, _ = json.JSONDecoder().raw_decode(text, found.end())
    return dict(mark)


_READERS = {
    ".json": _of_json,
    ".geojson": _of_json,
    ".html": _of_html,
    ".htm": _of_html,
    ".png": _of_png,
    ".tif": _of_tiff,
    ".npz": _of_arrays,
    ".dcm": _of_dicom,
}
