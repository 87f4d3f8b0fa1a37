"""Merge the projects of several reviewers into one, without ever writing one's work over another's."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path

from pixelcam.errors import ProjectError
from pixelcam.export import safe_stem
from pixelcam.export.naming import file_names
from pixelcam.files import own
from pixelcam.review import records
from pixelcam.review.agreement import (
    Agreement,
    agreements,
    disagreement_map,
    has_seeds,
    seed_counts,
    write_disagreement,
)
from pixelcam.review.copying import Copying
from pixelcam.review.entries import ImageEntry
from pixelcam.review.locking import ReviewerLock
from pixelcam.review.opened import is_project
from pixelcam.review.project import Project


@dataclass(frozen=True)
class Conflict:
    """Something that two reviewers see differently.

    Attributes
    ----------
    image
        The image's name.
    what
        "status", "label" or "seeds".
    reviewers, values
        Who, and what each says: for seeds, how many pixels of each are the opposite of the other's.
    """

    image: str
    what: str
    reviewers: tuple[str, str]
    values: tuple[str, str]


@dataclass(frozen=True)
class MergeReport:
    """What merging has done and found.

    Attributes
    ----------
    folder
        The merged project.
    images, reviewers
        How many images it holds now, and who has worked on them.
    renamed
        (source, name there, name here) of reviewers whose name was taken by different work.
    conflicts
        What reviewers see differently.
    agreements
        How far each pair agrees.
    maps
        Disagreement maps that were written, one for each image and pair that share labelled pixels.
    """

    folder: Path
    images: int
    reviewers: list[str]
    renamed: list[tuple[Path, str, str]] = field(default_factory=list)
    conflicts: list[Conflict] = field(default_factory=list)
    agreements: list[Agreement] = field(default_factory=list)
    maps: list[Path] = field(default_factory=list)


def merge(target: str | Path, sources: Sequence[str | Path], *, reviewer: str) -> MergeReport:
    """Merge projects into a new or an existing one; the sources stay as they are.

    Images are the same where their bytes are. A reviewer keeps the name unless somebody of that name has
    painted or judged the same image differently: then the work goes beside it under a second name.

    Parameters
    ----------
    target
        Folder of the merged project; made where there is none.
    sources
        Folders of projects; they may be read-only.
    reviewer
        Under whose name the target is opened.

    Raises
    ------
    ProjectError
        A source is no project, is the target, or is named twice; nothing was merged.
    ProjectLockedError
        Somebody works in the target under a name that work would be added to; nothing was merged.
    OutputError
        The target cannot be written; nothing was merged.
    """
    target = Path(target).absolute()
    folders = [Path(source).absolute() for source in sources]
    _refuse_repeated([target, *folders])
    with ExitStack() as stack:
        opened = [
            stack.enter_context(Project.open(folder, reviewer=reviewer, read_only=True)) for folder in folders
        ]
        open_target = Project.open if is_project(target) else Project.create
        merged = stack.enter_context(open_target(target, reviewer=reviewer))
        renamed = _copy_all(merged, opened, stack)
        conflicts = list(find_conflicts(merged))
        return MergeReport(
            folder=target,
            images=len(merged.images()),
            reviewers=[name for name in merged.reviewers() if any(map(_has_work, merged.images_of(name)))],
            renamed=renamed,
            conflicts=conflicts,
            agreements=agreements(merged),
            maps=list(write_disagreements(merged, own(target, "agreement", error=ProjectError))),
        )


def find_conflicts(project: Project) -> Iterator[Conflict]:
    """Yield what the reviewers of a project see differently, image by image."""
    views = {name: project.images_of(name) for name in project.reviewers()}
    for index, image in enumerate(project.images()):
        for pair in combinations(views, 2):
            one, other = (views[name][index] for name in pair)
            if not (_has_work(one) and _has_work(other)):
                continue
            if one.status != other.status:
                yield Conflict(image.name, "status", pair, (one.status, other.status))
            if one.label and other.label and one.label != other.label:
                yield Conflict(image.name, "label", pair, (one.label, other.label))
            if has_seeds(one) and has_seeds(other):
                counts = seed_counts(*(project.seeds(image.id, name) for name in pair))
                if counts[0, 1] or counts[1, 0]:
                    said = (
                        f"{counts[1, 0]} foreground, {counts[0, 1]} background",
                        f"{counts[0, 1]} foreground, {counts[1, 0]} background",
                    )
                    yield Conflict(image.name, "seeds", pair, said)


def write_disagreements(project: Project, folder: Path) -> Iterator[Path]:
    """Write a disagreement map for each image and pair of reviewers who share labelled pixels.

    Raises
    ------
    OutputError
        One cannot be written.
    """
    views = {name: project.images_of(name) for name in project.reviewers()}
    called = file_names(views, more="-")
    for index, image in enumerate(project.images()):
        for pair in combinations(views, 2):
            if not all(has_seeds(views[name][index]) for name in pair):
                continue
            found = disagreement_map(*(project.seeds(image.id, name) for name in pair))
            if (found >= 2).any():
                stem = safe_stem(f"{image.id}-{image.name}-{called[pair[0]]}-{called[pair[1]]}")
                mark = {
                    "kind": "agreement",
                    "image": {"name": image.name, "file": image.path.name, "fingerprint": image.fingerprint},
                    "reviewer": json.dumps(pair),
                }
                yield write_disagreement(folder / f"{stem}.png", found, mark)


def _has_work(entry: ImageEntry) -> bool:
    """Return whether a reviewer has done anything with an image."""
    return has_seeds(entry) or bool(entry.label or entry.note) or entry.status != "to do"


def _refuse_repeated(folders: list[Path]) -> None:
    resolved = [folder.resolve() for folder in folders]
    for index, folder in enumerate(resolved):
        if folder in resolved[:index]:
            raise ProjectError(
                f"{folder} is named twice; name each project once, and another folder to merge into."
            )


def _copy_all(merged: Project, sources: list[Project], stack: ExitStack) -> list[tuple[Path, str, str]]:
    """Copy all projects in one transaction; return who was renamed."""
    held = {merged.reviewer}

    def lock(name: str) -> None:
        if name not in held:
            stack.callback(ReviewerLock(merged.folder, name).release)
            held.add(name)

    renamed = []
    with merged._database.writing() as ours:
        for source in sources:
            with source._database.reading() as theirs:
                for there, here in Copying(source, merged, theirs, ours, lock).run():
                    renamed.append((source.folder, there, here))
            records.log(ours, merged.reviewer, "merged", source=source.folder)
    return renamed
