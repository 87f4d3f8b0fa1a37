"""The stations of the demo, each done as a person would do it, and checked on layers, files and pixels."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import napari
import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QPushButton, QWidget
from rich.console import Console
from rich.table import Table
from superqt.utils import WorkerBase

from napari_pixelcam.demo import SIZE
from napari_pixelcam.preferences import PLUGIN
from napari_pixelcam.samples import immunohistochemistry
from napari_pixelcam.seedgrid import BACKGROUND, FOREGROUND

if TYPE_CHECKING:
    from napari_pixelcam.widgets.dock import PixelCAMDock

SAMPLE = "immunohistochemistry"
EPOCHS = 3
QUICK = ("--steps", "6", "--batch", "2", "--crop", "192")
"""A job short enough for a demo on two cores."""

# Short strokes (row, column, row, column) on the sample that a pathologist would not argue about.
GLAND = (
    (120, 60, 150, 80), (60, 110, 90, 110), (180, 180, 200, 190), (110, 210, 140, 215), (60, 330, 90, 345),
    (150, 400, 180, 420), (230, 400, 250, 415), (330, 60, 345, 75), (430, 60, 450, 65), (390, 290, 400, 315),
    (440, 330, 450, 345), (360, 275, 375, 285), (20, 380, 40, 395), (220, 170, 225, 195),
)  # fmt: skip
STROMA = (
    (290, 190, 310, 200), (350, 190, 380, 200), (420, 200, 450, 205), (480, 220, 490, 250),
    (240, 265, 255, 275), (300, 300, 305, 330), (350, 420, 370, 430), (420, 440, 440, 460),
    (480, 400, 490, 430), (60, 490, 100, 492), (180, 495, 220, 495), (280, 470, 310, 480),
    (330, 230, 345, 235), (260, 440, 275, 450),
)  # fmt: skip


class StationError(Exception):
    """A station did not do its work; the text says what was found instead."""


@dataclass
class Walk:
    """What the stations hand on to one another."""

    out: Path
    viewer: napari.Viewer
    dock: PixelCAMDock = field(init=False)
    before: NDArray[np.float32] = field(init=False)
    painted: NDArray[np.uint8] = field(init=False)

    def layer(self, role: str) -> Any:
        """Return the image's layer of a role."""
        record = self.dock.session.record
        _check(record is not None, "no image is chosen")
        return self.viewer.layers[f"{record.name} · {role}"]

    def localize(self) -> None:
        """Press Localize and wait for the map."""
        _click(self.dock.localize.run_button)
        _wait(lambda: not self.dock.localize_controller.running, 240, "the localization")
        _check(self.dock.localize.status.level == "good", self.dock.localize.status.text)

    def shoot(self, name: str, section: QWidget | None = None) -> None:
        """Save a picture of the whole window, with the section in sight."""
        if section is not None:
            bar = self.dock.scroll.verticalScrollBar()
            bar.setValue(max(section.y() + section.height() - self.dock.scroll.viewport().height() + 8, 0))
        _pump(0.4)
        self.viewer.screenshot(str(self.out / f"{name}.png"), canvas_only=False, flash=False)


def open_sample(viewer: napari.Viewer) -> None:
    """Open the sample as File ▸ Open Sample does, or by hand in a source tree that was never installed."""
    try:
        viewer.open_sample(PLUGIN, SAMPLE)
    except KeyError:
        for data, options, _ in immunohistochemistry():
            viewer.add_image(data, **options)


def open_dock(viewer: napari.Viewer) -> PixelCAMDock:
    """Open the dock as the Plugins menu does, or by hand likewise."""
    try:
        _, widget = viewer.window.add_plugin_dock_widget(PLUGIN, "PixelCAM")
    except (KeyError, ValueError):
        from napari_pixelcam.widgets.dock import PixelCAMDock

        widget = PixelCAMDock(viewer)
        viewer.window.add_dock_widget(widget, name="PixelCAM", area="right")
    return widget


def walk(out: Path) -> int:
    """Go through all stations, print one table, and return 0 if every one did its work."""
    started = time.monotonic()
    viewer = napari.Viewer(title="PixelCAM", show=False)
    viewer.window._qt_window.resize(*SIZE)
    viewer.window.show()
    viewer.window._qt_window.resize(*SIZE)
    state = Walk(out, viewer)
    table = Table(title="napari-pixelcam demo", title_justify="left")
    for column in ("station", "checked", "result"):
        table.add_column(column)
    table.add_column("seconds", justify="right")
    failed = False
    for name, checked, station in STATIONS:
        if failed:
            table.add_row(name, checked, "not reached", "")
            continue
        before = time.monotonic()
        try:
            result = station(state)
        except Exception as error:  # whatever went wrong belongs into the table
            failed, result = True, f"[red]FAILED[/red] {type(error).__name__}: {error}"
            viewer.screenshot(str(out / "failed.png"), canvas_only=False, flash=False)
        table.add_row(name, checked, result, f"{time.monotonic() - before:.1f}")
    if hasattr(state, "dock"):
        state.dock.close_down()
    viewer.close()
    WorkerBase.await_workers()  # a thread that still imports would crash the exit
    console = Console()
    console.print(table)
    console.print(f"{time.monotonic() - started:.0f} s in all; screenshots and exported files are in", out)
    return int(failed)


def _open(state: Walk) -> str:
    open_sample(state.viewer)
    state.dock = open_dock(state.viewer)
    _wait(lambda: state.dock.session.catalogue is not None, 240, "the list of models")
    state.viewer.reset_view()  # the dock has taken room from the canvas
    image = state.viewer.layers[0]
    _check(image.rgb and image.data.shape == (512, 512, 3), "the sample did not open as a colour image")
    _check(state.dock.localize.run_button.isEnabled(), state.dock.localize.status.text)
    state.dock.export.folder.value = state.out / "export"
    state.shoot("1-open")
    return f"{image.name}, 512 x 512; model {state.dock.session.model}"


def _localize(state: Walk) -> str:
    state.localize()
    image, scores = state.viewer.layers[0], state.layer("foreground")
    np.testing.assert_allclose(scores.data + state.layer("background").data, 1, atol=1e-5)
    for corner in ((0, 0), (511, 511)):
        np.testing.assert_allclose(scores.data_to_world(corner), image.data_to_world(corner))
    _check(scores.data.shape == (512, 512), f"the map has the shape {scores.data.shape}")
    spread = float(np.ptp(np.quantile(scores.data, [0.05, 0.95])))
    _check(spread > 0.1, f"the map is flat: it spans {spread:.2f}")
    name, value = state.dock.localize.bars.rows[0]
    state.before = scores.data.copy()
    state.shoot("2-localize")
    glands, stroma = _along(scores.data, GLAND), _along(scores.data, STROMA)
    return f"{name} {value:.0%}; glands {np.mean(glands):.2f}, stroma {np.mean(stroma):.2f}"


def _threshold(state: Walk) -> str:
    scores, slider = state.layer("foreground"), state.dock.threshold.slider
    shown = _canvas(state.viewer)
    pixels = scores.data.copy()
    for _ in range(3):
        QTest.keyClick(slider.groove, Qt.Key.Key_Right)
        _pump(0.05)
    value = round(slider.value(), 3)
    _check(value != state.dock.threshold_controller.state.default, "the slider did not move")
    _check(abs(np.mean(scores.contrast_limits) - value) < 1e-3, "the layer did not follow the slider")
    _check(np.array_equal(pixels, scores.data), "the slider changed the map's pixels")
    share = f"{100 * float((scores.data >= value).mean()):.1f} %"
    _check(share in state.dock.threshold.area.text(), f"the area is not {share}")
    changed = float((np.abs(_canvas(state.viewer) - shown).max(axis=-1) > 30).mean())
    _check(changed > 0.05, f"only {changed:.1%} of the canvas changed")
    state.shoot("3-threshold", state.dock.threshold)
    return f"threshold {value:.2f}: foreground {share}"


def _paint(state: Walk) -> str:
    dock, scores = state.dock, state.before
    wrong_glands = sorted(GLAND, key=lambda s: _along(scores, [s])[0])[:6]
    wrong_stroma = sorted(STROMA, key=lambda s: -_along(scores, [s])[0])[:6]
    _click(dock.seeds.brushes["foreground"])
    layer = state.layer("seeds")
    for stroke in wrong_glands:
        drag(layer, stroke)
    _click(dock.seeds.brushes["background"])
    for stroke in wrong_stroma:
        drag(layer, stroke)
    _wait(lambda: dock.seeds.saved.text.startswith("✓ saved"), 15, "the autosave")
    for value, strokes in ((FOREGROUND, wrong_glands), (BACKGROUND, wrong_stroma)):
        _check(
            all(layer.data[s[0], s[1]] == value == layer.data[s[2], s[3]] for s in strokes),
            "a stroke is missing",
        )
    state.painted = layer.data.copy()
    _click(dock.seeds.undo_button)
    _check(not np.array_equal(layer.data, state.painted), "undo changed nothing")
    _click(dock.seeds.redo_button)
    _check(np.array_equal(layer.data, state.painted), "redo did not bring the stroke back")
    _wait(lambda: dock.seeds_controller.state.clean, 15, "the autosave of the redone stroke")
    state.shoot("4-seeds", dock.seeds)
    counts = dock.seeds_controller.state
    return f"{counts.foreground} + {counts.background} px painted; {dock.seeds.saved.text}"


def _refine(state: Walk) -> str:
    dock, scores = state.dock, state.layer("foreground")
    _wait(lambda: dock.refine_controller.state.refined, 120, "the map that follows the seeds")
    _wait(lambda: "ms" in dock.refine.text.text(), 10, "the time of the refit")
    _wait(lambda: not dock.session.record.pending, 60, "the whole of the refitted map")
    change = scores.data - state.before
    elsewhere = state.painted == 0
    up, down = (_along(change, strokes) for strokes in (GLAND, STROMA))
    _check(
        np.mean(up) - np.mean(down) > 0.05,
        f"glands changed by {np.mean(up):+.2f}, stroma by {np.mean(down):+.2f}",
    )
    _check(
        float(np.abs(change[elsewhere]).mean()) > 0.005, "the map changed nowhere but where it was painted"
    )
    refitted = scores.data.copy()
    _click(dock.refine.model_button)
    _check(np.array_equal(scores.data, state.before), "the button did not bring the model's map back")
    _click(dock.refine.model_button)
    _check(np.array_equal(scores.data, refitted), "the button did not bring the refitted map back")
    state.shoot("5-refine", dock.seeds)
    return f"glands {np.mean(up):+.2f}, stroma {np.mean(down):+.2f}; {dock.refine.text.text()}"


def _propose(state: Walk) -> str:
    layer = state.layer("seeds")
    _click(state.dock.seeds.propose_button)
    _wait(lambda: not np.array_equal(layer.data, state.painted), 30, "the proposal")
    kept = state.painted != 0
    _check(np.array_equal(layer.data[kept], state.painted[kept]), "a proposal overwrote the reviewer")
    added = int(((layer.data != 0) & ~kept).sum())
    state.shoot("6-propose", state.dock.seeds)
    _click(state.dock.seeds.undo_button)  # the reviewer trusts the strokes alone
    _check(np.array_equal(layer.data, state.painted), "one undo did not take the proposal back")
    return f"{added} px proposed, one undo takes them back"


def _export(state: Walk) -> str:
    from pixelcam.export import read_seeds

    folder = state.out / "export"
    _click(state.dock.export.run_button)
    _wait(lambda: not state.dock.export_controller.running, 60, "the export")
    _pump(0.2)
    _check(state.dock.export.status.level == "good", state.dock.export.status.text)
    record = read_seeds(folder)[0]
    _check(np.array_equal(record.labels, state.painted), "the exported seeds are not the painted ones")
    regions = json.loads(next(folder.glob("*.geojson")).read_text())
    count = len(regions["features"] if isinstance(regions, dict) else regions)
    _check(count > 0, "no region was exported")
    summary = json.loads(next(p for p in folder.glob("*.json") if "seeds" not in p.name).read_text())
    _check(
        abs(summary["threshold"] - state.dock.threshold.slider.value()) < 1e-3,
        "another threshold was exported",
    )
    state.shoot("7-export", state.dock.export)
    return f"{len(list(folder.iterdir()))} files, {count} regions"


def _finetune(state: Walk) -> str:
    dock = state.dock
    dock.finetune_controller.options = QUICK
    dock.finetune.epochs.value = EPOCHS
    _click(dock.finetune.run_button)
    _wait(lambda: not dock.session.localizers.loaded, 60, "the viewer's model to go from memory")
    _wait(lambda: len(dock.finetune.plot.losses) >= EPOCHS * 4, 400, "the job's losses")
    state.shoot("8-finetune", dock.finetune)
    old = dock.session.model
    _wait(lambda: dock.session.model != old or not dock.finetune_controller.progress.busy, 400, "the job")
    _wait(lambda: dock.session.model != old, 20, f"the new model ({dock.finetune.status.text})")
    agreement = dock.finetune_controller.progress.agreement
    _check(max(agreement) > agreement[0] or agreement[0] == 100, f"the job learned nothing: {agreement}")
    agreed = f"{agreement[0]:.0f} → {max(agreement):.0f} % of the strokes it was taught"
    return f"{dock.session.model}; agrees with {agreed}"


def _again(state: Walk) -> str:
    state.localize()
    after = state.layer("foreground").data
    change = after - state.before
    up, down = (float(change[state.painted == value].mean()) for value in (FOREGROUND, BACKGROUND))
    _check(
        up - down > 0.05, f"the map changed by {up:+.2f} on foreground and {down:+.2f} on background seeds"
    )
    _check("Since" in state.dock.localize.change.text(), "the dock does not tell the change")
    state.dock.seeds_controller.put_away()
    state.shoot("9-again", state.dock.localize)
    return f"at foreground seeds {up:+.2f}, at background seeds {down:+.2f}"


STATIONS: tuple[tuple[str, str, Callable[[Walk], str]], ...] = (
    ("open", "sample image, dock, model", _open),
    ("localize", "both maps, alignment, classes", _localize),
    ("threshold", "layer, area, canvas; map untouched", _threshold),
    ("paint", "strokes, undo, redo, autosave", _paint),
    ("refine", "map follows the strokes; the model's own and back", _refine),
    ("propose", "reviewer's pixels kept, one undo step", _propose),
    ("export", "seeds, regions, summary read back", _export),
    ("fine-tune", "losses, agreement, new model", _finetune),
    ("again", "map at the painted spots", _again),
)


def drag(layer: Any, stroke: tuple[int, int, int, int]) -> None:
    """Paint a stroke through the layer's own mouse handling, as dragging over the canvas does."""
    event = _Drag(layer.data_to_world(stroke[:2]))
    steps = [callback(layer, event) for callback in layer.mouse_drag_callbacks]
    dragging = [step for step in steps if step is not None]
    for generator in dragging:  # some callbacks are not meant for this button, and end at once
        next(generator, None)
    for kind in ("mouse_move", "mouse_release"):
        event.type, event.position = kind, layer.data_to_world(stroke[2:])
        for generator in dragging:
            next(generator, None)
    _pump(0.02)


class _Drag:
    """A mouse event as napari's layers see it."""

    button = 1
    dims_displayed = (0, 1)
    dims_point = (0.0, 0.0)
    view_direction = None

    def __init__(self, position: tuple[float, ...]) -> None:
        self.type, self.position = "mouse_press", position


def _along(scores: NDArray[np.float32], strokes: Any) -> list[float]:
    """Return the mean of a map along each stroke."""
    means = []
    for top, left, bottom, right in strokes:
        rows = np.linspace(top, bottom, 20).round().astype(int)
        columns = np.linspace(left, right, 20).round().astype(int)
        means.append(float(scores[rows, columns].mean()))
    return means


def _canvas(viewer: napari.Viewer) -> NDArray[np.int16]:
    return viewer.screenshot(canvas_only=True, flash=False)[..., :3].astype(np.int16)


def _click(button: QPushButton) -> None:
    _check(button.isEnabled(), f"the button {button.text()!r} is disabled")
    QTest.mouseClick(button, Qt.MouseButton.LeftButton)
    _pump(0.05)


def _pump(seconds: float) -> None:
    """Let the window live for a while."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        QApplication.processEvents()
        time.sleep(0.005)


def _wait(condition: Callable[[], bool], seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        _check(time.monotonic() < deadline, f"{what} did not come within {seconds:.0f} s")
        _pump(0.02)


def _check(condition: bool, otherwise: str) -> None:
    if not condition:
        raise StationError(otherwise)
