"""Familiarity: a distance that knows which directions are usual, and what it does to probabilities."""

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from pixelcam.errors import CheckpointError
from pixelcam.model import ModelCard, familiarity, load_checkpoint, save_checkpoint
from pixelcam.model.familiarity import Familiarity, towards_chance

pytestmark = pytest.mark.usefixtures("one_thread")

CARD = ModelCard(encoder="test_efficientnet", classes=("a", "b"), input_size=64, levels=(1, 2, -1))


def drawn(count, channels=12, seed=0):
    """Features of very different spread, leaning on each other, around 3."""
    mixing = torch.randn(channels, channels, generator=torch.Generator().manual_seed(9))
    mixing[:, :2] *= 8
    values = torch.randn(count, channels, generator=torch.Generator().manual_seed(seed))
    return 3 + values @ mixing.T


@pytest.fixture(scope="module")
def fitted():
    return Familiarity.fit(drawn(400), drawn(200, seed=1))


def test_with_all_axes_the_distance_is_that_of_mahalanobis(monkeypatch):
    monkeypatch.setattr(familiarity, "EXPLAINED", 1 - 1e-12)
    known, others = drawn(300), drawn(20, seed=2)
    found = Familiarity.fit(known, drawn(50, seed=1)).log_distance(others).exp()
    centred = others.numpy() - known.numpy().mean(axis=0)
    precision = np.linalg.inv(np.cov(known.numpy().T, bias=True))
    expected = np.einsum("ni,ij,nj->n", centred, precision, centred)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-2)


def test_nineteen_of_twenty_images_like_the_known_ones_are_wholly_familiar(fitted):
    found = fitted(drawn(4000, seed=3))
    assert float((found == 1).double().mean()) == pytest.approx(0.95, abs=0.02)
    assert float((found < 0.5).double().mean()) == pytest.approx(0.025, abs=0.015)


def test_familiarity_falls_with_the_distance_to_nothing(fitted):
    direction = torch.ones(12)
    found = fitted(torch.stack([3 + factor * direction for factor in (0, 5, 8, 12, 20, 100)]))
    assert found[0] == 1
    assert bool((found.diff() <= 0).all())
    assert 0 <= float(found[-1]) < 1e-3


def test_what_varies_among_the_known_images_does_not_make_an_image_strange(fitted):
    # The first axis is where stain and the like move; the last direction is where nothing does.
    values, vectors = torch.linalg.eigh(torch.cov(drawn(400).T))
    usual, unusual = 3 + 2 * values[-1].sqrt() * vectors[:, [-1, 0]].T
    assert float(fitted(usual[None])) == 1
    assert float(fitted(unusual[None])) < 0.01


def test_few_held_out_images_make_it_slow_to_judge():
    few, many = (Familiarity.fit(drawn(400), drawn(number, seed=1)) for number in (5, 400))
    somewhat = drawn(1, seed=3) + 4
    for each in (few, many):
        each.usual[:2] = torch.tensor([float(each.log_distance(somewhat)) - 1.2, 0.4])
    assert float(few(somewhat)) > 5 * float(many(somewhat))


@pytest.mark.parametrize(("known", "held_out"), [(4, 50), (50, 4)])
def test_too_few_images_tell_nothing(known, held_out):
    assert Familiarity.fit(drawn(known), drawn(held_out)) is None


def test_features_that_do_not_vary_tell_nothing():
    assert Familiarity.fit(torch.ones(20, 4), torch.ones(20, 4)) is None


def test_what_was_shown_is_familiar_afterwards_with_what_is_like_it(fitted):
    new = drawn(30, seed=4) + 60
    assert float(fitted(new).max()) < 0.01
    shown = fitted.with_shown(new[:2], new[:2])
    assert float(shown(new).mean()) > 0.9
    assert torch.equal(shown(drawn(50, seed=3)), fitted(drawn(50, seed=3)))
    assert float(shown(drawn(30, seed=4) - 60).max()) < 0.01
    assert fitted.shown is None
    assert len(shown.with_shown(new[2:4], new[2:4]).shown) == 4


def test_only_the_last_images_shown_are_kept(fitted, monkeypatch):
    monkeypatch.setattr(familiarity, "MOST_SHOWN", 3)
    many = drawn(5, seed=4)
    assert torch.equal(fitted.with_shown(many, many).shown, many[2:])


def test_features_that_have_moved_far_make_all_that_is_known_moot(fitted):
    before = drawn(3, seed=4)
    slightly, far = before + 0.5, before.clone()
    far[1] += 60
    assert fitted.with_shown(before, slightly) is not None
    assert fitted.with_shown(before, far) is None


def test_an_unknown_image_gets_the_probabilities_of_chance():
    told = torch.tensor([0.9, 0.06, 0.04])
    np.testing.assert_allclose(towards_chance(told, 0.0, False), [1 / 3] * 3)
    np.testing.assert_allclose(towards_chance(told, 1.0, False), told)
    half = towards_chance(told, 0.5, False)
    np.testing.assert_allclose(half, (told + 1 / 3) / 2)
    assert float(half.sum()) == pytest.approx(1)


def test_of_several_labels_each_is_drawn_towards_one_half():
    told = torch.tensor([0.9, 0.2, 0.5])
    np.testing.assert_allclose(towards_chance(told, 0.25, True), [0.6, 0.425, 0.5], rtol=1e-6)


def network_that_knows():
    torch.manual_seed(0)
    network = CARD.build().eval()
    network.familiarity = Familiarity.fit(drawn(60, network.measured), drawn(30, network.measured, 1))
    return network


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("shown", [0, 2])
def test_a_checkpoint_keeps_what_is_familiar_to_the_bit(tmp_path, half, shown):
    network, path = network_that_knows(), tmp_path / "m.safetensors"
    if shown:
        later = drawn(shown, network.measured, 6)
        network.familiarity = network.familiarity.with_shown(later, later)
    save_checkpoint(path, network, CARD, half=half)
    loaded, _ = load_checkpoint(path)
    features = drawn(8, network.measured, 5)
    assert torch.equal(loaded.familiarity(features), network.familiarity(features))
    with safe_open(path, framework="pt") as file:
        kinds = {key.split(".")[0]: file.get_tensor(key).dtype for key in file.keys()}  # noqa: SIM118
    assert kinds["familiarity"] == torch.float32
    assert kinds["image_head"] == (torch.float16 if half else torch.float32)


def test_a_checkpoint_without_it_loads_and_knows_that_it_cannot_tell(tmp_path):
    save_checkpoint(tmp_path / "m.safetensors", CARD.build(), CARD)
    assert load_checkpoint(tmp_path / "m.safetensors")[0].familiarity is None


def test_the_final_map_is_not_measured():
    assert CARD.build().measured == sum(CARD.build().encoder.info.channels[level] for level in (1, 2))


@pytest.mark.parametrize(
    "change",
    [
        lambda tensors: tensors.pop("familiarity.centre"),
        lambda tensors: tensors.update({"familiarity.axes": tensors["familiarity.axes"][:, 1:].clone()}),
    ],
)
def test_damaged_statistics_are_refused_in_one_sentence(tmp_path, change):
    path = tmp_path / "m.safetensors"
    save_checkpoint(path, network_that_knows(), CARD)
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path, metadata=metadata)
    with pytest.raises(CheckpointError, match=r"familiarity\."):
        load_checkpoint(path)
