"""Teach a finished model which images are like those that it was trained on."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from pixelcam.datasets import Dataset, Sample, load_image
from pixelcam.errors import CancelledError
from pixelcam.events import Event, EventSink, Stop, StopCheck, ignore_events, never_stop
from pixelcam.localize.localization import ModelRef
from pixelcam.localize.localizer import Localizer
from pixelcam.model.checkpoint import ModelCard, is_half, load_checkpoint, save_checkpoint
from pixelcam.model.device import resolve_device
from pixelcam.model.familiarity import FEWEST, Familiarity
from pixelcam.slides import open_slide
from pixelcam.training.augment import AUGMENTATIONS, random_views
from pixelcam.training.data import generator_for

STAGE = "familiarity"
MOST_IMAGES = 256
"""Training images looked at, and held-out ones; half as many gave the starter the same answers."""
AS_LOCALIZED = 4
"""One in so many training images is also seen as a user sees it localized. Were it all, another laboratory's
images would be stranger: of GlaS, a model of EBHI-SEG calls 16 % not wholly familiar then, and now 8 %."""
BATCH = 16


def add_familiarity(
    path: Path,
    out: Path,
    training: Dataset,
    held_out: Dataset,
    *,
    device: str = "auto",
    on_event: EventSink = ignore_events,
    should_stop: StopCheck = never_stop,
) -> bool:
    """Write a checkpoint anew with what it needs to tell how familiar an image is.

    Parameters
    ----------
    path, out
        The checkpoint and the new one; they may be the same file.
    training, held_out
        The images that it was trained on, and others like them: their labels are not read.
    device
        See `pixelcam.model.resolve_device`.
    on_event
        Receives one "step" event an image.
    should_stop
        Asked before each image.

    Returns
    -------
    bool
        False where nothing was written, because there is nothing to tell by: too few images, or a pixel head
        on the final map alone.

    Raises
    ------
    CheckpointError, DeviceError, ImageError, OutputError, CancelledError
    """
    network, card = load_checkpoint(path)
    localizer = Localizer(network, card, ModelRef(card.name, ""), resolve_device(device))
    found = learn_familiarity(localizer, training, held_out, on_event=on_event, should_stop=should_stop)
    if found is None:
        return False
    network.familiarity = found
    save_checkpoint(out, network, card, half=is_half(path))
    return True


def learn_familiarity(
    localizer: Localizer,
    training: Dataset,
    held_out: Dataset,
    *,
    on_event: EventSink = ignore_events,
    should_stop: StopCheck = never_stop,
) -> Familiarity | None:
    """Return what tells a model how familiar an image is; see `add_familiarity`."""
    if not localizer.network.measured or min(len(training), len(held_out)) < FEWEST:
        return None
    known, others = _some(training), _some(held_out)
    kinds = _augmentations(localizer.card)
    plain = known[::AS_LOCALIZED]
    watch = _Watch(len(plain) + len(kinds) * len(known) + len(others), on_event, should_stop)
    on_event(Event("started", stage=STAGE, total=watch.total))
    seen = [_as_localized(localizer, plain, watch)]
    seen += [_as_trained(localizer, known, name, number, watch) for number, name in enumerate(kinds)]
    return Familiarity.fit(torch.cat(seen), _as_localized(localizer, others, watch))


class _Watch:
    """Says how far it is and whether to go on."""

    def __init__(self, total: int, on_event: EventSink, should_stop: StopCheck) -> None:
        self.total, self._on_event, self.should_stop, self._step = total, on_event, should_stop, 0

    def step(self, count: int = 1) -> None:
        self._step += count
        self._on_event(Event("step", stage=STAGE, step=self._step, total=self.total))
        if self.should_stop() is not Stop.NO:
            raise CancelledError


def _some(dataset: Dataset) -> list[Sample]:
    chosen = torch.randperm(len(dataset), generator=generator_for(STAGE))[:MOST_IMAGES]
    return [dataset.samples[int(index)] for index in chosen.sort().values]


def _as_localized(localizer: Localizer, samples: list[Sample], watch: _Watch) -> Tensor:
    """Return the mean features (n, c) of images as a user sees them localized."""
    means = []
    for sample in samples:
        working = localizer.working_image(open_slide(sample.image))
        tiles = localizer.plan_tiles(working)
        means.append(localizer.run_tiles(working, tiles, should_stop=watch.should_stop).means)
        watch.step()
    return torch.stack(means)


def _as_trained(
    localizer: Localizer, samples: list[Sample], augmentation: str, number: int, watch: _Watch
) -> Tensor:
    """Return the mean features (n, c) of random views such as the model was trained on."""
    means, view = [], _view_size(localizer)
    store = -(-localizer.card.input_size * 8 // 7)
    for first in range(0, len(samples), BATCH):
        batch = samples[first : first + BATCH]
        images = torch.stack([torch.from_numpy(load_image(sample, store)) for sample in batch])
        generator = generator_for(STAGE, number, first)
        views, _ = random_views(images, None, view, AUGMENTATIONS[augmentation], generator)
        means.append(localizer.mean_features((255 * views).round().byte().permute(0, 2, 3, 1).numpy()))
        watch.step(len(batch))
    return torch.cat(means)


def _augmentations(card: ModelCard) -> tuple[str, ...]:
    """Return how the images were recoloured in the joint stage and in the classifier's."""
    first = str(card.training.get("augment") or "moderate")
    second = str(card.training.get("augment_classifier") or first)
    return tuple(name if name in AUGMENTATIONS else "moderate" for name in (first, second))


def _view_size(localizer: Localizer) -> int:
    """Return the side of the views that the model was trained on, as far as its card tells."""
    step, card = localizer.network.stride, localizer.card
    wanted = card.training.get("view_size")
    if not isinstance(wanted, int):
        enlargement = sum(AUGMENTATIONS[_augmentations(card)[0]].scale) / 2
        wanted = card.input_size * (enlargement if "view_size" in card.training else 1)
    return max(1, round(wanted / step)) * step
