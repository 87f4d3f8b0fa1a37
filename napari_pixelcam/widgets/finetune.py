"""Section 6: teach the model, watch it learn, end it early."""

from __future__ import annotations

from magicgui.widgets import Container, FloatSpinBox, LineEdit, SpinBox
from qtpy.QtWidgets import QProgressBar

from napari_pixelcam.controllers.finetune import FinetuneController, TuneProgress, TuneSettings
from napari_pixelcam.controllers.session import Session
from napari_pixelcam.widgets.loss_plot import LossPlot
from napari_pixelcam.widgets.message import Message
from napari_pixelcam.widgets.section import Section, button, note, row

_SAID = {
    "preparing": "writing the seeds…",
    "starting": "starting the job…",
    "running": "learning from your seeds",
}
_RUN = "Start a job that learns from your seeds on all open images, and on all of the project (Alt+N)"


class FinetuneSection(Section):
    """A form, a job, a plot."""

    def __init__(self, session: Session, controller: FinetuneController) -> None:
        super().__init__("6   Fine-tune")
        self._session, self._controller = session, controller
        defaults = TuneSettings(name="")
        self.name = LineEdit(label="New name", tooltip="What the new model will be called in the model list")
        self.epochs = SpinBox(
            label="Epochs",
            value=defaults.epochs,
            min=1,
            max=1000,
            tooltip="Rounds over all images with seeds",
        )
        self.rate = FloatSpinBox(
            label="Learning rate",
            value=defaults.learning_rate,
            min=0.00001,
            max=1.0,
            step=0.0005,
            tooltip="How large the steps are; too large forgets, too small learns nothing",
        )
        self.form = Container(widgets=[self.name, self.epochs, self.rate], labels=True)
        self.form.margins = (0, 0, 0, 0)
        self.align_labels(self.form)
        self.run_button = button(
            "Fine-tu&ne",
            _RUN,
        )
        self.stop_button = button("Stop, keep we&ights", "End early and keep the best model so far (Alt+I)")
        self.cancel_button = button("Discard &job", "End now and keep nothing of it (Alt+J)")
        self.progress = QProgressBar()
        self.plot = LossPlot()
        self.detail = note()
        self.status = Message()
        self.obstacle = Message()
        self.body.addWidget(self.form.native)
        self.body.addWidget(self.obstacle)
        self.body.addWidget(self.run_button)
        self.body.addWidget(self.progress)
        self.body.addWidget(self.plot)
        self.body.addWidget(self.detail)
        self.body.addLayout(row(self.stop_button, self.cancel_button))
        self.body.addWidget(self.status)
        self._asked_to_end = False
        self.run_button.clicked.connect(lambda: self._start())
        self.stop_button.clicked.connect(lambda: self._end(keep=True))
        self.cancel_button.clicked.connect(lambda: self._end(keep=False))
        self.name.native.textChanged.connect(lambda text: controller.look_at(text.strip()))
        controller.named.connect(self._on_named)
        controller.changed.connect(self._show)
        controller.finished.connect(self._on_finished)
        controller.ended.connect(self._on_ended)
        session.model_changed.connect(lambda model: self._suggest())
        session.catalogue_changed.connect(lambda catalogue: self._suggest())
        self._suggested = self.name.value
        self._suggest()
        self._show(controller.progress)

    def _suggest(self) -> None:
        if self._controller.progress.busy:
            return
        catalogue = self._session.catalogue
        taken = () if catalogue is None else catalogue.models
        if self.name.value in ("", self._suggested, *taken):  # else the person has typed it
            self.name.value = self._suggested = self._controller.suggest_name()
        self._controller.look_at(self.name.value)  # what is taken may be another now

    def _on_named(self, problem: str) -> None:
        self.obstacle.say(problem, "error")
        self.run_button.setEnabled(not problem)
        self.run_button.setToolTip(problem or _RUN)

    def _asked_for(self) -> tuple[object, ...]:
        """Return what a message on a job speaks of: what the form says, the model, and what is painted."""
        form = (self.name.value, self.epochs.value, self.rate.value)
        controller = self._controller
        return *form, self._session.model, controller.progress.busy, *controller.seeds.painted()

    def _made_by(self) -> tuple[object, ...]:
        """Return the model that is chosen, and the one that the map at hand is by."""
        record = self._session.record
        return self._session.model, None if record is None or record.result is None else record.result.model

    def _start(self) -> None:
        self._asked_to_end = False
        self.status.clear()
        self._controller.start(TuneSettings(self.name.value.strip(), self.epochs.value, self.rate.value))

    def _end(self, *, keep: bool) -> None:
        self._asked_to_end = True
        text = "Stopping; the best weights so far are kept…" if keep else "Ending the job…"
        self.status.say(text, about=lambda: self._controller.progress.busy)
        if keep:
            self._controller.stop()
        else:
            self._controller.cancel()
        self._show(self._controller.progress)

    def _show(self, progress: TuneProgress) -> None:
        busy = progress.busy
        self.form.enabled = not busy
        self.run_button.setVisible(not busy)
        for widget in (self.stop_button, self.cancel_button, self.progress):
            widget.setVisible(busy)
        for widget in (self.stop_button, self.cancel_button):
            widget.setEnabled(busy and progress.state != "preparing" and not self._asked_to_end)
        self.plot.setVisible(bool(progress.losses) or busy)
        self.plot.show_losses(progress.losses, progress.total)
        self.detail.setText(_describe(progress))
        self.detail.setVisible(bool(self.detail.text()))
        if progress.step is not None and progress.total:
            self.progress.setRange(0, progress.total)
            self.progress.setValue(progress.step)
        else:
            self.progress.setRange(0, 0)

    def _on_finished(self, name: str) -> None:
        self._suggest()
        agreed = _agreement(self._controller.progress.agreement)
        self.status.say(
            f"{name} is ready and chosen as the model: press Localize to see the change."
            + (f" It {agreed}; how it does elsewhere only other images show." if agreed else ""),
            "good",
            about=self._made_by,
        )

    def _on_ended(self, level: str, message: str) -> None:
        self.status.say(message, level, about=self._asked_for)


def _describe(progress: TuneProgress) -> str:
    parts = [_SAID[progress.state]] if progress.busy else []
    if progress.busy and progress.epoch is not None and progress.epochs:
        parts.append(f"epoch {progress.epoch} of {progress.epochs}")
    if agreed := _agreement(progress.agreement):
        parts.append(agreed)
    return "; ".join(parts)


def _agreement(found: list[float]) -> str:
    """Say how far a model agrees with what it was taught, which is no measure of how good it is."""
    if not found:
        return ""
    before = f" ({found[0]:.0f} % before)" if len(found) > 1 else ""
    return f"agrees with {found[-1]:.0f} % of the strokes it was taught{before}"
