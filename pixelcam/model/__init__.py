"""The network, its checkpoints and their names."""

from pixelcam.model.checkpoint import ModelCard, file_sha256, load_checkpoint, read_card, save_checkpoint
from pixelcam.model.device import available_devices, free_device_memory, resolve_device
from pixelcam.model.encoder import FINAL, Encoder, load_encoder_weights
from pixelcam.model.heads import IMAGE_HEADS, class_probabilities
from pixelcam.model.network import PixelCAM, Prediction, foreground_probability
from pixelcam.model.registry import ModelEntry, list_models, register_model, resolve_model

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
