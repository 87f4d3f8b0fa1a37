"""Section 3: from the map to a region, live."""

from __future__ import annotations

from html import escape

from qtpy.QtWidgets import QButtonGroup, QLabel, QRadioButton
from superqt.utils import signals_blocked

from napari_pixelcam.controllers.threshold import ThresholdController, ThresholdState
from napari_pixelcam.overlays import OUTLINE, PROBABILITY, TWO_COLOURS
from napari_pixelcam.palette import BACKGROUND, FOREGROUND
from napari_pixelcam.widgets.section import Section, button, note, row
from napari_pixelcam.widgets.threshold_slider import DefaultMark, ThresholdSlider
from pixelcam import figures


class ThresholdSection(Section):
    """A slider with the model's default marked, the view, and the area."""

    def __init__(self, controller: ThresholdController) -> None:
        super().__init__("3   Threshold")
        self._controller = controller
        self.slider = ThresholdSlider()
        self.mark = DefaultMark(self.slider)
        label = QLabel("&Threshold")
        label.setBuddy(self.slider)
        self.reset_button = button(
            "&Reset to the model's default", "Go back to the model's own threshold (Alt+R)"
        )
        self.probability = QRadioButton("Pro&bability")
        self.probability.setToolTip("Shades from dark blue (surely background) to yellow (surely foreground)")
        self.two_colours = QRadioButton("Two colour&s")
        self.two_colours.setToolTip("Yellow at or above the threshold, blue below")
        self.outline = QRadioButton("Outline")
        self.outline.setToolTip(
            "Lines around what is at or above the threshold, over the bare stain (Shift+G)"
        )
        self._views = QButtonGroup(self)
        self._choices = {PROBABILITY: self.probability, TWO_COLOURS: self.two_colours, OUTLINE: self.outline}
        for view, choice in self._choices.items():
            self._views.addButton(choice)
            choice.clicked.connect(lambda checked, view=view: controller.set_view(view))
        self.area = note()
        self.body.addLayout(row(label, self.slider))
        self.body.addWidget(self.mark)
        self.body.addWidget(self.reset_button)
        self.body.addLayout(row(QLabel("Show"), *self._choices.values(), None))
        self.body.addWidget(self.area)
        self.slider.valueChanged.connect(controller.set_threshold)
        self.reset_button.clicked.connect(lambda: controller.reset())
        controller.changed.connect(self._show)
        self._show(controller.state)

    def _show(self, state: ThresholdState | None) -> None:
        for widget in (self.slider, *self._choices.values()):
            widget.setEnabled(state is not None)
        self.reset_button.setEnabled(state is not None and state.threshold != state.default)
        if state is None:
            self.mark.show_default(None)
            self.area.setText("Press Localize to get a map.")
            return
        with signals_blocked(self.slider):
            self.slider.setValue(state.threshold)
        self.mark.show_default(state.default)
        self.reset_button.setText(f"&Reset to the model's default, {state.default:.2f}")
        self._choices[state.view].setChecked(True)
        squares = f"<span style='color:{FOREGROUND}'>■</span>"
        rest = f"<span style='color:{BACKGROUND}'>■</span>"
        area = "" if state.area_mm2 is None else f", {figures.area(state.area_mm2)}"
        self.area.setText(
            f"{squares} {escape(state.called)} <b>{figures.percent(state.fraction)}</b>{area}<br>"
            f"{rest} background {figures.percent(1 - state.fraction)}"
        )
