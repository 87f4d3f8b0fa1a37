"""Eigen maps label by label: kinds of images, their components and fits, and where a finer level joins in."""

import pytest
import torch

from pixelcam.teachers.eigen import deviations
from pixelcam.teachers.eigen.components import leading_components
from pixelcam.teachers.eigen.kinds import Kinds
from pixelcam.teachers.eigen.refit import refitted
from pixelcam.teachers.eigen.scale import pooled
from pixelcam.teachers.eigen.settings import EigenSettings
from pixelcam.training.data import ImageStack

pytestmark = pytest.mark.usefixtures("one_thread")
SIDE, EACH = 12, 20
LABELS = torch.arange(2 * EACH) % 2


class GivenCells:
    """Stands for an encoder pass: features that a test has made, by level."""

    batch = 8

    def __init__(self, *levels):
        self.levels = levels

    def channels(self, levels):
        return [self.levels[level].shape[2] for level in levels]

    def features(self, sides, levels, images, view=None):
        for chosen in images.split(self.batch):
            found = torch.cat([self.levels[level][chosen] for level in levels], dim=2)
            # Tissue that lies anywhere shows nothing at the same place of all windows.
            yield chosen, found if view is None else torch.randn(found.shape)

    def obey(self):
        pass

    def on_event(self, event):
        pass


def stack(labels, regionless=None):
    images = torch.zeros(len(labels), 2, 2, 3, dtype=torch.uint8)
    none = torch.zeros(len(labels), dtype=torch.bool)
    return ImageStack(images, labels, none if regionless is None else regionless)


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def cue(seed):
    """Maps (n, cells) in each of whose images something lies elsewhere."""
    return noise(len(LABELS), SIDE**2, seed=seed)


def likeness(maps, truth, chosen=slice(None)):
    return float((pooled(maps.flatten(1)[chosen]) * pooled(truth[chosen])).mean())


def test_each_label_of_enough_images_is_a_kind_of_its_own_and_the_few_learn_from_all():
    labels = torch.tensor([0] * 20 + [3] * 17 + [1] * 5 + [2] * 4)
    kinds = Kinds.of(stack(labels))
    assert kinds.kind.tolist() == [0] * 20 + [1] * 17 + [2] * 9
    assert torch.equal(kinds.learnt_from[:2], torch.stack([labels == 0, labels == 3]))
    assert kinds.learnt_from[2].all()


def test_every_kind_learns_from_images_that_hold_no_region():
    labels = torch.tensor([0] * 20 + [1] * 20 + [2] * 20)
    kinds = Kinds.of(stack(labels, labels == 1))
    assert kinds.kind.tolist() == [0] * 20 + [2] * 20 + [1] * 20
    assert torch.equal(kinds.learnt_from[0], labels <= 1)
    assert torch.equal(kinds.learnt_from[1], labels >= 1)


def test_images_of_several_labels_are_one_kind():
    kinds = Kinds.of(stack(torch.ones(40, 3)))
    assert not kinds.kind.any()
    assert kinds.learnt_from.shape == (1, 40)
    assert kinds.learnt_from.all()


def test_a_component_is_each_labels_own_and_tells_how_much_it_holds():
    first, second = cue(1), cue(2)
    features = noise(len(LABELS), SIDE**2, 6, seed=3)
    features[LABELS == 0, :, 0] += 8 * first[LABELS == 0]
    features[LABELS == 1, :, 1] += 3 * second[LABELS == 1]
    (found,) = leading_components(GivenCells(features), 64, [0], Kinds.of(stack(LABELS)))
    assert abs(likeness(found.maps, first, LABELS == 0)) > 0.9
    assert abs(likeness(found.maps, second, LABELS == 1)) > 0.8
    assert 1 > found.share[0] > found.share[1] > 1 / 6


def joining_scene(surplus):
    """A known and an unknown part of the foreground, of which images of label 1 hold so much more."""
    known, unknown = cue(1), cue(2)
    features = torch.stack([known, unknown, cue(3)], dim=2) + 0.3 * noise(len(LABELS), SIDE**2, 3, seed=4)
    features[..., 1] += surplus * (LABELS[:, None] == 1)
    # The prior leans away from the unknown a little: what it says must not give that its sign.
    prior = pooled((known - 0.25 * unknown).reshape(-1, SIDE, SIDE))
    return known + unknown, unknown.reshape(-1, SIDE, SIDE), GivenCells(features), prior


def refit(cells, prior, joining, *where, kinds=None):
    settings = EigenSettings(0, (64,), (0,), (64,), grid=SIDE)
    return refitted(settings, cells, kinds or Kinds.of(stack(LABELS)), prior, joining, torch.tensor(where))


@pytest.mark.parametrize("sign", [1, -1])
def test_a_joining_map_teaches_its_kind_with_the_sign_by_which_its_images_hold_more_of_it(sign):
    truth, unknown, cells, prior = joining_scene(surplus=0.5)
    without = refit(cells, prior, [], False, False)
    joined = refit(cells, prior, [sign * unknown, -sign * unknown], False, True)
    torch.testing.assert_close(joined[LABELS == 0], without[LABELS == 0], atol=0.2, rtol=0)  # one scale
    assert likeness(joined, truth, LABELS == 1) > likeness(without, truth, LABELS == 1) + 0.05
    assert likeness(joined, truth, LABELS == 1) > 0.9


def test_a_joining_map_of_which_no_label_holds_more_is_left_out():
    _, unknown, cells, prior = joining_scene(surplus=0)
    without = refit(cells, prior, [], False, False)
    torch.testing.assert_close(refit(cells, prior, [unknown], False, True), without)


def test_nothing_joins_where_there_are_no_other_images_to_compare_with():
    _, unknown, cells, prior = joining_scene(surplus=0.5)
    without = refit(cells, prior, [], False, False)
    torch.testing.assert_close(refit(cells, prior, [unknown], True, True), without)


def test_images_that_hold_no_region_are_others_to_compare_with():
    _, unknown, cells, prior = joining_scene(surplus=0.5)
    kinds = Kinds.of(stack(LABELS, LABELS == 0)).whole
    without, joined, turned = (
        refit(cells, prior, joining, True, kinds=kinds) for joining in ([0 * unknown], [unknown], [-unknown])
    )
    torch.testing.assert_close(joined, turned)
    assert float((joined - without).abs().mean()) > 0.05


def test_labels_whose_foreground_looks_otherwise_have_classifiers_of_their_own():
    truth = cue(1)
    features = noise(len(LABELS), SIDE**2, 3, seed=4)
    features[..., 0] += torch.where(LABELS[:, None] == 0, 1.0, -1.0) * truth  # dark here, bright there
    prior = pooled((truth + 2 * cue(5)).reshape(-1, SIDE, SIDE))
    cells, kinds = GivenCells(features), Kinds.of(stack(LABELS))
    assert likeness(refit(cells, prior, [], False, False), truth) > 0.6
    assert abs(likeness(refit(cells, prior, [], False, kinds=kinds.whole), truth)) < 0.2


@pytest.mark.parametrize("sign", [1, -1])
def test_a_label_without_objects_of_its_own_is_shown_by_those_of_all_and_by_the_finer_level(sign):
    known, density, alien = cue(1), cue(2), cue(3)
    dense = LABELS == 1
    fine, coarse = (noise(len(LABELS), SIDE**2, 12, seed=seed) for seed in (4, 5))
    coarse[..., :3] += (torch.where(dense, 0.7, 3.0)[:, None] * known)[..., None]
    coarse[..., 3:6] += (1.0 * dense[:, None] * alien)[..., None]  # stands out most in dense images
    fine[..., :6] += sign * dense[:, None, None] * (4 * density + 2)[..., None]
    truth = known + dense[:, None] * density
    class_maps = (known + cue(6)).reshape(-1, SIDE, SIDE)
    settings = EigenSettings(1, (64,), (0, 1), (64,), grid=SIDE)
    maps = deviations(settings, GivenCells(fine, coarse), Kinds.of(stack(LABELS)), class_maps)
    assert likeness(maps, truth, ~dense) > 0.9
    assert likeness(maps, truth, dense) > 0.7
    assert abs(likeness(maps, alien, dense)) < 0.3
