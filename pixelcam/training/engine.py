"""What both stages of training and fine-tuning share: devices, optimisers, steps that can be stopped."""

from __future__ import annotations

import ctypes
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from typing import Any

import torch
from torch import Tensor

from pixelcam.model.network import PixelCAM

LIBC = "libc.so.6"
"""The C library of Linux; nowhere else is there one of that name."""


class StopTraining(Exception):  # noqa: N818 - not an error
    """The user asked to stop and to keep what there is."""


def make_optimizer(
    network: PixelCAM,
    rate: float,
    *,
    head_factor: float,
    pixel_factor: float,
    momentum: float,
    weight_decay: float,
    pixel_weight_decay: float,
) -> torch.optim.SGD:
    """Return SGD with Nesterov momentum; encoder, image head and pixel head have rates of their own."""
    groups = [
        {"params": list(network.encoder.parameters()), "lr": rate, "weight_decay": weight_decay},
        {
            "params": list(network.image_head.parameters()),
            "lr": rate * head_factor,
            "weight_decay": weight_decay,
        },
        {
            "params": list(network.pixel_head.parameters()),
            "lr": rate * pixel_factor,
            "weight_decay": pixel_weight_decay,
        },
    ]
    for group in groups:
        group["full_rate"] = group["lr"]
    return torch.optim.SGD(groups, lr=rate, momentum=momentum, nesterov=momentum > 0)


def set_rate(optimizer: torch.optim.Optimizer, progress: float) -> None:
    """Let the rates fall along half a cosine, from their full value at progress 0 to a hundredth at 1."""
    share = 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))
    for group in optimizer.param_groups:
        group["lr"] = group["full_rate"] * share


def take_step(optimizer: torch.optim.Optimizer, loss: Tensor, clip: float = 0.0) -> float:
    """Update the weights by one loss and return its value.

    Parameters
    ----------
    clip
        Norm of the gradient of all weights together above which it is shortened; 0 for none.

    Raises
    ------
    FloatingPointError
        The loss is not a number.
    """
    value = float(loss.detach())
    if not math.isfinite(value):
        raise FloatingPointError
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    if clip:
        weights = [weight for group in optimizer.param_groups for weight in group["params"]]
        torch.nn.utils.clip_grad_norm_(weights, clip)
    optimizer.step()
    return value


def mixed_precision(device: torch.device) -> Any:
    """Return the context in which forward passes run: bfloat16 on a GPU of CUDA that has it, plain elsewhere.

    GPUs before Ampere (T4, RTX 20) emulate bfloat16, slower than plain numbers.
    """
    if device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False):
        return torch.autocast("cuda", dtype=torch.bfloat16)
    return nullcontext()


@contextmanager
def deterministic() -> Iterator[None]:
    """Ask torch for repeatable kernels while training, and put its settings back afterwards.

    Matrix products on an NVIDIA GPU are repeatable only with a work space of fixed size. cuBLAS reads it from
    the environment when it is first used, and there it stays.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    before = torch.are_deterministic_algorithms_enabled()
    warn = torch.is_deterministic_algorithms_warn_only_enabled()
    memory: Any = torch.utils.deterministic  # a property of the module, unknown to its type information
    fill = memory.fill_uninitialized_memory
    torch.use_deterministic_algorithms(True, warn_only=True)
    memory.fill_uninitialized_memory = False  # a debugging aid that costs time
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before, warn_only=warn)
        memory.fill_uninitialized_memory = fill


def keep_freed_memory() -> None:
    """Let the C library keep the memory of freed tensors for the next step, not return it to the system.

    Activations are large enough that glibc maps and unmaps each of them; on a CPU the page faults take about
    a third of a training step. For processes that do nothing but train.
    """
    with suppress(OSError, AttributeError):  # another system or C library
        libc = ctypes.CDLL(LIBC)
        trim_threshold, top_pad, mmap_max = -1, -2, -4  # M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX of malloc.h
        libc.mallopt(mmap_max, 0)
        libc.mallopt(trim_threshold, 2**31 - 1)
        libc.mallopt(top_pad, 2**28)


def give_memory_back() -> None:
    """Return to the system what is kept of freed tensors: a stage of others has no use for it."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(LIBC).malloc_trim(0)


@torch.no_grad()
def calibrate_pixel_head(network: PixelCAM, batches: Iterator[Tensor]) -> None:
    """Set the pixel head's running statistics to the plain average over batches of normalised images."""
    network.eval()
    for norm in network.pixel_head.norms:
        if isinstance(norm, torch.nn.BatchNorm2d):
            norm.reset_running_stats()
            norm.momentum = None  # cumulative average
            norm.train()
    for images in batches:
        network(images)
    for norm in network.pixel_head.norms:
        if isinstance(norm, torch.nn.BatchNorm2d):
            norm.momentum = 0.1
            norm.eval()
