"""Weakly supervised localisation methods: PixelCAM's teachers, and baselines by themselves.

`Teacher` makes maps of a classifier as it is; `pixelcam.teachers.trained` trains a localizer first, and
`pixelcam.teachers.evaluation` measures either as a baseline.
"""

from pixelcam.teachers.maps import FINAL_METHODS, MAP_METHODS, TEACHERS, TRAINED_TEACHERS, average_maps
from pixelcam.teachers.teacher import MAP_STRIDE, Teacher

__all__ = [
    "FINAL_METHODS",
    "MAP_METHODS",
    "MAP_STRIDE",
    "TEACHERS",
    "TRAINED_TEACHERS",
    "Teacher",
    "average_maps",
]
