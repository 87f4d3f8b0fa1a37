"""Training a localizer - NEGEV, F-CAM or MaxMin - from a classifier, its images and their labels."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

import torch
from torch import Generator, Tensor

from pixelcam.errors import CancelledError, ConfigError, RunError
from pixelcam.events import Event, EventSink, Stop, StopCheck, ignore_events, never_stop
from pixelcam.localize.localizer import standardise
from pixelcam.model.checkpoint import ModelCard
from pixelcam.model.network import PixelCAM
from pixelcam.seeds.samplers import draw_seeds
from pixelcam.teachers.localizers import Batch, LocalizerSettings, TrainedLocalizer
from pixelcam.teachers.maps import TRAINED_TEACHERS
from pixelcam.teachers.maxmin import MaxMin
from pixelcam.teachers.seeded import FCam, Negev, SeededDecoder
from pixelcam.teachers.teacher import Teacher
from pixelcam.training import engine
from pixelcam.training.augment import AUGMENTATIONS, Augmentation, random_views, recolour
from pixelcam.training.data import ImageStack, generator_for, shuffled_batches

if TYPE_CHECKING:
    from pixelcam.training.settings import TrainSettings

Normalisation = Callable[[Tensor], Tensor]
"""From images (n, 3, h, w) in [0, 1] to what the network takes."""
KINDS: dict[str, type[TrainedLocalizer]] = {
    "negev": Negev,
    "f-cam": FCam,
    "maxmin": MaxMin,
    "maxmin-sem": MaxMin,
}


def train_localizer(
    settings: LocalizerSettings,
    network: PixelCAM,
    data: ImageStack,
    seed_maps: Tensor | Teacher | None,
    normalisation: Normalisation,
    *,
    on_event: EventSink = ignore_events,
    should_stop: StopCheck = never_stop,
) -> TrainedLocalizer:
    """Train a localizer.

    Parameters
    ----------
    settings
        Which kind, and how.
    network
        The trained classifier; it stays as it is.
    data
        Training images (n, s, s, 3), their labels, and which of them hold no region.
    seed_maps
        NEGEV and F-CAM: maps (n, m, m) of the images' labels in [0, 1], on a plain grid over the whole image,
        or the teacher that makes them. MaxMin needs none.
    normalisation
        See `Normalisation`.
    on_event
        Receives steps and epochs, of the stage "teacher".
    should_stop
        ``Stop.KEEP`` ends the training early and returns what there is; ``Stop.DISCARD`` cancels.

    Raises
    ------
    ConfigError
        There are no seed maps where the kind needs them, or the teacher cannot map this network.
    RunError
        The training diverged.
    CancelledError
    """
    with torch.enable_grad(), torch.random.fork_rng(devices=[]), engine.deterministic():
        torch.manual_seed(generator_for(settings.seed, settings.kind).initial_seed())
        localizer = KINDS[settings.kind](network, settings)
        seeded = isinstance(localizer, SeededDecoder)
        if seeded and seed_maps is None:
            raise ConfigError(f"The teacher {settings.kind} needs maps to draw its seeds from.")
        if seeded and isinstance(seed_maps, Teacher):
            seed_maps = classifier_maps(seed_maps, network, data, normalisation, should_stop=should_stop)
        maps = seed_maps if isinstance(seed_maps, Tensor) and seeded else None
        try:
            _run_epochs(localizer, data, maps, normalisation, on_event, should_stop)
        except FloatingPointError:
            raise RunError(
                f"The training of the teacher {settings.kind} diverged (its loss is not a number); "
                "lower its learning rate."
            ) from None
        finally:
            for module in localizer.modules:
                module.eval()
    return localizer


def classifier_maps(
    teacher: Teacher | TrainedLocalizer,
    network: PixelCAM,
    data: ImageStack,
    normalisation: Normalisation,
    *,
    batch: int = 16,
    on_event: EventSink = ignore_events,
    should_stop: StopCheck = never_stop,
) -> Tensor:
    """Return a teacher's maps (n, s / 4, s / 4) float32 of the labels of images (n, s, s, 3), on the CPU.

    Raises
    ------
    CancelledError
        The user asked to stop: half of the maps are none.
    """
    device = next(network.parameters()).device
    training = network.training
    network.eval()
    found = []
    try:
        batches = torch.arange(len(data)).split(batch)
        for step, chosen in enumerate(batches, 1):
            if should_stop() is not Stop.NO:
                raise CancelledError
            images = normalisation(data.images[chosen].to(device).permute(0, 3, 1, 2).float() / 255)
            found.append(teacher_maps(teacher, network, images, data.labels[chosen].to(device)).cpu())
            on_event(Event("step", stage="teacher", step=step, total=len(batches)))
    finally:
        network.train(training)
    return torch.cat(found)


def teacher_maps(
    teacher: Teacher | TrainedLocalizer, network: PixelCAM, images: Tensor, labels: Tensor
) -> Tensor:
    """Return the maps of either kind of teacher; see `Teacher.maps`."""
    if isinstance(teacher, Teacher):
        return teacher.maps(network, images, labels)
    return teacher.maps(images, labels)


def prepare_teacher(
    settings: TrainSettings,
    network: PixelCAM,
    card: ModelCard,
    data: ImageStack,
    *,
    on_event: EventSink = ignore_events,
    should_stop: StopCheck = never_stop,
) -> Teacher | TrainedLocalizer:
    """Return the teacher that a training run asks for, trained first where it must be.

    Parameters
    ----------
    network
        The run's classifier, in evaluation mode; it stays as it is.

    Raises
    ------
    ConfigError, RunError, CancelledError
    engine.StopTraining
        The user asked to stop: seeds are not drawn from a half-trained teacher.
    """
    teacher = settings.teacher_of(network.encoder.info)
    if settings.teacher not in TRAINED_TEACHERS:
        return teacher

    def stop_or_cancel() -> Stop:
        wish = should_stop()
        if wish is Stop.KEEP:
            raise engine.StopTraining
        return wish

    return train_localizer(
        LocalizerSettings(
            settings.teacher,
            size=settings.input_size,
            epochs=settings.teacher_epochs,
            augment=settings.augment_classifier,
            sampler=settings.sampler_settings(),
            seed=settings.seed,
        ),
        network,
        data,
        teacher,
        lambda images: standardise(images, card),
        on_event=on_event,
        should_stop=stop_or_cancel,
    )


def _run_epochs(
    localizer: TrainedLocalizer,
    data: ImageStack,
    maps: Tensor | None,
    normalisation: Normalisation,
    on_event: EventSink,
    should_stop: StopCheck,
) -> None:
    s = localizer.settings
    groups = localizer.parameter_groups()
    for group in groups:
        group["full_rate"] = group["lr"]
    optimizer = torch.optim.SGD(groups, lr=groups[0]["lr"], momentum=0.9, nesterov=True)
    taken = 0
    for epoch in range(s.epochs):
        generator = generator_for(s.seed, s.kind, epoch)
        batches = list(shuffled_batches(len(data), s.batch, generator))
        sums: dict[str, float] = {}
        for module in localizer.modules:
            module.train()
        for step, chosen in enumerate(batches):
            wish = should_stop()
            if wish is Stop.DISCARD:
                raise CancelledError
            if wish is Stop.KEEP:
                return
            engine.set_rate(optimizer, (epoch + step / len(batches)) / s.epochs)
            batch = _draw_batch(localizer, data, chosen, maps, normalisation, generator)
            terms = localizer.losses(batch, s.barrier(taken))
            metrics = {"loss": engine.take_step(optimizer, torch.stack(list(terms.values())).sum())}
            metrics |= {key: float(value.detach()) for key, value in terms.items()}
            taken += 1
            for key, value in metrics.items():
                sums[key] = sums.get(key, 0.0) + value / len(batches)
            on_event(_event("step", s, epoch, metrics, step + 1, len(batches)))
        on_event(_event("epoch", s, epoch, sums))


def _event(
    kind: Literal["step", "epoch"],
    s: LocalizerSettings,
    epoch: int,
    metrics: dict[str, float],
    step: int | None = None,
    total: int | None = None,
) -> Event:
    return Event(
        kind, stage="teacher", step=step, total=total, epoch=epoch + 1, epochs=s.epochs, metrics=metrics
    )


def _draw_batch(
    localizer: TrainedLocalizer,
    data: ImageStack,
    chosen: Tensor,
    maps: Tensor | None,
    normalisation: Normalisation,
    generator: Generator,
) -> Batch:
    s = localizer.settings
    augmentation = AUGMENTATIONS[s.augment]
    device = next(localizer.network.parameters()).device
    # Geometry first and colour after: like colours should be those of the tissue, not of the augmentation.
    plain = Augmentation(augmentation.scale, 0.0, (1.0, 1.0), (1.0, 1.0), (1.0, 1.0))
    cropped = None if maps is None else maps[chosen].float().to(device)
    colours, cropped = random_views(data.images[chosen].to(device), cropped, s.size, plain, generator)
    regionless = data.regionless[chosen]
    seeds = None if cropped is None else draw_seeds(cropped.cpu(), s.sampler, generator, regionless)
    return Batch(
        inputs=normalisation(recolour(colours, augmentation, generator)),
        colours=colours,
        labels=data.labels[chosen].to(device),
        regionless=regionless.to(device),
        seeds=None if seeds is None else seeds.to(device),
    )
