"""Where the cells of encoder maps lie, and moving maps between grids."""

import numpy as np
import pytest
import torch
from scipy.ndimage import map_coordinates
from skimage.data import immunohistochemistry

import pixelcam
from pixelcam.model import FINAL
from pixelcam.model.encoder import encoder_info
from pixelcam.model.geometry import Grid, move_to_grid, resize_map

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("axis", [0, 1])
def test_the_starter_maps_a_mirrored_image_to_the_mirrored_map_at_the_same_place(axis):
    image = immunohistochemistry()
    localizer = pixelcam.load("starter", "cpu")
    plain = localizer.localize(image).foreground
    mirrored = np.flip(localizer.localize(np.flip(image, axis).copy()).foreground, axis)

    def likeness(shift):
        rim = slice(40, -40)
        moved = np.roll(mirrored, shift, axis)
        return np.corrcoef(plain[rim, rim].ravel(), moved[rim, rim].ravel())[0, 1]

    best = max(range(-30, 31), key=likeness)
    # Both maps are off by half of it; 6 is a shift of 3 pixels, less than two of the working image.
    assert abs(best) <= 6
    assert likeness(best) > 0.6


def test_patches_tile_the_image_from_its_edge():
    for name, stride in (("vit_tiny_patch16_224", 16), ("convnextv2_atto", 32)):
        assert encoder_info(name).grid(FINAL) == Grid.plain(stride)


@pytest.mark.parametrize(
    ("source", "target"),
    [
        (Grid(8, 0), Grid.plain(4)),
        (Grid(8, 7), Grid.plain(4)),
        (Grid.plain(16), Grid.plain(1)),
        (Grid.plain(4), Grid(8, 7)),
        (Grid(10.5, 4.2), Grid.plain(4)),
    ],
)
def test_moving_a_map_is_linear_interpolation_at_the_cells_own_places(source, target):
    values = np.random.default_rng(0).random((6, 9))
    size = (11, 17)
    places = [(target.offset + target.stride * np.arange(n) - source.offset) / source.stride for n in size]
    wanted = map_coordinates(values, np.meshgrid(*places, indexing="ij"), order=1, mode="nearest")
    found = move_to_grid(torch.from_numpy(values)[None], source, target, size)[0]
    np.testing.assert_allclose(found.numpy(), wanted, atol=1e-12)


def test_a_ramp_stays_the_ramp_when_it_is_moved():
    source, target = Grid(16, 15), Grid.plain(4)
    ramp = (source.offset + source.stride * torch.arange(20.0)).expand(20, 20)
    moved = move_to_grid(ramp, source, target, (80, 80))
    places = target.offset + target.stride * torch.arange(80.0)
    inside = (places >= source.offset) & (places <= source.offset + source.stride * 19)
    torch.testing.assert_close(moved[0][inside], places[inside], atol=1e-3, rtol=0)


def test_a_map_on_its_own_grid_is_left_alone():
    values = torch.rand(2, 5, 5)
    assert move_to_grid(values, Grid(8, 0), Grid(8, 0), (5, 5)) is values


@pytest.mark.parametrize(
    ("shape", "size"),
    [((6, 9), (24, 36)), ((6, 9), (13, 50)), ((40, 30), (7, 11)), ((1, 1), (5, 3)), ((9, 6), (300, 7))],
)
def test_resizing_a_map_is_linear_interpolation_that_shares_the_upper_left_edge(shape, size):
    values = np.random.default_rng(1).random(shape)
    ratio = (shape[0] / size[0], shape[1] / size[1])
    places = [(np.arange(n) + 0.5) * r - 0.5 for n, r in zip(size, ratio, strict=True)]
    wanted = map_coordinates(values, np.meshgrid(*places, indexing="ij"), order=1, mode="nearest")
    found = resize_map(torch.from_numpy(values), size, ratio)
    np.testing.assert_allclose(found.numpy(), wanted, atol=1e-12)


def test_the_gradient_of_moving_a_map_is_the_transposed_interpolation():
    values = torch.rand(1, 4, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda v: move_to_grid(v, Grid(8, 7), Grid.plain(4), (8, 8)), (values,))
