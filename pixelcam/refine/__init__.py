"""Live refinement: the pixel head fitted again to a reviewer's pixels, within one stroke's time."""

from pixelcam.refine.features import FieldFeatures, extract_features
from pixelcam.refine.refiner import RefinedMap, Refiner, SeedSamples
from pixelcam.refine.sharing import share

__all__ = ["FieldFeatures", "RefinedMap", "Refiner", "SeedSamples", "extract_features", "share"]
