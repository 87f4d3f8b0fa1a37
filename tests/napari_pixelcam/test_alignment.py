"""A map lies on its image to the pixel, in world coordinates, whatever transform the image has."""

import numpy as np
import pytest

from napari_pixelcam.alignment import align

TRANSFORMS = {
    "pixels": {},
    "micrometres": {"scale": (0.5, 0.5), "units": ("um", "um")},
    "anisotropic": {"scale": (0.5, 0.25), "translate": (10.0, -3.0)},
    "rotated": {"scale": (0.5, 0.5), "translate": (7.0, 11.0), "rotate": 30},
    "sheared": {"scale": (2.0, 0.5), "shear": [0.3]},
    "affine": {
        "scale": (0.5, 0.5),
        "translate": (4.0, 5.0),
        "rotate": -17,
        "affine": [[0, 2, 5], [-2, 0.5, 1], [0, 0, 1]],
    },
}


def corners(shape):
    height, width = shape
    return [(0, 0), (0, width - 1), (height - 1, 0), (height - 1, width - 1), (height // 2, width // 3)]


@pytest.mark.parametrize("downsample", [1, 4])
@pytest.mark.parametrize("transform", TRANSFORMS.values(), ids=TRANSFORMS)
def test_each_map_pixel_maps_to_the_world_point_of_the_image_pixel_it_was_made_from(
    bench, fake, transform, downsample
):
    image = bench.record.layer
    for name, value in transform.items():
        setattr(image, name, value)
    fake.downsample = downsample
    bench.localize.run()
    for role in ("foreground", "background"):
        layer = bench.layer(role)
        for point in corners(layer.data.shape):
            on_image = np.array(point) * downsample + (downsample - 1) / 2
            np.testing.assert_allclose(
                layer.data_to_world(point),
                image.data_to_world(on_image),
                atol=1e-9,
                err_msg=f"{role} {point}",
            )
        assert layer.units == image.units


@pytest.mark.parametrize("transform", TRANSFORMS.values(), ids=TRANSFORMS)
def test_seeds_lie_on_the_image_pixels_they_are_painted_on(bench, transform):
    image = bench.record.layer
    for name, value in transform.items():
        setattr(image, name, value)
    bench.seeds.take("foreground")
    seeds = bench.layer("seeds")
    assert seeds.data.shape == image.data.shape[:2]
    for point in corners(seeds.data.shape):
        np.testing.assert_allclose(seeds.data_to_world(point), image.data_to_world(point), atol=1e-9)


def test_layers_follow_an_image_that_is_moved_after_localizing(bench):
    bench.localize.run()
    bench.seeds.take("foreground")
    image = bench.record.layer
    image.scale = (0.25, 0.25)
    image.translate = (100, 50)
    image.rotate = 12
    for role in ("foreground", "background", "seeds"):
        np.testing.assert_allclose(
            bench.layer(role).data_to_world((33, 44)), image.data_to_world((33, 44)), atol=1e-9
        )


def test_a_layer_that_lies_where_it_should_is_left_alone(bench):
    bench.record.layer.rotate = 12
    bench.localize.run()
    layer, heard = bench.layer("foreground"), []
    layer.events.connect(lambda event: heard.append(event.type))
    align(layer, bench.record.layer)
    assert heard == []
    align(layer, bench.record.layer, (2.0, 2.0))
    assert "scale" in heard
    assert "rotate" not in heard


def test_the_region_in_the_world_is_where_the_dark_discs_are(bench):
    bench.record.layer.scale = (0.5, 0.5)
    bench.record.layer.translate = (20, 30)
    bench.localize.run()
    layer = bench.layer("foreground")
    centre = bench.record.layer.data_to_world((60, 90))
    row, column = np.round(layer.world_to_data(centre)).astype(int)
    assert layer.data[row, column] > 0.5
    assert layer.data[5, 120] < 0.3
