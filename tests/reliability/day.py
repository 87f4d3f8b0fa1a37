"""A day of many images in one process: memory, open files and threads must stay as they are after the first.

The core alone (localize, keep, paint, refine, export) and the real window (open, localize, paint, close).
"""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import psutil

from tests.reliability import cases
from tests.reliability.server import ROOT, Server
from tests.reliability.tally import Tally

MORE_MEMORY = 64 * 2**20
"""Bytes that a process may hold more at the end of its day than at the beginning, figured by its growth."""
MORE_FILES = 3
MORE_THREADS = 2


def measure() -> dict[str, int]:
    """Return what this process holds: bytes, open files, threads."""
    gc.collect()
    process = psutil.Process()
    return {"memory": process.memory_info().rss, "files": process.num_fds(), "threads": process.num_threads()}


def in_the_core(folder: str, images: int, model: str) -> None:
    """Do the day without a window, and print what was held after each image, as JSON."""
    import pixelcam
    from pixelcam.export import export_localization
    from pixelcam.refine import Refiner, extract_features
    from pixelcam.review import Project
    from pixelcam.slides import open_slide

    root, held = Path(folder), []
    localizer = pixelcam.load(model, "cpu")
    with Project.create(root / "project", reviewer="Ann") as project:
        for number in range(images):
            path = root / f"{number}.png"
            cases.Image.fromarray(cases.tissue(number, (256, 256))).save(path)
            (entry,) = project.add_images([path])
            slide = open_slide(project.locate(entry.id))
            found = localizer.localize(slide)
            project.keep_localization(entry.id, found, 0.1)
            labels = project.seeds(entry.id)
            for value in (1, 2):
                labels[40 * value : 40 * value + 20, 20:80] = value
                project.write_changes(entry.id, labels)
            Refiner(extract_features(localizer, slide)).refine(labels)
            project.set_status(entry.id, "done")
            project.thumbnail(entry.id)
            export_localization(found, root / "out")
            held.append(measure())
    print(json.dumps(held))


def in_the_window(folder: str, images: int, alone: bool) -> None:
    """Do the day in napari, with the model named tiny, and print what was held after each image, as JSON.

    Where it is `alone`, as many layers come and go without the dock: what napari itself keeps of them.
    """
    import napari
    from qtpy.QtWidgets import QApplication
    from superqt.utils import WorkerBase

    from napari_pixelcam.demo_stations import drag, open_dock

    def wait(done: Callable[[], bool], what: str) -> None:
        end = time.monotonic() + 300
        while not done():
            QApplication.processEvents()
            time.sleep(0.005)
            if time.monotonic() > end:
                raise TimeoutError(what)

    root, held = Path(folder), []
    viewer = napari.Viewer(title="a day")
    dock = open_dock(viewer)
    wait(lambda: dock.session.catalogue is not None, "the list of models")
    dock.session.choose_model("tiny")
    for number in range(images):
        path = root / f"{number}.png"
        cases.Image.fromarray(cases.tissue(number, (256, 256))).save(path)
        if alone:
            picture = cases.tissue(number, (256, 256))
            viewer.add_image(picture, rgb=True)
            for _ in range(2):
                viewer.add_image(picture[..., 0] / 255)
            viewer.add_labels(picture[..., 0] // 100)
        else:
            viewer.open(path, plugin="napari-pixelcam")
            wait(dock.localize.run_button.isEnabled, "the image")
            dock.localize.run_button.click()
            wait(lambda: not dock.localize_controller.running, "the map")
            assert dock.localize.status.level == "good", dock.localize.status.text
            dock.seeds.brushes["foreground"].click()
            drag(viewer.layers[f"{dock.session.record.name} · seeds"], (40, 40, 60, 80))
            wait(lambda: dock.seeds_controller.state.clean, "the saving")
        for _ in range(5):
            QApplication.processEvents()
        viewer.layers.clear()
        for _ in range(5):
            QApplication.processEvents()
        held.append(measure())
    dock.close_down()
    viewer.close()
    WorkerBase.await_workers()
    print(json.dumps(held), flush=True)
    os._exit(0)  # what Qt does at its end is none of this


def judge(tally: Tally, where: str, held: list[dict[str, int]], alone: list[dict[str, int]]) -> None:
    """Compare the last fifth of a day with its second, less what would have been so without the program."""
    for name, more in (("memory", MORE_MEMORY), ("files", MORE_FILES), ("threads", MORE_THREADS)):
        own = (_growth(held, name) - (_growth(alone, name) if alone else 0)) * len(held)
        if name == "memory":
            tally.add(f"{where}: MB more", round(own / 2**20))
        else:
            tally.add(f"{where}: more {name}", round(own))
        if own > more:
            tally.find("broken", f"{where}: {name} grow by {own:.0f}", [[one[name] for one in held], alone])


def _growth(held: list[dict[str, int]], name: str) -> float:
    """Return by how much a figure grows from one image to the next."""
    fifth = max(1, len(held) // 5)
    early, late = held[fifth : 2 * fifth], held[-fifth:]
    return (median(one[name] for one in late) - median(one[name] for one in early)) / (len(held) - 2 * fifth)


def run_core(trials: Server, place: Path, images: int, model: str) -> Tally:
    """Do the day without a window."""
    tally = Tally()
    place.mkdir(parents=True, exist_ok=True)
    ended = trials.run(
        "tests.reliability.day:in_the_core", 1e5, folder=str(place), images=images, model=model
    )
    held = _held(tally, "core", ended.code, ended.out, ended.err)
    tally.add("core: images", images)
    if held:
        judge(tally, "core", held, [])
    return tally


def run_window(place: Path, images: int, model: Path) -> Tally:
    """Do the day in a window on a screen that nobody sees, in a process of its own.

    napari keeps about 2 MB of every layer that it has shown: a second process tells how much, on a fifth of
    the images, and that is taken off.
    """
    from napari_pixelcam.demo import _virtual_screen

    home = place / "home"
    (home / "models").mkdir(parents=True, exist_ok=True)
    (home / "models" / "tiny.safetensors").write_bytes(model.read_bytes())
    tally, held = Tally(), []
    with _virtual_screen() as display:
        environment = {
            **os.environ,
            "DISPLAY": display,
            "PIXELCAM_HOME": str(home),
            "NAPARI_CONFIG": str(home / "napari.yaml"),
            "NAPARI_ASYNC": "0",
            "QT_QPA_PLATFORM": "xcb",
            "LIBGL_ALWAYS_SOFTWARE": "1",
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": str(ROOT),
        }
        for alone, number in ((1, max(20, images // 5)), (0, images)):
            done = subprocess.run(
                [sys.executable, "-c", _PROGRAM, str(place), str(number), str(alone)],
                env=environment,
                cwd=ROOT,
                capture_output=True,
                text=True,
            )
            held.append(_held(tally, "window", done.returncode, done.stdout, done.stderr))
    tally.add("window: images", images)
    if all(held):
        judge(tally, "window", held[1], held[0])
    return tally


_PROGRAM = (
    "import sys; from tests.reliability.day import in_the_window; "
    "in_the_window(sys.argv[1], int(sys.argv[2]), sys.argv[3] == '1')"
)


def _held(tally: Tally, where: str, code: int, out: str, err: str) -> list[dict[str, int]]:
    """Return what was measured; note how the process ended where that is not all."""
    try:
        held: list[dict[str, int]] = json.loads(out.strip().splitlines()[-1])
    except (ValueError, IndexError):
        held = []
    if code != 0 or not held:
        last = (err.strip().splitlines() or [""])[-1][:200]
        tally.find("raw", f"{where}: ended by {code}: {last}", err[-5000:])
    return held
