"""Time localization against the bare encoder and Grad-CAM++, and the parts of a training step.

Run by `make bench-speed`; writes ``benchmarks/results/speed.{md,json}``. Weights are random: they change no
time. All that is compared runs in turn, many times over, and the figure is the median of the ratios within a
turn, so that whatever else the machine does touches both sides alike.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import skimage
import torch
from PIL import Image
from torch import Tensor, nn

from benchmarks.localization.environment import environment
from pixelcam.export.atomic import write_text
from pixelcam.model.encoder import encoder_info
from pixelcam.model.familiarity import Familiarity, towards_chance
from pixelcam.model.geometry import MIRRORINGS, resize_map
from pixelcam.model.network import PixelCAM, foreground_probability
from pixelcam.training import TrainSettings, engine, stages
from pixelcam.training.settings import default_levels

RESULTS = Path(__file__).resolve().parent / "results"
ENCODERS = {"tf_efficientnet_lite0": 8, "resnet50": 4, "deit_tiny_patch16_224": 8}
"""Encoders and the batch that each is timed at."""

SIDE, CLASSES, TARGET = 224, 2, 1.05
ENCODER, OURS, OTHER = "encoder alone", "localization", "Grad-CAM++ of grad-cam"
Clock = Callable[[], float]


@dataclass(frozen=True)
class Ratios:
    """How long localizing takes in terms of the bare encoder's forward pass: median and quartiles.

    Attributes
    ----------
    encoder, batch, turns
        What was timed, at which batch, how often.
    milliseconds
        Median of each work.
    localization, grad_cam
        Ratios to the encoder alone: lower quartile, median, upper quartile.
    """

    encoder: str
    batch: int
    turns: int
    milliseconds: Mapping[str, float]
    localization: tuple[float, float, float]
    grad_cam: tuple[float, float, float]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed", description=__doc__)
    parser.add_argument("--encoders", nargs="+", default=list(ENCODERS))
    parser.add_argument("--turns", type=int, default=30)
    parser.add_argument("--steps", type=int, default=4, help="training steps to time")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    device = torch.device(options.device)
    clock, words = clock_for(device, options.threads)
    ratios = [
        measure_encoder(name, ENCODERS.get(name, 4), options.turns, device, clock)
        for name in options.encoders
    ]
    # As `pixelcam train` does; not before, for who localizes in a process of their own does not.
    engine.keep_freed_memory()
    shares = measure_step(TrainSettings.encoder, options.steps, options.device, clock)
    page = to_markdown(ratios, shares, words)
    document = {
        "clock": words,
        "environment": environment(),
        "ratios": [asdict(each) for each in ratios],
        "training_step": shares,
    }
    write_text(options.results / "speed.json", json.dumps(document, indent=1) + "\n")
    write_text(options.results / "speed.md", page)
    print(page)


def clock_for(device: torch.device, threads: int) -> tuple[Clock, str]:
    """Return the clock least disturbed by others, and what it counts."""
    if device.type == "cuda":

        def synchronised() -> float:
            torch.cuda.synchronize()
            return time.perf_counter()

        return synchronised, "wall time, on one GPU"
    if threads == 1:
        return time.process_time, "processor time of one thread"
    return time.perf_counter, f"wall time, on {threads} threads"


def time_in_turn(
    works: Mapping[str, Callable[[], object]], turns: int, clock: Clock
) -> dict[str, list[float]]:
    """Run all works in each turn, the first two now in one order and now in the other; return their seconds.

    Before each turn the first work runs untimed, because what ran before leaves memory and caches in a state
    of its own.
    """
    names = list(works)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(-1, turns):
        works[names[0]]()
        pair = names[:2] if turn % 2 else names[1::-1]
        for name in (*pair, *names[2:]):
            begun = clock()
            works[name]()
            if turn >= 0:  # the first one warms up
                seconds[name].append(clock() - begun)
    return seconds


def paired_ratio(seconds: Sequence[float], by: Sequence[float]) -> tuple[float, float, float]:
    """Return lower quartile, median and upper quartile of the ratios within each turn."""
    ratios = np.array(seconds) / np.array(by)
    low, middle, high = np.percentile(ratios, (25, 50, 75))
    return float(low), float(middle), float(high)


def measure_encoder(name: str, batch: int, turns: int, device: torch.device, clock: Clock) -> Ratios:
    """Time one encoder alone, localizing with it, and Grad-CAM++ through it."""
    torch.manual_seed(0)
    network = PixelCAM(name, CLASSES, levels=default_levels(encoder_info(name))).eval().to(device)
    network.familiarity = Familiarity.fit(*torch.randn(2, 200, network.measured))
    network.to(device)
    images = torch.randn(batch, 3, SIDE, SIDE, device=device)
    works = {
        ENCODER: lambda: bare_encoder(network, images),
        OURS: lambda: localize(network, images),
        OTHER: grad_cam_plus_plus(network, images),
    }
    seconds = time_in_turn(works, turns, clock)
    return Ratios(
        name, batch, turns,
        {key: 1e3 * statistics.median(values) for key, values in seconds.items()},
        paired_ratio(seconds[OURS], seconds[ENCODER]),
        paired_ratio(seconds[OTHER], seconds[ENCODER]),
    )  # fmt: skip


def bare_encoder(network: PixelCAM, images: Tensor) -> Tensor:
    """Return timm's own features, with nothing of PixelCAM."""
    with torch.inference_mode():
        features: Tensor = network.encoder.body.forward_features(images)
        return features


def localize(network: PixelCAM, images: Tensor) -> tuple[Tensor, Tensor]:
    """Return class probabilities and maps of the images' size, as `Localizer.localize` does."""
    with torch.inference_mode():
        part = network.forward_views(images, (0, None), (0, None), MIRRORINGS[:1])
        probabilities = torch.softmax(network.image_head.logits(part.pooled), dim=1)
        if network.familiarity is not None:
            familiarity = network.familiarity(part.means)[:, None].to(probabilities)
            probabilities = towards_chance(probabilities, familiarity, False)
        ratio = 1 / network.pixel_head.stride
        size = (images.shape[2], images.shape[3])
        maps = foreground_probability(part.pixel_logits)
        upsampled = torch.stack([resize_map(each, size, (ratio, ratio)) for each in maps])
        return probabilities, upsampled


class _Classifier(nn.Module):
    """The classifier of a network, as the `grad-cam` package wants it."""

    def __init__(self, network: PixelCAM) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        features = self.network.encoder.body.forward_features(images)
        if self.network.encoder.info.transformer:
            features = self.network.encoder.tokens_to_map(features, (images.shape[2], images.shape[3]))
        logits: Tensor = self.network.image_head(features)
        return logits


def grad_cam_plus_plus(network: PixelCAM, images: Tensor) -> Callable[[], object]:
    """Return the `grad-cam` package's Grad-CAM++ at the encoder's last level, set up once."""
    from pytorch_grad_cam import GradCAMPlusPlus
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    body, info = network.encoder.body, network.encoder.info

    def as_map(tokens: Tensor) -> Tensor:
        return network.encoder.tokens_to_map(tokens, (images.shape[2], images.shape[3]))

    # Of a transformer's last block only the class token is used, so that maps are taken before its attention.
    layer = body.blocks[-1].norm1 if info.transformer else body.get_submodule(info.modules[-1])
    method = GradCAMPlusPlus(_Classifier(network), [layer], as_map if info.transformer else None)
    targets = [ClassifierOutputTarget(0)] * len(images)
    return lambda: method(input_tensor=images, targets=targets)


def measure_step(encoder: str, steps: int, device: str, clock: Clock) -> dict[str, float]:
    """Return the shares of a joint training step, with the default settings, by its parts.

    Returns
    -------
    dict
        "seconds" of the median step; "model" (forward, backward, update), "augmentation", "labels" and "rest"
        in percent of all steps.
    """
    batch = TrainSettings.batch
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "images"
        write_tissue(root, batch)
        settings = TrainSettings(
            dataset="folder",
            root=root,
            encoder=encoder,
            epochs_classifier=0,
            epochs_joint=steps,
            device=device,
        )
        parts: dict[str, list[float]] = {}
        with ExitStack() as patches:
            for part, owner, name in _PARTS:
                patches.enter_context(_timed(owner, name, parts.setdefault(part, []), clock))
            stages.train(settings, Path(folder) / "run")
    sums = {part: sum(seconds) for part, seconds in parts.items()}
    whole = sums["losses"] + sums["update"]
    shares = {
        "model": sums["forward"] + sums["update"],
        "augmentation": sums["augmentation"],
        "labels": sums["labels"],
    }
    shares["rest"] = whole - sum(shares.values())
    step = [before + after for before, after in zip(parts["losses"], parts["update"], strict=True)]
    return {"seconds": statistics.median(step), **{part: 100 * each / whole for part, each in shares.items()}}


_PARTS: tuple[tuple[str, Any, str], ...] = (
    ("losses", stages._Training, "_losses"),
    ("update", engine, "take_step"),
    ("augmentation", stages, "random_views"),
    ("labels", stages, "soft_labels"),
    ("forward", PixelCAM, "forward"),
)
"""What a training step calls; "losses" holds all but the update."""


@contextmanager
def _timed(owner: Any, name: str, seconds: list[float], clock: Clock) -> Iterator[None]:
    """Time a function wherever it is called within a training step: only there gradients are kept."""
    original = getattr(owner, name)

    def timed(*arguments: Any, **options: Any) -> Any:
        begun = clock()
        try:
            return original(*arguments, **options)
        finally:
            if torch.is_grad_enabled():
                seconds.append(clock() - begun)

    with mock.patch.object(owner, name, timed):
        yield


def write_tissue(root: Path, count: int) -> None:
    """Write `count` training images of two classes, and four to validate, cut from one of scikit-image."""
    tissue = skimage.data.immunohistochemistry()
    places = np.random.default_rng(0).integers(0, tissue.shape[0] - SIDE, (count + 4, 2))
    for index, (row, column) in enumerate(places):
        part = "train" if index < count else "val"
        path = root / part / ("one", "other")[index % 2] / f"{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(tissue[row : row + SIDE, column : column + SIDE]).save(path)


def to_markdown(ratios: Sequence[Ratios], shares: Mapping[str, float], clock: str) -> str:
    """Return the page."""
    rows = "\n".join(
        f"| {each.encoder} | {each.batch} | {each.milliseconds[ENCODER]:.0f} | {_shown(each.localization)} | "
        f"{'yes' if each.localization[1] <= TARGET else 'no'} | {_shown(each.grad_cam)} |"
        for each in ratios
    )
    where = ", ".join(f"{name} {value}" for name, value in environment().items())
    turns = " and ".join(str(number) for number in sorted({each.turns for each in ratios}))
    return f"""# Speed

Made by `make bench-speed`; do not edit. {where}. Times are {clock}.

## Localization

In terms of the bare encoder's forward pass (timm's `forward_features`) at the same batch of {SIDE} x {SIDE}
pixel images: median of the ratios within each of {turns} turns, quartiles in brackets. Localization is all of
it: class probabilities, familiarity, and foreground probability on all default levels, interpolated to the
image's size.
The weights are random.

| encoder | batch | encoder alone, ms | localization | at most {TARGET} | Grad-CAM++ of `grad-cam` |
|---|---|---|---|---|---|
{rows}

## A training step

Of the second stage, default settings, batch {TrainSettings.batch}: {shares["seconds"]:.2f} s. Images are
decoded once and kept in memory; no step reads the disk.

| part | share, % |
|---|---|
| model: forward, backward and update | {shares["model"]:.1f} |
| augmentation | {shares["augmentation"]:.1f} |
| labels of pixels | {shares["labels"]:.1f} |
| rest: copies, normalisation, losses | {shares["rest"]:.1f} |
"""


def _shown(ratio: tuple[float, float, float]) -> str:
    return f"{ratio[1]:.3f} ({ratio[0]:.3f} to {ratio[2]:.3f})"


if __name__ == "__main__":
    main()
