"""Self-taught classifiers: each class and each image gets its own; they say when they cannot."""

import dataclasses

import pytest
import torch

from pixelcam.errors import CancelledError, RunError
from pixelcam.teachers.selftaught import EVERYTHING, FEW, FitSettings, SelfTaught, group_images, pooled

pytestmark = pytest.mark.usefixtures("one_thread")

IMAGES, CELLS, CHANNELS = 2 * FEW, 196, 6
ROUND = FitSettings(certain=1.0)


@pytest.fixture
def tissue():
    """Features whose foreground is bright in channel 0 in images of class 0 and dark in those of class 1.

    Channel 1 tells it too, in both classes alike but with more noise: enough for a map to begin with.
    """
    generator = torch.Generator().manual_seed(0)
    inside = torch.rand(IMAGES, CELLS, generator=generator) < 0.4
    labels = torch.arange(IMAGES) % 2
    features = torch.randn(IMAGES, CELLS, CHANNELS, generator=generator)
    side = torch.where(labels == 0, 1.0, -1.0)[:, None]
    features[..., 0] += 4 * side * inside
    features[..., 1] += 2 * inside
    return features, inside, labels


def fitted(features, prior, groups, settings=ROUND, regionless=None, on_round=lambda: None):
    regionless = torch.zeros(len(features), dtype=torch.bool) if regionless is None else regionless
    return SelfTaught(settings, features.half(), prior, groups, regionless, on_round)


def told(fits, features, groups):
    """Both answers of every image (n, cells)."""
    pairs = [fits.answer(each, int(group)) for each, group in zip(features, groups, strict=True)]
    answers, own = zip(*pairs, strict=True)
    return torch.stack(answers), torch.stack(own)


def right(answers, inside):
    """The share of cells on the right side of an answer's median among equally many of each kind."""
    return float((answers[inside][:, None] > answers[~inside][None]).float().mean())


def test_each_class_is_told_apart_by_what_marks_it(tissue):
    features, inside, labels = tissue
    prior = pooled(features[..., 1])
    of_classes = told(fitted(features, prior, labels), features, labels)[0]
    together = torch.full_like(labels, EVERYTHING)
    of_all = told(fitted(features, prior, together), features, together)[0]
    # 0.98 and 0.93 when this was written; 0.93 is what channel 1 tells.
    assert right(of_classes, inside) > right(of_all, inside) + 0.03


def test_maps_of_a_class_that_is_hard_to_tell_are_fainter(tissue):
    features, inside, labels = tissue
    features = features.clone()
    hard = (labels == 1)[:, None] & inside
    features[..., 0][hard] += 4  # what marks the class is gone
    answers = told(fitted(features, pooled(features[..., 1]), labels), features, labels)[0]
    assert float(answers[labels == 1].std()) < 0.8 * float(answers[labels == 0].std())
    assert float(answers.abs().max()) < 3  # -1 is background, 1 foreground


def test_an_images_own_cells_tell_what_its_class_does_not_know(tissue):
    features, inside, labels = tissue
    features = features.clone()
    own_mark = torch.where(torch.arange(IMAGES) % 4 < 2, 3.0, -3.0)[:, None]
    features[..., 2] += own_mark * inside  # marks the foreground of each image, of a class to both sides
    features[..., 0] = 0
    answers, own = told(fitted(features, pooled(features[..., 1]), labels), features, labels)
    # 0.947 and 0.927 when this was written.
    assert right(pooled(answers) + 0.5 * pooled(own), inside) > right(answers, inside) + 0.01


def test_an_image_that_is_all_of_one_kind_has_no_classifier_of_its_own(tissue):
    features, _, labels = tissue
    fits = fitted(features, pooled(features[..., 1]), labels)
    same = 0.3 * torch.randn(CELLS, CHANNELS, generator=torch.Generator().manual_seed(1))
    same[:, 0] += 6
    answer, own = fits.answer(same, 0)
    assert float(answer.min()) > -ROUND.image_certain
    assert not own.any()


def test_images_without_a_region_are_background_to_every_class(tissue):
    features, _, labels = tissue
    features = features.clone()
    regionless = torch.zeros(IMAGES, dtype=torch.bool)
    regionless[:2] = True
    features[:2, :, 3] += 5  # what only they show
    prior = pooled(features[..., 1])
    with_them = fitted(features, prior, labels, regionless=regionless)
    for fit in with_them.fits.values():
        assert float(fit.weights[3]) < -0.02


def test_small_classes_are_fitted_with_all_others():
    labels = torch.tensor([0] * FEW + [1] * (FEW - 1) + [2] * FEW)
    regionless = labels == 2
    groups = group_images(labels, regionless)
    assert groups.tolist() == [0] * FEW + [EVERYTHING] * (2 * FEW - 1)


def test_images_of_several_labels_are_grouped_by_all_of_them():
    labels = torch.tensor([[1.0, 0.0], [1.0, 1.0]]).repeat_interleave(FEW, dim=0)
    groups = group_images(labels, torch.zeros(2 * FEW, dtype=torch.bool))
    assert groups.unique().tolist() == [0, 1]
    assert (groups[:FEW] == groups[0]).all()


def test_features_that_tell_nothing_end_in_a_sentence(tissue):
    features, _, labels = tissue
    prior = torch.zeros(IMAGES, CELLS)
    with pytest.raises(RunError, match="No cell of the eigen maps is certain"):
        fitted(features, prior, labels)


def test_it_stops_when_asked(tissue):
    features, _, labels = tissue

    def on_round():
        raise CancelledError

    with pytest.raises(CancelledError):
        fitted(features, pooled(features[..., 1]), labels, on_round=on_round)


def test_more_rounds_come_nearer(tissue):
    features, inside, labels = tissue
    prior = pooled(features[..., 1])
    found = []
    for rounds in (1, 3):
        fits = fitted(features, prior, labels, dataclasses.replace(ROUND, rounds=rounds))
        found.append(right(told(fits, features, labels)[0], inside))
    assert found[1] > found[0]


def test_a_class_of_which_too_few_images_are_fitted_is_fitted_with_all_others():
    labels, regionless = torch.arange(2).repeat_interleave(2 * FEW), torch.zeros(4 * FEW, dtype=torch.bool)
    groups = group_images(labels, regionless, torch.arange(2 * FEW + 1))
    assert groups.unique().tolist() == [EVERYTHING, 0]
    assert groups[-1] == EVERYTHING
