"""The row below the brushes that says whether the map follows them."""

from __future__ import annotations

from qtpy.QtWidgets import QCheckBox, QProgressBar, QVBoxLayout, QWidget
from superqt.utils import signals_blocked

from napari_pixelcam.controllers.refine import RefineController, RefineState
from napari_pixelcam.controllers.shared import SharedSeedsController
from napari_pixelcam.widgets.section import button, note, row
from pixelcam.events import Event


class RefineRow(QWidget):
    """Live or not, from this image's seeds or all, and the way back to the model's own map."""

    def __init__(self, controller: RefineController, shared: SharedSeedsController) -> None:
        super().__init__()
        self._controller = controller
        self.live = QCheckBox("Live map")
        self.live.setToolTip(
            "After each stroke, refit the pixel head to your seeds; the model itself learns by fine-tuning"
        )
        self.everywhere = QCheckBox("from all images")
        self.everywhere.setToolTip(
            "Let your seeds on other images count too: on all of the open project, and on those in the viewer"
        )
        self.model_button = button("Model's map", "Show the model's own map (key R over the image)")
        self.model_button.setCheckable(True)
        self.text = note()
        self.progress = QProgressBar()
        self.progress.setFormat("reading seeds: %v of %m images")
        self.stop_button = button("Stop", "Read no further; this image's seeds count alone")
        self.reading = QWidget()
        inside = row(self.progress, self.stop_button)
        self.reading.setLayout(inside)
        self.reading.hide()
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(4)
        column.addLayout(row(self.live, self.everywhere, None, self.model_button))
        column.addWidget(self.text)
        column.addWidget(self.reading)
        self.live.toggled.connect(controller.set_live)
        self.everywhere.toggled.connect(controller.set_everywhere)
        self.model_button.clicked.connect(lambda: controller.switch())
        self.stop_button.clicked.connect(lambda: shared.stop())
        controller.changed.connect(self._show)
        shared.progressed.connect(self._on_progress)
        self._show(controller.state)

    def _show(self, state: RefineState) -> None:
        with signals_blocked(self.live), signals_blocked(self.everywhere):
            self.live.setChecked(state.live)
            self.everywhere.setChecked(state.everywhere)
        self.everywhere.setEnabled(state.live)
        self.model_button.setEnabled(state.can_switch)
        self.model_button.setChecked(state.can_switch and not state.refined)
        self.text.setText(state.text)
        self.text.setVisible(bool(state.text))

    def _on_progress(self, event: Event | None) -> None:
        self.reading.setVisible(event is not None)
        if event is not None and event.step is not None and event.total:
            self.progress.setRange(0, event.total)
            self.progress.setValue(event.step)
