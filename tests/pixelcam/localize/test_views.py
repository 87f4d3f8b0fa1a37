"""Localizing from four mirrored views of an image."""

import numpy as np
import pytest
import torch

import pixelcam
from pixelcam.errors import ConfigError
from pixelcam.model import save_checkpoint
from pixelcam.model.familiarity import Familiarity
from pixelcam.slides import Slide
from tests.pixelcam.networks import louder, made_localizer
from tests.synthetic import tissue

pytestmark = pytest.mark.usefixtures("one_thread")

AXES = [(), (0,), (1,), (0, 1)]


@pytest.fixture(params=["deep", "transformer"])
def localizer(request):
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="module")
def pixels():
    return tissue("crowded", 3, 192)[0][:128]


@pytest.mark.parametrize("axes", AXES[1:])
def test_an_image_and_its_mirror_image_get_the_same_answer(localizer, pixels, axes):
    turned = np.flip(pixels, axes).copy()
    steady = localizer.seen_from(4)
    plain, mirrored = steady.localize(pixels), steady.localize(turned)
    np.testing.assert_allclose(np.flip(mirrored.foreground, axes), plain.foreground, atol=1e-5)
    assert mirrored.classes == pytest.approx(plain.classes, abs=1e-6)
    once = np.flip(localizer.localize(turned).foreground, axes)
    assert np.abs(once - localizer.localize(pixels).foreground).max() > 0.01, "one view tells them apart"


def test_the_map_is_the_mean_of_the_views_in_log_odds(deep, pixels):
    def odds(image):
        seen = deep.run_tiles(deep.working_image(image), deep.plan_tiles(deep.working_image(image)))
        return seen.logits, torch.logit(seen.grid), seen.means

    images = [Slide.from_array(np.flip(pixels, axes).copy(), mpp=0.5) for axes in AXES]
    logits, maps, means = zip(*map(odds, images), strict=True)
    expected = torch.stack([each.flip(axes) for each, axes in zip(maps, AXES, strict=True)]).mean(0)
    assert torch.stack(maps).std(0).max() > 0.1
    steady = deep.seen_from(4)
    seen = steady.run_tiles(
        steady.working_image(images[0]), steady.plan_tiles(steady.working_image(images[0]))
    )
    torch.testing.assert_close(torch.logit(seen.grid), expected, atol=1e-4, rtol=0)
    torch.testing.assert_close(seen.logits, torch.stack(logits).mean(0), atol=1e-5, rtol=0)
    torch.testing.assert_close(seen.means, torch.stack(means).mean(0), atol=1e-5, rtol=1e-5)


def test_a_batch_is_seen_from_as_many_views_as_its_images_one_by_one(deep):
    steady = deep.seen_from(4)
    images = np.stack([tissue("crowded", seed, 64)[0] for seed in (5, 6)])
    classes, maps = steady.predict_batch(images)
    assert np.abs(maps - deep.predict_batch(images)[1]).max() > 0.01
    for image, probabilities, foreground in zip(images, classes, maps, strict=True):
        found = steady.localize(Slide.from_array(image, mpp=0.5))
        np.testing.assert_allclose(probabilities, list(found.classes.values()), atol=1e-5)
        np.testing.assert_allclose(foreground, found.foreground, atol=1e-5)


def test_familiarity_is_judged_from_all_views(pixels):
    made = made_localizer("test_resnet", louder, levels=(1, 2))
    made.network.familiarity = Familiarity.fit(*torch.randn(2, 200, made.network.measured))
    means = made.mean_features(pixels[None])
    made.network.familiarity.usual[0] = made.network.familiarity.log_distance(means).mean()
    assert made.localize(pixels).familiarity == pytest.approx(float(made.network.familiarity(means)))
    steady = made.seen_from(4)
    seen = steady.mean_features(pixels[None])
    assert not torch.allclose(seen, means, rtol=1e-3)
    assert steady.localize(pixels).familiarity == pytest.approx(float(made.network.familiarity(seen)))


def test_the_views_are_chosen_when_a_model_is_loaded_and_told_in_what_it_makes(tmp_path, pixels):
    made = made_localizer("test_efficientnet", louder, levels=(1, 2))
    path = tmp_path / "made.safetensors"
    save_checkpoint(path, made.network, made.card)
    once, four = (pixelcam.load(path, "cpu", views=views).localize(pixels) for views in (1, 4))
    assert (once.model.views, four.model.views) == (1, 4)
    assert once.model.sha256 == four.model.sha256
    assert not np.array_equal(once.foreground, four.foreground)
    with pytest.raises(ConfigError, match="1 or 4 mirrored views"):
        pixelcam.load(path, "cpu", views=3)
