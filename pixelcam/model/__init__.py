"""The network, its checkpoints and their names."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from pixelcam.model.registry import ModelEntry, list_models, register_model, resolve_model

if TYPE_CHECKING:
    from pixelcam.model.checkpoint import ModelCard, file_sha256, load_checkpoint, read_card, save_checkpoint
    from pixelcam.model.device import available_devices, free_device_memory, resolve_device
    from pixelcam.model.encoder import FINAL, Encoder, load_encoder_weights
    from pixelcam.model.heads import IMAGE_HEADS, class_probabilities
    from pixelcam.model.network import PixelCAM, Prediction, foreground_probability

__all__ = [
    "FINAL",
    "IMAGE_HEADS",
    "Encoder",
    "ModelCard",
    "ModelEntry",
    "PixelCAM",
    "Prediction",
    "available_devices",
    "class_probabilities",
    "file_sha256",
    "foreground_probability",
    "free_device_memory",
    "list_models",
    "load_checkpoint",
    "load_encoder_weights",
    "read_card",
    "register_model",
    "resolve_device",
    "resolve_model",
    "save_checkpoint",
]

_HOMES = {
    "checkpoint": ("ModelCard", "file_sha256", "load_checkpoint", "read_card", "save_checkpoint"),
    "device": ("available_devices", "free_device_memory", "resolve_device"),
    "encoder": ("FINAL", "Encoder", "load_encoder_weights"),
    "heads": ("IMAGE_HEADS", "class_probabilities"),
    "network": ("PixelCAM", "Prediction", "foreground_probability"),
}


def __getattr__(name: str) -> object:
    """Import what needs torch only when it is asked for: models are listed and named without."""
    for home, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(f"{__name__}.{home}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
