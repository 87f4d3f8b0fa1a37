"""A fake model, and a dock's logic on a bare viewer."""

from __future__ import annotations

from pathlib import Path

import pytest
from napari.components import ViewerModel

from napari_pixelcam import backend
from pixelcam.errors import PixelCAMError
from tests.napari_pixelcam.helpers import Bench, FakeLocalizer, tissue


@pytest.fixture
def fake(monkeypatch, user_folder):
    """Replace the models by one that needs no network; its attributes set what it does."""
    localizer = FakeLocalizer()
    monkeypatch.setattr(backend, "_load", lambda model, device: localizer)
    monkeypatch.setattr(
        backend, "read_catalogue", lambda: backend.Catalogue(("tiny",), ("auto", "cpu"), Path(user_folder))
    )
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
def failing():
    """Return a failure as the core words it."""
    return PixelCAMError("The scanner ate the slide; feed it another.")
