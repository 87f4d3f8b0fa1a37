"""Which processor the network runs on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from pixelcam.errors import DeviceError, full_memory


def available_devices() -> list[str]:
    """Return the names that `resolve_device` accepts here, best first, e.g. ``["cuda", "cpu"]``."""
    names = []
    if torch.cuda.is_available():
        count = torch.cuda.device_count()
        names += ["cuda"] if count == 1 else [f"cuda:{index}" for index in range(count)]
    if torch.backends.mps.is_available():
        names.append("mps")
    return [*names, "cpu"]


def resolve_device(name: str = "auto") -> torch.device:
    """Return the device of a name: ``auto``, ``cpu``, ``mps``, ``cuda`` or ``cuda:N``.

    Raises
    ------
    DeviceError
        The name is unknown or the device is not on this machine.
    """
    present = available_devices()
    if name == "auto":
        return torch.device(present[0])
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise DeviceError(f"{name!r} is not a device; use one of: auto, {', '.join(present)}.") from error
    found = name in present or (
        device.type == "cuda" and torch.cuda.is_available() and _has_cuda(device.index)
    )
    if not found:
        raise DeviceError(
            f"The device {name} is not available on this machine; use one of: auto, {', '.join(present)}."
        )
    return device


def _has_cuda(index: int | None) -> bool:
    return index is None or index < torch.cuda.device_count()


@contextmanager
def device_memory_guard(smaller: str = "") -> Iterator[None]:
    """Turn running out of memory into a `DeviceError` that says what can be done.

    Parameters
    ----------
    smaller
        What can be chosen smaller, where anything can: "a smaller crop".
    """
    try:
        yield
    except RuntimeError as error:  # which PyTorch's own types are too
        full = full_memory(error)
        if not full:
            raise
        free_device_memory()
        if full == "device":
            choice = f"{smaller}, or the device cpu" if smaller else "the device cpu"
            advice = f"choose {choice}, or close other programs that use it"
        else:
            advice = f"choose {smaller}, or close other programs" if smaller else "close other programs"
        raise DeviceError(f"The {full} ran out of memory; {advice}.") from error


def free_device_memory() -> None:
    """Give memory that torch has cached back to the device."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if torch.backends.mps.is_available():
        torch.mps.empty_cache()
