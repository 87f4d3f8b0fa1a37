"""The head refitted to a reviewer's labels."""

import dataclasses
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from pixelcam.errors import CancelledError, ImageError, OutputError
from pixelcam.events import Stop
from pixelcam.localize import localizer as localizing
from pixelcam.refine import MapGrid, Refiner, SeedSamples, extract_features, features, refiner
from pixelcam.refine.head import fit_dual
from pixelcam.seeds.seedmap import SeedMap
from pixelcam.slides import Slide
from tests.pixelcam.networks import louder, made_localizer
from tests.synthetic import tissue

pytestmark = pytest.mark.usefixtures("one_thread")
SHAPE = (101, 135)


@pytest.fixture(scope="module")
def slide():
    image = np.hstack([tissue("crowded", seed, 128)[0] for seed in (1, 2)])
    return Slide.from_array(image[: SHAPE[0], : SHAPE[1]], mpp=0.5)


@pytest.fixture(params=["shallow", "transformer"])
def field(request, slide):
    return extract_features(request.getfixturevalue(request.param), slide)


def clicks(*places, shape=SHAPE, radius=3):
    labels = np.zeros(shape, np.uint8)
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    for row, column, value in places:
        labels[(rows - row) ** 2 + (columns - column) ** 2 <= radius**2] = value
    return labels


def test_the_fit_minimises_the_loss_that_it_names():
    rng = np.random.default_rng(0)
    x, prior = rng.normal(size=(12, 5)), rng.normal(size=12)
    labels, weights, l2 = (rng.random(12) < 0.5).astype(float), rng.random(12) + 0.1, 0.3

    def loss(change):
        signs = 2 * labels - 1
        return (weights * np.logaddexp(0, -signs * (prior + x @ change))).sum() + l2 / 2 * change @ change

    best = minimize(loss, np.zeros(5), tol=1e-12).x
    a = fit_dual(*(torch.from_numpy(each) for each in (x @ x.T, prior, labels, weights)), l2)
    np.testing.assert_allclose(x.T @ a.numpy(), best, atol=1e-4)


def test_a_cell_is_scored_on_the_map_as_in_the_fit(field):
    labels = clicks((0, 0, 2), (50, 60, 1), (100, 134, 2), (30, 133, 1))
    tool = Refiner(field)
    refit = tool.fit(labels)
    samples = refit.own
    a = tool._solved([samples], refit.change.nearby).float()
    bias = refiner._bias(samples)
    assert 0 < bias <= refiner.BIAS
    gram = samples.features @ samples.features.T + bias**2
    scored = samples.prior + (gram + refiner.NEARNESS * refit.change.nearby.covariance()) @ a
    cells = tool._cells.count(refit.seeds)
    rows, columns = cells.rows, cells.columns
    logits = refit.change.logits(field, *((0, side) for side in field.prior.shape))
    np.testing.assert_allclose(logits[rows, columns], scored, atol=1e-4)


def test_features_of_some_tiles_are_standardised_over_them_and_take_their_room_only(
    shallow, slide, monkeypatch
):
    monkeypatch.setattr(localizing, "CORE", 32)
    monkeypatch.setattr(localizing, "CONTEXT", 32)
    monkeypatch.setattr(features, "MOST_MIRRORED", 0)
    tiles = shallow.plan_tiles(shallow.working_image(slide))
    whole = extract_features(shallow, slide)
    some = extract_features(shallow, slide, only=tiles[:2])
    for all_of_it, part, grid in zip(whole.maps, some.maps, whole.grids, strict=True):
        places = [tile.cells(int(grid.stride))[0] for tile in tiles[:2]]
        seen = torch.cat([part[:, *place].flatten(1) for place in places], dim=1).float()
        assert seen.mean(dim=1).abs().max() < 0.01
        alive = seen.std(dim=1) > 0
        assert alive.sum() > 5
        assert (seen[alive].std(dim=1, correction=0) - 1).abs().max() < 0.01
        there = torch.cat([all_of_it[:, *place].flatten(1) for place in places], dim=1).float()[alive]
        again = (there - there.mean(dim=1, keepdim=True)) / there.std(dim=1, keepdim=True, correction=0)
        assert (seen[alive] - again).abs().max() < 0.05
        elsewhere = torch.ones(part.shape[1:], dtype=torch.bool)
        for place in places:
            elsewhere[place] = False
        assert (part[:, elsewhere] == 0).all()
    monkeypatch.setattr(features, "MOST_BYTES", whole.nbytes // 2)
    assert extract_features(shallow, slide, only=tiles[:2]).shape == whole.shape
    with pytest.raises(ImageError, match="too large"):
        extract_features(shallow, slide)


@pytest.mark.parametrize("views", [1, 4])
def test_without_labels_the_map_is_the_models_own(shallow, slide, views, monkeypatch):
    monkeypatch.setattr(features, "MOST_MIRRORED", 0)
    model = dataclasses.replace(shallow.model, views=views)
    localizer = localizing.Localizer(shallow.network, shallow.card, model, shallow.device)
    found = Refiner(extract_features(localizer, slide)).refine(np.zeros(SHAPE, np.uint8))
    np.testing.assert_allclose(found.foreground, localizer.localize(slide).foreground, atol=1e-5)
    assert found.samples == 0


def test_mirrored_views_lie_on_each_other(shallow, slide):
    mirrored = Slide.from_array(slide.read()[:, ::-1], mpp=0.5)
    whole = Slide.from_array(slide.read()[:96, :128], mpp=0.5)
    turned = Slide.from_array(mirrored.read()[:96, -128:], mpp=0.5)
    there = extract_features(shallow, whole)
    back = extract_features(shallow, turned)
    np.testing.assert_allclose(there.prior, back.prior.flip(1), atol=1e-4)
    assert not torch.allclose(there.prior, back.prior, atol=1e-4)


def test_the_map_follows_the_labels_and_keeps_them(field):
    labels = clicks((30, 30, 2), (30, 100, 1), (80, 40, 1), (80, 110, 2))
    before = Refiner(field).refine(np.zeros(SHAPE, np.uint8)).foreground
    after = Refiner(field).refine(labels).foreground
    assert (after[labels == 2] == 1).all()
    assert (after[labels == 1] == 0).all()
    assert after.shape == SHAPE
    assert after.dtype == np.float32
    around = clicks((30, 30, 2), (80, 110, 2), (30, 100, 1), (80, 40, 1), radius=6)
    near = (around != 0) & (labels == 0)
    change = after - before
    assert change[near & (around == 2)].mean() > change[near & (around == 1)].mean() + 0.01


def test_a_label_speaks_for_its_surroundings_and_not_for_what_is_far(field, monkeypatch):
    monkeypatch.setattr(refiner, "REACH", 8)
    labels = clicks((30, 30, 2))

    def logits(nearness):
        monkeypatch.setattr(refiner, "NEARNESS", nearness)
        return (
            Refiner(field)
            .fit(labels)
            .change.nearby.spread(
                Refiner(field).fit(labels).change.nearby_values, *((0, side) for side in field.prior.shape)
            )
        )

    assert not logits(0).any()
    found = logits(0.2)
    strongest = np.unravel_index(int(found.argmax()), found.shape)
    assert found.max() > 0.01
    assert all(abs(place - 30 * ratio) <= 1.5 for place, ratio in zip(strongest, field.ratio, strict=True))
    assert found[-1, -1] < 1e-3 * found.max()


@pytest.mark.parametrize("value", [1, 2])
def test_labels_of_one_kind_neither_lighten_nor_darken_the_map_as_a_whole(field, value, monkeypatch):
    monkeypatch.setattr(refiner, "NEARNESS", 0)
    labels = clicks(*((row, column, value) for row in (20, 50, 80) for column in (30, 70, 110)))
    change = Refiner(field).fit(labels).change
    moved = change.logits(field, *((0, side) for side in field.prior.shape)) - field.prior
    assert change.bias == 0
    assert moved.std() > 0.05
    assert abs(moved.mean()) < 0.35 * moved.std(), "what becomes lighter here becomes darker there"


def test_the_map_as_a_whole_moves_as_far_as_both_kinds_are_labelled_alike(field):
    def bias(*places):
        return refiner._bias(Refiner(field).samples(clicks(*places)))

    alike = bias((30, 30, 2), (80, 110, 1))
    uneven = bias((30, 30, 2), (80, 110, 1), (20, 110, 1), (80, 20, 1))
    assert refiner.BIAS >= alike > 2 * uneven > 0
    assert bias((30, 30, 2)) == bias() == 0


def test_a_stroke_counts_once_however_wide_and_two_that_are_apart_count_twice(field):
    def counted(*boxes):
        labels = np.zeros(SHAPE, np.uint8)
        for top, bottom, left, right, value in boxes:
            labels[top:bottom, left:right] = value
        return float(Refiner(field).samples(labels).weights.sum())

    reach = int(refiner.ALIKE / field.ratio[0] / field.stride)
    dot = counted((50, 58, 20, 28, 1))
    assert counted((46, 62, 20, 36, 1)) < 1.6 * max(dot, 1)
    assert counted((46, 62, 20, 36, 1)) > 0.9
    apart = counted((0, 8, 0, 8, 1), (90, 98, 120, 128, 1))
    assert reach < 60
    assert apart > 1.8 * dot
    assert counted((50, 58, 20, 28, 1), (50, 58, 30, 38, 2)) > 1.8 * dot, (
        "the other kind tells something else"
    )


def test_labels_move_the_map_against_the_threshold(field):
    """A model whose logits and threshold are both higher by as much is corrected alike."""
    labels = clicks((30, 30, 2), (30, 100, 1), (80, 40, 1), (80, 110, 2))
    shifted = dataclasses.replace(field, prior=field.prior + 1.5)
    matched = dataclasses.replace(
        shifted,
        threshold=float(torch.sigmoid(torch.tensor(1.5 + math.log(field.threshold / (1 - field.threshold))))),
    )

    def change(of):
        return torch.cat([each.flatten() for each in Refiner(of).fit(labels).change.weights])

    assert torch.allclose(change(matched), change(field), atol=1e-4)
    assert not torch.allclose(change(shifted), change(field), atol=1e-2)


def test_the_same_labels_give_the_same_map_whatever_was_painted_before(field):
    labels = clicks((30, 30, 2), (80, 110, 1))
    tool = Refiner(field)
    tool.refine(clicks((50, 50, 1), (10, 100, 2)))
    assert np.array_equal(tool.refine(labels).foreground, Refiner(field).refine(labels).foreground)


@pytest.mark.parametrize("step", [1, 3])
@pytest.mark.parametrize("box", [(0, 0, 101, 135), (0, 0, 20, 30), (40, 60, 43, 135), (90, 100, 101, 101)])
def test_a_part_of_the_map_is_that_part_of_the_whole(field, box, step):
    refit = Refiner(field).fit(clicks((30, 30, 2), (30, 100, 1), (80, 40, 1), (95, 102, 2)))
    whole = Refiner(field).draw_all(refit, MapGrid(SHAPE))
    rows, columns = np.arange(box[0], box[2], step), np.arange(box[1], box[3], step)
    part = Refiner(field).draw(refit, MapGrid(SHAPE), rows, columns)
    np.testing.assert_allclose(part, whole[np.ix_(rows, columns)], atol=1e-5)


def test_a_map_of_another_scale_lies_on_the_same_image(field):
    labels = clicks((30, 30, 2), (80, 110, 1))
    tool = Refiner(field)
    refit = tool.fit(labels)
    whole = tool.draw_all(refit, MapGrid(SHAPE))
    coarse = tool.draw_all(refit, MapGrid((20, 27), (5.0, 5.0), (2.0, 2.0)))
    np.testing.assert_allclose(coarse, whole[2::5, 2::5], atol=1e-5)


def test_a_large_map_is_drawn_in_parts_and_can_be_broken_off(field, monkeypatch):
    tool = Refiner(field)
    refit = tool.fit(clicks((30, 30, 2), (80, 110, 1)))
    whole = tool.draw_all(refit, MapGrid(SHAPE))
    monkeypatch.setattr(refiner, "PART", 17 * SHAPE[1])
    asked = []
    parts = tool.draw_all(refit, MapGrid(SHAPE), lambda: asked.append(1) or Stop.NO)
    assert len(asked) == 6
    np.testing.assert_allclose(parts, whole, atol=1e-5)
    with pytest.raises(CancelledError):
        tool.draw_all(refit, MapGrid(SHAPE), lambda: Stop.DISCARD)


def test_labels_on_a_coarser_level_fall_on_the_same_cells(field):
    fine = np.zeros(SHAPE, np.uint8)
    fine[40:44, 60:64], fine[80:84, 20:24] = 2, 1
    shape = (SHAPE[0] // 2, SHAPE[1] // 2)
    coarse = np.zeros(shape, np.uint8)
    coarse[20:22, 30:32], coarse[40:42, 10:12] = 2, 1
    tool = Refiner(field)
    cells = [tool._cells.count(SeedMap.of(each)) for each in (fine, coarse)]
    there, here = (set(zip(each.rows, each.columns, strict=True)) for each in cells)
    assert here <= there
    assert here
    found = tool.refine(coarse).foreground
    assert found.shape == SHAPE
    assert (found[41:43, 61:63] == 1).all()


def test_a_large_area_is_averaged_to_few_samples(field, monkeypatch):
    monkeypatch.setattr(refiner, "MOST_SAMPLES", 20)
    labels = np.ones(SHAPE, np.uint8)
    labels[:, :60] = 2
    samples = Refiner(field).samples(labels)
    assert 4 <= len(samples) <= 20
    assert set(samples.labels.tolist()) == {0, 1}
    assert np.isfinite(Refiner(field).refine(labels).foreground).all()


def test_a_large_area_costs_the_features_of_some_of_its_cells_only(shallow, slide, monkeypatch):
    monkeypatch.setattr(refiner, "MOST_SAMPLES", 20)
    monkeypatch.setattr(refiner, "MOST_AVERAGED", 10**6)
    labels = np.zeros(SHAPE, np.uint8)
    labels[:, :60], labels[:30, 70:] = 2, 1
    field = extract_features(shallow, slide)
    slow = Refiner(field)
    every = slow.refine(labels).foreground
    monkeypatch.setattr(refiner, "MOST_AVERAGED", 6)
    tool = Refiner(field)
    some = tool.refine(labels).foreground
    assert len(tool._known) <= 6 * 20 < len(slow._known) / 2
    assert np.abs(some - every)[labels == 0].mean() < 0.02
    assert torch.equal(tool.samples(labels).weights, slow.samples(labels).weights)
    known = set(tool._known)
    labels[40:42, 80:90] = 1
    tool.fit(labels)
    assert len(set(tool._known) - known) < 20, "the next stroke finds most of them known"


def test_samples_of_another_image_change_an_image_without_labels(field, slide, request):
    empty = np.zeros(SHAPE, np.uint8)
    tool = Refiner(field)
    other = tool.samples(clicks((30, 30, 2), (80, 110, 1)))
    found = tool.refine(empty, [other])
    assert found.samples == len(other) > 0
    assert not np.allclose(found.foreground, tool.refine(empty).foreground, atol=1e-3)
    assert len(SeedSamples.joined([other, other])) == 2 * len(other)


def test_samples_of_other_images_count_for_what_images_share_and_never_for_the_map_as_a_whole(
    field, monkeypatch
):
    tool = Refiner(field)
    many = tool.samples(clicks((30, 30, 2), (30, 100, 1), (80, 40, 1), (80, 110, 2)))
    empty = np.zeros(SHAPE, np.uint8)
    change = tool.fit(empty, [many]).change
    own = tool.fit(clicks((30, 30, 2), (30, 100, 1), (80, 40, 1), (80, 110, 2))).change
    assert change.bias == 0
    assert 0 < change.weights[0].norm() < own.weights[0].norm()
    monkeypatch.setattr(refiner, "SHARED", 0)
    assert not any(part.any() for part in tool.fit(empty, [many]).change.weights)


def test_what_is_erased_leaves_no_trace(field):
    tool, kept = Refiner(field), clicks((30, 30, 2), (80, 110, 1))
    seeds = SeedMap.of(kept)
    before = tool.draw_all(tool.fit(seeds), MapGrid(SHAPE))
    more = kept.copy()
    more[40:60, 20:120] = 1
    painted = seeds.updated(more, seeds.differing(more))
    assert not np.array_equal(tool.draw_all(tool.fit(painted), MapGrid(SHAPE)), before)
    erased = painted.updated(kept, painted.differing(kept))
    assert np.array_equal(tool.draw_all(tool.fit(erased), MapGrid(SHAPE)), before)
    nothing = erased.updated(np.zeros_like(kept), erased.differing(np.zeros_like(kept)))
    own = tool.draw_all(tool.fit(np.zeros_like(kept)), MapGrid(SHAPE))
    assert np.array_equal(tool.draw_all(tool.fit(nothing), MapGrid(SHAPE)), own)


def test_features_past_the_memory_limit_lie_in_a_file_and_are_the_same(shallow, slide, tmp_path):
    inside = extract_features(shallow, slide)
    outside = extract_features(shallow, slide, scratch=tmp_path, in_memory=0)
    assert all(torch.equal(a, b) for a, b in zip(inside.maps, outside.maps, strict=True))
    assert inside.nbytes == sum(each.numel() * 2 for each in inside.maps)
    assert list(tmp_path.iterdir()) == []


def test_features_that_the_disk_cannot_take_are_refused_before_they_are_written(shallow, slide, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda place: SimpleNamespace(free=1000))
    assert extract_features(shallow, slide).nbytes > 1000, "in memory"
    with pytest.raises(OutputError, match=r"cannot take 0\.0 GB of features; make room there"):
        extract_features(shallow, slide, in_memory=0)


def test_features_in_tiles_are_those_of_the_whole(shallow, slide, monkeypatch):
    monkeypatch.setattr(features, "MOST_MIRRORED", 0)
    whole = extract_features(shallow, slide)
    monkeypatch.setattr(localizing, "CORE", 32)
    monkeypatch.setattr(localizing, "CONTEXT", 32)
    assert len(shallow.plan_tiles(shallow.working_image(slide))) > 1
    tiled = extract_features(shallow, slide)
    np.testing.assert_allclose(tiled.prior, whole.prior, atol=1e-4)
    for a, b in zip(tiled.maps, whole.maps, strict=True):
        np.testing.assert_allclose(a.float(), b.float(), atol=2e-2)


def test_an_image_of_too_many_features_is_refused(shallow, slide, monkeypatch):
    monkeypatch.setattr(features, "MOST_BYTES", 10)
    with pytest.raises(ImageError, match="too large to be refined live"):
        extract_features(shallow, slide)


def test_extraction_can_be_cancelled(shallow, slide):
    with pytest.raises(CancelledError):
        extract_features(shallow, slide, should_stop=lambda: Stop.DISCARD)


def test_a_model_that_gives_nan_is_named(shallow, slide):
    card = dataclasses.replace(shallow.card, mean=(float("nan"),) * 3)
    broken = localizing.Localizer(shallow.network, card, shallow.model, shallow.device)
    with pytest.raises(ImageError, match="not numbers"):
        extract_features(broken, slide)


def test_features_past_half_precision_leave_the_map_finite(slide):
    def blinding(network):
        network.encoder.body.conv1[0].weight.data *= 1e7
        return louder(network)

    field = extract_features(made_localizer("test_resnet", blinding, levels=(1, 2), mpp=0.5), slide)
    assert np.isfinite(Refiner(field).refine(clicks((30, 30, 2), (80, 110, 1))).foreground).all()
