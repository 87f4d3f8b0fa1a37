"""What files are called: after images, reviewers and models, and never as somebody else's file already is."""

from __future__ import annotations

import hashlib
import os
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pixelcam.errors import OutputError
from pixelcam.export.marks import Mark, is_same_image, is_same_work, kind_of, known_mark, mark_text, read_mark
from pixelcam.export.sidecar import SeedImage, SeedSidecar

if TYPE_CHECKING:
    from pixelcam.localize import Localization

ENDINGS = (
    ".json",
    ".png",
    ".npz",
    ".geojson",
    ".histomics.json",
    ".coco.json",
    ".ome.zarr",
    ".dcm",
    ".dcm.json",
)
"""What follows ``<stem>.seeds`` in the names of all files of seeds."""
RESULT_ENDINGS = (
    ".json",
    ".geojson",
    ".fg.ome.tif",
    ".histomics.json",
    ".coco.json",
    ".mask.png",
    ".fg.png",
    ".fg.npz",
    ".fg.ome.zarr",
    ".fg.dcm",
    ".regions.dcm",
)
"""What follows the stem in the names of all files of results."""

# What no file name may hold: on Windows more than elsewhere.
_FORBIDDEN = '<>:"/\\|?*' if os.name == "nt" else "/"
_EVERYWHERE = '<>:"/\\|?*%'
_RESERVED = frozenset(
    ["con", "prn", "aux", "nul", *(f"{port}{number}" for port in ("com", "lpt") for number in range(10))]
)
_LONGEST = 180
"""Bytes of a stem or name: with the longest ending, file systems take 255."""


def safe_stem(name: str) -> str:
    """Return `name` with an underscore for each character that a file name cannot hold; never empty.

    Two names may come out the same: `Places` keeps their files apart. A name too long for an ending to follow
    is cut, and ends with a digest of it all.
    """
    cleaned = "".join("_" if c in _FORBIDDEN or ord(c) < 32 else c for c in name)
    if not cleaned.strip(" ."):
        return "image"
    return cleaned if len(os.fsencode(cleaned)) <= _LONGEST else _cut(cleaned, _digest(name)[:16])


def file_name(name: str, more: str = "") -> str:
    """Return the file or folder name of a reviewer, class or the like: never that of another one.

    Letters stay, in whichever script; what some system cannot have in a name is written as in web addresses,
    ``Lab/Ann`` as ``Lab%2FAnn``. On systems that do not tell A from a, use `file_names`.

    Parameters
    ----------
    name
        Any text.
    more
        Further characters to write so.
    """
    composed = unicodedata.normalize("NFC", name) == name
    parts = [
        c
        if (c.isalnum() or c in " !#$&'()+,-.;=@[]^_`{}~")
        and c not in _EVERYWHERE + more
        # Some systems compose letters and accents by themselves.
        and (composed or c.isascii())
        else _escaped(c)
        for c in name
    ]
    if parts and parts[0] in (".", " ", "~"):
        parts[0] = _escaped(parts[0])
    if parts and parts[-1] in (".", " "):
        parts[-1] = _escaped(parts[-1])
    if is_reserved(name):
        parts[0] = _escaped(name[0])
    text = "".join(parts) or "%"
    # No other name comes out with such a sign before such an end.
    return text if len(text.encode()) <= _LONGEST else _cut(text, f"%~{_digest(name)}")


def is_reserved(name: str) -> bool:
    """Return whether Windows takes a file of that name for a device, as ``con`` and ``nul.txt``."""
    return name.split(".")[0].strip().casefold() in _RESERVED


def file_names(names: Iterable[str], more: str = "") -> dict[str, str]:
    """Return `file_name` of each of several names, and no two of them alike but for capitals.

    Those that would be have their capitals written as in web addresses too.
    """
    each = {name: file_name(name, more) for name in names}
    times = Counter(fold(found) for found in each.values())
    return {
        name: found if times[fold(found)] == 1 else file_name(name, more + _capitals(name))
        for name, found in each.items()
    }


def fold(name: str) -> str:
    """Return what two file names have in common that some system takes for one."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


class Places:
    """Chooses the stems of files, so that each image's go where no others are.

    It remembers what it chose: use one for all that a command writes.
    """

    def __init__(self) -> None:
        self._given: dict[tuple[Path, str, str], tuple[Mark, object]] = {}
        self._there: dict[Path, dict[str, list[str]]] = {}

    def stem(
        self, folder: Path, candidates: Sequence[str], endings: Sequence[str], mark: Mark, of: object = None
    ) -> str:
        """Return the first stem under which files of this work are already, else the first that is free.

        Parameters
        ----------
        folder
            Where the files go.
        candidates
            Stems, the most wanted first; the last one should be that of no other work.
        endings
            What follows the stem in the names of the files to be written.
        mark
            Of the work.
        of
            What tells this work from a copy that is written by the same command, such as its image's path.

        Raises
        ------
        OutputError
            None is free.
        """
        states = [self._state(folder, stem, endings, mark, of) for stem in candidates]
        for wanted in ("ours", "free"):
            if wanted in states:
                stem = candidates[states.index(wanted)]
                self._given[folder, kind_of(mark), fold(stem)] = (mark, of)
                return stem
        raise OutputError(
            f"Files called {candidates[0]} that PixelCAM did not write, or of something else, are in the way "
            f"in {folder}; choose another folder."
        )

    def _state(self, folder: Path, stem: str, endings: Sequence[str], mark: Mark, of: object) -> str:
        """Return whether a stem's files are "ours", it is "free", or it is "taken"."""
        given = self._given.get((folder, kind_of(mark), fold(stem)))
        if given is not None and not (is_same_work(given[0], mark) and given[1] == of):
            return "taken"
        ours = given is not None
        group = SEED_GROUP if kind_of(mark) == "seeds" else RESULT_ENDINGS
        written = {fold(stem + ending) for ending in endings}
        for ending in dict.fromkeys([*group, *endings]):
            for name in self._called(folder, stem + ending):
                found = known_mark(folder / name)
                if found is not None and is_same_work(found, mark):
                    ours = True
                # A stranger's file beside those to be written does no harm; another work's would mix in.
                elif fold(name) in written or (found is not None and kind_of(found) == kind_of(mark)):
                    return "taken"
        return "ours" if ours else "free"

    def _called(self, folder: Path, name: str) -> list[str]:
        """Return what is in a folder under a name, or one that some system takes for the same."""
        if folder not in self._there:
            there = self._there[folder] = dict[str, list[str]]()
            try:
                with os.scandir(folder) as entries:
                    for entry in entries:
                        there.setdefault(fold(entry.name), []).append(entry.name)
            except OSError:  # it is not there yet, or writing will tell
                pass
        listed = self._there[folder].get(fold(name), [])
        # Written since the folder was listed.
        return [each for each in dict.fromkeys([*listed, name]) if os.path.lexists(folder / each)]


SEED_GROUP = (*(f".seeds{ending}" for ending in ENDINGS), ".image.png")


def result_places(localization: Localization, stem: str | None = None) -> list[str]:
    """Return the stems under which the results of an image may be, the most wanted first."""
    stem = safe_stem(localization.image_name) if stem is None else stem
    identity = {
        "name": localization.image_name,
        "file": localization.image_file,
        "fingerprint": localization.fingerprint,
        "size": (localization.width, localization.height),
    }
    prints = [_short(localization.fingerprint)] if localization.fingerprint else []
    return [stem, *(f"{stem}-{end}" for end in (*prints, _digest(mark_text(identity))[:16]))]


def seed_places(sidecar: SeedSidecar, folder: Path) -> list[str]:
    """Return the stems under which a reviewer's seeds of an image may be in a folder, the most wanted first.

    Where other work on the same image has its name, the reviewer or the source tells the two apart; where
    another image has it, the fingerprint does.
    """
    image, stem = sidecar.image, safe_stem(sidecar.image.name)
    source = sidecar.source.replace("\\", "/").rstrip("/").rsplit("/", 1)[-1].split(".")[0]
    who = [file_name(each)[:60] for each in (sidecar.reviewer, source) if each]
    of_image = _short(image.fingerprint)
    identity = {"image": mark_of_image(image), "reviewer": sidecar.reviewer, "source": sidecar.source}
    by_work, by_image = [*who, "-".join(who)], [of_image, *("-".join([of_image, each]) for each in who)]
    there = next(filter(None, (read_mark(folder / f"{stem}.seeds{each}") for each in ENDINGS)), None)
    same = there is not None and is_same_image(there.get("image") or {}, mark_of_image(image))
    ends = [*by_work, *by_image] if same else [*by_image, *by_work]
    ends = [*filter(None, ends), _digest(mark_text(identity))[:16]]
    return list(dict.fromkeys([stem, *(f"{stem}-{end}" for end in ends)]))


def seed_stem(
    folder: Path,
    sidecar: SeedSidecar,
    endings: Sequence[str],
    places: Places | None = None,
    wanted: str | None = None,
) -> str:
    """Return the stem of a reviewer's seeds of an image in a folder, see `Places.stem`."""
    candidates = list(dict.fromkeys([*filter(None, [wanted]), *seed_places(sidecar, folder)]))
    return (places or Places()).stem(folder, candidates, endings, seed_mark(sidecar))


def seed_mark(sidecar: SeedSidecar) -> dict[str, Any]:
    """Return as much of a sidecar as tells the work of one from that of another."""
    return {
        "kind": "seeds",
        "image": mark_of_image(sidecar.image),
        "reviewer": sidecar.reviewer,
        "source": sidecar.source,
        "source_sha256": sidecar.source_sha256,
    }


def mark_of_image(image: SeedImage) -> dict[str, Any]:
    """Return as much of an image's description as tells one from another."""
    return {key: getattr(image, key) for key in ("name", "path", "fingerprint", "pixels", "width", "height")}


def has_seeds_of(folder: Path, image: SeedImage, reviewer: str) -> bool:
    """Return whether a folder holds seeds that this reviewer painted on this image."""
    sidecar = SeedSidecar(image=image, reviewer=reviewer)
    for stem in seed_places(sidecar, folder):
        for ending in ENDINGS:
            found = read_mark(folder / f"{stem}.seeds{ending}")
            if (
                found is not None
                and (found.get("reviewer") or "") == reviewer
                and is_same_image(found.get("image") or {}, mark_of_image(image))
            ):
                return True
    return False


def _short(fingerprint: str) -> str:
    """Return enough of a fingerprint for a name; which picture of its file it is, the image's name tells."""
    return fingerprint.rpartition("-")[2][:8]


def _escaped(text: str) -> str:
    return "".join(f"%{byte:02X}" for byte in text.encode("utf-8", "surrogatepass"))


def _capitals(name: str) -> str:
    """Return the characters of a name that are not their own small letter."""
    return "".join(c for c in set(name) if c.casefold() != c)


def _cut(text: str, end: str) -> str:
    kept = os.fsencode(text)[: _LONGEST - len(end) - 1].decode("utf-8", "ignore").rstrip(" .")
    return f"{kept}-{end}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
