"""Teach the model from the reviewer's seeds, in a job of its own that outlives the window."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path

from psygnal import Signal

from napari_pixelcam import backend
from napari_pixelcam.background import Task
from napari_pixelcam.controllers.export import ExportChoices, seeds_step
from napari_pixelcam.controllers.localize import LocalizeController
from napari_pixelcam.controllers.seeds import SeedsController
from napari_pixelcam.controllers.session import Session, sentence
from napari_pixelcam.device_queue import Urgency
from napari_pixelcam.keeping import Keeper
from pixelcam.errors import ConfigError, PixelCAMError
from pixelcam.events import Event
from pixelcam.jobs import Run
from pixelcam.limits import parse_json

NOTE = "dock.json"
"""In a job's folder: the name its model is to get, and whether it has been taken over."""
SUGGESTED = 60
"""Letters of the model that it starts from in the name that is suggested for the new one."""


@dataclass(frozen=True)
class TuneSettings:
    """The form of the section.

    Parameters
    ----------
    name
        Of the new model.
    epochs
        Rounds over the seeds.
    learning_rate
        Step size of the heads.
    """

    name: str
    epochs: int = 10
    learning_rate: float = 0.01


@dataclass(frozen=True)
class TuneProgress:
    """What is known of the job.

    Parameters
    ----------
    state
        "idle", or a run's own state.
    name
        Of the model in the making.
    step, total
        How far it is, `None` before it says.
    epoch, epochs
        The same in rounds.
    losses
        One a step.
    agreement
        Share in per cent of the reviewer's pixels that the model gets right: before, then by round.
    message
        The last word of the job for a person.
    """

    state: str = "idle"
    name: str = ""
    step: int | None = None
    total: int | None = None
    epoch: int | None = None
    epochs: int | None = None
    losses: list[float] = field(default_factory=list)
    agreement: list[float] = field(default_factory=list)
    message: str = ""

    @property
    def busy(self) -> bool:
        """Whether a job is at work."""
        return self.state in ("preparing", "starting", "running")


class FinetuneController:
    """Starts a fine-tuning job, follows its run folder, and takes its model over.

    Parameters
    ----------
    session, seeds, localize
        The dock's shared state and the sections that it works with.
    options
        Further options of ``pixelcam finetune`` for the jobs, beyond those of the form.
    """

    changed = Signal(object)
    """What is known of the job is now this `TuneProgress`."""
    finished = Signal(str)
    """A model of this name is new on the list, and chosen."""
    ended = Signal(str, str)
    """The job ended without a model: level and one sentence."""
    named = Signal(str)
    """Why the name that was looked at last cannot be a new model's, as a sentence; empty where it can."""

    def __init__(
        self,
        session: Session,
        seeds: SeedsController,
        localize: LocalizeController,
        options: tuple[str, ...] = (),
    ) -> None:
        self.session = session
        self.options = options
        self.seeds = seeds
        self.localize = localize
        self.progress = TuneProgress()
        self._run: Run | None = None
        self._job: Path | None = None
        self._offset = 0
        self._name = ""
        session.catalogue_changed.connect(self._on_catalogue)

    @property
    def runs(self) -> Path:
        """The folder of the jobs that docks have started."""
        return self.session.home / "runs"

    def suggest_name(self) -> str:
        """Return a model name that is still free."""
        stem = re.sub(r"-tuned(-\d+)?$", "", self.session.model)
        # The model may be known by a file or an address: what a name can hold of it, and not too long.
        stem = re.sub(r"[^A-Za-z0-9._-]+", "-", stem).lstrip("._-")[:SUGGESTED] or "model"
        taken = set(self.session.catalogue.models) if self.session.catalogue else set()
        names = (f"{stem}-tuned" + ("" if count == 1 else f"-{count}") for count in range(1, 10_000))
        return next(name for name in names if name not in taken)

    def look_at(self, name: str) -> None:
        """Find out in the background whether a new model can have this name; `named` tells."""
        self._name = name
        if name == self.suggest_name():  # nothing slow is loaded to look at one's own suggestion
            self.named.emit("")
            return
        self.session.background.submit(
            lambda task: self._check_name(name),
            done=lambda nothing: self._on_name(name, ""),
            failed=lambda error: self._on_name(name, sentence(error)),
        )

    def _on_name(self, name: str, problem: str) -> None:
        if name == self._name:  # else more has been typed meanwhile
            self.named.emit(problem)

    def _check_name(self, name: str) -> None:
        catalogue = self.session.catalogue
        if catalogue is not None and name in catalogue.models:
            raise PixelCAMError(f"There is a model named {name!r} already; choose another name.")
        backend.check_name(name)

    def start(self, settings: TuneSettings) -> None:
        """Write the seeds of all images, open or of the open project, free the device, and start the job."""
        if self.progress.busy:
            return
        try:
            self._check_place()
        except PixelCAMError as error:
            self._fail(sentence(error))
            return
        self.progress = TuneProgress(state="preparing", name=settings.name, epochs=settings.epochs)
        self.changed.emit(self.progress)

        self.session.background.submit(
            lambda task: self._check_name(settings.name),  # first: it becomes a part of paths
            done=lambda nothing: self._begin(settings),
            failed=lambda error: self._fail(sentence(error)),
        )

    def _begin(self, settings: TuneSettings) -> None:
        try:
            job, write = self._prepare(settings)
        except PixelCAMError as error:
            self._fail(sentence(error))
            return
        model, device = self.session.model, self.session.device
        arguments = [
            *("finetune", "--seeds", str(job / "seeds"), "--model", model, "--out", str(job / "run")),
            *("--epochs", str(settings.epochs), "--rate", repr(settings.learning_rate)),
            *("--device", device, "--name", settings.name),
            *self.options,
        ]
        launch = partial(_launch, job, settings.name, write, self.seeds.keeper, arguments)
        self.session.queue.stop(Urgency.AHEAD, Urgency.CORRECTIONS)  # they would take the device again
        self.session.background.submit(
            lambda task: self.session.localizers.drop(),
            done=lambda ignored: self._launch(job, settings.name, launch),
            failed=partial(self._abandon, job),
        )

    def _launch(self, job: Path, name: str, launch: Callable[[Task], _Launched]) -> None:
        backend.collect()
        self.session.background.submit(
            launch, done=partial(self._launched, job, name), failed=partial(self._abandon, job)
        )

    def _launched(self, job: Path, name: str, launched: _Launched) -> None:
        if launched.left_out:
            count = len(launched.left_out)
            images = "1 image is" if count == 1 else f"{count} images are"
            text = f"{images} not learned from: {launched.left_out[0]}"
            self.session.notified.emit("warning", text, lambda: (self.progress.name, self.progress.busy))
        self._attach(job, name, launched.run)

    def stop(self) -> None:
        """Ask the job to end soon and keep its best weights."""
        if self._run is not None:
            self._guarded(self._run.stop)

    def cancel(self) -> None:
        """Ask the job to end and leave nothing."""
        if self._run is not None:
            self._guarded(self._run.cancel)

    def poll(self) -> None:
        """Read what the job has written since the last look; returns at once."""
        if self._run is None:
            return
        try:
            state = self._run.state  # before the events, so that the last ones are not missed
            events, self._offset = self._run.events(self._offset)
        except PixelCAMError as error:
            self._run = None
            self._fail(sentence(error))
            return
        if events or state != self.progress.state:
            self.progress = _advance(self.progress, state, events)
            self.changed.emit(self.progress)
        if state in ("done", "stopped", "cancelled", "failed"):
            self._end(state)

    def _check_place(self) -> None:
        if self.localize.running:
            raise PixelCAMError("Wait for Localize to end, or cancel it: both need the device.")
        if not self.session.model:
            raise PixelCAMError("Choose the model to start from.")

    def _prepare(self, settings: TuneSettings) -> tuple[Path, Callable[[], list[str]]]:
        """Return the job's folder, and what writes the seeds and says why some are left out."""
        self._check_place()  # once more: Localize may have been pressed meanwhile
        self.seeds.flush()
        known = [(record, self.session.watch.seeds(record)) for record in self.session.records()]
        painted = [(record, seeds) for record, seeds in known if seeds is not None and seeds.any]
        keeper = self.seeds.keeper
        closed = keeper.closed(record for record, _ in known)
        if not painted and not closed:
            raise PixelCAMError("Paint or propose some seeds first: they are what the model learns from.")
        job = self.runs / f"{datetime.now():%Y%m%d-%H%M%S}-{settings.name}"
        choices = ExportChoices()
        steps = [seeds_step(record, seeds, job / "seeds", choices) for record, seeds in painted]

        def write() -> list[str]:
            for step in steps:
                step()
            left_out = keeper.export(closed, job / "seeds", choices.seeds).left_out
            if not steps and len(left_out) == len(closed):
                raise PixelCAMError(left_out[0])
            return left_out

        return job, write

    def _attach(self, job: Path, name: str, run: Run) -> None:
        self._run, self._job, self._offset = run, job, 0
        self.progress = TuneProgress(state="starting", name=name, epochs=self.progress.epochs)
        self.changed.emit(self.progress)

    def _abandon(self, job: Path, error: Exception) -> None:
        shutil.rmtree(job, ignore_errors=True)
        self._fail(sentence(error))

    def _on_catalogue(self, catalogue: backend.Catalogue) -> None:
        """Take up again what an earlier dock has started."""
        if self._run is not None or self.progress.busy:
            return
        for note in sorted(self.runs.glob(f"*/{NOTE}"), reverse=True):
            try:
                said = parse_json(note.read_text(encoding="utf-8"))
                if said.get("taken"):
                    continue
                self._attach(note.parent, said["name"], Run.open(note.parent / "run"))
                return
            except (PixelCAMError, OSError, ValueError, KeyError, TypeError, AttributeError):
                continue  # a damaged folder of long ago is no reason to bother the user now

    def _end(self, state: str) -> None:
        run, job, name = self._run, self._job, self.progress.name
        assert run is not None
        assert job is not None
        self._run = self._job = None
        if state == "failed":
            _note(job, name, taken=True)
            self._fail(
                run.error_message() or "The job failed without saying why; its log is in its run folder."
            )
            return
        if state == "cancelled":
            shutil.rmtree(job, ignore_errors=True)
            self.ended.emit("info", "Cancelled; the job left nothing, and your seeds are as they were.")
            return
        checkpoint = run.checkpoint("best-loc") or run.checkpoint("last")
        if checkpoint is None:
            _note(job, name, taken=True)
            self.ended.emit("info", "Stopped before there were any weights to keep.")
            return
        keeper = self.seeds.keeper

        def register(task: Task) -> str:
            registered = backend.register(checkpoint, name)
            with suppress(PixelCAMError):  # the model is there all the same
                keeper.note_run(job / "run", backend.digest(registered))
            return registered

        self.session.background.submit(
            register,
            done=partial(self._registered, job),
            failed=partial(self._not_registered, job, checkpoint),
        )

    def _not_registered(self, job: Path, checkpoint: Path, error: Exception) -> None:
        """Tell where the weights are; a name that cannot be is not tried again by every later dock."""
        if isinstance(error, ConfigError):
            _note(job, self.progress.name, taken=True)
        self._fail(f"{sentence(error)} What the job has learned is in {checkpoint}.")

    def _registered(self, job: Path, name: str) -> None:
        _note(job, name, taken=True)
        self.session.add_model(name)
        self.finished.emit(name)

    def _fail(self, message: str) -> None:
        self.progress = TuneProgress(state="failed", name=self.progress.name, losses=self.progress.losses)
        self.changed.emit(self.progress)
        self.ended.emit("error", message)
        # The section tells it too, and knows what was asked for: out of date there, it is so here.
        self.session.notified.emit("error", message, lambda: self.progress.busy)

    def _guarded(self, action: Callable[[], None]) -> None:
        try:
            action()
        except PixelCAMError as error:
            self.session.report(error)


@dataclass(frozen=True)
class _Launched:
    run: Run
    left_out: list[str]


def _launch(
    job: Path, name: str, write: Callable[[], list[str]], keeper: Keeper, arguments: list[str], task: Task
) -> _Launched:
    left_out = write()
    _note(job, name, taken=False)
    run = Run.start(job / "run", arguments)
    with suppress(PixelCAMError):  # the job runs all the same
        keeper.note_run(job / "run")
    return _Launched(run, left_out)


def _note(job: Path, name: str, *, taken: bool) -> None:
    from pixelcam.export import write_text

    text = json.dumps({"name": name, "taken": taken})
    if not taken:
        write_text(job / NOTE, text)
        return
    with suppress(PixelCAMError):  # a folder that was deleted stays gone; on a full disk it is taken again
        write_text(job / NOTE, text, make_folder=False)


def _advance(before: TuneProgress, state: str, events: list[Event]) -> TuneProgress:
    """Return the progress after more events."""
    values = {key: getattr(before, key) for key in ("step", "total", "epoch", "epochs", "message")}
    losses, agreement = list(before.losses), list(before.agreement)
    for event in events:
        for key in ("step", "total", "epoch", "epochs"):
            if getattr(event, key) is not None:
                values[key] = getattr(event, key)
        if event.kind == "step" and "loss" in event.metrics:
            losses.append(float(event.metrics["loss"]))
        if "agreement" in event.metrics:
            agreement.append(float(event.metrics["agreement"]))
        if event.message:
            values["message"] = event.message
    return TuneProgress(state=state, name=before.name, losses=losses, agreement=agreement, **values)
