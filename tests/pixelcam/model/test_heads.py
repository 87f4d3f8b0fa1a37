"""Image heads: what each pools, that parts merge into the whole, and that checkpoints keep them."""

import dataclasses
import math

import pytest
import torch

from pixelcam.errors import CheckpointError, ConfigError
from pixelcam.model import (
    IMAGE_HEADS,
    ModelCard,
    PixelCAM,
    class_probabilities,
    load_checkpoint,
    save_checkpoint,
)
from pixelcam.model.heads import SHARPNESS, make_image_head

pytestmark = pytest.mark.usefixtures("one_thread")

KINDS = sorted(IMAGE_HEADS)
CHANNELS, CLASSES = 5, 3


def head_of(kind):
    torch.manual_seed(1)
    return make_image_head(kind, CHANNELS, CLASSES).eval()


@pytest.fixture
def final():
    return 3 * torch.randn(2, CHANNELS, 6, 7, generator=torch.Generator().manual_seed(0))


def scores_by_position(head, final):
    """The class scores of each position, (n, classes, h, w), one by one."""
    rows, columns = final.shape[2:]
    each = [[head.classify(final[:, :, y, x]) for x in range(columns)] for y in range(rows)]
    return torch.stack([torch.stack(row, dim=-1) for row in each], dim=-2)


def test_average_pooling_is_the_mean_of_the_scores(final):
    head = head_of("average")
    torch.testing.assert_close(head(final), scores_by_position(head, final).mean(dim=(2, 3)))


def test_max_pooling_takes_the_best_position_of_each_class(final):
    head = head_of("max")
    torch.testing.assert_close(head(final), scores_by_position(head, final).amax(dim=(2, 3)))


def test_log_sum_exp_pooling_is_the_log_of_the_mean_exponential(final):
    head = head_of("lse")
    wanted = (SHARPNESS * scores_by_position(head, final)).exp().mean(dim=(2, 3)).log() / SHARPNESS
    torch.testing.assert_close(head(final), wanted)


def test_log_sum_exp_pooling_lies_between_the_mean_and_the_maximum(final):
    head = head_of("lse")
    scores = scores_by_position(head, final)
    assert ((head(final) > scores.mean(dim=(2, 3))) & (head(final) < scores.amax(dim=(2, 3)))).all()
    head.sharpness = 1e-3
    torch.testing.assert_close(head(final), scores.mean(dim=(2, 3)), atol=0.02, rtol=0)
    head.sharpness = 1e3
    torch.testing.assert_close(head(final), scores.amax(dim=(2, 3)), atol=0.02, rtol=0)


def test_attention_pooling_follows_the_formula_of_gated_attention(final):
    head = head_of("attention")
    bag = final[0].reshape(CHANNELS, -1).T  # the instances h_k of one image
    hidden = torch.tanh(bag @ head.signal.weight.T + head.signal.bias) * torch.sigmoid(
        bag @ head.gate.weight.T + head.gate.bias
    )
    weight = (hidden @ head.score.weight[0] + head.score.bias).exp()
    weight = weight / weight.sum()
    torch.testing.assert_close(head.attention(final)[0].flatten(), weight)
    torch.testing.assert_close(head(final)[0], head.classify((weight[:, None] * bag).sum(dim=0)))
    assert head.signal.weight.shape == (128, CHANNELS)


def test_attention_is_a_distribution_over_the_positions_that_moves_with_them(final):
    head = head_of("attention")
    found = head.attention(final)
    assert found.shape == (2, 6, 7)
    assert found.min() > 0
    assert found.std() > 0.002, "not the same everywhere"
    torch.testing.assert_close(found.sum(dim=(1, 2)), torch.ones(2))
    torch.testing.assert_close(head.attention(final.flip(3)), found.flip(2))


@pytest.mark.parametrize("kind", KINDS)
def test_parts_of_a_map_merged_are_the_whole_map_at_once(kind, final):
    head = head_of(kind)
    parts = [final[:, :, :4, :2], final[:, :, :4, 2:], final[:, :, 4:, :6], final[:, :, 4:, 6:]]
    pooled = head.pool(parts[0])
    for part in parts[1:]:
        pooled = head.merge(pooled, head.pool(part))
    torch.testing.assert_close(head.logits(pooled), head(final))
    torch.testing.assert_close(pooled.log_weight, head.pool(final).log_weight)
    alone = torch.stack([head(part) for part in parts])
    if kind != "max":  # where the maximum of one part is that of the whole
        assert not torch.allclose(alone.mean(dim=0), head(final), atol=1e-3), "a plain mean would do"


@pytest.mark.parametrize("kind", KINDS)
def test_the_order_of_parts_changes_nothing_and_huge_scores_stay_finite(kind, final):
    head = head_of(kind)
    first, second = (head.pool(1e4 * part) for part in (final[:, :, :1], final[:, :, 1:]))
    forwards, backwards = head.merge(first, second), head.merge(second, first)
    torch.testing.assert_close(head.logits(forwards), head.logits(backwards), rtol=1e-4, atol=1e-3)
    assert torch.isfinite(head.logits(forwards)).all()


@pytest.mark.parametrize("kind", KINDS)
def test_every_weight_of_a_head_learns_and_dropout_is_for_training_only(kind, final):
    torch.manual_seed(1)
    head = make_image_head(kind, CHANNELS, CLASSES, dropout=0.5)
    assert head.classify.weight.shape == (CLASSES, CHANNELS)
    head.train()
    assert not torch.equal(head(final), head(final))
    head.eval()
    assert torch.equal(head(final), head(final))
    torch.nn.functional.cross_entropy(head(final), torch.tensor([0, 2])).backward()
    for name, parameter in head.named_parameters():
        if name != "score.bias":  # a constant of all positions, which the softmax takes off again
            assert parameter.grad.abs().max() > 0, name


@pytest.mark.parametrize("kind", KINDS)
def test_a_network_keeps_its_head_through_a_checkpoint(kind, tmp_path):
    torch.manual_seed(0)
    card = ModelCard("test_efficientnet", ("a", "b", "c"), 64, image_head=kind, multi_label=True)
    network = card.build().eval()
    save_checkpoint(tmp_path / "tiny.safetensors", network, card)
    loaded, found = load_checkpoint(tmp_path / "tiny.safetensors")
    assert found == card
    assert type(loaded.image_head) is IMAGE_HEADS[kind]
    images = torch.rand(2, 3, 64, 96)
    with torch.inference_mode():
        assert torch.equal(loaded(images).class_logits, network(images).class_logits)
        assert torch.equal(loaded.classify(images), network(images).class_logits)


def test_tensors_of_the_average_head_keep_their_names():
    with torch.device("meta"):
        names = {key for key in PixelCAM("test_efficientnet", 2).state_dict() if key.startswith("image_head")}
    assert names == {"image_head.classify.weight", "image_head.classify.bias"}


def test_a_checkpoint_of_another_head_says_that_it_does_not_fit(tmp_path):
    card = ModelCard("test_efficientnet", ("a", "b"), 64)
    save_checkpoint(
        tmp_path / "x.safetensors", card.build(), dataclasses.replace(card, image_head="attention")
    )
    with pytest.raises(CheckpointError, match=r"image_head\.gate"):
        load_checkpoint(tmp_path / "x.safetensors")


def test_a_head_that_does_not_exist_is_named_with_those_that_do(tmp_path):
    with pytest.raises(ConfigError, match="no image head 'median'; choose one of: average, max, lse"):
        PixelCAM("test_efficientnet", 2, image_head="median")
    card = ModelCard("test_efficientnet", ("a", "b"), 64)
    save_checkpoint(tmp_path / "x.safetensors", card.build(), dataclasses.replace(card, image_head="median"))
    with pytest.raises(CheckpointError, match="no image head 'median'"):
        load_checkpoint(tmp_path / "x.safetensors")


def test_probabilities_of_exclusive_classes_sum_to_one_and_others_stand_alone():
    logits = torch.tensor([[0.0, math.log(3.0), 0.0]])
    torch.testing.assert_close(class_probabilities(logits, False), torch.tensor([[0.2, 0.6, 0.2]]))
    torch.testing.assert_close(class_probabilities(logits, True), torch.tensor([[0.5, 0.75, 0.5]]))
    assert class_probabilities(logits.half(), False).dtype == torch.float32
