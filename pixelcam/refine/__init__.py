"""Live refinement: the pixel head fitted again to a reviewer's pixels, within one stroke's time."""

from pixelcam.refine.drawing import MapGrid
from pixelcam.refine.features import FieldFeatures, extract_features
from pixelcam.refine.refiner import RefinedMap, Refiner, Refit, SeedSamples
from pixelcam.refine.sharing import share

__all__ = [
    "FieldFeatures",
    "MapGrid",
    "RefinedMap",
    "Refiner",
    "Refit",
    "SeedSamples",
    "extract_features",
    "share",
]
