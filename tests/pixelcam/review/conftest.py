"""A project of two small images, and results that were never computed by a model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pixelcam.localize import Localization, ModelRef
from pixelcam.review import Project

SIZES = {"a": (60, 80), "b": (700, 600)}
"""(height, width); the second takes four chunks of seeds."""


def write_image(path: Path, height: int, width: int, seed: int = 0) -> Path:
    pixels = np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def localization(name: str, height: int, width: int, model: str = "starter") -> Localization:
    foreground = np.linspace(0, 1, height * width, dtype=np.float32).reshape(height, width)
    return Localization(
        name,
        width,
        height,
        None,
        {"benign": 0.25, "malignant": 0.75},
        foreground,
        0.5,
        ModelRef(model, "ab" * 32),
    )


@pytest.fixture
def pictures(tmp_path) -> list[Path]:
    """Image files that the projects refer to."""
    return [
        write_image(tmp_path / "images" / f"{name}.png", *size, seed=number)
        for number, (name, size) in enumerate(SIZES.items())
    ]


@pytest.fixture
def folder(tmp_path, pictures) -> Path:
    """A closed project of Ann with both images."""
    with Project.create(tmp_path / "project", reviewer="Ann", name="Colon") as made:
        made.add_images(pictures)
    return tmp_path / "project"


@pytest.fixture
def project(folder):
    """That project, open as Ann."""
    with Project.open(folder, reviewer="Ann") as opened:
        yield opened


@pytest.fixture
def image(project):
    """The number of the larger image."""
    return project.images()[1].id


def paint(project: Project, image: int, rng: np.random.Generator):
    """Write a random stroke, and return its save."""
    height, width = project.seed_grid(image).shape
    y0, x0 = int(rng.integers(0, height - 1)), int(rng.integers(0, width - 1))
    y1, x1 = min(height, y0 + int(rng.integers(1, 90))), min(width, x0 + int(rng.integers(1, 90)))
    labels = rng.integers(0, 3, (y1 - y0, x1 - x0)).astype(np.uint8)
    return project.write_seeds(image, (y0, x0, y1, x1), labels)
