"""An image, a model that needs no training, and a dock's logic on a bare viewer."""

from __future__ import annotations

import queue
import threading
from functools import partial

import numpy as np
from napari.components import ViewerModel
from skimage.draw import disk

from napari_pixelcam.background import Immediate, Task
from napari_pixelcam.controllers.autosave import Autosaver
from napari_pixelcam.controllers.export import ExportController
from napari_pixelcam.controllers.finetune import FinetuneController
from napari_pixelcam.controllers.localize import LocalizeController
from napari_pixelcam.controllers.seeds import SeedsController
from napari_pixelcam.controllers.session import Session
from napari_pixelcam.controllers.threshold import ThresholdController
from napari_pixelcam.controllers.tools import ToolsController
from napari_pixelcam.controllers.workbench import WorkbenchController
from napari_pixelcam.preferences import Preferences
from pixelcam.errors import CancelledError
from pixelcam.events import Event, Stop, ignore_events
from pixelcam.localize.localization import Localization, ModelRef
from pixelcam.review import Project


def tissue(height: int = 96, width: int = 128) -> np.ndarray:
    """Return (h, w, 3) uint8: purple discs on pink."""
    rng = np.random.default_rng(0)
    image = np.full((height, width, 3), (235, 190, 215), np.int16)
    for row, column in ((24, 30), (60, 90), (75, 25)):
        image[disk((row, column), 16, shape=(height, width))] = (110, 60, 150)
    return np.clip(image + rng.integers(-12, 12, image.shape), 0, 255).astype(np.uint8)


class FakeLocalizer:
    """Says that dark is foreground, in as many steps as it is told; `tilt` tells models apart."""

    def __init__(
        self, *, tilt: float = 0.0, steps: int = 2, downsample: int = 1, error: Exception | None = None
    ):
        self.tilt, self.steps, self.downsample, self.error = tilt, steps, downsample, error
        self.familiarity = None
        self.image_caution = ""
        self.notes = ()
        self.sha256 = "0" * 64
        self.on_step = lambda step: None
        self.choice = None

    def taken(self, choice):
        """Stand in for the one that loads the choice."""
        self.choice = choice
        return self

    def seen_from(self, views):
        return self.taken(self.choice._replace(views=views))

    def localize(self, slide, *, on_event, should_stop):
        for step in range(1, self.steps + 1):
            if should_stop() is not Stop.NO:
                raise CancelledError
            on_event(Event("step", stage="localize", step=step, total=self.steps))
            self.on_step(step)
        if self.error is not None:
            raise self.error
        k = self.downsample
        gray = slide.read().mean(axis=2)[k // 2 :: k, k // 2 :: k]
        scores = np.clip(1 - gray / 255 + self.tilt, 0, 1).astype(np.float32)
        return Localization(
            image_name=slide.name,
            width=slide.width,
            height=slide.height,
            mpp=slide.mpp,
            classes={"benign": 0.3, "malignant": 0.7},
            foreground=scores,
            threshold=0.4,
            model=ModelRef("tiny", self.sha256, self.choice.views),
            scale=(float(k), float(k)),
            translate=((k - 1) / 2, (k - 1) / 2),
            familiarity=self.familiarity,
            image_caution=self.image_caution,
            notes=self.notes,
        )


class Threads:
    """Runs each piece of work in a thread, and calls back as it is pumped, as an event loop does."""

    def __init__(self) -> None:
        self._said: queue.SimpleQueue = queue.SimpleQueue()
        self.busy = 0

    def submit(self, work, *, done, failed, progress=ignore_events):
        task = Task(lambda event: self._said.put(partial(progress, event)))
        self.busy += 1

        def end(then, outcome):
            self.busy -= 1
            then(outcome)

        def run():
            try:
                result = work(task)
            except Exception as error:  # what went wrong is the caller's to say
                self._said.put(partial(end, failed, error))
            else:
                self._said.put(partial(end, done, result))

        threading.Thread(target=run, daemon=True).start()
        return task

    def pump(self, until, timeout: float = 120) -> None:
        """Call back until something holds; with nothing said for so many seconds it never will."""
        while not until():
            self._said.get(timeout=timeout)()

    def settle(self) -> None:
        """Call back until all work has ended, that of callbacks too."""
        self.pump(lambda: not self.busy and self._said.empty())


class Bench:
    """A dock's controllers on a bare `ViewerModel`, and what they have said."""

    def __init__(self, viewer: ViewerModel, background=None) -> None:
        self.viewer = viewer
        self.session = Session(viewer, background or Immediate(), Preferences(model="tiny"))
        self.said: list[tuple[str, str]] = []
        self.session.notified.connect(lambda level, text: self.said.append((level, text)))
        self.localize = LocalizeController(self.session)
        self.threshold = ThresholdController(self.session)
        self.autosaver = Autosaver()
        self.seeds = SeedsController(self.session, self.autosaver)
        self.tools = ToolsController(self.seeds)
        self.export = ExportController(self.session, self.seeds)
        self.finetune = FinetuneController(self.session, self.seeds, self.localize)
        self.session.refresh_catalogue()

    @property
    def record(self):
        return self.session.record

    def layer(self, role: str):
        return self.viewer.layers[f"{self.record.name} · {role}"]

    def close(self) -> None:
        self.autosaver.close()
        self.session.close()


class Work(Bench):
    """A bench with a project."""

    def __init__(self, background=None) -> None:
        super().__init__(ViewerModel(), background)
        self.workbench = WorkbenchController(self.session, self.seeds, self.localize)
        self.told: list[tuple[str, str]] = []
        self.workbench.said.connect(lambda level, text: self.told.append((level, text)))

    @property
    def project(self) -> Project:
        return self.workbench.project

    def image(self):
        """Return the image at hand, as the project has it on the disk."""
        self.seeds.flush()
        return self.project.image(self.workbench.current)

    def names(self) -> list[str]:
        return [layer.name for layer in self.viewer.layers]

    def close(self) -> None:
        self.workbench.close()
        super().close()


def drag(layer, points, button: int = 1) -> None:
    """Drag over a layer, through points in its own pixels, as the canvas hands it on."""

    class Drag:
        dims_displayed = (0, 1)
        dims_point = (0, 0)
        view_direction = None

    event = Drag()
    event.button, event.type, event.position = button, "mouse_press", layer.data_to_world(points[0])
    steps = [callback(layer, event) for callback in layer.mouse_drag_callbacks]
    dragging = [step for step in steps if step is not None]
    for generator in dragging:
        next(generator, None)
    for kind, point in [*(("mouse_move", point) for point in points[1:]), ("mouse_release", points[-1])]:
        event.type, event.position = kind, layer.data_to_world(point)
        for generator in dragging:
            next(generator, None)
