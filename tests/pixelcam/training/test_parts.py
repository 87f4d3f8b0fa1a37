"""The loss, batches, generators, and the falling rate."""

import math
import os
import subprocess
import sys
from contextlib import nullcontext

import pytest
import torch

from pixelcam.model import PixelCAM
from pixelcam.training import engine
from pixelcam.training.data import generator_for, shuffled_batches
from pixelcam.training.losses import partial_cross_entropy

pytestmark = pytest.mark.usefixtures("one_thread")


def test_the_partial_cross_entropy_is_the_mean_over_labelled_pixels():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 2, 5, 6, generator=generator, dtype=torch.float64)
    labels = torch.randint(0, 3, (2, 5, 6), generator=generator)
    terms = []
    for n in range(2):
        for row in range(5):
            for column in range(6):
                label = int(labels[n, row, column])
                if label:  # 1 is background, the first channel; 2 is foreground, the second
                    scores = logits[n, :, row, column].tolist()
                    terms.append(math.log(sum(map(math.exp, scores))) - scores[label - 1])
    assert float(partial_cross_entropy(logits, labels)) == pytest.approx(sum(terms) / len(terms), rel=1e-6)


def test_unlabelled_pixels_have_no_gradient():
    logits = torch.zeros(1, 2, 2, 2, requires_grad=True)
    partial_cross_entropy(logits, torch.tensor([[[0, 1], [2, 0]]])).backward()
    touched = logits.grad.abs().sum(1)[0] > 0
    assert touched.tolist() == [[False, True], [True, False]]


def test_without_labels_the_loss_is_zero_and_can_still_be_differentiated():
    logits = torch.randn(1, 2, 4, 4, requires_grad=True)
    loss = partial_cross_entropy(logits, torch.zeros(1, 4, 4, dtype=torch.long))
    loss.backward()
    assert float(loss.detach()) == 0
    assert float(logits.grad.abs().sum()) == 0


@pytest.mark.parametrize(
    ("count", "batch", "sizes"),
    [(8, 4, [4, 4]), (9, 4, [3, 3, 3]), (67, 32, [23, 22, 22]), (5, 2, [3, 2]), (3, 2, [3]), (1, 4, [1])],
)
def test_batches_hold_every_image_once_and_are_as_even_as_can_be(count, batch, sizes):
    batches = list(shuffled_batches(count, batch, torch.Generator().manual_seed(0)))
    assert [len(batch) for batch in batches] == sizes
    assert sorted(torch.cat(batches).tolist()) == list(range(count))


def test_a_generator_depends_on_its_parts_alone():
    def draw(*parts):
        return torch.rand(3, generator=generator_for(*parts)).tolist()

    assert draw(0, "joint", 3) == draw(0, "joint", 3)
    assert (
        len(
            {
                tuple(draw(*parts))
                for parts in [(0, "joint", 3), (1, "joint", 3), (0, "joint", 4), (0, "x", 3)]
            }
        )
        == 4
    )


def test_each_part_of_the_network_has_a_rate_and_a_decay_of_its_own_that_fall_to_a_hundredth():
    with torch.device("meta"):
        network = PixelCAM("test_efficientnet", 2, levels=(1, 2))
    optimizer = engine.make_optimizer(
        network, 0.1, head_factor=10, pixel_factor=2, momentum=0.9, weight_decay=1e-4, pixel_weight_decay=0.1
    )
    assert [group["weight_decay"] for group in optimizer.param_groups] == [1e-4, 1e-4, 0.1]
    held = sum(len(group["params"]) for group in optimizer.param_groups)
    assert held == len(list(network.parameters()))
    for progress, share in ((0.0, 1.0), (0.5, 0.505), (1.0, 0.01), (1.5, 0.01)):
        engine.set_rate(optimizer, progress)
        rates = [group["lr"] for group in optimizer.param_groups]
        assert rates == pytest.approx([0.1 * share, 1.0 * share, 0.2 * share])


def test_calibration_gives_the_pixel_head_the_statistics_of_plain_batches():
    torch.manual_seed(0)
    network = PixelCAM("test_efficientnet", 2, levels=(1,))
    images = torch.rand(6, 3, 32, 32)
    engine.calibrate_pixel_head(network, iter(images.split(3)))
    with torch.no_grad():
        feature = network.eval().encoder(images, (1,))[1][0]
    norm = network.pixel_head.norms[0]
    torch.testing.assert_close(norm.running_mean, feature.mean(dim=(0, 2, 3)), atol=1e-5, rtol=1e-4)
    assert norm.momentum == 0.1
    assert not norm.training


def test_torchs_own_settings_are_put_back_after_training():
    assert not torch.are_deterministic_algorithms_enabled()
    with engine.deterministic():
        assert torch.are_deterministic_algorithms_enabled()
    assert not torch.are_deterministic_algorithms_enabled()
    assert torch.utils.deterministic.fill_uninitialized_memory


def test_numbers_are_halved_only_where_the_gpu_does_not_emulate_that(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation)
    for device in ("cuda", "mps", "cpu"):
        assert isinstance(engine.mixed_precision(torch.device(device)), nullcontext)


@pytest.mark.parametrize(("own", "used"), [(None, ":4096:8"), (":16:8", ":16:8")])
def test_products_on_an_nvidia_gpu_are_asked_to_be_repeatable(monkeypatch, own, used):
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", own or "")
    if own is None:
        monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG")
    with engine.deterministic():
        assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == used


def test_a_loss_that_is_not_a_number_is_not_stepped_on():
    weight = torch.nn.Parameter(torch.ones(1))
    optimizer = torch.optim.SGD([weight], lr=1)
    with pytest.raises(FloatingPointError):
        engine.take_step(optimizer, weight.sum() * torch.nan)
    assert weight.item() == 1


@pytest.mark.parametrize(("clip", "moved"), [(0, (3, 4)), (1, (0.6, 0.8)), (10, (3, 4))])
def test_a_step_is_shortened_and_keeps_its_direction(clip, moved):
    first, second = torch.nn.Parameter(torch.zeros(1)), torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([{"params": [first]}, {"params": [second]}], lr=1)
    assert engine.take_step(optimizer, -3 * first.sum() - 4 * second.sum(), clip) == 0
    assert (first.item(), second.item()) == pytest.approx(moved)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only glibc is told to keep memory")
def test_memory_that_is_kept_for_the_next_step_is_given_back_after_a_stage():
    script = """
import torch
from pixelcam.training import engine

def resident():
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmRSS"))

engine.keep_freed_memory()
large = [torch.ones(2_000_000) for _ in range(50)]
last = torch.ones(10)
held = resident()
del large
kept = resident()
engine.give_memory_back()
print(held - kept, held - resident())
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    kept, given_back = (int(each) for each in done.stdout.split())
    assert kept < 50_000
    assert given_back > 300_000  # KB, of 400 MB
