"""The maps that the pixel head learns from: a teacher's first, then in rounds its own, averaged.

A single pass of a network is noisy: strided convolutions see an image and its mirror image from different
cells. The mean over mirror images and sizes is better than any of the passes that it is made of, and is
something that one pass can be taught. The maps before stay in the mean, so that rounds cannot drift away from
the teacher.
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional

from pixelcam.errors import CancelledError, RunError
from pixelcam.events import Event, EventSink, Stop, StopCheck
from pixelcam.export.atomic import atomic_path
from pixelcam.localize.localizer import standardise
from pixelcam.model.checkpoint import ModelCard
from pixelcam.model.geometry import MIRRORINGS
from pixelcam.model.network import PixelCAM
from pixelcam.teachers.eigen import NEUTRAL, SPREAD, eigen_maps, on_scale, pooled
from pixelcam.teachers.maps import EIGEN
from pixelcam.teachers.trained import classifier_maps, prepare_teacher
from pixelcam.training import engine
from pixelcam.training.data import ImageStack
from pixelcam.training.glass import find_glass, keep_down
from pixelcam.training.settings import TrainSettings
from pixelcam.training.setup import build_network

SLOPE = 2.0
"""Log-odds of foreground for each standard deviation of a map above neutral, in soft labels."""


def soft_labels(maps: Tensor, regionless: Tensor) -> Tensor:
    """Return the foreground probability that maps (n, h, w) in [0, 1] stand for; 0 in regionless images."""
    return torch.sigmoid(SLOPE * SPREAD * (maps - NEUTRAL)) * ~regionless[:, None, None]


class PseudoLabels:
    """Makes the maps of a run's training images and keeps them in its folder.

    Maps are (n, m, m) in [0, 1] on a plain grid over the whole image, four image pixels to a cell.

    Parameters
    ----------
    should_stop
        Raises for itself where the work is to end and what there was before it to be kept.
    """

    def __init__(
        self,
        settings: TrainSettings,
        network: PixelCAM,
        card: ModelCard,
        data: ImageStack,
        folder: Path,
        on_event: EventSink,
        should_stop: StopCheck,
    ) -> None:
        self.settings, self.network, self.card, self.data = settings, network, card, data
        self.folder, self.on_event, self.should_stop = folder, on_event, should_stop
        self.batch = max(2, settings.batch // 2)

    def read(self, stage: str) -> Tensor:
        """Return the maps that a stage learns from.

        Raises
        ------
        RunError
            They are damaged.
        """
        path = self._path(stage)
        try:
            maps = load_file(path)["maps"]
            if len(maps) == len(self.data):
                return maps
            raise KeyError(f"{len(maps)} maps of {len(self.data)} images")
        except (OSError, SafetensorError, KeyError) as error:
            raise RunError(
                f"The teacher maps {path} are damaged; delete the run folder and start anew."
            ) from error

    def teach(self, stage: str) -> None:
        """Make the teacher's maps, of the network as the classifier that it is by now."""
        maps = self._teacher_maps()
        flat = maps.reshape(len(maps), -1)
        empty = int(((flat.amax(1) == flat.amin(1)) & ~self.data.regionless).sum())
        if empty:
            self.on_event(
                Event(
                    "warning",
                    stage="teacher",
                    message=f"{empty} teacher maps are constant and give no seeds.",
                )
            )
        if self.settings.teacher == EIGEN:
            maps = self._eigen_maps(maps)
        elif self.settings.pixel_loss == "soft":  # a class map's own scale says nothing of probabilities
            maps = on_scale(pooled(maps, ~self.data.regionless))
        self._write(stage, maps)

    def renew(self, stage: str, before: Tensor) -> None:
        """Make the next stage's maps: the network's own, averaged, and as much again of those before."""
        device = next(self.network.parameters()).device
        size, step = self.settings.input_size, self.network.stride
        sides = [side for side in (size - step, size, size + step) if side > 0]
        own = torch.zeros(before.shape)
        with torch.inference_mode():
            for chosen in torch.arange(len(self.data)).split(self.batch):
                self._obey()
                pixels = self.data.images[chosen].to(device).permute(0, 3, 1, 2).float() / 255
                for side in sides:
                    seen = functional.interpolate(
                        pixels, (side, side), mode="bilinear", align_corners=False, antialias=True
                    )
                    odds = _mirrored_odds(self.network, standardise(seen, self.card))
                    own[chosen] += _resized(odds, before.shape[1]).cpu()
        region = ~self.data.regionless
        mixed = pooled(own, region) + pooled(before.float(), region)
        self._write(stage, on_scale(pooled(mixed, region)))

    def _teacher_maps(self) -> Tensor:
        teacher = prepare_teacher(
            self.settings,
            self.network,
            self.card,
            self.data,
            on_event=self.on_event,
            should_stop=self.should_stop,
        )
        return classifier_maps(
            teacher,
            self.network,
            self.data,
            lambda images: standardise(images, self.card),
            batch=self.batch,
            on_event=self.on_event,
            should_stop=self.should_stop,
        )

    def _eigen_maps(self, class_maps: Tensor) -> Tensor:
        s, encoder = self.settings, self.network.encoder
        if s.weights is not None or s.pretrained:  # what the classifier has learnt since is of no use here
            encoder = build_network(s, self.card).to(next(encoder.parameters()).device).eval().encoder
        maps = eigen_maps(
            s.eigen_of(encoder.info),
            encoder,
            self.data,
            class_maps,
            lambda images: standardise(images, self.card),
            batch=self.batch,
            on_event=self.on_event,
            should_stop=self.should_stop,
        )
        return _resized(maps, class_maps.shape[1])

    def _path(self, stage: str) -> Path:
        return self.folder / f"maps-{stage}.safetensors"

    def _write(self, stage: str, maps: Tensor) -> None:
        if self.settings.glass:
            maps = keep_down(maps, find_glass(self.data.images))
        with atomic_path(self._path(stage)) as temporary:
            save_file({"maps": maps.half().contiguous()}, temporary)
        engine.give_memory_back()

    def _obey(self) -> None:
        if self.should_stop() is not Stop.NO:
            raise CancelledError


def _mirrored_odds(network: PixelCAM, images: Tensor) -> Tensor:
    """Return the mean log-odds (n, h, w) over an image's four mirror images."""
    found = []
    for axes in MIRRORINGS:
        logits = network(torch.flip(images, axes)).pixel_logits.float()
        found.append(torch.flip(logits[:, 1:] - logits[:, :1], axes)[:, 0])
    return torch.stack(found).mean(dim=0)


def _resized(maps: Tensor, side: int) -> Tensor:
    """Return square maps (n, h, h) at another side."""
    return functional.interpolate(maps[:, None], (side, side), mode="bilinear", align_corners=False)[:, 0]
