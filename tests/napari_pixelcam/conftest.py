"""A fake model, and a dock's logic on a bare viewer."""

from __future__ import annotations

import gc
import shutil
from pathlib import Path

import numpy as np
import pytest
from napari.components import ViewerModel
from npe2 import PluginManifest
from PIL import Image
from qtpy.QtCore import QThreadPool

import napari_pixelcam
from napari_pixelcam import backend
from napari_pixelcam.preferences import Preferences
from pixelcam.errors import PixelCAMError
from tests.napari_pixelcam.helpers import Bench, FakeLocalizer, Work, tissue


@pytest.fixture
def fake(monkeypatch, user_folder):
    """Replace the models by one that needs no network; its attributes set what it does."""
    localizer = FakeLocalizer()
    monkeypatch.setattr(backend, "_load", localizer.taken)
    monkeypatch.setattr(backend, "digest", lambda model: "0" * 64)
    monkeypatch.setattr(backend, "read_models", lambda: ("tiny",))
    monkeypatch.setattr(backend, "read_devices", lambda: ("auto", "cpu"))
    return localizer


@pytest.fixture
def bench(fake):
    """Return controllers on a viewer that shows one image."""
    viewer = ViewerModel()
    viewer.add_image(tissue(), name="tissue", rgb=True)
    made = Bench(viewer)
    yield made
    made.close()


@pytest.fixture
def seeded(fake, tmp_path):
    """Return a bench on a project of three images, the second and third with seeds, the first open."""
    images = tmp_path / "images"
    images.mkdir()
    for number in range(3):
        Image.fromarray(np.roll(tissue(), 9 * number, axis=1)).save(images / f"image-{number}.png")
    made = Work()
    made.workbench.create(tmp_path / "project", "Ann")
    made.workbench.add_images(sorted(images.iterdir()))
    for id in (2, 3):
        made.project.write_seeds(id, (5, 5, 8, 8), np.full((3, 3), id - 1, np.uint8))
    made.project.set_label(3, "benign")
    yield made
    made.close()


@pytest.fixture
def failing():
    """Return a failure as the core words it."""
    return PixelCAMError("The scanner ate the slide; feed it another.")


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory):
    """Return a real checkpoint: a small network that has learned nothing yet."""
    backend.keep_triton_out()
    import torch

    from pixelcam.model import ModelCard, save_checkpoint

    torch.manual_seed(0)
    card = ModelCard(
        encoder="mobilenetv2_035",
        classes=("benign", "malignant"),
        input_size=96,
        name="tiny",
        levels=(0, 1, 2),
    )
    path = tmp_path_factory.mktemp("checkpoint") / "tiny.safetensors"
    save_checkpoint(path, card.build(), card)
    return path


@pytest.fixture
def tiny(tiny_checkpoint, user_folder, monkeypatch):
    """Put the tiny model among the user's, and make it the one that docks choose."""
    from napari_pixelcam.widgets import dock

    models = user_folder / "models"
    models.mkdir()
    shutil.copy(tiny_checkpoint, models / "tiny.safetensors")
    monkeypatch.setattr(dock, "load_preferences", lambda: Preferences(model="tiny", device="cpu"))
    return "tiny"


@pytest.fixture
def open_dock(make_napari_viewer_proxy, npe2pm, qtbot):
    """Return a function that opens the dock as the Plugins menu does, and waits until it knows its models."""
    npe2pm.register(PluginManifest.from_file(Path(napari_pixelcam.__file__).with_name("napari.yaml")))
    docks = []

    def open_one(*images, viewer=None):
        viewer = viewer or make_napari_viewer_proxy()
        for data, options in images:
            viewer.add_image(data, **options)
        _, dock = viewer.window.add_plugin_dock_widget("napari-pixelcam", "PixelCAM")
        dock = getattr(dock, "__wrapped__", dock)
        qtbot.waitUntil(lambda: dock.session.catalogue is not None, timeout=30_000)
        docks.append(dock)
        return viewer, dock

    yield open_one
    for dock in docks:
        dock.close_down()
    docks.clear()
    QThreadPool.globalInstance().waitForDone(30_000)  # work that has been told to end still knows its window
    qtbot.wait(20)
    gc.unfreeze()  # the dock's collector sets aside what lived when it began
    for _ in range(3):
        gc.collect()  # a window that the test has closed goes in several passes, and napari makes only one
