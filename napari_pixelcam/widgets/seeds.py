"""Section 4: paint where the map is wrong, and know that it is kept."""

from __future__ import annotations

from qtpy.QtWidgets import QButtonGroup, QComboBox, QLabel, QSpinBox
from superqt.utils import signals_blocked

from napari_pixelcam.controllers.seeds import SeedsController
from napari_pixelcam.controllers.seedstate import KEYS, LARGEST_BRUSH, Brush, SeedState
from napari_pixelcam.controllers.session import ImageRecord, Session
from napari_pixelcam.controllers.tools import Tool, ToolsController
from napari_pixelcam.palette import BACKGROUND_SEED, FOREGROUND_SEED
from napari_pixelcam.seedfiles import CANNOT_TELL
from napari_pixelcam.seedgrid import brush_microns
from napari_pixelcam.widgets.message import Message
from napari_pixelcam.widgets.section import Section, button, note, row


class SeedsSection(Section):
    """Brushes, tools, proposals, undo, the image's own label, and when it was last saved."""

    def __init__(self, session: Session, controller: SeedsController, tools: ToolsController) -> None:
        super().__init__("4   Seeds")
        self._session, self._controller, self._tools = session, controller, tools
        self._make_tools()
        self.undo_button = button("&Undo", "Take the last stroke or proposal back (Ctrl+Z over the image)")
        self.redo_button = button("Re&do", "Do it again (Ctrl+Shift+Z over the image)")
        self.propose_button = button(
            "Pr&opose seeds",
            "Add seeds where the map is sure, never over what you have painted; one undo step (Shift+P)",
        )
        self.label_choice = QComboBox()
        self.label_choice.setToolTip(
            "What the image shows as a whole; kept with the seeds and used by fine-tuning"
        )
        label = QLabel("This i&mage is")
        label.setBuddy(self.label_choice)
        self.counts = note()
        self.saved = Message()
        size_label = QLabel("Brush")
        size_label.setBuddy(self.size)
        self.body.addLayout(row(*self.brushes.values(), spacing=4))
        self.body.addLayout(row(*self.tools.values(), self.clear_button, spacing=4))
        self.body.addLayout(row(size_label, self.size, self.microns, None, spacing=4))
        self.body.addLayout(row(self.propose_button, self.undo_button, self.redo_button, spacing=4))
        self.body.addWidget(self.counts)
        self.body.addLayout(row(label, self.label_choice))
        self.body.addWidget(self.saved)
        self._wire()
        self._refresh_labels(session.record)
        self._show(controller.state)

    def _make_tools(self) -> None:
        self.brushes = {
            "foreground": button(
                "Fore&ground",
                f"Paint foreground seeds (key {KEYS['foreground']} over the image)",
                checkable=True,
            ),
            "background": button(
                "Bac&kground",
                f"Paint background seeds (key {KEYS['background']} over the image)",
                checkable=True,
            ),
            "eraser": button(
                "&Eraser", f"Take seeds away (key {KEYS['eraser']} over the image)", checkable=True
            ),
        }
        self._group = QButtonGroup(self)
        self._group.setExclusive(False)  # a second press puts the brush away
        self.size = QSpinBox()
        self.size.setRange(1, LARGEST_BRUSH)
        self.size.setSuffix(" px")
        self.size.setValue(self._controller.brush_size)
        self.size.setToolTip("Diameter of the brush in pixels of the image; keys [ and ] over the image")
        self.microns = QLabel()
        self.tools = {
            "lasso": button(
                "L&asso",
                "Draw around an area: with Foreground its part at or above the threshold is painted, "
                "with Background the rest (key A)",
                checkable=True,
            ),
            "region": button(
                "Region",
                "Click into a region of the map to accept all of it (key Shift+W; W takes the one under the "
                "pointer)",
                checkable=True,
            ),
        }
        self.clear_button = button("Clear", "Take all seeds of this image away, as one undo step (Shift+E)")

    def _wire(self) -> None:
        for name, brush_button in self.brushes.items():
            self._group.addButton(brush_button)
            brush_button.clicked.connect(lambda checked, brush=name: self._on_brush(brush, checked))
        for name, tool_button in self.tools.items():
            tool_button.clicked.connect(lambda checked, tool=name: self._on_tool(tool))
        self.clear_button.clicked.connect(lambda: self._tools.clear())
        self._tools.changed.connect(lambda: self._show(self._controller.state))
        self.size.valueChanged.connect(self._controller.set_brush_size)
        self.undo_button.clicked.connect(lambda: self._controller.undo())
        self.redo_button.clicked.connect(lambda: self._controller.redo())
        self.propose_button.clicked.connect(lambda: self._controller.propose())
        self.label_choice.activated.connect(self._on_label)
        self._controller.changed.connect(self._show)
        self._controller.restored.connect(self._on_restored)
        self._session.image_changed.connect(self._refresh_labels)
        self._session.localized.connect(lambda record: self._refresh_labels(self._session.record))

    def _on_brush(self, brush: Brush, checked: bool) -> None:
        if checked:
            self._tools.take_kind(brush)
        else:
            self._tools.put_away()
            self._controller.put_away()
        self._show(self._controller.state)

    def _on_tool(self, tool: Tool) -> None:
        self._tools.take(tool)
        self._show(self._controller.state)

    def _on_label(self, index: int) -> None:
        self._controller.correct_label(self.label_choice.itemData(index))

    def _refresh_labels(self, record: ImageRecord | None) -> None:
        result = record.result if record is not None else None
        choices: list[tuple[str, str | None]] = [("not judged", None)]
        if result is not None:
            predicted = result.localization.predicted
            choices.append((f"{_worded(predicted)}, as the model says", predicted))
            choices += [(_worded(name), name) for name in result.localization.classes if name != predicted]
        choices.append((CANNOT_TELL, CANNOT_TELL))
        with signals_blocked(self.label_choice):
            self.label_choice.clear()
            for text, value in choices:
                self.label_choice.addItem(text, value)
        self.label_choice.setEnabled(result is not None)
        self._show(self._controller.state)

    def _show(self, state: SeedState) -> None:
        record = self._session.record
        for brush_button in self.brushes.values():
            brush_button.setEnabled(record is not None)
        held = self._tools.tool
        kind = self._tools.kind if held is not None else state.brush
        for name, brush_button in self.brushes.items():
            brush_button.setChecked(kind == name)
        for name, tool_button in self.tools.items():
            tool_button.setEnabled(record is not None)
            tool_button.setChecked(held == name)
        self.clear_button.setEnabled(state.foreground + state.background > 0)
        microns = brush_microns(record, self._controller.brush_size)
        self.microns.setText("" if microns is None else f"= {microns:.3g} µm")
        self.undo_button.setEnabled(state.can_undo)
        self.redo_button.setEnabled(state.can_redo)
        self.propose_button.setEnabled(record is not None and record.result is not None)
        with signals_blocked(self.size):
            self.size.setValue(self._controller.brush_size)
        with signals_blocked(self.label_choice):
            found = self.label_choice.findData(record.corrected_label if record is not None else None)
            self.label_choice.setCurrentIndex(max(found, 0))
        self.counts.setText(
            f"<span style='color:{FOREGROUND_SEED}'>■</span> foreground {state.foreground:,} &nbsp; "
            f"<span style='color:{BACKGROUND_SEED}'>■</span> background {state.background:,} px"
        )
        if state.failure:  # in sight until it is saved, whatever image is at hand
            self.saved.say(f"NOT SAVED. {state.failure}", "error")
        elif state.saved is not None and state.clean:
            self.saved.say(f"saved {state.saved:%H:%M:%S}", "good")
        elif not state.clean:
            self.saved.say("saving…")
        else:
            self.saved.clear()

    def _on_restored(self, record: ImageRecord, pixels: int) -> None:
        if record is self._session.record:
            self._session.notified.emit(
                "info",
                f"Your {pixels:,} seed pixels of {record.name!r} are back, as they were last saved.",
                self._controller.painted,
            )


def _worded(name: str) -> str:
    """Return a class's name as people write it."""
    return name.replace("_", " ")
