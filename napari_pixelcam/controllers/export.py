"""Write what the reviewer wants to take along, and say where it went."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from psygnal import Signal

from napari_pixelcam import seedfiles
from napari_pixelcam.background import Task
from napari_pixelcam.controllers.seeds import SeedsController
from napari_pixelcam.controllers.session import ImageRecord, Session, sentence
from napari_pixelcam.images import slide_of
from napari_pixelcam.keeping import Keeper
from pixelcam.errors import PixelCAMError
from pixelcam.seeds.seedmap import SeedMap


@dataclass(frozen=True)
class ExportChoices:
    """What to write, by the names of `pixelcam.export`'s formats; the defaults are what most people need."""

    seeds: tuple[str, ...] = ("png",)
    """The PNG with its sidecar is what fine-tuning reads."""
    map: tuple[str, ...] = ("ome-tiff",)
    regions: tuple[str, ...] = ("geojson",)
    """At the threshold."""
    summary: bool = True
    """Class probabilities, threshold and area as JSON."""
    everywhere: bool = False
    """Whether the seeds are those of all images of the open project."""

    @property
    def any(self) -> bool:
        """Whether anything is chosen."""
        return bool(self.seeds or self.map or self.regions or self.summary)


class ExportController:
    """Exports the chosen image's seeds and map, and the seeds of the whole project where asked to.

    Parameters
    ----------
    session
        The dock's shared state.
    seeds
        Whose seeds to export.
    """

    changed = Signal()
    """An export began or ended."""
    exported = Signal(object, list)
    """These files went into this folder."""
    failed = Signal(str)

    def __init__(self, session: Session, seeds: SeedsController) -> None:
        self.session = session
        self.seeds = seeds
        self.running = False
        session.image_changed.connect(lambda record: self.changed.emit())
        session.localized.connect(lambda record: self.changed.emit())

    def run(self, folder: Path, choices: ExportChoices) -> None:
        """Write the chosen files into a folder, in the background."""
        if self.running:
            return
        self.seeds.flush()
        self.running = True
        self.changed.emit()
        record = self.session.record
        begin = partial(self._begin, record, folder, choices)
        if record is None:
            begin()
        else:
            self.session.when_whole(record, begin)

    def _begin(self, record: ImageRecord | None, folder: Path, choices: ExportChoices) -> None:
        left_out, notes = list[str](), list[str]()
        try:
            steps = self._steps(record, folder, choices, left_out, notes)
        except PixelCAMError as error:
            self._failed(error)
            return
        self.session.background.submit(
            lambda task: _write_all(steps, task),
            done=partial(self._done, folder, left_out, notes),
            failed=self._failed,
        )

    def _steps(
        self,
        record: ImageRecord | None,
        folder: Path,
        choices: ExportChoices,
        left_out: list[str],
        notes: list[str],
    ) -> list[Step]:
        """Return the writers, each with a copy of what it writes, so that painting may go on meanwhile."""
        keeper, steps = self.seeds.keeper, list[Step]()
        kept = keeper.closed(()) if choices.seeds and choices.everywhere else []
        if record is None and not kept:
            raise PixelCAMError("Open an image before exporting.")
        if not choices.any:
            raise PixelCAMError("Choose what to export: seeds, map, regions or summary.")
        if not folder.is_absolute():
            raise PixelCAMError("Choose the folder to export to.")
        if kept:
            steps.append(_kept_step(keeper, kept, folder, choices, left_out))
            if record is None:
                return steps
        elif choices.seeds:
            seeds = self.session.watch.seeds(record)
            if seeds is not None and seeds.any:
                steps.append(seeds_step(record, seeds, folder, choices, notes))
            elif record.result is None:
                raise PixelCAMError(
                    "There is nothing to export yet: localize the image or paint seeds first."
                )
        if record.result is not None:
            steps += _map_steps(record, folder, choices, notes)
        elif not steps:
            raise PixelCAMError("There is no map to export yet: press Localize first.")
        if not steps:
            raise PixelCAMError(
                "No seeds are painted yet; paint some, or choose the map, regions or summary."
            )
        return steps

    def _done(self, folder: Path, left_out: list[str], notes: list[str], paths: list[Path]) -> None:
        self.running = False
        self.changed.emit()
        self.exported.emit(folder, paths)
        for note in dict.fromkeys(notes):
            self.session.notified.emit("warning", note, lambda: (self.session.record, self.running))
        if left_out:
            count = "1 image" if len(left_out) == 1 else f"{len(left_out)} images"
            text = f"The seeds of {count} were left out: {left_out[0]}"
            self.session.notified.emit("warning", text, lambda: (self.session.record, self.running))

    def _failed(self, error: Exception) -> None:
        self.running = False
        self.changed.emit()
        message = sentence(error)
        self.failed.emit(message)
        self.session.notified.emit("error", message, lambda: (self.session.record, self.running))


Step = Callable[[], list[Path]]


def seeds_step(
    record: ImageRecord, seeds: SeedMap, folder: Path, choices: ExportChoices, notes: list[str] | None = None
) -> Step:
    """Return the writer of a record's seeds; an image that is no file goes along, for the job needs it.

    A sentence joins the notes where the files have another name than the image.
    """
    source = record.source_now()

    def write() -> list[Path]:
        from pixelcam.export import export_seeds

        slide = record.slide or slide_of(source)
        image = slide.read() if slide.path is None else None
        sidecar = seedfiles.make_sidecar(record, slide)
        written = export_seeds(folder, seeds.array(), sidecar, choices.seeds, image)
        _note_name(slide.name, written, [] if notes is None else notes)
        return written

    return write


def _note_name(name: str, written: list[Path], notes: list[str]) -> None:
    """Note what files are called whose image's name was taken in their folder."""
    from pixelcam.export import safe_stem

    stem = safe_stem(name)
    if written and not written[-1].name.startswith(f"{stem}."):
        notes.append(
            f"{written[-1].parent} holds other files called {stem}: these are called {written[-1].name} "
            "and the like."
        )


def _kept_step(
    keeper: Keeper, ids: list[int], folder: Path, choices: ExportChoices, left_out: list[str]
) -> Step:
    def write() -> list[Path]:
        found = keeper.export(ids, folder, choices.seeds)
        left_out.extend(found.left_out)
        return found.paths

    return write


def _map_steps(record: ImageRecord, folder: Path, choices: ExportChoices, notes: list[str]) -> list[Step]:
    assert record.result is not None
    localization, source = record.localization(), record.source_now()
    threshold = localization.threshold if record.threshold is None else record.threshold
    formats = dict.fromkeys((*choices.map, *choices.regions))
    if not formats and not choices.summary:
        return []

    def write() -> list[Path]:
        from pixelcam.export import export_result

        found = localization
        if not found.fingerprint:  # as of a map that a project has kept: files must know their image again
            slide = record.slide or slide_of(source)
            file = "" if slide.path is None else slide.path.name
            found = replace(found, fingerprint=slide.fingerprint, image_file=file)
        written = export_result(folder, found, formats, threshold, summary=choices.summary)
        _note_name(found.image_name, written, notes)
        return written

    return [write]


def _write_all(steps: list[Step], task: Task) -> list[Path]:
    return [path for step in steps for path in step()]
