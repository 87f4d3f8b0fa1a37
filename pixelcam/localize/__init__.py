"""From an image to class probabilities and a foreground map."""

from pixelcam.localize.localization import Localization, ModelRef
from pixelcam.localize.localizer import Localizer, load

__all__ = ["Localization", "Localizer", "ModelRef", "load"]
