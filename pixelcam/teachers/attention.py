"""Maps from attention: a transformer's class token, and the gated attention of a Deep MIL head."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor

from pixelcam.errors import ConfigError
from pixelcam.model.encoder import Encoder
from pixelcam.model.network import PixelCAM
from pixelcam.teachers.maps import class_rows, semantic_map


def check_attention(network: PixelCAM, method: str) -> None:
    """Refuse a network that has not the attention that a method reads.

    Raises
    ------
    ConfigError
    """
    if method == "deep-mil":
        if not hasattr(network.image_head, "attention"):
            raise ConfigError(
                "The teacher deep-mil is the attention of the image head, and this model's has none; "
                "train one with the image head 'attention', or choose another teacher."
            )
        return
    body = network.encoder.body
    blocks = list(getattr(body, "blocks", ()))
    attending = all(hasattr(getattr(block, "attn", None), "k_norm") for block in blocks)
    if not blocks or not attending or getattr(body, "cls_token", None) is None:
        raise ConfigError(
            f"The teacher {method} reads a class token's attention, and {network.encoder.name} has none; "
            "choose a transformer that has, for example deit_tiny_patch16_224, or another teacher."
        )


@torch.no_grad()
def attention_map(network: PixelCAM, images: Tensor, labels: Tensor, method: str) -> Tensor:
    """Return maps (n, h, w) on the grid of the encoder's final map.

    "ts-cam"
        Token semantic coupled attention (Gao et al. 2021): the class activation map of the patch tokens,
        below zero where they speak against the class, times the class token's attention to them, averaged
        over heads and blocks. The paper's classifier of tokens is a 3x3 convolution, here it is linear.
    "attention"
        The class token's attention to the patches, rolled out through all blocks (Abnar & Zuidema 2020); the
        same for every class. SAT (Wu et al. 2023) trains a spatial token and an area constraint to make such
        attention cover the object; here nothing is trained for it, and it is what the encoder attends to.
    "deep-mil"
        The gated attention of the image head (Ilse et al. 2018); the same for every class.

    Parameters
    ----------
    network
        In evaluation mode; `check_attention` has passed it.
    images
        (n, 3, h, w) float, normalised.
    labels
        (n,) int64, or (n, classes) float of 0 and 1.
    """
    if method == "deep-mil":
        head: Any = network.image_head
        found: Tensor = head.attention(network.encoder(images)[0])
        return found.float()
    with captured_attention(network.encoder) as blocks:
        final, _ = network.encoder(images)
    tokens = rollout(blocks) if method == "attention" else torch.stack(blocks).mean(dim=0)
    shape = (images.shape[2], images.shape[3])
    attended = network.encoder.tokens_to_map(tokens[:, 0, :, None], shape)[:, 0]
    if method == "attention":
        return attended
    return attended * semantic_map(final, class_rows(network.image_head.classify.weight, labels))


def rollout(blocks: list[Tensor]) -> Tensor:
    """Return how much of each token's input reaches each token's output, (n, t, t), rows summing to 1.

    Parameters
    ----------
    blocks
        Attention (n, t, t) of each block, the first one first; half of each block's output is its input.
    """
    identity = torch.eye(blocks[0].shape[-1], dtype=blocks[0].dtype, device=blocks[0].device)
    total = identity.expand_as(blocks[0])
    for block in blocks:
        total = (block + identity) / 2 @ total
    return total


@contextmanager
def captured_attention(encoder: Encoder) -> Iterator[list[Tensor]]:
    """Collect each block's attention (n, t, t), averaged over heads, in the passes made meanwhile.

    Queries and keys are read where the block hands them to its attention kernel, which may be fused and then
    never forms the attention itself.
    """
    found: list[Tensor] = []
    queries: list[Tensor] = []

    def keep_queries(module: object, inputs: object, output: Tensor) -> None:
        queries.append(output)

    def attend(scale: float, module: object, inputs: object, output: Tensor) -> None:
        scores = (queries.pop() * scale) @ output.transpose(-2, -1)
        found.append(scores.softmax(dim=-1).mean(dim=1).float())

    handles = []
    for block in encoder.body.blocks:
        handles.append(block.attn.q_norm.register_forward_hook(keep_queries))
        handles.append(block.attn.k_norm.register_forward_hook(partial(attend, block.attn.scale)))
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()
