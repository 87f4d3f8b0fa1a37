"""Training in two stages: a WSOL classifier by image labels, then both heads on the seeds of its maps."""

from __future__ import annotations

import copy
import dataclasses
import math
import shutil
import statistics
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from pixelcam.calibration import Calibration, fold_classes, fold_pixels
from pixelcam.datasets import open_dataset
from pixelcam.errors import CancelledError, ImageError, RunError
from pixelcam.events import Event, EventSink, Stop, StopCheck, ignore_events, never_stop
from pixelcam.jobs.folder import refuse_gone
from pixelcam.localize.localization import ModelRef
from pixelcam.localize.localizer import Localizer, standardise
from pixelcam.model.checkpoint import load_checkpoint, save_checkpoint
from pixelcam.model.device import device_memory_guard, resolve_device
from pixelcam.seeds.labels import BACKGROUND, FOREGROUND
from pixelcam.seeds.samplers import draw_seeds
from pixelcam.teachers import MAP_STRIDE
from pixelcam.training import engine
from pixelcam.training.augment import AUGMENTATIONS, random_views
from pixelcam.training.data import generator_for, load_stack, shuffled_batches
from pixelcam.training.familiarity import add_familiarity
from pixelcam.training.glass import lay_glass
from pixelcam.training.losses import (
    classification_loss,
    guessing_loss,
    partial_cross_entropy,
    soft_cross_entropy,
)
from pixelcam.training.pseudo_labels import PseudoLabels, soft_labels
from pixelcam.training.settings import TrainSettings
from pixelcam.training.setup import build_network, claim_data, claim_run, plan_card
from pixelcam.training.state import Position, read_position, restore_momentum, restore_network, save_state
from pixelcam.training.validation import Measured, Validation

CLASSIFIER, JOINT = "classifier", "joint"


def train(
    settings: TrainSettings,
    run: Path,
    *,
    on_event: EventSink = ignore_events,
    should_stop: StopCheck = never_stop,
) -> None:
    """Train a model, or go on where an earlier session on the same folder ended.

    Leaves ``run/checkpoints/{best-loc,best-cl,last}.safetensors``. best-loc has the highest PxAP on the few
    masked validation images (the last epoch where there are no masks, or ``selection`` is "mask-free"),
    best-cl the highest validation accuracy.

    Parameters
    ----------
    settings
        What to train on what.
    run
        The run's folder.
    on_event
        Receives steps, epochs, validations and checkpoints.
    should_stop
        ``Stop.KEEP`` ends the training and keeps the checkpoints; ``Stop.DISCARD`` removes them.

    Raises
    ------
    ConfigError, DatasetError, CheckpointError, DeviceError, OutputError, RunError
    CancelledError
        The training was cancelled; its checkpoints and state are gone.
    """
    with engine.deterministic():
        _Training(settings, Path(run), on_event, should_stop).run_stages()


class _Training:
    def __init__(
        self, settings: TrainSettings, run: Path, on_event: EventSink, should_stop: StopCheck
    ) -> None:
        self.settings, self.run, self.on_event, self.should_stop = settings, run, on_event, should_stop
        self.device = resolve_device(settings.device)
        self.state_path = run / "state" / "last.safetensors"
        claim_run(run, settings)
        torch.manual_seed(settings.seed)
        dataset, held_out = (
            open_dataset(settings.dataset, settings.root, split, settings.fold, settings.scheme)
            for split in ("train", "valcl")
        )
        claim_data(run, {"training": dataset, "validation": held_out})
        for note in dataset.notes:
            on_event(Event("warning", message=note))
        self.card = plan_card(settings, dataset)
        self.network = build_network(settings, self.card, on_event)
        settings.teacher_of(self.network.encoder.info).check(self.network)
        self.view = settings.view_of(self.network.encoder.info)
        step = math.lcm(self.network.stride, 2 * MAP_STRIDE)
        self.store_size = -(-settings.input_size * 8 // 7 // step) * step
        self.data = load_stack(dataset, self.store_size)
        self.pseudo_labels = PseudoLabels(
            settings, self.network, self.card, self.data, run / "state", on_event, self._stop_or_cancel
        )
        self.validation = Validation.load(settings)
        self.measured = Measured({}, 0.5, Calibration(), 1.0)
        self.maps = torch.empty(0)  # of the stage at hand
        self.position = read_position(self.state_path)

    def run_stages(self) -> None:
        self.on_event(Event("started", stage=CLASSIFIER, epochs=self.settings.epochs_classifier))
        if self.validation.caution:
            self.on_event(Event("warning", stage=CLASSIFIER, message=self.validation.caution))
        try:
            with device_memory_guard("a smaller batch or input_size"):
                self._run_stages()
                self._learn_familiarity()
        except engine.StopTraining:
            if self.measured.figures or not self._checkpoint("last").is_file():
                self._save("last")
            for name in ("best-loc", "best-cl"):
                if not self._checkpoint(name).is_file():
                    shutil.copyfile(self._checkpoint("last"), self._checkpoint(name))
            message = "Stopped; the weights so far are kept."
            if not self.maps.numel():
                message = "Stopped before the pixel head learned anything: the weights so far only classify."
            self.on_event(Event("done", message=message, path=str(self._checkpoint("best-loc"))))
            return
        except CancelledError:
            for folder in (self.run / "state", self.run / "checkpoints"):
                shutil.rmtree(folder, ignore_errors=True)
            raise
        except FloatingPointError:
            raise RunError(
                "The training diverged (its loss is not a number); set clip to 1, or lower the learning rate."
            ) from None
        self.on_event(Event("done", path=str(self._checkpoint("best-loc")), metrics=dict(self.card.metrics)))

    def _run_stages(self) -> None:
        if self.position is not None:
            restore_network(self.state_path, self.network)
        self.network.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        reached = self.position or Position(CLASSIFIER, 0)
        if reached.stage == CLASSIFIER:
            self._run_epochs(
                CLASSIFIER, reached, self.settings.epochs_classifier, self.settings.rate_classifier
            )
            if self.settings.epochs_joint:
                self.network.eval()
                self.pseudo_labels.teach(JOINT)
            reached = Position(JOINT, 0)
        if not self.settings.epochs_joint:
            return
        stages = [JOINT, *(f"{JOINT}-{number}" for number in range(2, self.settings.rounds + 1))]
        for stage in stages[stages.index(reached.stage) :]:
            if stage != reached.stage:
                self.network.eval()
                self.pseudo_labels.renew(stage, self.maps)
                reached = dataclasses.replace(reached, stage=stage, epoch=0)
            self.maps = self.pseudo_labels.read(stage)
            if stage == JOINT and reached.epoch == 0:
                engine.calibrate_pixel_head(self.network, self._plain_batches())
            reached = self._run_epochs(stage, reached, self.settings.epochs_joint, self.settings.rate_joint)

    def _run_epochs(self, stage: str, reached: Position, epochs: int, rate: float) -> Position:
        s = self.settings
        optimizer = engine.make_optimizer(
            self.network,
            rate,
            head_factor=s.head_factor,
            pixel_factor=s.pixel_factor,
            momentum=s.momentum,
            weight_decay=s.weight_decay,
            pixel_weight_decay=s.pixel_weight_decay,
        )
        if reached.epoch and self.position is not None and self.position.stage == stage:
            restore_momentum(self.state_path, self.network, optimizer)
        losses: list[float] = []
        for epoch in range(reached.epoch, epochs):
            metrics = self._run_epoch(stage, epoch, epochs, optimizer)
            self.on_event(Event("epoch", stage=stage, epoch=epoch + 1, epochs=epochs, metrics=metrics))
            self._warn_of_no_seeds(stage, epoch, metrics)
            losses.append(metrics["class_loss"])
            if epoch + 1 == epochs:
                self._warn_of_guessing(stage, statistics.median_low(losses[len(losses) // 2 :]))
            reached = self._validate(stage, epoch, epochs, reached)
            refuse_gone(self.run)
            save_state(self.state_path, self.network, optimizer, reached)
        return reached

    def _run_epoch(
        self, stage: str, epoch: int, epochs: int, optimizer: torch.optim.Optimizer
    ) -> dict[str, float]:
        s = self.settings
        generator = generator_for(s.seed, stage, epoch)
        torch.manual_seed(generator_for(s.seed, stage, epoch, "dropout").initial_seed())
        batches = list(shuffled_batches(len(self.data), s.batch, generator))
        sums: dict[str, float] = {}
        self.network.train()
        for step, chosen in enumerate(batches):
            self._obey(self.should_stop())
            engine.set_rate(optimizer, (epoch + step / len(batches)) / epochs)
            losses = self._losses(stage, chosen, generator)
            total = (
                losses["class_loss"] + s.pixel_weight * losses["pixel_loss"]
                if stage != CLASSIFIER
                else losses["class_loss"]
            )
            metrics = {
                "loss": engine.take_step(optimizer, total, s.clip),
                **{key: float(value.detach()) for key, value in losses.items()},
            }
            for key, value in metrics.items():
                sums[key] = sums.get(key, 0.0) + value
            self.on_event(
                Event(
                    "step",
                    stage=stage,
                    step=step + 1,
                    total=len(batches),
                    epoch=epoch + 1,
                    epochs=epochs,
                    metrics=metrics,
                )
            )
        return {key: value / len(batches) for key, value in sums.items()}

    def _warn_of_no_seeds(self, stage: str, epoch: int, metrics: dict[str, float]) -> None:
        for kind in ("foreground", "background"):
            if epoch == 0 and metrics.get(f"{kind}_seeds") == 0:
                message = (
                    f"The sampler draws no {kind} seeds, so the map learns nothing of them: choose another "
                    "sampler, a smaller erosion, or other areas."
                )
                self.on_event(Event("warning", stage=stage, message=message))

    def _warn_of_guessing(self, stage: str, loss: float) -> None:
        """Tell of a classifier that is no better than none: no map learned beside it means much."""
        guessing = guessing_loss(len(self.card.classes), self.card.multi_label)
        if loss > guessing:
            message = (
                f"The classifier has not learned the labels (its loss is {loss:.2f}, guessing has "
                f"{guessing:.2f}): check the labels, train for longer, or set clip to 1."
            )
            self.on_event(Event("warning", stage=stage, message=message))

    def _losses(self, stage: str, chosen: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        s, data = self.settings, self.data
        images = data.images[chosen].to(self.device)
        maps = self.maps[chosen].float().to(self.device) if stage != CLASSIFIER else None
        if maps is not None and s.glass:
            images, maps = lay_glass(images, maps, s.glass, generator)
        views, maps = random_views(
            images,
            maps,
            self.view,
            AUGMENTATIONS[s.augment_classifier if stage == CLASSIFIER else s.augment],
            generator,
        )
        inputs = standardise(views, self.card).contiguous(memory_format=torch.channels_last)
        labels = data.labels[chosen].to(self.device)
        with engine.mixed_precision(self.device):
            if maps is None:
                return {"class_loss": classification_loss(self.network.classify(inputs), labels)}
            prediction = self.network(inputs)
        size = prediction.pixel_logits.shape[-2:]
        coarse = functional.adaptive_avg_pool2d(maps[:, None], size)[:, 0].cpu()
        if s.pixel_loss == "soft":
            labels_of_pixels = soft_labels(coarse, data.regionless[chosen]).to(self.device)
            return {
                "class_loss": classification_loss(prediction.class_logits, labels),
                "pixel_loss": soft_cross_entropy(prediction.pixel_logits, labels_of_pixels),
            }
        seeds = draw_seeds(coarse, s.sampler_settings(), generator, data.regionless[chosen])
        return {
            "class_loss": classification_loss(prediction.class_logits, labels),
            "pixel_loss": partial_cross_entropy(prediction.pixel_logits, seeds.to(self.device)),
            "foreground_seeds": (seeds == FOREGROUND).sum(),
            "background_seeds": (seeds == BACKGROUND).sum(),
        }

    def _plain_batches(self, most: int = 256) -> Iterator[Tensor]:
        order = torch.randperm(len(self.data), generator=generator_for(self.settings.seed, "calibrate"))[
            :most
        ]
        for chosen in order.split(self.settings.batch):
            images = self.data.images[chosen].to(self.device)
            views, _ = random_views(
                images,
                None,
                self.view,
                AUGMENTATIONS[self.settings.augment],
                generator_for("calibrate"),
            )
            yield standardise(views, self.card)

    def _validate(self, stage: str, epoch: int, epochs: int, reached: Position) -> Position:
        if stage == CLASSIFIER and self.settings.epochs_joint and (epoch + 1) % 5 and epoch + 1 < epochs:
            return dataclasses.replace(reached, stage=stage, epoch=epoch + 1)
        self.measured = self.validation.measure(self._localizer(), pixels=stage != CLASSIFIER)
        figures, threshold = self.measured.figures, self.measured.threshold
        self.on_event(Event("validation", stage=stage, epoch=epoch + 1, epochs=epochs, metrics=figures))
        self.card = dataclasses.replace(self.card, metrics=figures, threshold=threshold)
        if stage == CLASSIFIER and self.settings.epochs_joint:
            return Position(stage, epoch + 1)
        self._save("last")
        found, accuracy = figures.get("valpx_pxap"), figures["valcl_accuracy"]
        if found is None or found > reached.best_pxap:
            self._save("best-loc")
        if accuracy >= reached.best_accuracy:  # of equals the last, which has seen most of the maps too
            self._save("best-cl")
        best_pxap = reached.best_pxap if found is None else max(found, reached.best_pxap)
        return Position(stage, epoch + 1, best_pxap, max(accuracy, reached.best_accuracy))

    def _learn_familiarity(self) -> None:
        """Let each checkpoint tell whether an image is like those that it was trained on."""
        s = self.settings
        training, held_out = (
            open_dataset(s.dataset, s.root, split, s.fold, s.scheme) for split in ("train", "valcl")
        )
        for name in ("best-loc", "best-cl", "last"):
            path = self._checkpoint(name)
            if load_checkpoint(path)[0].familiarity is not None:  # from an earlier session of this run
                continue
            try:
                add_familiarity(
                    path, path, training, held_out,
                    device=s.device, on_event=self.on_event, should_stop=self._stop_or_cancel,
                )  # fmt: skip
            except engine.StopTraining:  # all is trained: what is left out only stays unknown
                return
            except ImageError as error:  # likewise
                message = f"The model cannot tell which images are like those of its training: {error}"
                self.on_event(Event("warning", message=message))
                return

    def _localizer(self) -> Localizer:
        return Localizer(self.network, self.card, ModelRef(self.card.name, ""), self.device)

    def _checkpoint(self, name: str) -> Path:
        return self.run / "checkpoints" / f"{name}.safetensors"

    def _save(self, name: str) -> None:
        refuse_gone(self.run)
        card = dataclasses.replace(self.card, selection=self.validation.selection_of(name))
        network = copy.deepcopy(self.network)  # calibrated is what is kept, not what learns on
        fold_pixels(network.pixel_head, self.measured.pixels)
        fold_classes(network.image_head, self.measured.class_scale)
        save_checkpoint(self._checkpoint(name), network, card, half=self.settings.half)
        self.on_event(Event("checkpoint", path=str(self._checkpoint(name)), metrics=dict(self.card.metrics)))

    def _stop_or_cancel(self) -> Stop:
        """Answer for work that knows only to go on or to give up: stopping keeps what there was before it."""
        wish = self.should_stop()
        if wish is Stop.KEEP:
            raise engine.StopTraining
        return wish

    def _obey(self, wish: Stop) -> None:
        if wish is Stop.DISCARD:
            raise CancelledError
        if wish is Stop.KEEP:
            raise engine.StopTraining
