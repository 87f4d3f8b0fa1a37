"""What leaves the program, and the way back in: maps, regions, seeds, each written whole or not at all."""

from pixelcam.export.atomic import atomic_path

__all__ = ["atomic_path"]
