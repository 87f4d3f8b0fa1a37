"""Drawing pseudo-labels from teacher maps."""

import pytest
import torch

from pixelcam.errors import ConfigError
from pixelcam.seeds import BACKGROUND, FOREGROUND, UNLABELLED
from pixelcam.seeds.samplers import SAMPLERS, SamplerSettings, draw_seeds

pytestmark = pytest.mark.usefixtures("one_thread")


def source(seed=0):
    return torch.Generator().manual_seed(seed)


def random_maps(count=3, side=28):
    maps = torch.rand(count, side, side, generator=source(1))
    maps[:, 4:22, 4:22] += 1  # a region that survives erosion
    return maps / 2


def counts(labels, value):
    return (labels == value).sum(dim=(1, 2)).tolist()


@pytest.mark.parametrize("name", SAMPLERS)
def test_each_image_gets_the_asked_number_of_either_kind_less_pixels_drawn_for_both(name):
    labels = draw_seeds(random_maps(), SamplerSettings(name, 5, erosion=3), source())
    assert labels.shape == (3, 28, 28)
    assert set(labels.unique().tolist()) == {UNLABELLED, BACKGROUND, FOREGROUND}
    for foreground, background in zip(counts(labels, FOREGROUND), counts(labels, BACKGROUND), strict=True):
        assert foreground == background
        assert 3 <= foreground <= 5


def test_a_pixel_drawn_for_both_is_left_unlabelled():
    maps = torch.tensor([[[0.4, 0.5], [0.5, 0.6]]])
    labels = draw_seeds(maps, SamplerSettings("probability", 4), source())
    assert (labels == UNLABELLED).all()


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize("value", [0.0, 0.3, 1.0, torch.nan])
def test_a_constant_map_yields_no_seeds(name, value):
    labels = draw_seeds(torch.full((2, 14, 14), value), SamplerSettings(name), source())
    assert (labels == UNLABELLED).all()


@pytest.mark.parametrize("name", SAMPLERS)
def test_what_shows_no_image_is_never_drawn(name):
    maps = random_maps(2)
    maps[:, :, 14:] = torch.nan
    maps[:, :14] = torch.nan
    regionless = torch.tensor([False, True])
    labels = draw_seeds(maps, SamplerSettings(name, 100, erosion=3), source(), regionless)
    assert (labels != UNLABELLED).any()
    assert (labels[torch.isnan(maps)] == UNLABELLED).all()


def test_images_without_a_region_give_background_only_from_all_over_the_map():
    maps = random_maps(2)
    labels = draw_seeds(maps, SamplerSettings("extremes", 300), source(), torch.tensor([True, False]))
    assert counts(labels, FOREGROUND)[0] == 0
    assert counts(labels, BACKGROUND)[0] == 300
    drawn = maps[0][labels[0] == BACKGROUND]
    # A uniform draw of 300 of 784 cells: its mean stays within four standard errors of the map's.
    assert abs(drawn.mean() - maps[0].mean()) < 4 * maps[0].std() / 300**0.5
    assert counts(labels, FOREGROUND)[1] > 0


def test_a_constant_map_of_an_image_without_a_region_still_gives_background():
    labels = draw_seeds(
        torch.zeros(1, 7, 7), SamplerSettings("probability", 5), source(), torch.tensor([True])
    )
    assert counts(labels, BACKGROUND) == [5]


def test_the_probability_of_a_seed_follows_the_map():
    row = torch.tensor([0.0, 0.1, 0.2, 0.3, 0.4, 1.0])
    maps = row.expand(20_000, 1, 6)
    labels = draw_seeds(maps, SamplerSettings("probability", 1), source())
    both = counts(labels[:, 0].T[None], FOREGROUND)[0], counts(labels[:, 0].T[None], BACKGROUND)[0]
    assert min(both) > 15_000  # the rest was drawn for both
    # P(foreground at i) = c_i / sum(c), less the chance that background fell on the same cell.
    wanted = row / row.sum() * (1 - (1 - row) / (1 - row).sum())
    found = (labels[:, 0] == FOREGROUND).float().mean(0)
    torch.testing.assert_close(found, wanted, atol=0.015, rtol=0)  # four standard errors of 20,000 draws
    wanted = (1 - row) / (1 - row).sum() * (1 - row / row.sum())
    found = (labels[:, 0] == BACKGROUND).float().mean(0)
    torch.testing.assert_close(found, wanted, atol=0.015, rtol=0)


@pytest.mark.parametrize("name", ["probability-low-area", "threshold", "extremes"])
def test_background_comes_from_the_lowest_share_only(name):
    maps = random_maps(1)
    labels = draw_seeds(maps, SamplerSettings(name, 500, low_area=0.25, erosion=3), source())
    drawn = maps[labels == BACKGROUND]
    assert 100 < len(drawn) <= 28 * 28 // 4  # less what was drawn for both
    assert drawn.max() <= maps.quantile(0.25)


def test_extremes_takes_foreground_from_the_highest_share_only():
    maps = random_maps(1)
    labels = draw_seeds(maps, SamplerSettings("extremes", 500, high_area=0.1), source())
    assert counts(labels, FOREGROUND) == [78]
    assert maps[labels == FOREGROUND].min() >= maps.quantile(0.9)


@pytest.mark.parametrize("name", ["probability-low-area", "extremes"])
def test_a_spot_on_an_empty_map_is_the_only_foreground(name):
    maps = torch.zeros(1, 20, 20)
    maps[0, 5:7, 5:7] = 1
    labels = draw_seeds(maps, SamplerSettings(name, 50), source())
    assert counts(labels, FOREGROUND) == [4]
    assert (labels[maps == 1] == FOREGROUND).all()
    assert counts(labels, BACKGROUND) == [50]
    labels = draw_seeds(1 - maps, SamplerSettings(name, 50), source())
    assert counts(labels, BACKGROUND) == [4]


def test_the_threshold_sampler_draws_inside_the_eroded_foreground():
    maps = torch.zeros(1, 28, 28)
    maps[0, 8:20, 8:20] = 1
    maps += 0.1 * torch.rand(maps.shape, generator=source(2))
    labels = draw_seeds(maps, SamplerSettings("threshold", 200, erosion=5), source())
    inside = torch.zeros(1, 28, 28, dtype=torch.bool)
    inside[0, 10:18, 10:18] = True
    assert torch.equal(labels == FOREGROUND, inside)


def test_a_foreground_that_erosion_empties_gives_background_alone():
    maps = torch.zeros(1, 28, 28)
    maps[0, 8:14, 8:14] = 1
    labels = draw_seeds(maps, SamplerSettings("threshold", 5, erosion=11), source())
    assert (counts(labels, FOREGROUND), counts(labels, BACKGROUND)) == ([0], [5])


def test_the_generator_is_the_only_chance():
    first, again, other = (draw_seeds(random_maps(), SamplerSettings(), source(seed)) for seed in (3, 3, 4))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_a_count_beyond_the_map_takes_all_that_there_is():
    labels = draw_seeds(torch.tensor([[[0.0, 1.0]]]), SamplerSettings("extremes", 50), source())
    assert labels.tolist() == [[[BACKGROUND, FOREGROUND]]]


@pytest.mark.parametrize(
    "options", [{"name": "dice"}, {"count": 0}, {"low_area": 0.0}, {"high_area": 1.5}, {"erosion": 0}]
)
def test_settings_out_of_range_are_refused(options):
    with pytest.raises(ConfigError):
        SamplerSettings(**options)
