"""What localizing says of images unlike the training images."""

import dataclasses

import numpy as np
import pytest
import torch

from pixelcam.localize import localizer as module
from pixelcam.model.familiarity import Familiarity
from pixelcam.slides import Slide
from tests.pixelcam.networks import louder, made_localizer
from tests.synthetic import tissue

pytestmark = pytest.mark.usefixtures("one_thread")


def glands(seed, side=64):
    return Slide.from_array(tissue("crowded", seed, side)[0], mpp=0.5)


def noise(seed=0, side=64):
    pixels = np.random.default_rng(seed).integers(0, 255, (side, side, 3), dtype=np.uint8)
    return Slide.from_array(pixels, mpp=0.5)


def sure(network):
    """Let the class head be sure of itself, whatever it sees."""
    louder(network)
    torch.nn.init.normal_(network.image_head.classify.weight, std=3.0)
    return network


def taught(**card):
    """A model that was shown glands and is sure of itself, and the same one before it was shown them."""
    plain, knowing = (made_localizer("test_resnet", sure, levels=(1, 2, -1), mpp=0.5, **card) for _ in "ab")
    known, others = (
        torch.stack([plain.mean_features(glands(seed).read()[None])[0] for seed in seeds])
        for seeds in (range(40), range(40, 60))
    )
    knowing.network.familiarity = Familiarity.fit(known, others)
    return plain, knowing


@pytest.mark.parametrize("multi_label", [False, True])
def test_an_image_unlike_the_known_ones_is_classified_by_chance(multi_label):
    plain, knowing = taught(classes=("a", "b", "c"), multi_label=multi_label)
    chance = 0.5 if multi_label else 1 / 3
    bare, found = plain.localize(noise()), knowing.localize(noise())
    assert max(bare.classes.values()) > 0.9
    assert found.familiarity < 0.05
    assert list(found.classes.values()) == pytest.approx([chance] * 3, abs=0.03)
    assert found.predicted == bare.predicted
    assert found.caution.startswith("Unlike the training images: made ")
    np.testing.assert_array_equal(found.foreground, bare.foreground)


def test_an_image_like_the_known_ones_is_classified_as_before():
    plain, knowing = taught()
    told = [(plain.localize(glands(seed)), knowing.localize(glands(seed))) for seed in range(60, 70)]
    alike = [(bare, found) for bare, found in told if found.familiarity == 1]
    assert len(alike) >= 8
    for bare, found in alike:
        assert found.classes == bare.classes
        assert found.caution == ""


def test_between_the_two_the_classes_lie_as_far_between():
    plain, knowing = taught()
    bare = plain.localize(noise())
    features = plain.run_tiles(working := plain.working_image(noise()), plain.plan_tiles(working)).means
    count = knowing.network.familiarity.usual[2]
    # Two deviations beyond the usual distance of twenty images: Student's t gives 3.1 %, of 5 %.
    knowing.network.familiarity.usual[0] = float(
        knowing.network.familiarity.log_distance(features[None])
        - 2 * knowing.network.familiarity.usual[1] * (1 + 1 / count) ** 0.5
    )
    found = knowing.localize(noise())
    assert found.familiarity == pytest.approx(0.0300 / 0.05, abs=0.01)
    expected = {name: found.familiarity * p + (1 - found.familiarity) / 2 for name, p in bare.classes.items()}
    assert found.classes == pytest.approx(expected)


def test_a_model_that_cannot_tell_says_so():
    plain, _ = taught()
    found = plain.localize(noise())
    assert found.familiarity is None
    assert found.caution == ""


def test_people_are_told_of_unfamiliar_images_only():
    found = taught()[0].localize(noise())
    assert dataclasses.replace(found, familiarity=0.5).caution == ""
    assert "49%" in dataclasses.replace(found, familiarity=0.49).caution


def test_a_large_image_is_as_familiar_in_tiles_as_whole(monkeypatch):
    localizer = made_localizer("test_resnet", louder, levels=(1, 2), mpp=0.5)
    image = Slide.from_array(tissue("crowded", 3, 200)[0][:, :170], mpp=0.5)
    seen = []
    for core in (64, 1024):
        monkeypatch.setattr(module, "CORE", core)
        monkeypatch.setattr(module, "CONTEXT", 64)
        working = localizer.working_image(image)
        seen.append(localizer.run_tiles(working, localizer.plan_tiles(working)).means)
    assert len(seen[0]) == localizer.network.measured
    assert float(seen[1].std()) > 0.01
    torch.testing.assert_close(*seen, atol=1e-4, rtol=1e-4)


def test_an_image_that_is_no_stained_tissue_is_told_with_its_class():
    plain, knowing = taught()
    fluorescence = np.zeros((96, 96, 3), np.uint8)
    fluorescence[::8, ::8, 2] = 200
    found = plain.localize(fluorescence)
    assert "has a dark ground, as fluorescence has" in found.image_caution
    assert found.caution == found.image_caution
    assert plain.localize(glands(3)).image_caution == ""
    both = knowing.localize(fluorescence)
    assert both.caution.startswith(f"{found.image_caution} Unlike the training images: made ")
