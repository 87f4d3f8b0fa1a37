"""Fine-tuning from a reviewer's seeds, in such a way that images which nobody has corrected gain too.

A reviewer paints where the map is wrong, and nowhere else: a model that learned from those pixels alone would
take the exception for the rule. So the seeds are first understood as the reviewer saw them understood: the
pixel head is refitted to them, image by image, as it is after every stroke, and the whole map that this gives
is the teacher, softly, pixel by pixel. What the reviewer painted counts by itself beside it, every pixel, for
the logits are interpolated to the working image.
"""

from __future__ import annotations

import dataclasses
import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor
from torch.nn import functional

from pixelcam.errors import CancelledError, RunError, SeedsError
from pixelcam.events import Event, EventSink, Stop, StopCheck, ignore_events, never_stop
from pixelcam.export import SeedRecord, read_seeds, write_text
from pixelcam.jobs.folder import refuse_gone
from pixelcam.localize.localizer import load as load_localizer
from pixelcam.localize.localizer import standardise
from pixelcam.localize.tiles import Tile
from pixelcam.model.checkpoint import save_checkpoint
from pixelcam.model.device import device_memory_guard
from pixelcam.model.geometry import Grid, move_to_grid, resize_map
from pixelcam.refine import Refiner, extract_features
from pixelcam.refine.features import IN_MEMORY
from pixelcam.seeds.labels import BACKGROUND, FOREGROUND, UNLABELLED
from pixelcam.slides import open_slide, series_of
from pixelcam.training import engine
from pixelcam.training.augment import MILD, recolour
from pixelcam.training.data import generator_for
from pixelcam.training.losses import classification_loss, partial_cross_entropy
from pixelcam.training.painted import Painted, Teacher
from pixelcam.training.settings import FinetuneSettings

STAGE = "finetune"
CANNOT_TELL = "cannot tell"
LEAST = 0.01
"""No teacher is surer than this: where the reviewer painted, the map is 0 or 1."""


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


def _told(settings: FinetuneSettings) -> dict[str, Any]:
    """Return what the model's card tells of the settings: nothing of this machine."""
    own = ("seeds", "model", "device", "name")
    return {key: value for key, value in settings.to_dict().items() if key not in own}


class _Finetuning:
    def __init__(
        self, settings: FinetuneSettings, run: Path, on_event: EventSink, should_stop: StopCheck
    ) -> None:
        self.settings, self.folder, self.on_event, self.should_stop = settings, run, on_event, should_stop
        write_text(run / "config.json", json.dumps(settings.to_dict(), indent=2))
        self.localizer = load_localizer(settings.model, settings.device)
        self.network, self.device = self.localizer.network, self.localizer.device
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
            training={**parent.training, "finetune": _told(settings)},
            selection="agreement with the strokes it was taught",
        )

    def _crop_side(self) -> int:
        """Return the side of a crop, which the encoder can take: a multiple of its step."""
        step, wanted = self.network.stride, self.settings.crop
        if self.network.encoder.info.transformer:  # it sees best at the size that it was trained at
            wanted = min(wanted, self.localizer.card.input_size)
        return -(-wanted // step) * step

    def _prepare(self, record: SeedRecord) -> Painted:
        image = self.localizer.working_image(
            open_slide(record.image_path, series_of(record.sidecar.image.fingerprint))
        )
        return Painted.of(record, image, self._class_of(record))

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
            with device_memory_guard("a smaller crop or batch"):
                self._run_epochs()
        except engine.StopTraining:
            if not self._checkpoint("best-loc").is_file():
                self.network.familiarity = None  # in the middle of an epoch nobody knows how far it has moved
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
        teachers = self._teachers() if s.teacher_weight else []
        familiarity = self.network.familiarity
        optimizer = engine.make_optimizer(
            self.network,
            s.rate * s.encoder_factor,
            head_factor=1 / s.encoder_factor,
            pixel_factor=1 / s.encoder_factor,
            momentum=s.momentum,
            weight_decay=s.weight_decay,
            pixel_weight_decay=s.weight_decay,
        )
        # Past the rim of a tile the map is interpolated from the next cell.
        self.painted_tiles = [self._near(each, self.network.pixel_head.stride) for each in self.painted]
        self.on_event(Event("started", stage=STAGE, epochs=s.epochs, total=s.steps))
        agreement, shown = self._agreement()
        before = {"agreement": agreement}
        self.on_event(Event("validation", stage=STAGE, epoch=0, epochs=s.epochs, metrics=before))
        best = -1.0
        for epoch in range(s.epochs):
            loss = self._run_epoch(epoch, optimizer, teachers)
            agreement, means = self._agreement()
            if familiarity is not None:
                self.network.familiarity = familiarity.with_shown(shown, means)
            self.card = dataclasses.replace(self.card, metrics={"seed_agreement": agreement})
            metrics = {"loss": loss, "agreement": agreement}
            self.on_event(Event("epoch", stage=STAGE, epoch=epoch + 1, epochs=s.epochs, metrics=metrics))
            self._save("last")
            if agreement >= best:
                best = agreement
                self._save("best-loc")

    def _run_epoch(self, epoch: int, optimizer: torch.optim.Optimizer, teachers: list[Teacher]) -> float:
        s, total = self.settings, 0.0
        for step in range(s.steps):
            wish = self.should_stop()
            if wish is Stop.DISCARD:
                raise CancelledError
            if wish is Stop.KEEP:
                raise engine.StopTraining
            engine.set_rate(optimizer, (epoch + step / s.steps) / s.epochs)
            value = engine.take_step(
                optimizer, self._loss(generator_for(s.seed, STAGE, epoch, step), teachers)
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

    def _loss(self, generator: Generator, teachers: list[Teacher]) -> Tensor:
        s = self.settings
        chosen = [_pick(len(self.painted), generator) for _ in range(s.batch)]
        tiles = [self._crop(self.painted[index], generator) for index in chosen]
        crops = list(zip(chosen, tiles, strict=True))
        pixels = np.stack([self.painted[i].image.read(tile, pad_to=self.side) for i, tile in crops])
        images = torch.from_numpy(pixels).to(self.device).permute(0, 3, 1, 2).float() / 255
        inputs = standardise(recolour(images, MILD, generator), self.card)
        with engine.mixed_precision(self.device):
            prediction = self.network(inputs)
        logits = move_to_grid(
            prediction.pixel_logits.float() - self.offset,
            Grid.plain(self.network.pixel_head.stride),
            Grid.plain(1),
            (inputs.shape[2], inputs.shape[3]),
        )
        painted = torch.stack([self.painted[i].cut(tile, self.side) for i, tile in crops])
        loss = s.seed_weight * _balanced(logits, painted.to(self.device))
        if s.teacher_weight:
            maps = torch.stack([teachers[i].cut(tile, self.side) for i, tile in crops])
            loss = loss + s.teacher_weight * self._teacher_loss(logits, maps.to(self.device))
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

    def _teacher_loss(self, logits: Tensor, maps: Tensor) -> Tensor:
        """Return the mean cross-entropy with the teachers' maps (n, h, w), NaN where there is no image."""
        known = ~torch.isnan(maps)
        taught = torch.logit(maps.nan_to_num(0.5).clamp(LEAST, 1 - LEAST)) - self.offset[1, 0, 0]
        odds = logits[:, 1] - logits[:, 0]
        return functional.binary_cross_entropy_with_logits(odds[known], torch.sigmoid(taught[known]))

    def _crop(self, painted: Painted, generator: Generator) -> Tile:
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

    def _teachers(self) -> list[Teacher]:
        """Refit the pixel head to the seeds of each image, looking only at what crops can see."""
        made: list[Teacher] = []
        room = IN_MEMORY
        self.on_event(Event("started", stage="teacher", total=len(self.painted)))
        for painted in self.painted:
            features = extract_features(
                self.localizer,
                painted.image.slide,
                in_memory=room,
                only=self._near(painted, self.side),
                should_stop=self._if_stopped,
            )
            if features.nbytes <= room:  # else they lie in a file
                room -= features.nbytes
            refiner = Refiner(features)
            made.append(Teacher(refiner, refiner.fit(painted.seeds), painted.image))
            self.on_event(Event("step", stage="teacher", step=len(made), total=len(self.painted)))
        return made

    def _near(self, painted: Painted, margin: int) -> list[Tile]:
        return painted.near(self.localizer.plan_tiles(painted.image), margin)

    def _if_stopped(self) -> Stop:
        wish = self.should_stop()
        if wish is Stop.KEEP:  # before anything is learned
            raise engine.StopTraining
        return wish

    def _if_cancelled(self) -> Stop:
        return Stop.DISCARD if self.should_stop() is Stop.DISCARD else Stop.NO

    def _agreement(self) -> tuple[float, Tensor]:
        """Return the agreement with the painted pixels in percent, and each image's mean features (n, c)."""
        stride = self.network.pixel_head.stride
        right = count = 0
        means = []
        for painted, tiles in zip(self.painted, self.painted_tiles, strict=True):
            seen = self.localizer.run_tiles(painted.image, tiles, should_stop=self._if_cancelled)
            means.append(seen.means)
            foreground = resize_map(seen.grid, painted.image.shape, (1 / stride, 1 / stride)).numpy()
            values = painted.labels[tuple(painted.places.T)]
            found = foreground[tuple(painted.places.T)] >= self.card.threshold
            right += int((found == (values == FOREGROUND)).sum())
            count += len(values)
        return 100 * right / count, torch.stack(means)

    def _checkpoint(self, name: str) -> Path:
        return self.folder / "checkpoints" / f"{name}.safetensors"

    def _save(self, name: str) -> None:
        refuse_gone(self.folder)
        save_checkpoint(self._checkpoint(name), self.network, self.card)
        self.on_event(Event("checkpoint", stage=STAGE, path=str(self._checkpoint(name))))


def _pick(count: int, generator: Generator) -> int:
    return int(torch.randint(count, (), generator=generator))


def _balanced(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the mean of the losses on foreground and on background: the larger stroke must not win."""
    parts = [
        partial_cross_entropy(logits, torch.where(labels == value, labels, UNLABELLED))
        for value in (BACKGROUND, FOREGROUND)
        if bool((labels == value).any())
    ]
    return torch.stack(parts).mean() if parts else logits.sum() * 0
