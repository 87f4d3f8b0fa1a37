"""What every test runs under: one Qt binding, a user folder of its own, and no network."""

from __future__ import annotations

import importlib.util
import os

import pytest

# qtpy and pytest-qt prefer different bindings where both are installed; one process must hold only one.
if "QT_API" not in os.environ:
    found = (name for name in ("PyQt6", "PySide6") if importlib.util.find_spec(name))
    os.environ["QT_API"] = next(found, "PyQt6").lower()
os.environ["PYTEST_QT_API"] = os.environ["QT_API"]
os.environ["HF_HUB_OFFLINE"] = "1"


@pytest.fixture(autouse=True)
def user_folder(tmp_path_factory, monkeypatch):
    """Keep the models and settings of whoever runs the tests out of them."""
    folder = tmp_path_factory.mktemp("pixelcam-home")
    monkeypatch.setenv("PIXELCAM_HOME", str(folder))
    return folder
