"""Maps of images with several labels, one or none."""

import pytest
import torch

from pixelcam.model import FINAL, PixelCAM
from pixelcam.teachers import MAP_METHODS, Teacher
from pixelcam.teachers.maps import FINAL_METHODS, class_activation_map, min_max

pytestmark = pytest.mark.usefixtures("one_thread")

SINGLE = torch.tensor([2, 0])
SETS = torch.tensor([[0.0, 1.0, 1.0], [1.0, 0.0, 0.0]])


@pytest.fixture(scope="module")
def networks():
    torch.manual_seed(0)
    return {name: PixelCAM(name, 3, image_head="attention").eval() for name in ("test_resnet", "test_vit")}


@pytest.fixture
def images():
    return torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def teacher_of(method, networks, score="logit"):
    """A teacher of a method at a level that it knows, and a network that it can map."""
    network = networks["test_vit" if method in ("ts-cam", "attention") else "test_resnet"]
    return Teacher(method, (FINAL,) if method in FINAL_METHODS else (2,), score=score), network


@pytest.mark.parametrize("method", MAP_METHODS)
def test_a_set_of_one_label_has_the_map_of_that_label(method, networks, images):
    teacher, network = teacher_of(method, networks)
    one_hot = torch.nn.functional.one_hot(SINGLE, 3).float()
    torch.testing.assert_close(
        teacher.maps(network, images, one_hot), teacher.maps(network, images, SINGLE), atol=1e-4, rtol=1e-3
    )


@pytest.mark.parametrize("score", ["logit", "log-odds"])
def test_the_map_of_two_labels_is_of_the_sum_of_their_scores(score, networks, images):
    teacher, network = teacher_of("layercam", networks, score)
    found = teacher.maps(network, images, SETS)
    final, (activations,) = network.encoder(images, (2,))
    logits = network.image_head(final)
    gradients = torch.autograd.grad((logits[0, 1] + logits[0, 2] + logits[1, 0]), activations)[0]
    raw = min_max((gradients.relu() * activations).sum(dim=1).relu().detach())
    assert raw[0].std() > 0.01
    coarse = torch.nn.functional.adaptive_avg_pool2d(found[:, None], raw.shape[-1])[:, 0]
    assert torch.corrcoef(torch.stack([coarse.flatten(), raw.flatten()]))[0, 1] > 0.95
    alone = teacher.maps(network, images, torch.tensor([2, 0]))
    assert not torch.allclose(found[0], alone[0], atol=0.05)


def test_cam_of_two_labels_adds_their_rows(networks, images):
    teacher, network = teacher_of("cam", networks)
    weight = network.image_head.classify.weight.detach()
    rows = torch.stack([weight[1] + weight[2], weight[0]])
    with torch.no_grad():
        raw = min_max(class_activation_map(network.encoder(images)[0], rows))
    found = teacher.maps(network, images, SETS)
    assert raw.shape[1:] == (2, 2)
    for index in range(2):  # the corners of the map lie beyond the outermost centres of the cells
        corners = found[index][[0, 0, -1, -1], [0, -1, 0, -1]]
        torch.testing.assert_close(corners, raw[index].flatten())


@pytest.mark.parametrize(
    "method", [method for method in MAP_METHODS if method not in ("attention", "deep-mil")]
)
def test_an_image_without_labels_has_a_constant_map(method, networks, images):
    teacher, network = teacher_of(method, networks)
    assert teacher.maps(network, images, torch.zeros(2, 3)).abs().max() == 0
