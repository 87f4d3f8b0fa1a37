"""Fine-tuning from a reviewer's seeds: hard partial labels beside the model's own confident pixels.

What the reviewer painted is never sampled away: the pixel logits are interpolated to the working image, and
every painted pixel of a crop counts. Beside it the map that the model gave before serves as teacher, so that
what nobody complained about stays; its seeds are dropped wherever the model has meanwhile changed its mind,
for there the reviewer has taught it better.
"""

from __future__ import annotations

import dataclasses
import json
import math
import shutil
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor

from pixelcam.errors import CancelledError, RunError, SeedsError
from pixelcam.events import Event, EventSink, Stop, StopCheck, ignore_events, never_stop
from pixelcam.export import SeedRecord, read_seeds, write_text
from pixelcam.localize.localizer import load as load_localizer
from pixelcam.localize.localizer import standardise
from pixelcam.localize.tiles import Tile
from pixelcam.localize.working import WorkingImage
from pixelcam.model.checkpoint import save_checkpoint
from pixelcam.model.device import device_memory_guard
from pixelcam.model.geometry import Grid, move_to_grid, resize_map
from pixelcam.model.network import foreground_probability
from pixelcam.seeds.labels import BACKGROUND, FOREGROUND, UNLABELLED
from pixelcam.seeds.samplers import SamplerSettings, draw_seeds
from pixelcam.slides import open_slide
from pixelcam.training import engine
from pixelcam.training.augment import MILD, recolour
from pixelcam.training.data import generator_for
from pixelcam.training.losses import classification_loss, partial_cross_entropy
from pixelcam.training.settings import FinetuneSettings

STAGE = "finetune"
CANNOT_TELL = "cannot tell"


def finetune(
    settings: FinetuneSettings,
    run: Path,
    *,
    on_event: EventSink = ignore_events,
    should_stop: StopCheck = never_stop,
) -> None:
    """Fine-tune a model on exported seeds.

    Leaves ``run/checkpoints/best-loc.safetensors``, the epoch that agrees most with the reviewer's pixels,
    and ``last.safetensors``. Each epoch's event carries the loss and "agreement", the share in percent of the
    reviewer's pixels that the model puts on the right side of its threshold; the "validation" event before
    the first epoch tells it of the model as it was.

    Parameters
    ----------
    settings
        Seeds, model, and how to learn.
    run
        The run's folder.
    on_event, should_stop
        As for `pixelcam.training.train`.

    Raises
    ------
    SeedsError
        There are no seeds, none is painted, or they do not fit their images or the model's classes.
    ModelNotFoundError, CheckpointError, DeviceError, OutputError, RunError
    CancelledError
        The job was cancelled; its checkpoints are gone.
    """
    with engine.deterministic():
        _Finetuning(settings, Path(run), on_event, should_stop).run()


@dataclasses.dataclass(frozen=True)
class _Painted:
    """One image with the reviewer's labels at the model's working scale."""

    image: WorkingImage
    labels: NDArray[np.uint8]
    places: NDArray[np.intp]
    class_index: int | None


class _Finetuning:
    def __init__(
        self, settings: FinetuneSettings, run: Path, on_event: EventSink, should_stop: StopCheck
    ) -> None:
        self.settings, self.folder, self.on_event, self.should_stop = settings, run, on_event, should_stop
        write_text(run / "config.json", json.dumps(settings.to_dict(), indent=2))
        self.localizer = load_localizer(settings.model, settings.device)
        self.network, self.device = self.localizer.network, self.localizer.device
        self.network.familiarity = None  # its features move, and what the reviewer shows it is new
        self.side = self._crop_side()
        # The loss draws the line between the kinds where the model's threshold does: at one half it would
        # first of all move the whole map, and with it all that the reviewer left as it was.
        threshold = min(max(self.localizer.card.threshold, 0.01), 0.99)
        odds = math.log(threshold / (1 - threshold))
        self.offset = torch.tensor([0.0, odds], device=self.device).view(2, 1, 1)
        records = read_seeds(settings.seeds)
        self.painted = [self._prepare(record) for record in records if (record.labels != UNLABELLED).any()]
        if not self.painted:
            raise SeedsError(
                f"None of the seeds in {settings.seeds} is painted; paint foreground or background first."
            )
        parent = self.localizer.card
        names = ", ".join(record.image_path.name for record in records[:3]) + (
            " ..." if len(records) > 3 else ""
        )
        self.card = dataclasses.replace(
            parent,
            name=settings.name or f"{parent.name}-tuned",
            parent=self.localizer.model.sha256,
            trained_on=(
                f"{parent.trained_on}; fine-tuned on a reviewer's seeds "
                f"in {len(self.painted)} images ({names})"
            ),
            training={**settings.to_dict(), "seeds": None, "device": None},
        )

    def _crop_side(self) -> int:
        """Return the side of a crop, which the encoder can take: a multiple of its step."""
        step, wanted = self.network.stride, self.settings.crop
        if self.network.encoder.info.transformer:  # it sees best at the size that it was trained at
            wanted = min(wanted, self.localizer.card.input_size)
        return -(-wanted // step) * step

    def _prepare(self, record: SeedRecord) -> _Painted:
        image = self.localizer.working_image(open_slide(record.image_path))
        labels = _at_working_scale(record, image.shape)
        return _Painted(image, labels, np.argwhere(labels != UNLABELLED), self._class_of(record))

    def _class_of(self, record: SeedRecord) -> int | None:
        label = record.sidecar.corrected_label
        if label is None or label == CANNOT_TELL:
            return None
        classes = self.localizer.card.classes
        if label not in classes:
            raise SeedsError(
                f"{record.image_path.name} is labelled {label!r}, which the model {self.localizer.card.name} "
                f"does not know; its classes are: {', '.join(classes)}."
            )
        return classes.index(label)

    def run(self) -> None:
        try:
            with device_memory_guard("choose a smaller crop or batch, or the device cpu"):
                self._run_epochs()
        except engine.StopTraining:
            if not self._checkpoint("best-loc").is_file():
                self._save("best-loc")
                self._save("last")
            message = "Stopped; the weights so far are kept."
            self.on_event(Event("done", stage=STAGE, message=message, path=str(self._checkpoint("best-loc"))))
        except CancelledError:
            shutil.rmtree(self.folder / "checkpoints", ignore_errors=True)
            raise
        except FloatingPointError:
            raise RunError(
                "The fine-tuning diverged (its loss is not a number); lower the learning rate."
            ) from None
        else:
            self.on_event(
                Event("done", stage=STAGE, path=str(self._checkpoint("best-loc")), metrics=self.card.metrics)
            )

    def _run_epochs(self) -> None:
        s = self.settings
        self.network.to(self.device).eval()  # few images: the running statistics stay those of the model
        for parameter in self.network.parameters():
            parameter.requires_grad_(True)
        teacher = [self._map(each) for each in self.painted]
        optimizer = engine.make_optimizer(
            self.network,
            s.rate * s.encoder_factor,
            head_factor=1 / s.encoder_factor,
            pixel_factor=1 / s.encoder_factor,
            momentum=s.momentum,
            weight_decay=s.weight_decay,
            pixel_weight_decay=s.weight_decay,
        )
        self.on_event(Event("started", stage=STAGE, epochs=s.epochs, total=s.steps))
        before = {"agreement": self._agreement()}
        self.on_event(Event("validation", stage=STAGE, epoch=0, epochs=s.epochs, metrics=before))
        best = -1.0
        for epoch in range(s.epochs):
            loss = self._run_epoch(epoch, optimizer, teacher)
            agreement = self._agreement()
            self.card = dataclasses.replace(self.card, metrics={"seed_agreement": agreement})
            metrics = {"loss": loss, "agreement": agreement}
            self.on_event(Event("epoch", stage=STAGE, epoch=epoch + 1, epochs=s.epochs, metrics=metrics))
            self._save("last")
            if agreement >= best:
                best = agreement
                self._save("best-loc")

    def _run_epoch(self, epoch: int, optimizer: torch.optim.Optimizer, teacher: list[Tensor]) -> float:
        s, total = self.settings, 0.0
        for step in range(s.steps):
            wish = self.should_stop()
            if wish is Stop.DISCARD:
                raise CancelledError
            if wish is Stop.KEEP:
                raise engine.StopTraining
            engine.set_rate(optimizer, (epoch + step / s.steps) / s.epochs)
            value = engine.take_step(
                optimizer, self._loss(generator_for(s.seed, STAGE, epoch, step), teacher)
            )
            total += value
            self.on_event(
                Event(
                    "step",
                    stage=STAGE,
                    step=epoch * s.steps + step + 1,
                    total=s.epochs * s.steps,
                    epoch=epoch + 1,
                    epochs=s.epochs,
                    metrics={"loss": value},
                )
            )
        return total / s.steps

    def _loss(self, generator: Generator, teacher: list[Tensor]) -> Tensor:
        s = self.settings
        chosen = [_pick(len(self.painted), generator) for _ in range(s.batch)]
        tiles = [self._crop(self.painted[index], generator) for index in chosen]
        pixels = np.stack(
            [
                self.painted[i].image.read(tile, pad_to=self.side)
                for i, tile in zip(chosen, tiles, strict=True)
            ]
        )
        images = torch.from_numpy(pixels).to(self.device).permute(0, 3, 1, 2).float() / 255
        inputs = standardise(recolour(images, MILD, generator), self.card)
        with engine.mixed_precision(self.device):
            prediction = self.network(inputs)
        stride = self.network.pixel_head.stride
        logits = move_to_grid(
            prediction.pixel_logits.float() - self.offset,
            Grid.plain(stride),
            Grid.plain(1),
            (inputs.shape[2], inputs.shape[3]),
        )
        painted = torch.stack(
            [_cut(self.painted[i].labels, t, self.side) for i, t in zip(chosen, tiles, strict=True)]
        )
        loss = _balanced(logits, painted.to(self.device))
        if s.teacher_weight:
            maps = torch.stack(
                [_cut(teacher[i].numpy(), t, self.side) for i, t in zip(chosen, tiles, strict=True)]
            )
            loss = loss + s.teacher_weight * self._teacher_loss(logits, maps, painted, generator)
        known = {k: self.painted[i].class_index for k, i in enumerate(chosen)}
        known = {k: index for k, index in known.items() if index is not None}
        if s.label_weight and known:
            labels = self._labels(torch.tensor(list(known.values()))).to(self.device)
            loss = loss + s.label_weight * classification_loss(prediction.class_logits[list(known)], labels)
        return loss

    def _labels(self, indices: Tensor) -> Tensor:
        """Return labels as `classification_loss` takes them, of classes (n,) that the reviewer named."""
        if not self.card.multi_label:
            return indices
        # Where images have several labels, nothing is known of those that the reviewer did not name.
        return torch.full((len(indices), len(self.card.classes)), torch.nan).scatter(1, indices[:, None], 1.0)

    def _teacher_loss(self, logits: Tensor, maps: Tensor, painted: Tensor, generator: Generator) -> Tensor:
        free = torch.where(painted == UNLABELLED, maps, torch.nan)
        seeds = draw_seeds(free, SamplerSettings("probability", self.settings.count), generator)
        now = foreground_probability(logits.detach()).cpu() >= 0.5  # their threshold is taken off already
        was = maps >= self.card.threshold
        agrees = (now == was) & ((seeds == FOREGROUND) == was)
        return partial_cross_entropy(logits, torch.where(agrees, seeds, UNLABELLED).to(self.device))

    def _crop(self, painted: _Painted, generator: Generator) -> Tile:
        """Return a crop that holds a painted pixel, foreground and background by turns of chance."""
        wanted = FOREGROUND if _pick(2, generator) else BACKGROUND
        values = painted.labels[tuple(painted.places.T)]
        places = painted.places[values == wanted] if (values == wanted).any() else painted.places
        centre = places[_pick(len(places), generator)]
        start, stop = [], []
        for axis, length in enumerate(painted.image.shape):
            side = min(self.side, length)
            low = int(np.clip(centre[axis] - _pick(side, generator), 0, length - side))
            start.append(low)
            stop.append(low + side)
        corner, end = (start[0], start[1]), (stop[0], stop[1])
        return Tile(corner, end, corner, end)

    def _map(self, painted: _Painted) -> Tensor:
        """Return the foreground probability (h, w) at working scale, NaN away from painted pixels."""
        image = painted.image
        stride = self.network.pixel_head.stride
        tiles = [
            tile
            for tile in self.localizer.plan_tiles(image)
            if _any_within(painted.places, np.array(tile.core_start), np.array(tile.core_stop), stride)
        ]
        grid = self.localizer.run_tiles(image, tiles, should_stop=self._if_cancelled).grid
        return resize_map(grid, image.shape, (1 / stride, 1 / stride))

    def _if_cancelled(self) -> Stop:
        return Stop.DISCARD if self.should_stop() is Stop.DISCARD else Stop.NO

    def _agreement(self) -> float:
        right = count = 0
        for painted in self.painted:
            foreground = self._map(painted).numpy()
            values = painted.labels[tuple(painted.places.T)]
            found = foreground[tuple(painted.places.T)] >= self.card.threshold
            right += int((found == (values == FOREGROUND)).sum())
            count += len(values)
        return 100 * right / count

    def _checkpoint(self, name: str) -> Path:
        return self.folder / "checkpoints" / f"{name}.safetensors"

    def _save(self, name: str) -> None:
        save_checkpoint(self._checkpoint(name), self.network, self.card)
        self.on_event(Event("checkpoint", stage=STAGE, path=str(self._checkpoint(name))))


def _at_working_scale(record: SeedRecord, shape: tuple[int, int]) -> NDArray[np.uint8]:
    """Return the reviewer's labels on the working image; a painted pixel survives any reduction."""
    height, width = record.sidecar.image.height, record.sidecar.image.width
    labels = np.zeros(shape, dtype=np.uint8)
    places = np.argwhere(record.labels != UNLABELLED)
    if record.labels.shape == shape:
        return record.labels
    scale, translate = np.array(record.sidecar.scale), np.array(record.sidecar.translate)
    ratio = np.array(shape) / np.array([height, width])
    # Every working pixel takes the seed at its centre; every seed then marks the pixel that holds it, lest it
    # vanish.
    rows, columns = (
        np.clip(np.round(((np.arange(n) + 0.5) / r - 0.5 - t) / s), 0, m - 1).astype(int)
        for n, r, t, s, m in zip(shape, ratio, translate, scale, record.labels.shape, strict=True)
    )
    labels[:] = record.labels[np.ix_(rows, columns)]
    centres = np.floor((places * scale + translate + 0.5) * ratio).astype(int)
    centres = np.clip(centres, 0, np.array(shape) - 1)
    empty = labels[tuple(centres.T)] == UNLABELLED
    labels[tuple(centres[empty].T)] = record.labels[tuple(places[empty].T)]
    return labels


def _any_within(
    places: NDArray[np.intp], start: NDArray[np.intp], stop: NDArray[np.intp], margin: int
) -> bool:
    """Say whether a place lies in a tile or so near that the map there is interpolated from the tile."""
    return bool(((places >= start - margin) & (places < stop + margin)).all(axis=1).any())


def _pick(count: int, generator: Generator) -> int:
    return int(torch.randint(count, (), generator=generator))


def _cut(values: NDArray[np.generic], tile: Tile, side: int) -> Tensor:
    """Return the tile's part of (h, w) values, padded below and to the right as images are, labels with 0."""
    part = values[tile.start[0] : tile.stop[0], tile.start[1] : tile.stop[1]]
    padding = ((0, side - part.shape[0]), (0, side - part.shape[1]))
    if part.dtype == np.uint8:
        return torch.from_numpy(np.pad(part, padding).astype(np.int64))
    return torch.from_numpy(np.pad(part, padding, constant_values=np.nan))


def _balanced(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the mean of the losses on foreground and on background: the larger stroke must not win."""
    parts = [
        partial_cross_entropy(logits, torch.where(labels == value, labels, UNLABELLED))
        for value in (BACKGROUND, FOREGROUND)
        if bool((labels == value).any())
    ]
    return torch.stack(parts).mean() if parts else logits.sum() * 0
