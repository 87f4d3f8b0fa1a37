"""MaxMin: a classifier that must know the class from what its own mask keeps, and not from the rest."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from pixelcam.model.encoder import FINAL
from pixelcam.model.geometry import Grid, move_to_grid
from pixelcam.model.heads import class_probabilities
from pixelcam.model.network import PixelCAM
from pixelcam.teachers.localizers import Batch, LocalizerSettings, TrainedLocalizer
from pixelcam.teachers.maps import semantic_map
from pixelcam.teachers.teacher import MAP_STRIDE
from pixelcam.training.losses import area_log_barrier, classification_loss

RATE = 0.0001
HEAD_FACTOR = 10.0


class MaxMin(TrainedLocalizer):
    """Max-min uncertainty (Belharbi et al. 2022, IEEE TMI, arXiv 2011.07221).

    The mask of an image is ``sigmoid(slope * (norm(sum_j p_j CAM_j) - middle))``, p being the class
    probabilities and norm the image's own minimum and maximum. The paper has one network that makes the mask
    and another that classifies what it keeps; here one does both, and goes on classifying whole images too.
    Its batch statistics stay those of the classifier, which masked images would spoil.
    """

    def __init__(self, network: PixelCAM, settings: LocalizerSettings) -> None:
        super().__init__(network, settings)
        for part in (self.network.encoder, self.network.image_head):
            part.requires_grad_(True)

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Return the encoder's parameters and, learning faster, the image head's."""
        rate = self.settings.rate or RATE
        parts = ((self.network.encoder, rate), (self.network.image_head, rate * HEAD_FACTOR))
        return [{"params": list(part.parameters()), "lr": each, "weight_decay": 1e-4} for part, each in parts]

    def losses(self, batch: Batch, t: float) -> dict[str, Tensor]:
        """Return the cross-entropies of image and mask, the rest's certainty, and the areas' barriers.

        Of images without a region the mask is pushed to 0 instead.
        """
        s = self.settings
        multi_label = batch.labels.dim() == 2
        logits, mask = self._classify_and_mask(batch.inputs, multi_label)
        terms = {"class_loss": classification_loss(logits, batch.labels)}
        region = ~batch.regionless
        if region.any():
            images, labels, kept = batch.inputs[region], batch.labels[region], mask[region]
            size = (images.shape[2], images.shape[3])
            shown = move_to_grid(kept, Grid.plain(MAP_STRIDE), Grid.plain(1), size)[:, None]
            inside, outside = self.network.classify(torch.cat([images * shown, images * (1 - shown)])).chunk(
                2
            )
            terms["mask_loss"] = classification_loss(inside, labels)
            measure = surrogate_certainty if s.kind == "maxmin-sem" else negative_entropy
            terms["rest_loss"] = measure(outside.float(), multi_label)
            terms["area_loss"] = s.area_weight * area_log_barrier(torch.stack([1 - kept, kept], dim=1), t)
        if batch.regionless.any():
            terms["negative_loss"] = -torch.log1p(-mask[batch.regionless].clamp(max=1 - 1e-6)).mean()
        return terms

    def maps(self, images: Tensor, labels: Tensor) -> Tensor:
        """Return the masks; see `TrainedLocalizer.maps`."""
        with torch.no_grad():
            return self._classify_and_mask(images, labels.dim() == 2)[1].float()

    def _classify_and_mask(self, images: Tensor, multi_label: bool) -> tuple[Tensor, Tensor]:
        """Return class logits (n, classes) and the mask (n, h / 4, w / 4)."""
        network = self.network
        final, _ = network.encoder(images)
        logits = network.image_head(final)
        rows = class_probabilities(logits, multi_label).to(final.dtype) @ network.image_head.classify.weight
        raw = semantic_map(final, rows)
        low = raw.amin(dim=(1, 2), keepdim=True)
        span = raw.amax(dim=(1, 2), keepdim=True) - low
        size = (images.shape[2] // MAP_STRIDE, images.shape[3] // MAP_STRIDE)
        scaled = move_to_grid(
            (raw - low) / span.clamp(min=1e-6), network.encoder.info.grid(FINAL), Grid.plain(MAP_STRIDE), size
        )
        return logits, torch.sigmoid(self.settings.slope * (scaled - self.settings.middle))


def negative_entropy(logits: Tensor, multi_label: bool = False) -> Tensor:
    """Return the mean negative entropy of the classes: explicit entropy maximisation, EEM.

    Parameters
    ----------
    logits
        (n, classes).
    multi_label
        See `pixelcam.model.heads.class_probabilities`; each class then has an entropy of its own.
    """
    logarithms = _log_probabilities(logits, multi_label)
    return (logarithms.exp() * logarithms).sum(dim=-1).mean()


def surrogate_certainty(logits: Tensor, multi_label: bool = False) -> Tensor:
    """Return the mean cross-entropy of the classes from the uniform distribution: entropy's surrogate, SEM.

    Least where the entropy is greatest, as `negative_entropy` is, but growing without bound with certainty.
    """
    return -_log_probabilities(logits, multi_label).mean()


def _log_probabilities(logits: Tensor, multi_label: bool) -> Tensor:
    if multi_label:  # each class against its absence
        logits = torch.stack([torch.zeros_like(logits), logits], dim=-1)
    return torch.log_softmax(logits, dim=-1)
