"""The one dock: the work list, and six sections in the order of the loop, under a line for messages."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from napari.settings import get_settings
from napari.utils.notifications import Notification, NotificationSeverity, notification_manager
from qtpy.QtCore import QEvent, QObject, QSize, Qt, QTimer
from qtpy.QtGui import QHideEvent, QKeyEvent, QKeySequence, QResizeEvent, QShowEvent
from qtpy.QtWidgets import QApplication, QFrame, QScrollArea, QShortcut, QVBoxLayout, QWidget

from napari_pixelcam import bindings
from napari_pixelcam.controllers.autosave import Autosaver
from napari_pixelcam.controllers.comparison import ComparisonController
from napari_pixelcam.controllers.export import ExportController
from napari_pixelcam.controllers.finetune import FinetuneController
from napari_pixelcam.controllers.localize import LocalizeController
from napari_pixelcam.controllers.refine import RefineController
from napari_pixelcam.controllers.seeds import SeedsController
from napari_pixelcam.controllers.session import Session
from napari_pixelcam.controllers.shared import SharedSeedsController
from napari_pixelcam.controllers.threshold import ThresholdController
from napari_pixelcam.controllers.tools import ToolsController
from napari_pixelcam.controllers.uncertain import UncertainController
from napari_pixelcam.controllers.views import ViewsController
from napari_pixelcam.controllers.workbench import WorkbenchController
from napari_pixelcam.keys import DOCK, HELP, Keys
from napari_pixelcam.preferences import load_preferences
from napari_pixelcam.widgets.collector import Collector
from napari_pixelcam.widgets.export import ExportSection
from napari_pixelcam.widgets.finetune import FinetuneSection
from napari_pixelcam.widgets.folding import Folding
from napari_pixelcam.widgets.image_model import ImageModelSection
from napari_pixelcam.widgets.keysback import KeysBack
from napari_pixelcam.widgets.keysheet import KeySheet
from napari_pixelcam.widgets.localize import LocalizeSection
from napari_pixelcam.widgets.message import Message, Subject
from napari_pixelcam.widgets.qt_background import QtBackground
from napari_pixelcam.widgets.refine import RefineRow
from napari_pixelcam.widgets.section import Section
from napari_pixelcam.widgets.seeds import SeedsSection
from napari_pixelcam.widgets.theme import Tones
from napari_pixelcam.widgets.threshold import ThresholdSection
from napari_pixelcam.widgets.worklist import WorkListSection

if TYPE_CHECKING:
    import napari

SAVE_TICK = 150
"""Milliseconds between looks whether seeds are to be counted or saved."""
JOB_TICK = 300
"""Milliseconds between looks into a running job's folder."""
WORK_TICK = 1000
"""Milliseconds between looks whether the reviewer works, which is timed."""
WIDTH, SHARE = 345, 0.26
"""Pixels that the dock is wide when it opens, and the most of the screen's width that it takes then."""
LEAST = 30
"""Letters that the dock is wide at least."""
SPARE = 120
"""Pixels of the dock's height that are left to messages when the work list takes the rest."""

_SIZED = "QLineEdit, QAbstractSpinBox, QAbstractItemView, QProgressBar, ClassBars, LossPlot"
_SEVERITY = {
    "info": NotificationSeverity.INFO,
    "warning": NotificationSeverity.WARNING,
    "error": NotificationSeverity.ERROR,
}


class PixelCAMDock(QWidget):
    """See, correct, learn, see again.

    Parameters
    ----------
    napari_viewer
        The viewer that the dock is part of.
    """

    def __init__(self, napari_viewer: napari.Viewer) -> None:
        super().__init__()
        self.setObjectName("PixelCAM")
        # napari hands plugins a proxy whose layers are proxies too: none is the layer that events name.
        napari_viewer = getattr(napari_viewer, "__wrapped__", napari_viewer)
        self._viewer = napari_viewer
        self._collector = Collector(self)
        self._collector.start()
        self.background = QtBackground()
        self.session = Session(napari_viewer, self.background, load_preferences())
        self.localize_controller = LocalizeController(self.session)
        self.threshold_controller = ThresholdController(self.session)
        autosaver = Autosaver()
        self.seeds_controller = SeedsController(self.session, autosaver)
        self.tools_controller = ToolsController(self.seeds_controller)
        self.refine_controller = RefineController(self.session)
        self.views_controller = ViewsController(self.session, self.threshold_controller)
        self.comparison_controller = ComparisonController(self.session)
        self.uncertain_controller = UncertainController(self.session)
        self.workbench = WorkbenchController(self.session, self.seeds_controller, self.localize_controller)
        self.shared_controller = SharedSeedsController(self.session, self.refine_controller, self.workbench)
        self.export_controller = ExportController(self.session, self.seeds_controller)
        self.finetune_controller = FinetuneController(
            self.session, self.seeds_controller, self.localize_controller
        )
        self.worklist = WorkListSection(self.workbench)
        self.image_model = ImageModelSection(self.session)
        self.localize = LocalizeSection(self.session, self.localize_controller)
        self.threshold = ThresholdSection(self.threshold_controller)
        self.seeds = SeedsSection(self.session, self.seeds_controller, self.tools_controller)
        self.refine = RefineRow(self.refine_controller, self.shared_controller)
        self.seeds.body.addWidget(self.refine)
        self.export = ExportSection(self.export_controller)
        self.finetune = FinetuneSection(self.session, self.finetune_controller)
        self.message = Message(closable=True)
        self._lay_out()
        self.folding = Folding(self._named())
        self._bind_keys()
        self._keys_back = KeysBack(self, self.give_keys_back)
        self.worklist.images.chosen.connect(self.give_keys_back)
        self._parts = _Parts(
            self._keys_back.close,
            self.background.close,
            autosaver.close,
            self.workbench.let_go,
            self.session.close,
            self.keys.close,
            self._collector.stop,
        )
        self.workbench.changed.connect(self._on_workbench)
        self._unfold_by_need()
        self.session.notified.connect(self._on_notified)
        self._follow_subjects()
        napari_viewer.events.theme.connect(self._on_theme)
        get_settings().appearance.events.font_size.connect(self._on_theme)
        self._on_theme()
        self._timers = [
            self._tick(SAVE_TICK, self.seeds_controller.tick),
            self._tick(SAVE_TICK, self._look),
            self._tick(JOB_TICK, self.finetune_controller.poll),
            self._tick(WORK_TICK, self.workbench.tick),
        ]
        self._watch_for_the_end()
        self._settled = self._fitted = False
        self.session.catalogue_changed.connect(self._collector.settle)
        self.session.localized.connect(self._settle)
        self.session.refresh_catalogue()

    def close_down(self) -> None:
        """Save what is not saved, ask running work to end, let everything go; jobs go on by themselves."""
        if not self._parts.closed:
            self.workbench.close()
            self.seeds_controller.flush()
            for timer in self._timers:
                timer.stop()
            self._viewer.events.theme.disconnect(self._on_theme)
            get_settings().appearance.events.font_size.disconnect(self._on_theme)
            self.comparison_controller.close()
            for record in self.session.records():
                if self.seeds_controller.autosaver.is_clean(record):
                    self.session.leave(record)
            self._question.setEnabled(False)
        self._parts.close()

    @property
    def sections(self) -> tuple[QWidget, ...]:
        """The sections, top to bottom."""
        return (
            self.worklist,
            self.image_model,
            self.localize,
            self.threshold,
            self.seeds,
            self.export,
            self.finetune,
        )

    def _named(self) -> dict[str, Section]:
        names = ("work list", "image", "localize", "threshold", "seeds", "export", "fine-tune")
        return dict(zip(names, self.sections, strict=True))

    def _unfold_by_need(self) -> None:
        need = self.folding.need
        self.session.localized.connect(lambda record: need("localize", "threshold", "seeds"))
        self.session.seeds_changed.connect(lambda record: record.seeds is not None and need("seeds"))
        self.workbench.changed.connect(lambda: self.workbench.project is not None and need("work list"))
        self.workbench.locked.connect(lambda message: self.worklist.unfold())
        self.worklist.wanted.connect(self._go_on_with)
        self.export_controller.failed.connect(lambda message: self.export.unfold())
        self.finetune_controller.finished.connect(lambda name: self.finetune.unfold())
        self.finetune_controller.ended.connect(lambda level, message: self.finetune.unfold())

    def _go_on_with(self, what: str) -> None:
        """Lead on from a list that is done."""
        if what == "export":
            self.export.everywhere.setChecked(True)
        self.go_to(self._named()[what])

    def _in_use(self) -> dict[str, bool]:
        record = self.session.record
        shown, painted = record is not None and record.result is not None, record is not None and record.seeds
        return {
            "work list": self.workbench.project is not None,
            "image": True,
            "localize": True,
            "threshold": shown,
            "seeds": shown or bool(painted),
            "export": False,
            "fine-tune": self.finetune_controller.progress.busy,
        }

    def go_to(self, section: Section) -> None:
        """Unfold a section, bring it into sight, and put the keyboard on its head."""
        section.unfold()
        section.head.setFocus(Qt.FocusReason.ShortcutFocusReason)
        QApplication.sendPostedEvents()  # so that it is laid out before it is scrolled to
        self.scroll.ensureWidgetVisible(section, 0, 0)
        self.scroll.ensureWidgetVisible(section.head)

    def _lay_out(self) -> None:
        inside = QWidget()
        column = QVBoxLayout(inside)
        column.setContentsMargins(6, 2, 6, 6)
        column.setSpacing(0)
        for section in self.sections:
            column.addWidget(section)
        column.addStretch(1)
        self.scroll = _Column(inside)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(2)
        layout.addWidget(self.message)
        layout.addWidget(self.scroll, 1)

    def _bind_keys(self) -> None:
        keys = self.keys = Keys(self._viewer)
        bindings.bind_seeds(keys, self.tools_controller)
        bindings.bind_views(keys, self.views_controller, self.comparison_controller)
        bindings.bind_list(keys, self.worklist, self.workbench)
        bindings.bind_uncertain(keys, self.uncertain_controller)
        bindings.bind_labels(keys, self.tools_controller)
        bindings.bind_model(keys, self.localize_controller, self.refine_controller)
        for number, section in enumerate(self.sections):
            text = f"To {section.called}"
            keys.add(f"section {number}", f"Alt+{number}", DOCK, text, partial(self.go_to, section))
        keys.add("image", "Alt+9", DOCK, "From the dock back to the image", self.give_keys_back)
        keys.add("help", "F1", HELP, "This sheet; also ?", self.show_keys)
        # napari's key maps know no key by the name of ?, which is another one on every keyboard.
        self._question = QShortcut(QKeySequence("?"), self)
        self._question.activated.connect(self.show_keys)

    def give_keys_back(self, *ignored: object) -> None:
        """Let the next key be one for the image."""
        window = getattr(self._viewer, "window", None)
        canvas = window._qt_viewer.canvas.native if window is not None else None
        if canvas is not None:
            if canvas.window() is not self.window():
                canvas.activateWindow()  # the dock floats
            canvas.setFocus(Qt.FocusReason.OtherFocusReason)

    def _settle(self, record: object) -> None:
        """Look through the memory once the first model has brought its libraries."""
        if not self._settled and self.session.localizers.loaded:
            self._settled = True
            self._collector.settle()

    def show_keys(self) -> None:
        """Open the sheet of all keys, or close it where it is open."""
        window = self.window()
        sheet = window.findChild(KeySheet)
        if sheet is not None and sheet.isVisible():
            sheet.close()
        else:
            KeySheet(self.keys, Tones.of(self._viewer.theme), window).show()

    def _tick(self, milliseconds: int, callback: Callable[[], None]) -> QTimer:
        timer = QTimer(self)
        timer.timeout.connect(callback)
        timer.start(milliseconds)
        return timer

    def _on_notified(self, level: str, message: str, about: Subject | None = None) -> None:
        self.message.say(message, level, about=about or self.session.at_hand)
        notification_manager.dispatch(Notification(message, _SEVERITY[level]))

    def _follow_subjects(self) -> None:
        """Take messages away as soon as what they speak of is gone, the same sentence everywhere."""
        self._messages = self.findChildren(Message)
        for message in self._messages:
            message.outlived.connect(self.message.forget)
        session = self.session
        for happened in (
            *(session.image_changed, session.images_changed, session.model_changed, session.device_changed),
            *(session.views_changed, session.localized, session.refined, session.seeds_changed),
            *(self.threshold_controller.changed, self.tools_controller.changed, self.workbench.changed),
            self.finetune_controller.changed,
        ):
            happened.connect(self._look)

    def _look(self, *ignored: object) -> None:
        if not self._parts.closed:
            for message in self._messages:
                message.look()

    def _on_workbench(self) -> None:
        self.export.offer_project(self.workbench.project is not None)
        self._grow_list()

    def _grow_list(self) -> None:
        """Give the work list what room there is, on a large screen."""
        if self.workbench.project is not None:
            room, column = self.scroll.viewport().size(), self.scroll.widget().layout()
            self.worklist.grow(room.height() - column.totalHeightForWidth(room.width()) - SPARE)

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Share the new room out."""
        super().resizeEvent(event)
        self._grow_list()

    def _on_theme(self, event: object = None) -> None:
        tones = Tones.of(self._viewer.theme)
        self.message.set_tones(tones)
        size = get_settings().appearance.font_size  # napari gives it to labels and buttons alone
        self.setStyleSheet(f"{_SIZED} {{ font-size: {size}pt; }}")
        for section in self.sections:
            section.set_tones(tones)

    def _watch_for_the_end(self) -> None:
        """Let go with the program, or with the dock itself, whichever goes first."""
        self._watched: QObject | None = None
        application = QApplication.instance()
        if application is not None:
            application.aboutToQuit.connect(self.close_down)
        self.destroyed.connect(self._parts.close)  # not a method of the dock, which is no more by then

    def showEvent(self, event: QShowEvent) -> None:
        """Fold what is not in use where the screen is small, which is not known before."""
        super().showEvent(event)
        if not self._fitted:
            self._fitted = True
            self.folding.fit(self.screen().availableGeometry().height(), self._in_use())

    def event(self, event: QEvent) -> bool:
        """See the window that the dock ends up in, which is not known before."""
        if event.type() in (QEvent.Type.ParentChange, QEvent.Type.Show):
            window = self.window()
            if window is not self and window is not self._watched:
                window.installEventFilter(self)
                self._watched = window
        # napari's own × takes the dock out of its window, and deletes only what was around it.
        taken_out = event.type() == QEvent.Type.ParentChange and self.parent() is None
        if (taken_out and self._watched is not None) or event.type() == QEvent.Type.DeferredDelete:
            self.close_down()
        return super().event(event)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Save when the window closes, or asks whether it may."""
        if event.type() == QEvent.Type.Close and watched is self._watched and not self._parts.closed:
            self.workbench.note_work()
            self.seeds_controller.flush()
        return super().eventFilter(watched, event)

    def hideEvent(self, event: QHideEvent) -> None:
        """Save what is painted when the dock is put away."""
        if not self._parts.closed:
            self.seeds_controller.flush()
        super().hideEvent(event)


class _Parts:
    """What a dock has to let go of, in this order, and can let go of without the dock."""

    def __init__(self, *closers: Callable[[], None]) -> None:
        self._closers = list(closers)
        self.closed = False

    def close(self, *ignored: object) -> None:
        if not self.closed:
            self.closed = True
            for close in self._closers:
                close()
            self._closers.clear()  # they know of the window, which is to go


class _Column(QScrollArea):
    """Scrolls up and down, and is never narrower than what it holds with the scroll bar beside it."""

    def __init__(self, inside: QWidget) -> None:
        super().__init__()
        self.setWidgetResizable(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setWidget(inside)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.modifiers() & ~Qt.KeyboardModifier.KeypadModifier:
            event.ignore()  # an arrow with Shift is a key of the image, and does not scroll
        else:
            super().keyPressEvent(event)

    def minimumSizeHint(self) -> QSize:
        hint = super().minimumSizeHint()
        least = self.fontMetrics().averageCharWidth() * LEAST
        hint.setWidth(max(least, self.widget().minimumSizeHint().width() + self._beside()))
        return hint

    def sizeHint(self) -> QSize:
        hint = super().sizeHint()
        most = round(self.screen().availableGeometry().width() * SHARE)
        wanted = max(WIDTH, self.widget().sizeHint().width() + self._beside())
        hint.setWidth(max(min(wanted, most), self.minimumSizeHint().width()))
        return hint

    def _beside(self) -> int:
        return self.verticalScrollBar().sizeHint().width() + 2 * self.frameWidth()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if event.type() == QEvent.Type.LayoutRequest and self.minimumSizeHint().width() > self.width():
            self.updateGeometry()  # only then: every new text asks for a layout
        return bool(super().eventFilter(watched, event))
