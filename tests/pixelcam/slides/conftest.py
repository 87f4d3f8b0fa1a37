"""A piece of tissue, and files of it."""

import numpy as np
import pytest
import skimage.data
import tifffile

from tests.pixelcam.slides.tiff_files import write_pyramid


@pytest.fixture(scope="module")
def tissue():
    return np.ascontiguousarray(skimage.data.immunohistochemistry()[:150, :130])


@pytest.fixture
def write(tmp_path):
    """Write a TIFF file of one image and return its path."""

    def write(pixels, **options):
        tifffile.imwrite(tmp_path / "a.tif", pixels, **options)
        return tmp_path / "a.tif"

    return write


@pytest.fixture
def pyramid(tissue, tmp_path):
    """A tiled pyramid of three levels."""
    path = tmp_path / "pyramid.ome.tif"
    write_pyramid(path, [tissue, tissue[::2, ::2], tissue[::4, ::4]])
    return path
