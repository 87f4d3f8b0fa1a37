"""NEGEV and F-CAM: a decoder over a frozen classifier, taught by seeds from the classifier's maps."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from pixelcam.model.network import PixelCAM, foreground_probability
from pixelcam.seeds.labels import BACKGROUND
from pixelcam.teachers.decoder import MaskDecoder
from pixelcam.teachers.localizers import Batch, LocalizerSettings, TrainedLocalizer
from pixelcam.teachers.teacher import MAP_STRIDE
from pixelcam.training.losses import area_log_barrier, colour_affinity_loss, partial_cross_entropy
from pixelcam.training.settings import default_levels

RATE = 0.02


class SeededDecoder(TrainedLocalizer):
    """A decoder over the levels of a frozen encoder."""

    def __init__(self, network: PixelCAM, settings: LocalizerSettings) -> None:
        super().__init__(network, settings)
        info = network.encoder.info
        self.levels = default_levels(info)
        self.decoder = MaskDecoder(
            [info.level_channels(level) for level in self.levels],
            [info.strides[level] for level in self.levels],
        ).to(next(network.parameters()).device)

    @property
    def modules(self) -> list[nn.Module]:
        """The decoder."""
        return [self.decoder]

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Return the decoder's parameters."""
        rate = self.settings.rate or RATE
        return [{"params": list(self.decoder.parameters()), "lr": rate, "weight_decay": 1e-4}]

    def maps(self, images: Tensor, labels: Tensor) -> Tensor:
        """Return the foreground probability; see `TrainedLocalizer.maps`."""
        with torch.no_grad():
            return foreground_probability(self.pixel_logits(images))

    def pixel_logits(self, images: Tensor) -> Tensor:
        """Return (n, 2, h / 4, w / 4) logits of normalised images (n, 3, h, w)."""
        with torch.no_grad():
            _, maps = self.network.encoder(images, self.levels)
        logits: Tensor = self.decoder([each.float() for each in maps], (images.shape[2], images.shape[3]))
        return logits


class Negev(SeededDecoder):
    """Negative evidence: all of an image without a region is background (Belharbi et al. 2022, MIDL).

    Seeds are drawn anew at each step from the maps of images that may hold a region (arXiv 2201.02445).
    """

    def losses(self, batch: Batch, t: float) -> dict[str, Tensor]:
        """Return the cross-entropy of the seeds, and of all pixels of images without a region."""
        assert batch.seeds is not None
        logits, seeds = self.pixel_logits(batch.inputs), batch.seeds.clone()
        negative = batch.regionless
        seeds[negative] = 0
        terms = {"seed_loss": partial_cross_entropy(logits, seeds)}
        if negative.any():
            empty = torch.full_like(seeds[negative], BACKGROUND)
            terms["negative_loss"] = partial_cross_entropy(logits[negative], empty)
        return terms


class FCam(SeededDecoder):
    """F-CAM: seeds, like labels for like colours, and neither area empty (Belharbi et al. 2022, WACV).

    See arXiv 2109.07069. Its conditional random field reaches over the whole image; this one over a window.
    """

    def losses(self, batch: Batch, t: float) -> dict[str, Tensor]:
        """Return the cross-entropy of the seeds, the colour affinity and the log-barriers of the areas."""
        assert batch.seeds is not None
        s = self.settings
        logits = self.pixel_logits(batch.inputs)
        probability = torch.softmax(logits.float(), dim=1)
        colours = functional.avg_pool2d(batch.colours, MAP_STRIDE)
        terms = {
            "seed_loss": partial_cross_entropy(logits, batch.seeds),
            "colour_loss": s.colour_weight * colour_affinity_loss(probability, colours),
        }
        region = ~batch.regionless  # where there is none its area may well be empty
        if region.any():
            terms["area_loss"] = s.area_weight * area_log_barrier(probability[region], t)
        return terms
