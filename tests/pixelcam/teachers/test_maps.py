"""The formulas of the activation maps, against numpy written from the papers and the package grad-cam."""

import importlib.util
import subprocess
import sys

import numpy as np
import pytest
import torch

from pixelcam.errors import ConfigError
from pixelcam.teachers.maps import (
    absolute_layer_cam,
    average_maps,
    class_activation_map,
    grad_cam,
    grad_cam_plus_plus,
    layer_cam,
    min_max,
    smooth_grad_cam_plus_plus,
    x_grad_cam,
)

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def arrays():
    rng = np.random.default_rng(0)
    activations = np.maximum(rng.standard_normal((2, 6, 4, 5)), 0)
    gradients = rng.standard_normal((2, 6, 4, 5))
    gradients[:, 2] = 0  # a channel that the score does not depend on
    return activations, gradients


def tensors(arrays):
    return [torch.from_numpy(array) for array in arrays]


def test_grad_cam_weighs_channels_by_their_mean_gradient(arrays):
    activations, gradients = arrays
    wanted = np.zeros((2, 4, 5))
    for n in range(2):
        for k in range(6):
            wanted[n] += gradients[n, k].mean() * activations[n, k]
    np.testing.assert_allclose(grad_cam(*tensors(arrays)), np.maximum(wanted, 0))


def test_grad_cam_plus_plus_weighs_pixels_as_its_equation_19_says(arrays):
    activations, gradients = arrays
    wanted = np.zeros((2, 4, 5))
    for n in range(2):
        for k in range(6):
            weight = 0.0
            for g in gradients[n, k].ravel():
                if g != 0:
                    weight += g**2 / (2 * g**2 + activations[n, k].sum() * g**3 + 1e-6) * max(g, 0)
            wanted[n] += weight * activations[n, k]
    np.testing.assert_allclose(grad_cam_plus_plus(*tensors(arrays)), np.maximum(wanted, 0), rtol=1e-6)


def test_smooth_grad_cam_plus_plus_averages_the_powers_of_the_gradient_over_the_copies(arrays):
    activations = arrays[0]
    gradients = np.random.default_rng(1).standard_normal((3, 2, 6, 4, 5))
    first, second, third = (np.mean(gradients**power, axis=0) for power in (1, 2, 3))
    alpha = second / (2 * second + activations.sum((2, 3), keepdims=True) * third + 1e-6)
    weights = (alpha * np.maximum(first, 0)).sum((2, 3), keepdims=True)
    wanted = np.maximum((weights * activations).sum(1), 0)
    found = smooth_grad_cam_plus_plus(torch.from_numpy(activations), torch.from_numpy(gradients))
    np.testing.assert_allclose(found, wanted, rtol=1e-6)
    one = torch.from_numpy(gradients[:1])
    same = grad_cam_plus_plus(torch.from_numpy(activations), one[0])
    torch.testing.assert_close(smooth_grad_cam_plus_plus(torch.from_numpy(activations), one), same)


def test_x_grad_cam_weighs_channels_by_their_gradient_where_they_are_active(arrays):
    activations, gradients = arrays
    wanted = np.zeros((2, 4, 5))
    for n in range(2):
        for k in range(6):
            weight = np.average(gradients[n, k], weights=activations[n, k])
            wanted[n] += weight * activations[n, k]
    np.testing.assert_allclose(x_grad_cam(*tensors(arrays)), np.maximum(wanted, 0), rtol=1e-5)


def test_layer_cam_weighs_every_position_by_its_own_positive_gradient(arrays):
    activations, gradients = arrays
    wanted = np.maximum((np.maximum(gradients, 0) * activations).sum(1), 0)
    np.testing.assert_allclose(layer_cam(*tensors(arrays)), wanted)


def test_absolute_layer_cam_counts_what_speaks_against_a_class_too(arrays):
    activations, gradients = arrays
    np.testing.assert_allclose(absolute_layer_cam(*tensors(arrays)), np.abs(gradients * activations).sum(1))


def test_a_class_activation_map_weighs_channels_by_the_classifiers_row(arrays):
    activations, rows = arrays[0], np.random.default_rng(1).standard_normal((2, 6))
    wanted = np.stack([np.tensordot(rows[n], activations[n], 1) for n in range(2)])
    found = class_activation_map(torch.from_numpy(activations), torch.from_numpy(rows))
    np.testing.assert_allclose(found, np.maximum(wanted, 0))


def test_maps_are_scaled_to_their_own_range_and_constant_ones_are_zero():
    maps = torch.tensor([[[1.0, 3.0], [2.0, 5.0]], [[7.0, 7.0], [7.0, 7.0]], [[0.0, 1e-30], [0.0, 0.0]]])
    assert min_max(maps).tolist() == [[[0, 0.5], [0.25, 1]], [[0, 0], [0, 0]], [[0, 1], [0, 0]]]


def test_maps_are_averaged_on_one_scale_whatever_their_own():
    first = torch.tensor([[[0.0, 10.0], [20.0, 40.0]]])
    second = torch.tensor([[[0.3, 0.2], [0.1, 0.0]]])
    mean = (torch.tensor([0, 0.25, 0.5, 1]) + torch.tensor([1, 2 / 3, 1 / 3, 0])) / 2
    wanted = (mean - mean.min()) / (mean.max() - mean.min())
    torch.testing.assert_close(average_maps([first, second]).flatten(), wanted)
    torch.testing.assert_close(average_maps([first, first]), first / 40)


def test_ranks_forget_how_far_an_extreme_value_lies():
    maps = torch.tensor([[[0.0, 1.0, 1.0, 1e9]]])
    torch.testing.assert_close(average_maps([maps], "rank"), torch.tensor([[[0, 0.5, 0.5, 1]]]))
    assert (average_maps([torch.ones(2, 3, 3)], "rank") == 0).all(), "a constant map says nothing"
    with pytest.raises(ConfigError, match="at least one map"):
        average_maps([])


COMPARISON = """
import numpy as np, torch
from pytorch_grad_cam import GradCAM, GradCAMPlusPlus, LayerCAM, XGradCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from pixelcam.model import PixelCAM
from pixelcam.teachers import Teacher
torch.manual_seed(0)
class Classifier(torch.nn.Module):
    def __init__(self, network):
        super().__init__()
        self.network = network
    def forward(self, images):
        return self.network.classify(images)
network = PixelCAM("test_efficientnet", 3).eval()
with torch.no_grad():
    network.image_head.classify.weight.mul_(1000)  # gradients far above the small constant of Grad-CAM++
images, labels, level = torch.rand(2, 3, 64, 64), torch.tensor([0, 2]), 2
module = network.encoder.body.get_submodule(network.encoder.info.modules[level])
methods = {"grad-cam": GradCAM, "grad-cam++": GradCAMPlusPlus, "xgrad-cam": XGradCAM, "layercam": LayerCAM}
for name, theirs in methods.items():
    with theirs(Classifier(network), [module]) as cam:
        targets = [ClassifierOutputTarget(int(label)) for label in labels]
        cam(images, targets)
        kept = cam.activations_and_grads
        activations, gradients = (each[0].numpy() for each in (kept.activations, kept.gradients))
        wanted = np.maximum(cam.get_cam_image(images, module, targets, activations, gradients, False), 0)
    found = Teacher(name, (level,))._raw(network, images, labels)[0].numpy()
    assert found.max() > 0
    np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-5 * wanted.max())
print("same")
"""


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.skipif(importlib.util.find_spec("pytorch_grad_cam") is None, reason="needs the extra bench")
def test_maps_are_those_of_the_package_grad_cam():
    # In a process of its own: its OpenCV would change where Qt looks for its plugins.
    ended = subprocess.run([sys.executable, "-c", COMPARISON], capture_output=True, text=True, check=False)
    assert (ended.stdout.strip(), ended.returncode) == ("same", 0), ended.stderr
