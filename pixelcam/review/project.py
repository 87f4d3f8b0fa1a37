"""A project: the folder in which reviewers judge and correct a list of images."""

from __future__ import annotations

import math
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelcam.errors import ConfigError, ProjectError
from pixelcam.export.atomic import output_error
from pixelcam.files import is_made, remove_made
from pixelcam.localize.localization import Localization, ModelRef
from pixelcam.review import images, journal, records
from pixelcam.review.accepting import ACCEPTED, facts_of, halved, localization_of
from pixelcam.review.arrays import MAP_NAME, Box, new_map_name, read_map, write_map
from pixelcam.review.entries import STATUSES, ImageEntry, ProjectEvent, UsedModel, UsedRun
from pixelcam.review.firstmap import FirstMap, first_map_path, keep_first_map, read_first_map
from pixelcam.review.journal import Save
from pixelcam.review.locking import slug
from pixelcam.review.opened import OpenProject
from pixelcam.review.seedstore import image_folder, image_part
from pixelcam.seeds.grid import SeedGrid


class Project(OpenProject):
    """An open project; make one by `create` or `open`, and close it, or use it in a ``with`` block.

    All methods may be called from any thread; what one of them has returned is on the disk. They raise
    `ProjectError` where the folder cannot be reached and for an image that is not in the project, and
    `OutputError` where it cannot be written: then nothing of that call is kept, and it may be repeated.

    Attributes
    ----------
    folder, name, reviewer
        Where it is, what it is called, and the name that this process works under.
    read_only
        Whether it can only be looked at: as asked for, or because the folder cannot be written.
    warning
        A sentence on what is wrong with the database where it was opened read-only nevertheless, else "".
    """

    # Judgements of this reviewer.

    def set_status(self, id: int, status: str) -> None:
        """Set how far the reviewer is with an image; one of `STATUSES`."""
        if status not in STATUSES:
            raise ConfigError(f"A status is one of {', '.join(STATUSES)}, not {status!r}.")
        self._judge(id, "status", status)

    def set_label(self, id: int, label: str | None) -> None:
        """Note which class the reviewer says the image has, "cannot tell", or None for no opinion."""
        self._judge(id, "label", label or None)

    def set_note(self, id: int, text: str) -> None:
        """Keep the reviewer's note on an image."""
        self._judge(id, "note", text)

    def set_threshold(self, id: int, threshold: float | None) -> None:
        """Keep the threshold, in [0, 1], that the reviewer looks at; None for the model's own."""
        _check_threshold(threshold)
        self._judge(id, "threshold", None if threshold is None else float(threshold))

    def add_seconds(self, id: int, seconds: float) -> None:
        """Add to the time that the reviewer has spent on an image."""
        if not (math.isfinite(seconds) and seconds >= 0):
            raise ConfigError(f"Time goes forwards only, not by {seconds:g} seconds.")
        with self._database.lock:
            self._judge(id, "seconds", self.image(id).seconds + float(seconds), logged=False)

    def _judge(self, id: int, what: str, value: str | float | None, logged: bool = True) -> None:
        before = getattr(self.image(id), what)
        if before == value:
            return
        with self._database.writing() as connection:
            records.set_judgement(connection, id, self._reviewer_id, what, value)
            if logged:
                records.log(connection, self.reviewer, what, id, before=before, after=value)

    # Localizations.

    def keep_localization(self, id: int, localization: Localization, uncertainty: float) -> None:
        """Keep what a model says of an image; of earlier ones all stays but the map.

        Parameters
        ----------
        id
            The image.
        localization
            The result; its map is kept at half precision, to about 0.0005. That of the first one stays too,
            in small (`first_map`).
        uncertainty
            A figure that grows with doubt.

        Raises
        ------
        ProjectError
            It is of an image of another size.
        """
        entry = self._fitting(id, localization)
        self._database.check_writable()
        place = image_folder(self.folder, id)
        # A name of its own: the map before stays whole until the tables name this one.
        path = image_part(self.folder, id, new_map_name("map", slug(self.reviewer)))

        def note(connection: sqlite3.Connection) -> None:
            records.add_model(connection, localization.model)
            records.add_localization(connection, id, self._reviewer_id, localization, uncertainty, path.name)

        self._keep_map(path, halved(localization.foreground, localization.threshold), note)
        if entry.localized is None:
            keep_first_map(first_map_path(self.folder, id), localization.foreground, path.name)
        with self._database.reading() as connection:
            replaced = records.replaced_maps(connection, id)
        for name in replaced:  # others may be another reviewer's, about to be named by the tables
            remove_made(place, name, MAP_NAME)

    def _fitting(self, id: int, found: Localization) -> ImageEntry:
        """Return the image that a map is of; refuse one of another size."""
        entry = self.image(id)
        if (found.width, found.height) != (entry.width, entry.height):
            raise ProjectError(
                f"This map is of an image of {found.width} x {found.height} pixels, but "
                f"{entry.name} has {entry.width} x {entry.height}; localize that image."
            )
        return entry

    def _keep_map(
        self,
        path: Path,
        values: NDArray[np.floating],
        note: Callable[[sqlite3.Connection], None],
        said: dict[str, Any] | None = None,
    ) -> None:
        """Write a map, (h, w), and note it in one transaction; nothing of it stays where that fails."""
        try:
            write_map(path, values, said)
            with self._database.writing() as connection:
                note(connection)
        except BaseException as error:
            shutil.rmtree(path, ignore_errors=True)
            if isinstance(error, OSError) and (refusal := output_error(path, error)) is not None:
                raise refusal from error
            raise

    def first_map(self, id: int) -> FirstMap | None:
        """Return the first localization's map in small, None where it was not kept."""
        with self._database.reading() as connection:
            self._row(connection, id)
            row = records.first_localization(connection, id)
        found = None if row is None else read_first_map(first_map_path(self.folder, id), row["map"])
        if row is None or found is None:
            return None
        return FirstMap(found, row["threshold"], records.model_of(row))

    def localization(self, id: int) -> Localization | None:
        """Return the latest localization, None where there is none, or its map is gone: localize again."""
        entry = self.image(id)
        with self._database.reading() as connection:
            row = records.latest_localization(connection, id)
        foreground = None
        if row is not None and is_made(row["map"], MAP_NAME):
            foreground = read_map(image_part(self.folder, id, row["map"]))
        if row is None or foreground is None:
            return None
        return Localization(
            image_name=entry.name,
            width=entry.width,
            height=entry.height,
            mpp=entry.mpp,
            classes=entry.classes,
            foreground=foreground,
            threshold=row["threshold"],
            model=records.model_of(row),
            scale=(row["scale_y"], row["scale_x"]),
            translate=(row["translate_y"], row["translate_x"]),
            familiarity=row["familiarity"],
            image_file=entry.path.name,
        )

    # What the reviewer accepts.

    def accept(
        self,
        id: int,
        seen: Localization,
        threshold: float | None = None,
        *,
        others: tuple[int, int] = (0, 0),
    ) -> ImageEntry:
        """Say that an image is done, and keep the map that was seen then: it is what is reported.

        Earlier ones stay known but for their maps.

        Parameters
        ----------
        id
            The image.
        seen
            The map on the screen, refitted to seeds or not. It is kept at half precision, with the very same
            pixels at or above the threshold.
        threshold
            At which it was looked at, in [0, 1]; None for the model's own.
        others
            How many other images counted where the map was refitted, and how many labelled places on them.

        Raises
        ------
        ProjectError
            It is of an image of another size.
        ConfigError
            The threshold lies outside of [0, 1].
        """
        _check_threshold(threshold)
        entry = self._fitting(id, seen)
        self._database.check_writable()
        chosen = seen.threshold if threshold is None else float(threshold)
        facts = facts_of(seen, chosen, others, entry.save, journal.now())
        path = image_part(self.folder, id, new_map_name(ACCEPTED, slug(self.reviewer)))
        said = {ACCEPTED: {**facts, "image": id, "reviewer": self.reviewer, "map": path.name}}

        def note(connection: sqlite3.Connection) -> None:
            self._note_accepted(connection, id, seen.model, {**facts, "map": path.name}, threshold)

        self._keep_map(path, halved(seen.foreground, chosen), note, said)
        with self._database.reading() as connection:
            replaced = records.replaced_accepted(connection, id, self._reviewer_id)
        for name in replaced:
            remove_made(path.parent, name, MAP_NAME)
        return self.image(id)

    def _note_accepted(
        self,
        connection: sqlite3.Connection,
        id: int,
        model: ModelRef,
        facts: dict[str, Any],
        threshold: float | None,
    ) -> None:
        before = records.entry(connection, self._reviewer_id, id)
        records.add_model(connection, model)
        seq = records.add_accepted(connection, id, self._reviewer_id, facts)
        for what, value in (("status", "done"), ("threshold", threshold)):
            records.set_judgement(connection, id, self._reviewer_id, what, value)
        if before is not None and before.status != "done":
            records.log(connection, self.reviewer, "status", id, before=before.status, after="done")
        told = {name: facts[name] for name in ("threshold", "fraction", "model", "refined", "other_images")}
        records.log(connection, self.reviewer, "accepted", id, seq=seq, **told)

    def accepted_map(self, id: int, reviewer: str | None = None) -> Localization | None:
        """Return the map that a reviewer accepted last, this one where no name is given.

        None where there is none, or it is gone; its figures stay known (`ImageEntry.accepted`).
        """
        with self._database.reading() as connection:
            number = self._number_of(connection, reviewer or self.reviewer)
            row = next(iter(records.latest_accepted(connection, number, id)), None)
            entry = records.entry(connection, number, id)
        if row is None or entry is None or entry.accepted is None or not is_made(row["map"], MAP_NAME):
            return None
        values = read_map(image_part(self.folder, id, row["map"]))
        if values is None:
            return None
        grid = tuple(row[name] for name in ("scale_y", "scale_x", "translate_y", "translate_x"))
        return localization_of(entry, entry.accepted, grid, values)

    # Seeds.

    def seed_grid(self, id: int) -> SeedGrid:
        """Return the pixels that the seeds of an image are painted on."""
        with self._database.reading() as connection:
            return images.grid_of(self._row(connection, id))

    def seeds(self, id: int, reviewer: str | None = None) -> NDArray[np.uint8]:
        """Return a copy of the labels, (h, w) uint8 of the seed grid: this reviewer's, or another's."""
        return self._seeds.read(self._canvas(id, reviewer))

    def write_seeds(self, id: int, box: Box, labels: NDArray[np.uint8], kind: str = "stroke") -> Save:
        """Keep an edit of this reviewer's seeds.

        Parameters
        ----------
        id
            The image.
        box
            (y0, x0, y1, x1) on the seed grid, the last two past the end.
        labels
            (y1 - y0, x1 - x0); 0, 1 or 2: all labels of the box as they are now.
        kind
            What the reviewer did; one of `KINDS`.

        Raises
        ------
        SeedsError
            The box lies outside the grid, or the labels do not fit it or hold other values.
        """
        self._database.check_writable()
        return self._seeds.write_box(self._canvas(id), box, labels, kind)

    def write_changes(self, id: int, labels: NDArray[np.uint8], kind: str = "stroke") -> Save | None:
        """Keep whatever differs from this reviewer's kept seeds, as one edit; None where nothing does.

        Parameters
        ----------
        id
            The image.
        labels
            (h, w) uint8 of the whole seed grid, as they are now.
        kind
            What the reviewer did; one of `KINDS`.

        Raises
        ------
        SeedsError
            The labels are not of the grid's size or hold other values.
        """
        self._database.check_writable()
        return self._seeds.write_whole(self._canvas(id), labels, kind)

    def history(self, id: int) -> list[Save]:
        """Return all edits of an image's seeds, of all reviewers, oldest first."""
        with self._database.reading() as connection:
            self._row(connection, id)
            return journal.history(connection, id)

    def seeds_at(self, id: int, seq: int) -> NDArray[np.uint8]:
        """Return the labels as the reviewer of an edit left them by it, (h, w) uint8."""
        save = self._save(id, seq)
        return self._seeds.state_at(self._canvas(id, save.reviewer), save.seq)

    def restore(self, id: int, seq: int) -> Save:
        """Make this reviewer's seeds those after an edit, one's own or another's, by a new edit."""
        self._database.check_writable()
        labels, author = self.seeds_at(id, seq), self._save(id, seq).reviewer
        return self._seeds.restore(
            self._canvas(id),
            labels,
            lambda connection: records.log(connection, self.reviewer, "restored", id, seq=seq, author=author),
        )

    def seed_state(self, id: int) -> str:
        """Return a word for the state of this reviewer's seeds of an image, another after every edit.

        It names the last edit by more than its number, which a rescue may give to another one.
        """
        with self._database.reading() as connection:
            self._row(connection, id)
            save = journal.last_save(connection, id, self._reviewer_id)
        if save is None:
            return ""
        return f"{save.seq} {save.time.isoformat()} {save.foreground} {save.background}"

    def _save(self, id: int, seq: int) -> Save:
        with self._database.reading() as connection:
            self._row(connection, id)
            found = journal.find_save(connection, id, int(seq))
        if found is None:
            raise ProjectError(f"The image {id} has no save of the number {seq}; look at its history.")
        return found

    # Provenance.

    def register_run(self, folder: str | Path, kind: str = "finetune", model: str = "") -> None:
        """Note a training run that belongs to the project; `model` is the sha256 of the one it made."""
        with self._database.writing() as connection:
            records.add_run(connection, Path(folder).absolute(), kind, model, self._reviewer_id)
            records.log(connection, self.reviewer, "run", folder=folder, kind=kind, model=model)

    def register_model(self, model: ModelRef, path: str | Path = "") -> None:
        """Note a model that belongs to the project; those that made maps are noted by themselves."""
        with self._database.writing() as connection:
            records.add_model(connection, model, str(path))

    def models(self) -> list[UsedModel]:
        """Return the models used here, in the order of their first use."""
        with self._database.reading() as connection:
            return records.models(connection)

    def runs(self) -> list[UsedRun]:
        """Return the training runs that belong to the project, oldest first."""
        with self._database.reading() as connection:
            return records.runs(connection)

    def events(self) -> list[ProjectEvent]:
        """Return what happened beside the edits of seeds, oldest first."""
        with self._database.reading() as connection:
            return records.events(connection)


def _check_threshold(threshold: float | None) -> None:
    if threshold is not None and not 0 <= threshold <= 1:
        raise ConfigError(f"A threshold lies between 0 and 1, not at {threshold:g}.")
