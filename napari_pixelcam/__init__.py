"""The napari plugin: see what a histology classifier sees, correct it with a brush, and let it learn."""
