"""Write what the reviewer wants to take along, and say where it went."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path

import numpy as np
from psygnal import Signal

from napari_pixelcam import seedfiles
from napari_pixelcam.background import Task
from napari_pixelcam.controllers.seeds import SeedsController
from napari_pixelcam.controllers.session import ImageRecord, Session, sentence
from napari_pixelcam.images import slide_of, source_of
from pixelcam.errors import PixelCAMError


@dataclass(frozen=True)
class ExportChoices:
    """What to write; the defaults are what most people need."""

    seeds_png: bool = True
    """Seeds as an 8-bit PNG with its sidecar: what fine-tuning reads."""
    seeds_npz: bool = False
    map_tiff: bool = True
    """The foreground map as OME-TIFF, float32, with the pixel size."""
    map_png: bool = False
    regions: bool = True
    """Regions at the threshold as GeoJSON, as QuPath reads it."""
    summary: bool = True
    """Class probabilities, threshold and area as JSON."""

    @property
    def any(self) -> bool:
        """Whether anything is chosen."""
        return any(getattr(self, field.name) for field in fields(self))


class ExportController:
    """Exports the chosen image's seeds and map.

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
        record = self.session.record
        self.seeds.flush()
        try:
            steps = self._steps(record, folder, choices)
        except PixelCAMError as error:
            self._failed(error)
            return
        self.running = True
        self.changed.emit()
        self.session.background.submit(
            lambda task: _write_all(steps, task), done=partial(self._done, folder), failed=self._failed
        )

    def _steps(self, record: ImageRecord | None, folder: Path, choices: ExportChoices) -> list[Step]:
        """Return the writers, each with a copy of what it writes, so that painting may go on meanwhile."""
        if record is None:
            raise PixelCAMError("Open an image before exporting.")
        if not choices.any:
            raise PixelCAMError("Tick what to export: seeds, map, regions or summary.")
        if not folder.is_absolute():
            raise PixelCAMError("Choose the folder to export to.")
        steps = []
        if choices.seeds_png or choices.seeds_npz:
            if record.seeds is not None and np.any(record.seeds.data):
                steps.append(seeds_step(record, folder, choices))
            elif record.result is None:
                raise PixelCAMError(
                    "There is nothing to export yet: localize the image or paint seeds first."
                )
        if record.result is not None:
            steps += _map_steps(record, folder, choices)
        elif not steps:
            raise PixelCAMError("There is no map to export yet: press Localize first.")
        if not steps:
            raise PixelCAMError("No seeds are painted yet; paint some, or tick the map, regions or summary.")
        return steps

    def _done(self, folder: Path, paths: list[Path]) -> None:
        self.running = False
        self.changed.emit()
        self.exported.emit(folder, paths)

    def _failed(self, error: Exception) -> None:
        self.running = False
        self.changed.emit()
        message = sentence(error)
        self.failed.emit(message)
        self.session.notified.emit("error", message)


Step = Callable[[], list[Path]]


def seeds_step(record: ImageRecord, folder: Path, choices: ExportChoices) -> Step:
    """Return the writer of a record's seeds; an image that is no file goes along, for the job needs it."""
    assert record.seeds is not None
    source = source_of(record.layer)
    labels = np.array(record.seeds.data, copy=True)
    formats = tuple(
        name for name, wanted in (("png", choices.seeds_png), ("npz", choices.seeds_npz)) if wanted
    )

    def write() -> list[Path]:
        slide = record.slide or slide_of(source)
        return seedfiles.save(folder, labels, seedfiles.make_sidecar(record, slide), slide, formats)

    return write


def _map_steps(record: ImageRecord, folder: Path, choices: ExportChoices) -> list[Step]:
    from pixelcam import export

    assert record.result is not None
    localization = record.result.localization
    threshold = localization.threshold if record.threshold is None else record.threshold
    stem = folder / export.safe_stem(localization.image_name)
    tiff = stem.with_name(f"{stem.name}.fg.ome.tif")
    writers: list[tuple[bool, Path, Callable[[Path], object]]] = [
        (choices.map_tiff, tiff, lambda path: export.write_foreground(path, localization)),
        (
            choices.map_png,
            stem.with_name(f"{stem.name}.fg.png"),
            lambda path: export.write_map_png(path, localization),
        ),
        (
            choices.regions,
            stem.with_name(f"{stem.name}.geojson"),
            lambda path: export.write_geojson(path, localization, threshold),
        ),
        (
            choices.summary,
            stem.with_name(f"{stem.name}.json"),
            lambda path: export.write_summary(path, localization, tiff.name, threshold),
        ),
    ]

    def step(path: Path, write: Callable[[Path], object]) -> Step:
        def run() -> list[Path]:
            write(path)
            return [path]

        return run

    return [step(path, write) for wanted, path, write in writers if wanted]


def _write_all(steps: list[Step], task: Task) -> list[Path]:
    return [path for step in steps for path in step()]
