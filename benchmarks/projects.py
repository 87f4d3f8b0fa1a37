"""Processor time that opening, listing, adding to and reporting on a large project takes.

`python -m benchmarks.projects` makes a project of small images and a journal of many edits in a temporary
folder, and prints one line a command. Nothing is localized.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from pixelcam.cli import main as pixelcam
from pixelcam.review import Project, merge, rescue


@contextlib.contextmanager
def processor_time(what: str, count: int, unit: str) -> Iterator[None]:
    """Print how much processor time a block took, in all and for each of so many things."""
    cpu, wall = time.process_time(), time.perf_counter()
    yield
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    each = 1000 * cpu / max(count, 1)
    print(f"{what:44} {cpu:8.2f} s processor {wall:8.2f} s in all {each:8.3f} ms {unit}", flush=True)


def write_images(folder: Path, count: int) -> list[Path]:
    """Write small images that differ."""
    folder.mkdir(parents=True)
    paths = []
    for number in range(count):
        pixels = np.full((64, 64, 3), (number % 256, number // 256 % 256, 99), np.uint8)
        pixels[8:24, 8:40] = 255 - pixels[0, 0]
        path = folder / f"image-{number:05}.png"
        Image.fromarray(pixels).save(path)
        paths.append(path)
    return paths


def paint(project: Project, image: int, edits: int) -> None:
    """Paint so many strokes of a brush's size."""
    rng = np.random.default_rng(0)
    height, width = project.seed_grid(image).shape
    for _ in range(edits):
        y, x = int(rng.integers(0, height - 24)), int(rng.integers(0, width - 24))
        project.write_seeds(image, (y, x, y + 24, x + 24), np.full((24, 24), rng.integers(0, 3), np.uint8))


def command(*arguments: object) -> Callable[[], None]:
    """Return what runs a command with its output thrown away."""

    def run() -> None:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            pixelcam([str(each) for each in arguments])

    return run


def measure(place: Path, images: int, edits: int) -> None:
    """Measure everything in a folder."""
    folder = place / "project"
    paths = write_images(place / "images", images)
    with Project.create(folder, reviewer="Ann") as project:
        with processor_time("adding new images", images, "an image"):
            project.add_images(paths)
        for entry in project.images()[: images // 2]:
            project.set_status(entry.id, "done")
    with processor_time("review new, all known", images, "an image"):
        command("review", "new", folder, place / "images", "--reviewer", "Ann")()
    with processor_time("review list", images, "an image"):
        command("review", "list", folder, "--reviewer", "Ann")()
    with processor_time("review report", images, "an image"):
        command("review", "report", folder, "--out", place / "report.html")()
    large = place / "large.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (2048, 2048, 3), np.uint8)).save(large)
    painted = place / "painted"
    with Project.create(painted, reviewer="Ann") as project:
        (entry,) = project.add_images([large])
        with processor_time("painting", edits, "an edit"):
            paint(project, entry.id, edits)
    with processor_time("merging a long journal", edits, "an edit"):
        merge(place / "merged", [painted], reviewer="Bob")
    with processor_time("opening after the merge", edits, "an edit"):
        Project.open(place / "merged", reviewer="Ann").close()
    with processor_time("rescuing", edits, "an edit"):
        rescue(painted)
    with processor_time("opening after the rescue", edits, "an edit"):
        Project.open(painted, reviewer="Ann").close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--edits", type=int, default=5000)
    parser.add_argument("--place", type=Path, help="a folder to work in, which stays")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="pixelcam-projects-") as place:
        measure(arguments.place or Path(place), arguments.images, arguments.edits)


if __name__ == "__main__":
    main()
