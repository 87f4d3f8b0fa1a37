"""Polygons that people drew in QuPath or HistomicsUI, as they are in its files."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pixelcam.errors import SeedsError
from pixelcam.export.filling import Ring


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
    """

    kind: str
    title: str
    polygons: tuple[tuple[Ring, ...], ...]


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


def read_annotations(path: str | Path) -> AnnotationFile:
    """Read GeoJSON (RFC 7946, as QuPath writes it) or the annotation JSON of HistomicsUI (large_image).

    GeoJSON: a FeatureCollection, a Feature, a geometry, or a list of them; Polygons and MultiPolygons are
    areas. A feature's class is the name of its ``classification``, else its ``name``. HistomicsUI: an
    annotation, what its server wraps around one, or a list of them; closed polylines with their holes, and
    rectangles, are areas. An element's class is its ``group``, else its label.

    Raises
    ------
    SeedsError
        The file is missing, damaged, or neither of the two.
    """
    try:
        document = json.loads(Path(path).read_text(encoding="utf-8-sig"))
        found = _histomics(document) if _is_histomics(document) else _geojson(document)
        annotations = [
            Annotation(kind, f"annotation {number}{f' ({kind})' if kind else ''}", polygons)
            for number, (kind, polygons) in enumerate(found, start=1)
        ]
        return AnnotationFile(annotations, _fingerprint(document))
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise SeedsError(f"{path} cannot be read: {reason}; check the path.") from error
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise SeedsError(
            f"{path} cannot be read as GeoJSON or as an annotation of HistomicsUI; "
            "export the annotations again."
        ) from error


_Found = Iterator[tuple[str, tuple[tuple[Ring, ...], ...]]]


def _fingerprint(document: Any) -> str:
    if isinstance(document, dict):
        about = document.get("pixelcam") or document.get("attributes", {}).get("pixelcam")
        if isinstance(about, dict):
            return str(about.get("image", {}).get("fingerprint", ""))
    return ""


def _ring(points: Any) -> Ring:
    ring = np.asarray(points, np.float64)[:, :2]
    if ring.shape[1] != 2 or not np.isfinite(ring).all():
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
        yield kind, tuple(tuple(_ring(ring) for ring in polygon) for polygon in polygons if polygon)


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
        kind = str(element.get("group") or element.get("label", {}).get("value") or "")
        if element["type"] == "polyline" and element.get("closed"):
            yield kind, (tuple(_ring(ring) for ring in (element["points"], *element.get("holes", ()))),)
        elif element["type"] == "rectangle":
            yield kind, ((_rectangle(element),),)
        else:
            yield kind, ()


def _rectangle(element: dict[str, Any]) -> Ring:
    """Return the corners of a rectangle, which is turned about its centre."""
    half = np.array([element["width"], element["height"]], np.float64) / 2
    angle = float(element.get("rotation", 0))
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * half
    return _ring(corners @ turn + np.asarray(element["center"], np.float64)[:2])
