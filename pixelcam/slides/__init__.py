"""Images of every kind that a microscope or a scanner leaves, as lazy RGB pyramids."""

from pixelcam.slides.opening import open_slide
from pixelcam.slides.slide import LevelArray, Slide, hash_file, is_file_of, picture_name, series_of

__all__ = ["LevelArray", "Slide", "hash_file", "is_file_of", "open_slide", "picture_name", "series_of"]
