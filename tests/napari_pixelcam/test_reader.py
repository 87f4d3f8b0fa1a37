"""Files opened through the plugin: right pixels, right scale, the file remembered."""

import hashlib

import numpy as np
import pytest
import tifffile
from napari.components import ViewerModel
from napari.layers import Image
from napari.layers._source import layer_source
from skimage import io as imageio

from napari_pixelcam.images import slide_of, source_of
from napari_pixelcam.reader import get_reader
from pixelcam.errors import ImageError
from tests.napari_pixelcam.helpers import tissue


def opened(path):
    viewer = ViewerModel()
    for data, options, kind in get_reader(str(path))(str(path)):
        assert kind == "image"
        viewer.add_image(data, **options)
    return viewer.layers[0]


@pytest.fixture
def tiff(tmp_path):
    path = tmp_path / "scan.ome.tif"
    metadata = {
        "PhysicalSizeX": 0.5,
        "PhysicalSizeXUnit": "µm",
        "PhysicalSizeY": 0.5,
        "PhysicalSizeYUnit": "µm",
    }
    tifffile.imwrite(path, tissue(), photometric="rgb", metadata={"axes": "YXS", **metadata}, ome=True)
    return path


def test_a_pixel_size_becomes_scale_and_units(tiff):
    layer = opened(tiff)
    np.testing.assert_array_equal(np.asarray(layer.data), tissue())
    np.testing.assert_allclose(layer.scale, (0.5, 0.5))
    assert {str(unit) for unit in layer.units} == {"micrometer"}


def test_without_a_pixel_size_it_is_in_pixels(tmp_path):
    path = tmp_path / "plain.png"
    imageio.imsave(path, tissue())
    layer = opened(path)
    np.testing.assert_array_equal(layer.scale, (1, 1))
    assert {str(unit) for unit in layer.units} == {"pixel"}


def test_a_pyramid_becomes_a_multiscale_layer(tmp_path):
    path = tmp_path / "pyramid.tif"
    big = np.tile(tissue(), (4, 4, 1))
    with tifffile.TiffWriter(path) as writer:
        writer.write(big, photometric="rgb", tile=(128, 128), subifds=1)
        writer.write(big[::4, ::4], photometric="rgb", tile=(128, 128), subfiletype=1)
    layer = opened(path)
    assert layer.multiscale
    assert [level.shape for level in layer.data] == [(384, 512, 3), (96, 128, 3)]
    slide = slide_of(source_of(layer))
    np.testing.assert_array_equal(slide.read(), big)


def test_the_slide_of_a_file_is_known_by_the_files_bytes(tiff):
    slide = slide_of(source_of(opened(tiff)))
    assert slide.path == tiff
    assert slide.fingerprint == hashlib.sha256(tiff.read_bytes()).hexdigest()
    assert slide.mpp == pytest.approx(0.5)


def test_a_layer_whose_pixels_were_changed_is_no_longer_the_file(tiff):
    layer = opened(tiff)
    layer.data = np.asarray(layer.data)[::-1].copy()
    slide = slide_of(source_of(layer))
    assert slide.path is None
    np.testing.assert_array_equal(slide.read(), tissue()[::-1])


def test_a_file_opened_by_napari_itself_is_recognised(tmp_path):
    path = tmp_path / "plain.png"
    imageio.imsave(path, tissue())
    with layer_source(path=str(path)):
        layer = Image(tissue(), rgb=True)
    slide = slide_of(source_of(layer))
    assert slide.path == path


def test_bad_files_say_what_is_wrong(tmp_path):
    path = tmp_path / "broken.png"
    path.write_bytes(b"not a picture")
    with pytest.raises(ImageError, match=r"broken\.png"):
        get_reader(str(path))(str(path))
