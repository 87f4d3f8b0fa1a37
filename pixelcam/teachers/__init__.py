"""Weakly supervised localisation methods: PixelCAM's teachers, and baselines by themselves."""

from pixelcam.teachers.maps import TEACHERS
from pixelcam.teachers.teacher import MAP_STRIDE, Teacher

__all__ = ["MAP_STRIDE", "TEACHERS", "Teacher"]
