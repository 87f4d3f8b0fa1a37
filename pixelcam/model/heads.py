"""Image heads: from the encoder's final map to one logit a class, of a whole image or of its tiles merged."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor, nn

from pixelcam.errors import ConfigError

SHARPNESS = 5.0
"""r of log-sum-exp pooling: towards 0 it is the mean of the scores, towards infinity their maximum."""
ATTENTION_WIDTH = 128


class Pooled(NamedTuple):
    """What a head keeps of some positions of a final map, enough to add further positions later.

    Attributes
    ----------
    values
        (n, k): features or class scores, as the head pools them.
    log_weight
        (n,): logarithm of what these positions weigh against others - their number, or the sum of their
        unnormalised attention.
    """

    values: Tensor
    log_weight: Tensor


class ImageHead(nn.Module, ABC):
    """A linear classifier and a way of pooling; dropout of whole channels stands before it only.

    Attributes
    ----------
    classify
        The linear layer from the final map's channels to the classes, whose rows plain CAM weighs them with.
    """

    def __init__(self, channels: int, classes: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.dropout = nn.Dropout2d(dropout)
        self.classify = nn.Linear(channels, classes)

    def forward(self, final: Tensor) -> Tensor:
        """Return (n, classes) logits of final maps (n, c, h, w)."""
        return self.logits(self.pool(self.dropout(final)))

    @abstractmethod
    def pool(self, final: Tensor) -> Pooled:
        """Pool the positions of final maps (n, c, h, w), of whole images or of their tiles."""

    @abstractmethod
    def logits(self, pooled: Pooled) -> Tensor:
        """Return (n, classes) logits of what was pooled."""

    def merge(self, first: Pooled, second: Pooled) -> Pooled:
        """Return what pooling the positions of both at once would have given: the mean by their weights."""
        total = torch.logaddexp(first.log_weight, second.log_weight)
        share = torch.exp(second.log_weight - total)[:, None]
        return Pooled(torch.lerp(first.values, second.values, share), total)


class AverageHead(ImageHead):
    """Average pooling of the features (Zhou et al. 2016)."""

    def pool(self, final: Tensor) -> Pooled:
        """Return the mean features (n, c) and the number of positions."""
        return Pooled(final.mean(dim=(2, 3)), _log_count(final))

    def logits(self, pooled: Pooled) -> Tensor:
        """Classify the mean features."""
        logits: Tensor = self.classify(pooled.values)
        return logits


class MaxHead(ImageHead):
    """The largest score of each class over the positions (Oquab et al. 2015)."""

    def pool(self, final: Tensor) -> Pooled:
        """Return the maxima (n, classes) and the number of positions."""
        return Pooled(self.classify(_positions(final)).amax(dim=1), _log_count(final))

    def logits(self, pooled: Pooled) -> Tensor:
        """Return the maxima."""
        return pooled.values

    def merge(self, first: Pooled, second: Pooled) -> Pooled:
        """Return the maxima of both."""
        return Pooled(
            torch.maximum(first.values, second.values),
            torch.logaddexp(first.log_weight, second.log_weight),
        )


class LogSumExpHead(ImageHead):
    """Log-mean-exp of each class's scores over the positions (Pinheiro & Collobert 2015).

    Parameters
    ----------
    sharpness
        r of ``log(mean(exp(r * scores))) / r``.
    """

    def __init__(
        self, channels: int, classes: int, dropout: float = 0.0, sharpness: float = SHARPNESS
    ) -> None:
        super().__init__(channels, classes, dropout)
        self.sharpness = sharpness

    def pool(self, final: Tensor) -> Pooled:
        """Return r times the pooled scores (n, classes) and the number of positions."""
        count = _log_count(final)
        scores = self.sharpness * self.classify(_positions(final)).float()
        return Pooled(scores.logsumexp(dim=1) - count[:, None], count)

    def logits(self, pooled: Pooled) -> Tensor:
        """Return the pooled scores."""
        return pooled.values / self.sharpness

    def merge(self, first: Pooled, second: Pooled) -> Pooled:
        """Return the log-mean-exp over the positions of both."""
        total = torch.logaddexp(first.log_weight, second.log_weight)
        sums = [part.values + part.log_weight[:, None] for part in (first, second)]
        return Pooled(torch.logaddexp(sums[0], sums[1]) - total[:, None], total)


class AttentionHead(ImageHead):
    """Gated attention over positions, and a linear classifier of their weighted mean (Ilse et al. 2018)."""

    def __init__(self, channels: int, classes: int, dropout: float = 0.0) -> None:
        super().__init__(channels, classes, dropout)
        self.signal = nn.Linear(channels, ATTENTION_WIDTH)
        self.gate = nn.Linear(channels, ATTENTION_WIDTH)
        self.score = nn.Linear(ATTENTION_WIDTH, 1)

    def attention(self, final: Tensor) -> Tensor:
        """Return the attention (n, h, w) over the positions of final maps (n, c, h, w); each sums to 1."""
        scores = self._scores(_positions(final))
        return scores.softmax(dim=1).reshape(len(final), *final.shape[2:])

    def pool(self, final: Tensor) -> Pooled:
        """Return the weighted mean features (n, c) and the sum of their unnormalised attention."""
        features = _positions(final)
        scores = self._scores(features)
        mean = torch.einsum("np,npc->nc", scores.softmax(dim=1), features.float())
        return Pooled(mean, scores.logsumexp(dim=1))

    def logits(self, pooled: Pooled) -> Tensor:
        """Classify the weighted mean features."""
        logits: Tensor = self.classify(pooled.values)
        return logits

    def _scores(self, features: Tensor) -> Tensor:
        """Return the attention (n, p) of features (n, p, c) before the softmax."""
        hidden = torch.tanh(self.signal(features)) * torch.sigmoid(self.gate(features))
        scores: Tensor = self.score(hidden)[..., 0].float()
        return scores


IMAGE_HEADS: dict[str, type[ImageHead]] = {
    "average": AverageHead,
    "max": MaxHead,
    "lse": LogSumExpHead,
    "attention": AttentionHead,
}


def make_image_head(kind: str, channels: int, classes: int, dropout: float = 0.0) -> ImageHead:
    """Return a fresh image head.

    Parameters
    ----------
    kind
        One of `IMAGE_HEADS`.
    channels
        Of the encoder's final map.
    dropout
        Share of channels dropped before it while training.

    Raises
    ------
    ConfigError
        There is no such head.
    """
    if kind not in IMAGE_HEADS:
        raise ConfigError(f"There is no image head {kind!r}; choose one of: {', '.join(IMAGE_HEADS)}.")
    return IMAGE_HEADS[kind](channels, classes, dropout)


def class_probabilities(logits: Tensor, multi_label: bool) -> Tensor:
    """Return probabilities (..., classes) of class logits.

    Parameters
    ----------
    logits
        (..., classes).
    multi_label
        Whether an image may show several classes or none, each with a probability of its own (sigmoid);
        else the classes exclude each other and their probabilities sum to 1 (softmax).
    """
    logits = logits.float() if logits.dtype in (torch.float16, torch.bfloat16) else logits
    return torch.sigmoid(logits) if multi_label else torch.softmax(logits, dim=-1)


def _positions(final: Tensor) -> Tensor:
    """Return the features of each position, (n, h * w, c), of final maps (n, c, h, w)."""
    return final.flatten(2).transpose(1, 2)


def _log_count(final: Tensor) -> Tensor:
    count = final.shape[2] * final.shape[3]
    return torch.full((len(final),), math.log(count), dtype=torch.float32, device=final.device)
