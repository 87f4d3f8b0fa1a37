"""What the window shows of a map."""

import numpy as np
import pytest
from napari.components import ViewerModel

from napari_pixelcam.controllers.session import ImageRecord
from napari_pixelcam.livemap import View
from napari_pixelcam.viewport import view_of
from pixelcam.localize.localization import Localization, ModelRef


def looking(centre, zoom, *, scale=1.0, size=(100, 200), **transform):
    """Return the view of a map of a 800 x 1000 image, `scale` level-0 pixels per map pixel."""
    viewer = ViewerModel()
    layer = viewer.add_image(np.zeros((800, 1000, 3), np.uint8), rgb=True, **transform)
    viewer.canvas.size = size
    viewer.scene.camera.center = (0.0, *centre)
    viewer.scene.camera.zoom = zoom
    shape = round(800 / scale), round(1000 / scale)
    localization = Localization(
        "image", 1000, 800, None, {"a": 1.0}, np.zeros(shape, np.float32), 0.5, ModelRef("m", "0"),
        scale=(scale, scale), translate=((scale - 1) / 2, (scale - 1) / 2),
    )  # fmt: skip
    return view_of(viewer, ImageRecord(layer), localization)


def test_at_one_to_one_it_is_the_canvas():
    assert looking((400, 500), 1.0) == View((350, 400, 451, 601), 1)


def test_it_ends_where_the_map_does():
    assert looking((0, 1000), 1.0) == View((0, 900, 51, 1000), 1)


@pytest.mark.parametrize(("zoom", "step"), [(4.0, 1), (0.6, 1), (0.49, 2), (0.2, 4), (0.01, 64)])
def test_the_step_leaves_a_pixel_of_the_map_for_each_of_the_screen(zoom, step):
    assert looking((400, 500), zoom).step == step


def test_of_a_coarser_map_it_is_the_same_place():
    assert looking((400, 500), 1.0, scale=4.0) == View((87, 99, 114, 151), 1)
    assert looking((400, 500), 0.2, scale=4.0).step == 1


def test_it_follows_the_images_own_transform():
    moved = looking((400 * 0.5 + 7, 500 * 0.5 - 3), 2.0, scale=1.0, translate=(7, -3))
    assert moved == looking((200, 250), 2.0)
    assert looking((200, 250), 2.0, affine=np.diag([0.5, 0.5, 1.0])) == looking((400, 500), 1.0)


def test_of_an_image_that_lies_aslant_it_holds_all_corners():
    view = looking((0, 0), 1.0, rotate=90)
    top, left, bottom, right = view.box
    assert (top, left) == (0, 0)
    assert bottom in (101, 102)  # turning rounds
    assert right in (51, 52)


def test_of_an_image_out_of_sight_it_is_the_nearest_pixel():
    assert looking((-5000, 400), 1.0).box[::2] == (0, 1)
    assert looking((5000, 400), 1.0).box[::2] == (799, 800)
