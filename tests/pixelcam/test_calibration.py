"""Calibration: the fit finds what was put in, and folding it into the heads is exact."""

import copy

import numpy as np
import pytest
import torch

from pixelcam.calibration import Calibration, fit_pixels, fit_temperature, fold_classes, fold_pixels
from pixelcam.metrics import expected_calibration_error, pxap, score_histograms
from pixelcam.model.geometry import Grid
from pixelcam.model.heads import make_image_head
from pixelcam.model.network import PixelHead


def pixels(scale, bias, count=40_000):
    """Scores of pixels, and masks drawn so that ``scale * score + bias`` are their true log-odds."""
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(count, generator=generator) * 2
    truth = torch.rand(count, generator=generator) < torch.sigmoid(scale * scores + bias)
    return scores, truth.to(torch.uint8)


@pytest.mark.parametrize(("scale", "bias"), [(0.4, 0.8), (1.0, 0.0), (2.5, -1.0)])
def test_the_scale_and_bias_of_made_pixels_are_found(scale, bias):
    found = fit_pixels(*pixels(scale, bias))
    # Four standard errors of a logistic regression on so many pixels.
    assert found.scale == pytest.approx(scale, abs=0.12 * max(scale, 0.5))
    assert found.bias == pytest.approx(bias, abs=0.1)


def test_calibrated_scores_are_probabilities_and_pxap_is_as_before():
    scores, masks = pixels(0.4, 0.8)
    found = fit_pixels(scores, masks)
    before, after = (
        score_histograms(torch.sigmoid(values).numpy(), masks.numpy())
        for values in (scores, found.scale * scores + found.bias)
    )
    assert expected_calibration_error(*after) < 1 < 10 < expected_calibration_error(*before)
    assert pxap(*after) == pytest.approx(pxap(*before), abs=0.1), "but for the binning of scores"


def test_ignored_pixels_change_nothing():
    scores, masks = pixels(0.4, 0.8, 4000)
    more = torch.cat([scores, torch.full((500,), 9.0)])
    ignored = torch.cat([masks, torch.full((500,), 255, dtype=torch.uint8)])
    assert fit_pixels(more, ignored) == fit_pixels(scores, masks)


def test_where_nothing_can_be_fitted_nothing_is_changed():
    scores, masks = pixels(1.0, 0.0, 1000)
    assert fit_pixels(scores, torch.zeros_like(masks)) == Calibration()
    assert fit_pixels(-scores, masks) == Calibration(), "a map that is the wrong way round is not turned"
    with pytest.raises(ValueError, match="shape"):
        fit_pixels(scores, masks[1:])


def test_scores_that_tell_all_pixels_apart_keep_the_scale_finite():
    scores = torch.linspace(-0.01, 0.01, 200)
    found = fit_pixels(scores, (scores > 0).to(torch.uint8))
    assert 1 < found.scale <= 20
    assert abs(found.bias) < 0.01


@pytest.mark.parametrize("standardise", [True, False])
def test_folding_into_a_pixel_head_of_several_levels_is_exact(standardise):
    torch.manual_seed(0)
    head = PixelHead([5, 7], [Grid.plain(4), Grid.plain(8)], standardise).eval()
    for convolution in head.convolutions:
        torch.nn.init.normal_(convolution.weight)
    maps = [torch.randn(2, 5, 8, 8), torch.randn(2, 7, 4, 4)]
    folded = copy.deepcopy(head)
    fold_pixels(folded, Calibration(0.3, 1.7))
    before, after = head(maps), folded(maps)
    wanted = torch.sigmoid(0.3 * (before[:, 1] - before[:, 0]) + 1.7)
    torch.testing.assert_close(after.softmax(1)[:, 1], wanted)
    assert sum(p.numel() for p in folded.parameters()) == sum(p.numel() for p in head.parameters())


@pytest.mark.parametrize("kind", ["average", "max", "attention"])
def test_folding_into_an_image_head_is_exact(kind):
    torch.manual_seed(0)
    head = make_image_head(kind, 6, 3).eval()
    final = torch.randn(4, 6, 5, 5)
    before = head(final)
    assert fold_classes(head, 0.4)
    torch.testing.assert_close(head(final), 0.4 * before)


def test_a_head_that_does_not_scale_stays_as_it_is():
    torch.manual_seed(0)
    head = make_image_head("lse", 6, 3).eval()
    final = torch.randn(4, 6, 5, 5)
    before = head(final)
    assert not fold_classes(head, 0.4)
    assert torch.equal(head(final), before)


@pytest.mark.parametrize("several", [True, False])
def test_the_temperature_of_made_classes_is_found(several):
    generator = np.random.default_rng(0)
    logits = generator.normal(size=(6000, 3))
    if several:
        labels = (generator.random(logits.shape) < 1 / (1 + np.exp(-logits))).astype(np.float32)
    else:
        labels = (logits + generator.gumbel(size=logits.shape)).argmax(axis=1)
    found = fit_temperature(torch.from_numpy(3 * logits), torch.from_numpy(labels))
    assert found == pytest.approx(1 / 3, rel=0.1)


def test_a_few_images_all_told_right_ask_for_no_certainty():
    found = fit_temperature(torch.tensor([[2.0, 0.0], [0.0, 2.0]]), torch.tensor([0, 1]))
    assert 1 < found < 3
    with pytest.raises(ValueError, match="validation images"):
        fit_temperature(torch.zeros(0, 2), torch.zeros(0, dtype=torch.int64))


def test_the_bias_suits_the_scale_where_that_is_at_its_limit():
    generator = torch.Generator().manual_seed(0)
    masks = (torch.rand(20_000, generator=generator) < 0.05).to(torch.uint8)
    scores = 0.01 * (torch.randn(20_000, generator=generator) + 2 * masks)
    found = fit_pixels(scores, masks)
    assert found.scale == 20
    foreground = torch.sigmoid(found.scale * scores + found.bias)
    assert float(foreground.mean()) == pytest.approx(float(masks.float().mean()), abs=1e-4)
