"""Which file in a folder of seeds is of which image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pixelcam.errors import SeedsError
from pixelcam.export.results import safe_stem
from pixelcam.export.sidecar import SeedImage
from pixelcam.limits import read_json

ENDINGS = ("json", "png", "npz", "geojson", "histomics.json", "coco.json", "ome.zarr", "dcm", "dcm.json")
"""What follows ``<stem>.seeds.`` in the names of all files of seeds."""


def free_stem(folder: Path, image: SeedImage) -> str:
    """Return the stem of this image's seeds: its name, unless that is another image's already."""
    first, second, last = _stems(image)
    return next((stem for stem in (first, second) if _is_free(folder, stem, image)), last)


def has_seeds_of(folder: Path, image: SeedImage, reviewer: str) -> bool:
    """Return whether a folder holds seeds that this reviewer painted on this image."""
    return any(
        _is_of(about, image) and about.get("reviewer") == reviewer
        for stem in _stems(image)
        for about in _told(folder, stem)
    )


def _stems(image: SeedImage) -> tuple[str, str, str]:
    stem = safe_stem(image.name)
    return stem, f"{stem}-{image.fingerprint[:8]}", f"{stem}-{image.fingerprint}"


def _is_free(folder: Path, stem: str, image: SeedImage) -> bool:
    if not any((folder / f"{stem}.seeds.{ending}").exists() for ending in ENDINGS):
        return True
    told = _told(folder, stem)
    return bool(told) and all(_is_of(about, image) for about in told)


def _is_of(about: dict[str, Any], image: SeedImage) -> bool:
    described = about["image"]
    return image.fingerprint in (described.get("fingerprint"), described.get("pixels"))


def _told(folder: Path, stem: str) -> list[dict[str, Any]]:
    """Return what each file with this stem says of its seeds; {"image": {}} where it cannot be told."""
    files = [folder / f"{stem}.seeds.{ending}" for ending in ENDINGS if ending.endswith("json")]
    return [_about(path) for path in (*files, folder / f"{stem}.seeds.ome.zarr" / ".zattrs") if path.exists()]


def _about(path: Path) -> dict[str, Any]:
    try:
        document = read_json(path, SeedsError, "move it elsewhere")
        for holder in (document.get("attributes"), document.get("info"), document):
            about = holder.get("pixelcam", holder) if isinstance(holder, dict) else None
            if isinstance(about, dict) and isinstance(about.get("image"), dict):
                return about
    except (OSError, ValueError, AttributeError, SeedsError):
        pass
    return {"image": {}}
