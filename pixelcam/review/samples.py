"""Labelled cells of a project's images, kept so that they count on other images without being read anew."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pixelcam import __version__
from pixelcam.errors import CancelledError, ImageError, OutputError
from pixelcam.events import Event, EventSink, Stop, StopCheck, ignore_events, never_stop
from pixelcam.export.atomic import write_bytes
from pixelcam.review.locking import slug
from pixelcam.review.project import Project
from pixelcam.review.seedstore import image_part
from pixelcam.slides import Slide

if TYPE_CHECKING:
    from pixelcam.refine import SeedSamples

_ARRAYS = ("features", "prior", "labels", "weights")
_KEY = "pixelcam"

MakeSamples = Callable[[Slide, NDArray[np.uint8]], "SeedSamples"]
"""Computes the samples of an image and its labels, (h, w) uint8 of the seed grid."""


@dataclass(frozen=True)
class ImageSamples:
    """The labelled cells of one image, and of which state of its seeds they are (`Project.seed_state`)."""

    state: str
    samples: SeedSamples


@dataclass
class Gathered:
    """The labelled cells of a project's images for one model.

    Attributes
    ----------
    images
        By the images' numbers.
    left_out
        Why an image is not among them, a sentence each.
    """

    images: dict[int, ImageSamples] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)


def keep_samples(project: Project, id: int, model: str, found: ImageSamples) -> None:
    """Keep an image's labelled cells in the project's folder, where it can be written: they can be remade.

    Parameters
    ----------
    project, id
        Whose image it is; the samples are of this reviewer's seeds.
    model
        The sha256 of the model that made the features.
    found
        Features are kept at half precision.
    """
    if project.read_only:
        return
    from safetensors.torch import save

    arrays = {name: getattr(found.samples, name).detach().cpu().contiguous().clone() for name in _ARRAYS}
    arrays["features"] = arrays["features"].half()
    with suppress(OutputError):
        write_bytes(_path(project, id), save(arrays, {_KEY: _stamp(model, found.state)}))


def read_samples(project: Project, id: int, model: str, state: str) -> ImageSamples | None:
    """Return the kept samples of an image, None where there are none of this model and state of the seeds."""
    from safetensors import SafetensorError, safe_open

    from pixelcam.refine import SeedSamples

    try:
        with safe_open(_path(project, id), "pt") as file:
            if (file.metadata() or {}).get(_KEY) != _stamp(model, state):
                return None
            return ImageSamples(state, SeedSamples(*(file.get_tensor(name).float() for name in _ARRAYS)))
    except (OSError, RuntimeError, SafetensorError):
        return None


def gather_samples(
    project: Project,
    model: str,
    make: MakeSamples,
    *,
    known: Gathered | None = None,
    without: int | None = None,
    on_event: EventSink = ignore_events,
    should_stop: StopCheck = never_stop,
) -> Gathered:
    """Return the labelled cells of all images that the reviewer has seeds on.

    What is in memory or in the folder is taken from there if it is of this model and of the seeds as they
    are; the rest is made, and kept.

    Parameters
    ----------
    project
        The project.
    model
        The sha256 of the model.
    make
        What computes the samples of an image.
    known
        Those in memory, of the same model.
    without
        An image to leave out.
    on_event
        Receives a "step" of the stage "samples" before each image that is made: so many are done by then.
    should_stop
        Asked before each of these; those that were made by then stay kept.

    Raises
    ------
    CancelledError
        As asked for.
    """
    entries = [entry for entry in project.images() if entry.foreground + entry.background]
    entries = [entry for entry in entries if entry.id != without]
    found, missing = Gathered(), []
    for entry in entries:
        one = _kept(project, entry.id, model, known)
        if one is None:
            missing.append(entry.id)
        else:
            found.images[entry.id] = one
    for number, id in enumerate(missing):
        on_event(Event("step", "samples", step=number, total=len(missing)))
        if should_stop() is not Stop.NO:
            raise CancelledError
        try:
            slide, state = project.slide(id), project.seed_state(id)
            found.images[id] = ImageSamples(state, make(slide, project.seeds(id)))
            keep_samples(project, id, model, found.images[id])
        except ImageError as error:  # gone, changed, or nothing that features can be had of
            found.left_out.append(str(error))
    return found


def _kept(project: Project, id: int, model: str, known: Gathered | None) -> ImageSamples | None:
    """Return the samples of an image as its seeds are, from memory or the folder; None without."""
    state = project.seed_state(id)
    one = None if known is None else known.images.get(id)
    return one if one is not None and one.state == state else read_samples(project, id, model, state)


def _path(project: Project, id: int) -> Path:
    return image_part(project.folder, id, f"samples-{slug(project.reviewer)}.safetensors")


def _stamp(model: str, state: str) -> str:
    """Return what samples must be of to be used: of this model and these seeds, and computed like this."""
    from pixelcam.refine import refiner

    recipe = (
        refiner.WINDOWS,
        refiner.ALIKE,
        refiner.FULL_WEIGHT,
        refiner.MOST_SAMPLES,
        refiner.MOST_AVERAGED,
    )
    return json.dumps({"model": model, "seeds": state, "version": __version__, "recipe": recipe})
