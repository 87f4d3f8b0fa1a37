"""How many labelled cells of other images count."""

import pytest
import torch

from pixelcam.refine import SeedSamples, share


def image(count, offset=0):
    """Return samples whose features tell them apart."""
    numbers = torch.arange(offset, offset + count, dtype=torch.float32)
    return SeedSamples(numbers[:, None], numbers, numbers % 2, torch.ones(count))


def test_few_cells_all_count():
    parts = [image(3), image(0), image(7, 100)]
    assert [len(part) for part in share(parts, 10)] == [3, 7]


def test_images_have_the_same_share_and_what_one_leaves_goes_to_the_others():
    parts = [image(300), image(5, 1000), image(300, 2000), image(0)]
    assert [len(part) for part in share(parts, 105)] == [50, 5, 50]


def test_every_image_counts_however_many_there_are():
    assert [len(part) for part in share([image(9)] * 12, 10)] == [1] * 12


def test_what_is_drawn_is_always_the_same_and_belongs_together():
    (first,) = share([image(200)], 40)
    (again,) = share([image(200)], 40)
    assert torch.equal(first.prior, again.prior)
    assert torch.equal(first.features[:, 0], first.prior)
    assert torch.equal(first.labels, first.prior % 2)
    assert len(set(first.prior.tolist())) == 40
    assert first.prior.mean().item() == pytest.approx(100, abs=30)
