"""What a project holds, as the files that other programs and `pixelcam finetune` read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from pixelcam.errors import ConfigError, ImageError
from pixelcam.events import Event, EventSink, ignore_events
from pixelcam.export import RESULT_FORMATS, SEED_FORMATS, export_result, export_seeds
from pixelcam.export.areas import about_map
from pixelcam.export.formats import RESULT_WRITERS
from pixelcam.export.marks import KEY, document_text, replace_text
from pixelcam.export.naming import Places, file_names, has_seeds_of
from pixelcam.export.sidecar import SeedImage, SeedSidecar
from pixelcam.localize.localization import Localization
from pixelcam.review.agreement import has_seeds
from pixelcam.review.entries import ImageEntry
from pixelcam.review.project import Project


def sidecar_of(project: Project, entry: ImageEntry, reviewer: str) -> SeedSidecar:
    """Return what goes beside a reviewer's seeds of an image.

    Parameters
    ----------
    project
        The project.
    entry
        The image as that reviewer sees it.
    reviewer
        The name.

    Raises
    ------
    MissingImageError, ChangedImageError
        The image is not where it was, or another.
    """
    path = str(project.locate(entry.id))
    grid = project.seed_grid(entry.id)
    found = project.localization(entry.id) if entry.localized else None
    saves = [save for save in project.history(entry.id) if save.reviewer == reviewer]
    threshold = entry.threshold
    if threshold is None and found is not None:
        threshold = found.threshold
    return SeedSidecar(
        image=_image_of(entry, path),
        level=grid.level,
        scale=grid.scale,
        translate=grid.translate,
        model=entry.model,
        threshold=threshold,
        predicted=entry.predicted,
        corrected_label=entry.label,
        reviewer=reviewer,
        started=saves[0].time.isoformat(timespec="seconds") if saves else "",
        saved=saves[-1].time.isoformat(timespec="seconds") if saves else "",
    )


def _image_of(entry: ImageEntry, path: str) -> SeedImage:
    return SeedImage(entry.name, path, "", entry.fingerprint, entry.width, entry.height, entry.mpp)


def _is_due(entry: ImageEntry, reviewer: str, folder: Path) -> bool:
    """Return whether an image's seeds are to be written: there are some, or the folder holds older ones."""
    return has_seeds(entry) or has_seeds_of(folder, _image_of(entry, str(entry.path)), reviewer)


def export_project(
    project: Project,
    out: str | Path,
    formats: Sequence[str] = ("png",),
    *,
    reviewers: Iterable[str] | None = None,
    results: bool = False,
    on_event: EventSink = ignore_events,
) -> list[Path]:
    """Write the seeds of a project, and its results, in formats of `pixelcam.export`.

    With "png" or "npz", each folder of seeds is one that ``pixelcam finetune --seeds`` reads. The seeds of
    one reviewer go right into `out`; those of several into a folder each, as they are of the same images:
    see `file_names` for what it is called.
    Images without seeds are passed over, unless the folder holds seeds that were cleared since: these are
    written without a seed.

    Parameters
    ----------
    project
        The project.
    out
        Made where it is missing.
    formats
        Of `SEED_FORMATS` and, for results, `RESULT_FORMATS`; each is used for what knows it.
    reviewers
        Whose seeds; this project's own reviewer where None.
    results
        Also write maps and regions: those that the reviewers accepted, as they saw them, and of images that
        none of them did the model's latest, at this reviewer's threshold. ``<stem>.accepted.json`` beside an
        accepted one tells who accepted it and how it came about. With several reviewers, each one's are in a
        folder, as the seeds are.
    on_event
        Receives one "step" of the stage "export" for each image.

    Returns
    -------
    list[Path]
        The files.

    Raises
    ------
    ConfigError
        A format is unknown, or fits nothing of what is asked for.
    MissingImageError, ChangedImageError
        An image with seeds is not where it was, or another.
    OutputError
        A file cannot be written.
    """
    names = [project.reviewer] if reviewers is None else list(reviewers)
    of_seeds, of_results = _sorted_formats(formats, results)
    called = file_names(names)
    folders = {name: Path(out) if len(names) == 1 else Path(out) / called[name] for name in names}
    seeds = [
        (name, entry)
        for name in names
        for entry in project.images_of(name)
        if of_seeds and _is_due(entry, name, folders[name])
    ]
    maps = _results_of(project, names) if of_results else []
    total, written = len(seeds) + len(maps), []
    places = Places()
    for number, (name, entry) in enumerate(seeds, start=1):
        sidecar = sidecar_of(project, entry, name)
        painted = project.seeds(entry.id, name)
        written += export_seeds(folders[name], painted, sidecar, of_seeds, places=places)
        on_event(Event("step", "export", step=number, total=total))
    for number, (who, entry) in enumerate(maps, start=len(seeds) + 1):
        if who is None:
            found, threshold, folder = project.localization(entry.id), entry.threshold, Path(out)
        else:
            assert entry.accepted is not None
            found, threshold = project.accepted_map(entry.id, who), entry.accepted.threshold
            folder = folders[who]
        if found is not None:
            found = replace(found, fingerprint=entry.fingerprint, image_file=entry.path.name)
            files = export_result(folder, found, of_results, threshold, places=places, of=entry.id)
            written += files
            if who is not None:
                stem = files[0].name.removesuffix(RESULT_WRITERS[of_results[0]][0][0])
                written.append(_write_accepted(folder / f"{stem}.accepted.json", found, entry, who))
        on_event(Event("step", "export", step=number, total=total))
    return written


def _results_of(project: Project, reviewers: Sequence[str]) -> list[tuple[str | None, ImageEntry]]:
    """Return which maps are results: of each image those that reviewers accepted, or else the model's latest.

    With the name of who accepted it; None for the model's.
    """
    views = {name: project.images_of(name) for name in reviewers}
    found: list[tuple[str | None, ImageEntry]] = []
    for number, entry in enumerate(project.images()):
        accepted: list[tuple[str | None, ImageEntry]] = [
            (name, view[number])
            for name, view in views.items()
            if view[number].accepted is not None and view[number].status == "done"
        ]
        found += accepted or ([(None, entry)] if entry.localized else [])
    return found


def _write_accepted(path: Path, map_: Localization, entry: ImageEntry, reviewer: str) -> Path:
    """Write beside an accepted map who accepted it, with which figures, and how it came about."""
    found = entry.accepted
    assert found is not None
    mark = about_map(map_, found.threshold)
    said = {
        KEY: mark,
        "image": {
            "name": entry.name,
            "sha256": entry.fingerprint,
            "width": entry.width,
            "height": entry.height,
            "mpp": entry.mpp,
        },
        "reviewer": reviewer,
        "accepted": found.time.isoformat(timespec="seconds"),
        "label": entry.label,
        "threshold": found.threshold,
        "foreground_fraction": found.fraction,
        "area_mm2": found.area_mm2,
        "map": found.origin,
        "model": found.model.to_json(),
        "refined": found.refined,
        "other_images": found.other_images,
        "changed_since": entry.changed,
    }
    return replace_text(path, document_text(said, indent=2), mark)


@dataclass
class Exported:
    """What was written of some images' seeds: the files, and why images were left out, a sentence each."""

    paths: list[Path] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)


def export_seeds_of(
    project: Project, out: str | Path, ids: Iterable[int], formats: Sequence[str] = ("png",)
) -> Exported:
    """Write this reviewer's seeds of some images; those not at hand are left out, and the rest is written.

    Parameters
    ----------
    project
        The project.
    out
        Made where it is missing.
    ids
        The images' numbers; those without seeds are passed over, see `export_project`.
    formats
        Of `SEED_FORMATS`; "png" is what ``pixelcam finetune --seeds`` reads.

    Raises
    ------
    OutputError
        A file cannot be written.
    """
    done, places = Exported(), Places()
    for entry in map(project.image, ids):
        if _is_due(entry, project.reviewer, Path(out)):
            try:
                sidecar = sidecar_of(project, entry, project.reviewer)
            except ImageError as error:
                done.left_out.append(str(error))
            else:
                done.paths += export_seeds(out, project.seeds(entry.id), sidecar, formats, places=places)
    return done


def _sorted_formats(formats: Sequence[str], results: bool) -> tuple[list[str], list[str]]:
    """Return which of the formats are for seeds and which for results."""
    of_seeds = [name for name in formats if name in SEED_FORMATS]
    of_results = [name for name in formats if results and name in RESULT_FORMATS]
    for name in formats:
        if name not in of_seeds and name not in of_results:
            known = ", ".join(dict.fromkeys([*SEED_FORMATS, *(RESULT_FORMATS if results else ())]))
            raise ConfigError(f"A project cannot be exported as {name} here; choose among {known}.")
    return of_seeds, of_results
