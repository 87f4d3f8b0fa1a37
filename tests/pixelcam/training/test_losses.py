"""The losses of the trained teachers, against their formulas written out."""

import math

import numpy as np
import pytest
import torch
from torch.autograd import gradcheck

from pixelcam.training.losses import (
    area_log_barrier,
    classification_loss,
    colour_affinity_loss,
    guessing_loss,
    log_barrier,
)

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(0)


@pytest.mark.parametrize("t", [1.0, 3.0, 10.0])
def test_the_log_barrier_is_a_logarithm_up_to_its_edge_and_the_tangent_beyond(t):
    edge = -1 / t**2
    inside = torch.linspace(20 * edge, edge, 7, dtype=torch.float64)
    torch.testing.assert_close(log_barrier(inside, t), -torch.log(-inside) / t)
    beyond = torch.linspace(edge, 3.0, 7, dtype=torch.float64)
    wanted = [-math.log(1 / t**2) / t + t * (float(z) - edge) for z in beyond]
    torch.testing.assert_close(log_barrier(beyond, t), torch.tensor(wanted, dtype=torch.float64))


@pytest.mark.parametrize("t", [1.0, 3.0, 10.0])
def test_value_and_slope_of_the_log_barrier_do_not_jump_at_its_edge(t):
    z = torch.tensor([-1 / t**2 - 1e-9, -1 / t**2 + 1e-9], dtype=torch.float64, requires_grad=True)
    value = log_barrier(z, t)
    value.sum().backward()
    assert float(value.detach().diff()) == pytest.approx(0, abs=1e-7)
    assert z.grad.tolist() == pytest.approx([t, t], rel=1e-6)


def test_the_log_barrier_has_a_finite_gradient_everywhere():
    z = torch.tensor([-1e9, -1.0, -1e-12, 0.0, 5.0, 1e9], requires_grad=True)
    log_barrier(z, 2.0).sum().backward()
    assert torch.isfinite(z.grad).all()
    assert (z.grad > 0).all(), "it always pushes towards the constraint"
    assert gradcheck(
        lambda values: log_barrier(values, 2.0),
        torch.tensor([-3.0, -0.3, -0.2, 1.0]).double().requires_grad_(),
    )


def test_areas_are_pushed_apart_from_nothing_and_favour_halves(generator):
    def of(share):
        foreground = torch.full((1, 1, 8, 8), share)
        return float(area_log_barrier(torch.cat([1 - foreground, foreground], 1), 2.0))

    assert of(0.25) == pytest.approx(-(math.log(16) + math.log(48)) / 2)
    assert of(0.3) == pytest.approx(of(0.7))
    assert of(0.5) < of(0.3) < of(0.01) < of(0.0)
    mixed = torch.rand(3, 2, 4, 4, generator=generator)
    each = [float(area_log_barrier(one[None], 2.0)) for one in mixed]
    assert float(area_log_barrier(mixed, 2.0)) == pytest.approx(np.mean(each), rel=1e-5)


def brute_force(probability, images, radius, sigma_rgb, sigma_xy):
    """Sum over all ordered pairs of pixels of each image, one by one."""
    probability, images = probability.double().numpy(), images.double().numpy() * 255
    n, _, height, width = probability.shape
    places = [(row, column) for row in range(height) for column in range(width)]
    terms = []
    for index in range(n):
        for a in places:
            for b in places:
                if a == b or max(abs(a[0] - b[0]), abs(a[1] - b[1])) > radius:
                    continue
                colour = ((images[index, :, *a] - images[index, :, *b]) ** 2).sum() / (2 * sigma_rgb**2)
                place = ((a[0] - b[0]) ** 2 + (a[1] - b[1]) ** 2) / (2 * sigma_xy**2)
                agree = (probability[index, :, *a] * probability[index, :, *b]).sum()
                terms.append(math.exp(-colour - place) * (1 - agree))
    return np.mean(terms)


@pytest.mark.parametrize(("radius", "sigma_rgb", "sigma_xy"), [(1, 15, 6), (2, 60, 1.5), (9, 100, 3)])
@pytest.mark.parametrize("shape", [(5, 7), (6, 4), (1, 4)])
def test_the_colour_affinity_is_the_sum_over_all_pairs(generator, shape, radius, sigma_rgb, sigma_xy):
    probability = torch.softmax(torch.randn(2, 2, *shape, generator=generator, dtype=torch.float64), 1)
    images = 0.5 + 0.1 * torch.rand(2, 3, *shape, generator=generator, dtype=torch.float64)
    found = colour_affinity_loss(probability, images, radius=radius, sigma_rgb=sigma_rgb, sigma_xy=sigma_xy)
    wanted = brute_force(probability, images, radius, sigma_rgb, sigma_xy)
    assert float(found) == pytest.approx(wanted, rel=1e-5)
    assert 0 < float(found) < 1


def test_the_gradient_of_the_colour_affinity_is_that_of_its_value(generator):
    logits = torch.randn(2, 2, 4, 5, generator=generator, dtype=torch.float64, requires_grad=True)
    images = torch.rand(2, 3, 4, 5, generator=generator, dtype=torch.float64)
    assert gradcheck(
        lambda values: colour_affinity_loss(torch.softmax(values, 1), images, radius=2, sigma_rgb=80), logits
    )


def test_an_edge_in_the_labels_costs_less_along_an_edge_in_the_colours():
    images = torch.zeros(1, 3, 8, 8)
    images[..., 4:] = 1
    along = torch.zeros(1, 2, 8, 8)
    along[:, 0, :, :4], along[:, 1, :, 4:] = 1, 1
    across = along.transpose(2, 3)
    assert float(colour_affinity_loss(along, images)) < 1e-6 < float(colour_affinity_loss(across, images))


def test_pixels_without_a_colour_have_no_neighbours_and_spoil_no_gradient(generator):
    logits = torch.randn(1, 2, 6, 6, generator=generator, requires_grad=True)
    images = torch.full((1, 3, 6, 6), torch.nan)
    images[..., :3] = 0.5
    colour_affinity_loss(torch.softmax(logits, 1), images).backward()
    assert torch.isfinite(logits.grad).all()
    assert (logits.grad[..., 3:] == 0).all()
    assert (logits.grad[..., :3] != 0).any()


def test_the_loss_of_exclusive_labels_is_the_cross_entropy():
    logits = torch.tensor([[1.0, 2.0, 0.5], [0.0, -1.0, 3.0]])
    wanted = np.mean(
        [math.log(sum(map(math.exp, row))) - row[y] for row, y in zip(logits.tolist(), (1, 0), strict=True)]
    )
    assert float(classification_loss(logits, torch.tensor([1, 0]))) == pytest.approx(wanted)


def test_the_loss_of_label_sets_is_the_binary_cross_entropy_over_what_is_known():
    logits = torch.tensor([[1.0, 2.0, 0.5], [0.0, -1.0, 3.0]], requires_grad=True)
    labels = torch.tensor([[1.0, 0.0, 1.0], [0.0, torch.nan, 1.0]])
    signed = [1.0, -2.0, 0.5, -0.0, 3.0]
    wanted = np.mean([math.log1p(math.exp(-x)) for x in signed])
    loss = classification_loss(logits, labels)
    assert float(loss.detach()) == pytest.approx(wanted)
    loss.backward()
    assert (logits.grad != 0).tolist() == [[True] * 3, [True, False, True]]


def test_without_a_known_label_the_loss_is_zero():
    logits = torch.randn(2, 3, requires_grad=True)
    loss = classification_loss(logits, torch.full((2, 3), torch.nan))
    loss.backward()
    assert float(loss.detach()) == 0
    assert float(logits.grad.abs().sum()) == 0


def test_guessing_finds_every_label_equally_likely():
    logits = torch.zeros(5, 3)
    single, several = torch.tensor([0, 1, 2, 1, 0]), torch.tensor([[1.0, 0.0, 1.0]] * 5)
    assert guessing_loss(3, False) == pytest.approx(float(classification_loss(logits, single)))
    assert guessing_loss(3, True) == pytest.approx(float(classification_loss(logits, several)))
