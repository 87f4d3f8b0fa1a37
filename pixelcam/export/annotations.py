"""Polygons that people drew in QuPath or HistomicsUI, as they are in its files."""

from __future__ import annotations

import gzip
import json
import math
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pixelcam.errors import SeedsError
from pixelcam.export.filling import Ring
from pixelcam.limits import check_document

MOST_BYTES = 500_000_000
"""The most text that an annotation file may hold, out of its compression."""

_START = 64
_GZIP, _ZIP = b"\x1f\x8b", b"PK\x03\x04"
_BEFORE_JSON = b"\xef\xbb\xbf\xff\xfe \t\r\n"
_FEWEST_CORNERS = 64
_LARGEST = 1e7
_FAR = 1e12  # pixels: beyond any image, and below what overflows


@dataclass(frozen=True, eq=False)
class Annotation:
    """One annotated area.

    Parameters
    ----------
    kind
        The name of its class, "" where it has none.
    title
        What to call it in a message.
    polygons
        Each a list of rings, the outer one first, then its holes; (n, 2) corners as (x, y) in level-0 pixels
        from the top left corner of the image. None at all where the annotation is no area, but a point or a
        line.
    form
        What its tool calls the shape.
    """

    kind: str
    title: str
    polygons: tuple[tuple[Ring, ...], ...]
    form: str = ""


@dataclass(frozen=True, eq=False)
class AnnotationFile:
    """What an annotation file holds.

    Parameters
    ----------
    annotations
        In the file's order.
    fingerprint
        Of the image that they were drawn on, where this program wrote the file, else "".
    """

    annotations: list[Annotation]
    fingerprint: str = ""


def is_annotation_file(path: Path) -> bool:
    """Tell by its content whether a file holds annotations, as JSON; by its name where it cannot be read."""
    named = path.name.lower().removesuffix(".gz").removesuffix(".zip").endswith((".json", ".geojson"))
    try:
        with path.open("rb") as file:
            start = file.read(_START)
            if start.startswith(_ZIP):
                with zipfile.ZipFile(file) as archive:
                    return bool(_members(archive))
    except (OSError, zipfile.BadZipFile):
        return named
    return (
        named or start.startswith(_GZIP) or start.replace(b"\0", b"").lstrip(_BEFORE_JSON)[:1] in (b"{", b"[")
    )


def read_annotations(path: str | Path) -> AnnotationFile:
    """Read GeoJSON (RFC 7946, as QuPath writes it) or the annotation JSON of HistomicsUI (large_image).

    The file may be compressed by gzip, as QuPath offers it, or be alone in a zip; its text UTF-8, 16 or 32.

    GeoJSON: a FeatureCollection, a Feature, a geometry, or a list of them; Polygons and MultiPolygons are
    areas. A feature's class is the name of its ``classification``, else its ``name``. HistomicsUI: an
    annotation, what its server wraps around one, or a list of them; closed polylines with their holes,
    rectangles and grids of them, ellipses and circles are areas. An element's class is its ``group``, else
    its label.

    Raises
    ------
    SeedsError
        The file is missing, damaged, larger than `MOST_BYTES`, or neither of the two.
    """
    try:
        content = _content(Path(path))
        check_document(len(content), str(path), "export fewer annotations at a time", SeedsError)
        document = json.loads(content)
        found = _histomics(document) if _is_histomics(document) else _geojson(document)
        annotations = [
            Annotation(kind, f"annotation {number}{f' ({kind})' if kind else ''}", polygons, form)
            for number, (kind, form, polygons) in enumerate(found, start=1)
        ]
        return AnnotationFile(annotations, _fingerprint(document))
    except OSError as error:
        if error.errno is None:
            raise SeedsError(f"{path} is truncated or damaged; export the annotations again.") from error
        reason = (error.strerror or str(error)).lower()
        raise SeedsError(f"{path} cannot be read: {reason}; check the path.") from error
    except (EOFError, zlib.error, zipfile.BadZipFile) as error:
        raise SeedsError(f"{path} is truncated or damaged; export the annotations again.") from error
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError, ArithmeticError) as error:
        raise SeedsError(
            f"{path} cannot be read as GeoJSON or as an annotation of HistomicsUI; "
            "export the annotations again."
        ) from error


def _content(path: Path) -> bytes:
    """Return a file's bytes, out of its compression; `json` tells UTF-8, 16 and 32 apart."""
    with path.open("rb") as file:
        start = file.read(_START)
        file.seek(0)
        if start.startswith(_GZIP):
            with gzip.GzipFile(fileobj=file) as inner:
                data = inner.read(MOST_BYTES + 1)
        elif start.startswith(_ZIP):
            with zipfile.ZipFile(file) as archive:
                members = _members(archive)
                if len(members) != 1:
                    raise SeedsError(f"{path} holds {len(members)} annotation files; unpack one of them.")
                with archive.open(members[0]) as inner:
                    data = inner.read(MOST_BYTES + 1)
        else:
            data = file.read(MOST_BYTES + 1)
    if len(data) > MOST_BYTES:
        raise SeedsError(
            f"{path} holds more than {MOST_BYTES // 10**6} MB of annotations; export fewer at once."
        )
    return data


def _members(archive: zipfile.ZipFile) -> list[str]:
    """Return the names of the annotation files in an archive."""
    names = (name for name in archive.namelist() if not name.startswith("__MACOSX/"))
    return [name for name in names if name.lower().endswith((".json", ".geojson"))]


_Found = Iterator[tuple[str, str, tuple[tuple[Ring, ...], ...]]]


def _fingerprint(document: Any) -> str:
    if isinstance(document, dict):
        about = document.get("pixelcam") or document.get("attributes", {}).get("pixelcam")
        if isinstance(about, dict):
            return str(about.get("image", {}).get("fingerprint", ""))
    return ""


def _ring(points: Any) -> Ring:
    ring = np.asarray(points, np.float64)[:, :2]
    if ring.shape[1] != 2 or not (np.abs(ring) < _FAR).all():  # neither is NaN
        raise ValueError("coordinates must be pairs of finite numbers")
    return ring


def _geojson(document: Any, kind: str = "") -> _Found:
    if isinstance(document, list):
        for part in document:
            yield from _geojson(part)
        return
    form = document["type"]
    if form == "FeatureCollection":
        yield from _geojson(document["features"])
    elif form == "Feature":
        if document["geometry"] is not None:
            yield from _geojson(document["geometry"], _class_of(document.get("properties") or {}))
    elif form == "GeometryCollection":
        for part in document["geometries"]:
            yield from _geojson(part, kind)
    else:
        coordinates = document["coordinates"]
        polygons = {"Polygon": [coordinates], "MultiPolygon": coordinates}.get(form, [])
        yield (
            kind,
            str(form),
            tuple(tuple(_ring(ring) for ring in polygon) for polygon in polygons if polygon),
        )


def _class_of(properties: dict[str, Any]) -> str:
    described = properties.get("classification")
    if isinstance(described, dict):
        # QuPath lists the parts of a derived class, such as "Tumor: Positive".
        described = described.get("name") or ": ".join(described.get("names") or ())
    return str(described or properties.get("name") or "")


def _is_histomics(document: Any) -> bool:
    first = document[0] if isinstance(document, list) and document else document
    return isinstance(first, dict) and ("elements" in first or "annotation" in first)


def _histomics(document: Any) -> _Found:
    if isinstance(document, list):
        for part in document:
            yield from _histomics(part)
        return
    for element in document.get("annotation", document)["elements"]:
        kind = str(element.get("group") or (element.get("label") or {}).get("value") or "")
        form = str(element["type"])
        if form == "polyline" and element.get("closed"):
            rings = (element["points"], *(element.get("holes") or ()))
            yield kind, form, (tuple(_ring(ring) for ring in rings),)
        elif form in _OUTLINES:
            yield kind, form, ((_turned(element, _OUTLINES[form](element)),),)
        else:
            yield kind, form, ()


def _box(element: dict[str, Any]) -> Ring:
    half = np.array([element["width"], element["height"]], np.float64) / 2
    return np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * half


def _ellipse(element: dict[str, Any]) -> Ring:
    return _round(float(element["width"]) / 2, float(element["height"]) / 2)


def _circle(element: dict[str, Any]) -> Ring:
    return _round(float(element["radius"]), float(element["radius"]))


def _round(a: float, b: float) -> Ring:
    """Return an ellipse of half axes a and b about the origin; its chords stay within 0.01 pixels of it."""
    half = max(a, b)
    if not 0 < half < _LARGEST or min(a, b) < 0:
        raise ValueError("an ellipse has a size")
    count = max(_FEWEST_CORNERS, math.ceil(math.pi / math.acos(max(1 - 0.01 / half, 0))))
    angle = 2 * np.pi * np.arange(count) / count
    return np.stack([a * np.cos(angle), b * np.sin(angle)], axis=1)


def _turned(element: dict[str, Any], outline: Ring) -> Ring:
    """Return an outline about the origin at its element's centre, about which it is turned."""
    angle = float(element.get("rotation") or 0)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    return _ring(outline @ turn + np.asarray(element["center"], np.float64)[:2])


# The shapes of https://girder.github.io/large_image/annotations.html that enclose an area, besides polylines.
_OUTLINES: Mapping[str, Callable[[dict[str, Any]], Ring]] = {
    "rectangle": _box,
    "rectanglegrid": _box,
    "ellipse": _ellipse,
    "circle": _circle,
}
