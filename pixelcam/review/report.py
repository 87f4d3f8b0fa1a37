"""A project on one page: who did what, how far reviewers agree, how large the areas are, and how it looks."""

from __future__ import annotations

import base64
import html
import io
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pixelcam.export.marks import KEY, mark_text, replace_text
from pixelcam.export.regions import foreground_regions
from pixelcam.localize.localization import Localization, area_mm2
from pixelcam.review.agreement import Agreement, agreements, has_seeds
from pixelcam.review.entries import Accepted, ImageEntry, UsedModel, UsedRun
from pixelcam.review.project import Project
from pixelcam.seeds import BACKGROUND, FOREGROUND
from pixelcam.seeds.grid import SeedGrid

OVERLAY = 320
"""Longest side of the grid that contours are drawn on."""
MOST_DRAWN = 500
"""Images whose pictures a report shows; with many more nobody's browser shows any."""


@dataclass(frozen=True)
class Outlines:
    """What is drawn over a thumbnail, as SVG path data on the grid of `Picture`.

    Attributes
    ----------
    region
        The contour of the foreground.
    foreground, background
        The reviewer's seeds; "" where there are none.
    """

    region: str
    foreground: str = ""
    background: str = ""


@dataclass(frozen=True)
class Judgement:
    """What one reviewer said of an image, and what it looks like since.

    Attributes
    ----------
    reviewer, entry
        Whose view, and the view.
    threshold
        The one that the region is cut at, None without a map.
    fraction
        Share of the image that the region covers, None without a map.
    after
        The region and the seeds; None without a map, and where the model's map is all that there is.
    """

    reviewer: str
    entry: ImageEntry
    threshold: float | None
    fraction: float | None
    after: Outlines | None

    @property
    def accepted(self) -> Accepted | None:
        """What the reviewer saw when saying that the image is done; None where it is not, or not known."""
        return self.entry.accepted if self.entry.status == "done" else None

    @property
    def area(self) -> float | None:
        """Area of the region in mm², None without a map or a pixel size."""
        if self.fraction is None:
            return None
        return area_mm2(self.fraction, self.entry.width, self.entry.height, self.entry.mpp)

    @property
    def pixels(self) -> int | None:
        """Level-0 pixels of the region, None without a map."""
        return None if self.fraction is None else round(self.fraction * self.entry.width * self.entry.height)


@dataclass(frozen=True)
class Picture:
    """One image of the report.

    Attributes
    ----------
    entry
        What is the same for all reviewers.
    thumbnail
        A JPEG in base64, "" where there is none.
    size
        (height, width) of the grid of all outlines.
    before
        The region by the latest model alone at its own threshold; None without a map.
    judgements
        Of all reviewers who did anything about it.
    drawn
        Whether its pictures are shown; of a large project not those of all images are.
    first
        The region by the first model at its own threshold, and that model's name; None where it is the
        latest one.
    """

    entry: ImageEntry
    thumbnail: str
    size: tuple[int, int]
    before: Outlines | None
    judgements: tuple[Judgement, ...]
    first: tuple[Outlines, str] | None = None
    drawn: bool = True


@dataclass(frozen=True)
class Report:
    """All that the page tells."""

    name: str
    made: datetime
    views: dict[str, list[ImageEntry]]
    pictures: list[Picture]
    agreements: list[Agreement]
    models: list[UsedModel]
    runs: list[UsedRun]


def write_report(project: Project, path: str | Path, *, pictures: int = MOST_DRAWN) -> Path:
    """Write a project's report as one HTML page that needs no network and no other file.

    It tells: images by status and time spent, by reviewer; the agreement of reviewers; the area of the
    regions by class; every image with its region before and after correction; models, runs and thresholds.
    Nothing is localized for it, and no image needs to be at hand: it shows what the project keeps.

    Parameters
    ----------
    project
        Read-only will do.
    path
        The file to write.
    pictures
        Of how many images pictures are shown, those first that somebody has begun; the others are listed.

    Raises
    ------
    OutputError
        The file cannot be written, or is there already and is no report of this project.
    ProjectError
        The project cannot be read.
    """
    from pixelcam.review.report_page import render

    report = gather(project, pictures)
    mark = {"kind": "report", "image": {"name": f"{report.name} ({project.folder.resolve()})"}}
    told = f'<meta name="{KEY}" content="{html.escape(mark_text(mark))}">'
    return replace_text(path, render(report).replace("<head>\n", f"<head>\n{told}\n", 1), mark)


def gather(project: Project, drawn: int = MOST_DRAWN) -> Report:
    """Return what a project's report tells, with pictures of so many images."""
    names = project.reviewers()
    views = {name: project.images_of(name) for name in names}
    entries = views[names[0]] if names else project.images()  # what is the same for all is told of these
    begun = [any(_did_anything(views[name][number]) for name in names) for number in range(len(entries))]
    order = sorted(range(len(entries)), key=lambda number: not begun[number])
    shown = set(order[:drawn])
    pictures = [
        _picture(project, entry, {name: views[name][number] for name in names}, number in shown)
        for number, entry in enumerate(entries)
    ]
    return Report(
        name=project.name,
        made=datetime.now().astimezone(),
        views=views,
        pictures=pictures,
        agreements=agreements(project, views),
        models=project.models(),
        runs=project.runs(),
    )


def _picture(project: Project, entry: ImageEntry, views: dict[str, ImageEntry], drawn: bool) -> Picture:
    size = _overlay_size(entry)
    if not drawn:
        told = tuple(_told(name, view) for name, view in views.items() if _did_anything(view))
        return Picture(entry, "", size, None, told, drawn=False)
    localization = None if entry.localized is None else project.localization(entry.id)
    before = None
    if localization is not None:
        before = Outlines(_outline(_shrunk(localization.region(), size)))
    judgements = tuple(
        _judge(project, name, view, localization, size) for name, view in views.items() if _did_anything(view)
    )
    first = _first(project, entry, size)
    return Picture(entry, _jpeg(project.thumbnail(entry.id)), size, before, judgements, first)


def _told(name: str, view: ImageEntry) -> Judgement:
    """Return a judgement without pictures: no map is read for it."""
    accepted = view.accepted if view.status == "done" else None
    if accepted is None:
        return Judgement(name, view, view.threshold, None, None)
    return Judgement(name, view, accepted.threshold, accepted.fraction, None)


def _first(project: Project, entry: ImageEntry, size: tuple[int, int]) -> tuple[Outlines, str] | None:
    if entry.model is None:
        return None
    found = project.first_map(entry.id)
    if found is None or found.model.sha256 == entry.model.sha256:
        return None
    return Outlines(_outline(_shrunk(found.foreground >= found.threshold, size))), found.model.name


def _did_anything(view: ImageEntry) -> bool:
    return bool(view.status != "to do" or view.label or view.note or view.seconds or has_seeds(view))


def _judge(
    project: Project, name: str, view: ImageEntry, localization: Localization | None, size: tuple[int, int]
) -> Judgement:
    accepted = view.accepted if view.status == "done" else None
    if accepted is not None:
        return _judge_accepted(project, name, view, accepted, size)
    if localization is None:
        return Judgement(name, view, None, None, None)
    threshold = localization.threshold if view.threshold is None else view.threshold
    region, after = localization.region(threshold), None
    if has_seeds(view):
        seeds = project.seeds(view.id, name)
        region = corrected_region(region, localization, seeds, project.seed_grid(view.id))
        after = _outlines(region, seeds, size)
    return Judgement(name, view, threshold, float(region.mean()), after)


def _judge_accepted(
    project: Project, name: str, view: ImageEntry, accepted: Accepted, size: tuple[int, int]
) -> Judgement:
    """Return the judgement by what was kept of what the reviewer saw; its figures need no map."""
    found, after = project.accepted_map(view.id, name), None
    if found is not None:
        seeds = None
        if accepted.save:
            now = accepted.save == view.save
            seeds = project.seeds(view.id, name) if now else project.seeds_at(view.id, accepted.save)
        after = _outlines(found.region(accepted.threshold), seeds, size)
    return Judgement(name, view, accepted.threshold, accepted.fraction, after)


def _outlines(region: NDArray[np.bool_], seeds: NDArray[np.uint8] | None, size: tuple[int, int]) -> Outlines:
    if seeds is None:
        return Outlines(_outline(_shrunk(region, size)))
    return Outlines(
        _outline(_shrunk(region, size)),
        _outline(_spotted(seeds == FOREGROUND, size)),
        _outline(_spotted(seeds == BACKGROUND, size)),
    )


def corrected_region(
    region: NDArray[np.bool_], localization: Localization, seeds: NDArray[np.uint8], grid: SeedGrid
) -> NDArray[np.bool_]:
    """Return a region with a reviewer's seeds in their place: foreground added, background taken away.

    Parameters
    ----------
    region
        (h, w) bool on the grid of the map.
    localization
        Whose map it is.
    seeds
        uint8 labels on the seed grid.
    grid
        Where the seeds lie.
    """
    axes = []
    for axis in (0, 1):
        place = np.arange(region.shape[axis]) * localization.scale[axis] + localization.translate[axis]
        index = np.rint((place - grid.translate[axis]) / grid.scale[axis]).astype(int)
        axes.append(np.clip(index, 0, seeds.shape[axis] - 1))
    there = seeds[np.ix_(*axes)]
    return np.asarray((region | (there == FOREGROUND)) & (there != BACKGROUND))


def _overlay_size(entry: ImageEntry) -> tuple[int, int]:
    factor = min(1.0, OVERLAY / max(entry.height, entry.width))
    return max(1, round(entry.height * factor)), max(1, round(entry.width * factor))


def _shrunk(mask: NDArray[np.bool_], size: tuple[int, int]) -> NDArray[np.bool_]:
    """Return a mask on a grid of another size that covers the same image: what it covers half of.

    Nearest pixels would draw each speckle of a large map as large as a gland.
    """
    height, width = size
    cells = Image.fromarray(mask.astype(np.uint8) * 255).resize((width, height), Image.Resampling.BOX)
    return np.asarray(cells) >= 128


def _spotted(mask: NDArray[np.bool_], size: tuple[int, int]) -> NDArray[np.bool_]:
    """Return a mask on a smaller grid where any pixel counts, so that no stroke is lost from sight."""
    small = np.zeros(size, bool)
    y, x = np.nonzero(mask)
    small[y * size[0] // mask.shape[0], x * size[1] // mask.shape[1]] = True
    return small


def _outline(mask: NDArray[np.bool_]) -> str:
    """Return a mask's contours as the data of an SVG path."""
    rings = (ring for polygon in foreground_regions(mask) for ring in (polygon.exterior, *polygon.holes))
    return "".join("M" + "L".join(f"{x:g} {y:g}" for x, y in ring) + "Z" for ring in rings)


def _jpeg(pixels: NDArray[np.uint8] | None) -> str:
    if pixels is None:
        return ""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, format="JPEG", quality=85)
    return base64.b64encode(stream.getvalue()).decode()
