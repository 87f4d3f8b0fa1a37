"""Section 2: run the model, watch it, cancel it, and read what it calls the image."""

from __future__ import annotations

from qtpy.QtWidgets import QCheckBox, QProgressBar, QSizePolicy

from napari_pixelcam.controllers.localize import LocalizeController, describe_change
from napari_pixelcam.controllers.session import ImageRecord, Session
from napari_pixelcam.widgets.bars import ClassBars
from napari_pixelcam.widgets.message import Message
from napari_pixelcam.widgets.section import Section, button, note, row
from pixelcam.events import Event


class LocalizeSection(Section):
    """The button of the whole plugin, and its answer."""

    def __init__(self, session: Session, controller: LocalizeController) -> None:
        super().__init__("2   Localize")
        self._session, self._controller = session, controller
        self.run_button = button("Locali&ze", "Ask the model what the image shows and where (Alt+Z)")
        self.cancel_button = button("&Cancel", "Stop; what was there before stays (Alt+C)")
        self.four_views = QCheckBox("Four views")
        self.four_views.setToolTip(
            "The mean over the image and its three mirror images: steadier, at three to four times the time"
        )
        self.four_views.setSizePolicy(QSizePolicy.Policy.Maximum, QSizePolicy.Policy.Fixed)
        self.progress = QProgressBar()
        self.progress.setTextVisible(True)
        self.progress.hide()
        self.status = Message()
        self.caution = Message()
        self.bars = ClassBars()
        self.change = note()
        self.body.addLayout(row(self.run_button, self.cancel_button, self.four_views))
        self.body.addWidget(self.progress)
        self.body.addWidget(self.status)
        self.body.addWidget(self.caution)
        self.body.addWidget(self.bars)
        self.body.addWidget(self.change)
        self.run_button.clicked.connect(lambda: controller.run())
        self.cancel_button.clicked.connect(lambda: controller.cancel())
        self.four_views.toggled.connect(lambda checked: session.choose_views(4 if checked else 1))
        session.views_changed.connect(self._show_views)
        controller.changed.connect(self._refresh)
        controller.told.connect(lambda: self._on_progress(controller.latest))
        controller.finished.connect(lambda record: self._show(session.record))
        controller.ended.connect(self._on_ended)
        session.image_changed.connect(self._show)
        session.localized.connect(lambda record: self._show(session.record))
        session.catalogue_changed.connect(lambda catalogue: self._refresh())
        session.images_changed.connect(self._refresh)
        self._refresh()
        self._show_views(session.views)
        self._show(session.record)

    def _show_views(self, views: int) -> None:
        self.four_views.setChecked(views > 1)

    def _refresh(self) -> None:
        here, obstacle = self._controller.running_here, self._controller.obstacle
        running = self._controller.running
        self.run_button.setEnabled(not here and not obstacle)
        self.cancel_button.setEnabled(running)
        self.cancel_button.setVisible(running)
        if running and self.progress.isHidden():
            self._on_progress(self._controller.latest)
            self.status.clear()
        self.progress.setVisible(running)
        if obstacle:
            self.status.say(obstacle)
        elif self.status.level == "info" and not running:
            self.status.clear()

    def _on_progress(self, event: Event) -> None:
        """Say what is really going on: a count where there is one, else words."""
        shown = self._controller.shown
        other = "" if shown is None or self._controller.running_here else f"{shown.name}: "
        if event.message:
            self.progress.setRange(0, 0)
            self._write(other + event.message)
        elif event.total:
            self.progress.setRange(0, event.total)
            self.progress.setValue(event.step or 0)
            self._write(other + ("%v of %m tiles" if event.total > 1 else "localizing…"))

    def _write(self, text: str) -> None:
        self.progress.setFormat(text)
        self.progress.setToolTip("" if "%" in text else text)  # it may be longer than the bar

    def _on_ended(self, level: str, message: str) -> None:
        session, running = self._session, self._controller
        self.status.say(message, level, about=lambda: (*session.at_hand(), running.running))

    def _show(self, record: ImageRecord | None) -> None:
        result = record.result if record is not None else None
        self.bars.show_classes(result.localization.classes if result else {})
        told = [result.localization.caution, *result.localization.notes] if result else []
        self.caution.say(" ".join(filter(None, told)), "warning")
        change = describe_change(record) if record is not None else ""
        self.change.setText(change)
        self.change.setVisible(bool(change))
        if result is not None:
            # A tick says that all is well, which a class that nobody should believe is not.
            level = "warning" if result.localization.caution else "good"
            self.status.say(f"Localized with {result.maker}", level)
        elif not self._controller.obstacle:
            self.status.clear()
