"""A file of several pictures offers them in the dock; each opens as a layer of its own."""

from __future__ import annotations

import numpy as np
import pytest
import skimage.data
import tifffile
from napari.components import ViewerModel

from napari_pixelcam.controllers.pictures import PicturesController
from napari_pixelcam.images import KEY
from napari_pixelcam.reader import read_slides
from tests.napari_pixelcam.helpers import Bench

TISSUE = skimage.data.immunohistochemistry()
SCENES = (TISSUE[:120, :160], TISSUE[200:280, 100:160], TISSUE[300:350, :90])


@pytest.fixture
def path(tmp_path):
    with tifffile.TiffWriter(tmp_path / "scenes.ome.tif", ome=True) as writer:
        for pixels in SCENES:
            writer.write(pixels, photometric="rgb", metadata={"axes": "YXS"})
    return tmp_path / "scenes.ome.tif"


@pytest.fixture
def bench(path):
    bench = Bench(ViewerModel())
    data, options, _ = read_slides(str(path))[0]
    bench.session.choose_image(bench.viewer.add_image(data, **options))
    return bench


def test_another_picture_opens_as_a_layer_of_its_own_and_is_at_hand(bench):
    pictures = PicturesController(bench.session)
    assert pictures.slide_of(bench.session.record).pictures == 3
    pictures.choose(2)
    layer = bench.session.record.layer
    assert layer.name == "scenes.ome, picture 2"
    np.testing.assert_array_equal(layer.data, SCENES[1])
    assert [shown.visible for shown in bench.viewer.layers] == [False, True]
    assert layer.metadata[KEY]["slide"].fingerprint.startswith("s2-")


def test_a_picture_that_is_open_already_is_chosen_and_not_opened_twice(bench):
    pictures = PicturesController(bench.session)
    first = bench.session.record.layer
    pictures.choose(3)
    pictures.choose(1)
    assert bench.session.record.layer is first
    assert first.visible
    pictures.choose(3)
    assert bench.session.record.layer.name == "scenes.ome, picture 3"
    assert len(bench.viewer.layers) == 2


def test_a_picture_whose_file_is_gone_is_told(bench, path):
    path.unlink()
    PicturesController(bench.session).choose(2)
    assert bench.said == [("error", f"{path} does not exist; check the path.")]
    assert len(bench.viewer.layers) == 1


def test_the_dock_offers_the_pictures_of_a_file_that_holds_several(open_dock, path, qtbot):
    viewer, dock = open_dock((TISSUE[:64, :64], {}))
    assert not dock.image_model.picture.visible
    viewer.open(str(path), plugin="napari-pixelcam")
    section = dock.image_model
    qtbot.waitUntil(lambda: list(section.picture.choices) == [1, 2, 3])
    assert section.picture.value == 1
    section.picture.value = 2
    qtbot.waitUntil(lambda: dock.session.record.layer.name == "scenes.ome, picture 2")
    assert section.picture.value == 2
    assert "60 × 80 pixels" in section.about.text()
