"""Training by image labels, and fine-tuning by a reviewer's seeds."""

from pixelcam.training.settings import FinetuneSettings, TrainSettings

__all__ = ["FinetuneSettings", "TrainSettings", "finetune", "train"]


def __getattr__(name: str) -> object:
    """Import the loops only when they are asked for: settings alone should cost little."""
    if name == "train":
        from pixelcam.training.stages import train

        return train
    if name == "finetune":
        from pixelcam.training.finetuning import finetune

        return finetune
    raise AttributeError(f"module 'pixelcam.training' has no attribute {name!r}")
