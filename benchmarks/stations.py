"""Time each station of the loop on this machine; print a table and write bench-output/bench.json.

Run by `make bench`. Each figure is the median of several runs, after one that is not counted.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import skimage
import torch
from rich.console import Console
from rich.table import Table

import pixelcam
from benchmarks.localization.environment import processor
from pixelcam.export import export_localization
from pixelcam.seeds import propose_seeds

SIDES = (512, 1024, 2048)


@dataclass(frozen=True)
class Timing:
    """How long one thing takes, in seconds."""

    what: str
    median: float
    least: float
    runs: int
    note: str = ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="starter")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path("bench-output"))
    options = parser.parse_args()
    machine = {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "device": str(pixelcam.load(options.model, options.device).device),
        "processor": processor(),
    }
    console = Console()
    console.print(", ".join(f"{name} {value}" for name, value in machine.items()))
    table = Table("what", "median ms", "least ms", "", box=None)
    timings = []
    for timing in stations(options.model, options.device, options.runs):
        table.add_row(timing.what, f"{timing.median * 1e3:.1f}", f"{timing.least * 1e3:.1f}", timing.note)
        timings.append(timing)
    console.print(table)
    options.out.mkdir(parents=True, exist_ok=True)
    report = {"machine": machine, "timings": [asdict(timing) for timing in timings]}
    (options.out / "bench.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    console.print(f"Written to {options.out / 'bench.json'}")


def stations(model: str, device: str, runs: int) -> Iterator[Timing]:
    yield measure("load the model", lambda: pixelcam.load(model, device), runs)
    localizer = pixelcam.load(model, device)
    tissue = skimage.data.immunohistochemistry()
    for side in SIDES:
        repeats = -(-side // tissue.shape[0])
        image = np.tile(tissue, (repeats, repeats, 1))[:side, :side]
        timing = measure(f"localize {side} x {side}", lambda image=image: localizer.localize(image), runs)
        megapixels = side * side / 1e6 / timing.median
        yield Timing(**{**asdict(timing), "note": f"{megapixels:.2f} megapixels a second"})
    result = localizer.localize(tissue)
    yield measure("threshold and area, 512 x 512", lambda: result.foreground_fraction(0.5), runs)
    yield measure("propose seeds, 512 x 512", lambda: propose_seeds(result.foreground), runs)
    with tempfile.TemporaryDirectory() as folder:
        yield measure("export map, regions, summary", lambda: export_localization(result, Path(folder)), runs)


def measure(what: str, work: Callable[[], object], runs: int) -> Timing:
    """Time `work`, up to `runs` times and about twenty seconds."""
    work()
    seconds: list[float] = []
    while len(seconds) < runs and (sum(seconds) < 20 or not seconds):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return Timing(what, statistics.median(seconds), min(seconds), len(seconds))


if __name__ == "__main__":
    main()
