"""Ratios are taken within turns, and localization is timed doing what the localizer does."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from benchmarks import speed
from pixelcam.localize import localizer as localizing
from pixelcam.localize.localization import ModelRef
from pixelcam.model import ModelCard
from pixelcam.model.familiarity import Familiarity


class Clock:
    """A clock that only the works move."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now

    def work(self, *seconds):
        """Return a work that takes so long, each time the next."""
        queue = iter(seconds)

        def run():
            self.now += next(queue)

        return run


def test_every_turn_times_every_work_once_after_one_that_warms_up():
    clock = Clock()
    works = {
        # In each turn once untimed, and once timed.
        "a": clock.work(100, 100, 7, 1, 7, 2, 7, 4),
        "b": clock.work(100, 2, 6, 4),
        "c": clock.work(100, 5, 5, 5),
    }
    seconds = speed.time_in_turn(works, 3, clock)
    assert seconds == {"a": [1, 2, 4], "b": [2, 6, 4], "c": [5, 5, 5]}
    assert speed.paired_ratio(seconds["b"], seconds["a"]) == (1.5, 2.0, 2.5)


def test_the_first_two_works_change_places_from_turn_to_turn():
    order = []
    works = {name: lambda name=name: order.append(name) for name in "abc"}
    speed.time_in_turn(works, 2, lambda: 0.0)
    turns = ["".join(order[start : start + 4]) for start in range(0, len(order), 4)]
    assert turns == ["aabc", "abac", "aabc"]


@pytest.mark.parametrize("encoder", ["test_efficientnet", "test_vit"])
def test_what_is_timed_as_localization_is_what_the_localizer_gives(encoder, one_thread):
    torch.manual_seed(0)
    card = ModelCard(encoder=encoder, classes=("a", "b"), input_size=96, levels=(1, 2))
    network = card.build()
    localizer = localizing.Localizer(network, card, ModelRef("x", ""), torch.device("cpu"))
    pixels = np.random.default_rng(0).integers(0, 255, (2, 96, 96, 3), dtype=np.uint8)
    network.familiarity = Familiarity.fit(*torch.randn(2, 50, network.measured))
    network.familiarity.usual[0] = (
        network.familiarity.log_distance(localizer.mean_features(pixels)).mean() - 1
    )
    expected = [localizer.localize(each) for each in pixels]
    assert 0 < expected[0].familiarity < 1
    found = speed.localize(network, localizing.normalise(torch.from_numpy(pixels), card))
    for each, probabilities, foreground in zip(expected, *found, strict=True):
        np.testing.assert_allclose(probabilities.numpy(), list(each.classes.values()), atol=1e-6)
        np.testing.assert_allclose(foreground.numpy(), each.foreground, atol=1e-6)


def test_the_parts_of_a_training_step_are_told_in_shares_of_it(one_thread):
    shares = speed.measure_step("test_efficientnet", 1, "cpu", speed.time.process_time)
    seconds = shares.pop("seconds")
    assert seconds > 0
    assert set(shares) == {"model", "augmentation", "labels", "rest"}
    assert sum(shares.values()) == pytest.approx(100)
    assert min(shares.values()) > 0


def test_the_page_says_whether_the_target_is_met():
    ratios = [
        speed.Ratios(name, 8, 30, {speed.ENCODER: 200.0}, (0.99, ratio, 1.2), (3.0, 4.0, 5.0))
        for name, ratio in (("quick", 1.04), ("slow", 1.06))
    ]
    shares = {"seconds": 2.5, "model": 95.0, "augmentation": 3.0, "labels": 1.0, "rest": 1.0}
    page = speed.to_markdown(ratios, shares, "wall time")
    assert "| quick | 8 | 200 | 1.040 (0.990 to 1.200) | yes | 4.000 (3.000 to 5.000) |" in page
    assert "| slow | 8 | 200 | 1.060 (0.990 to 1.200) | no |" in page
    assert "| model: forward, backward and update | 95.0 |" in page
