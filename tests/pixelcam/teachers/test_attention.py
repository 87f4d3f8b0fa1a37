"""Maps from attention, against the attention that timm forms where it is not fused."""

import numpy as np
import pytest
import torch

from pixelcam.errors import ConfigError
from pixelcam.model import PixelCAM
from pixelcam.teachers import Teacher
from pixelcam.teachers.attention import captured_attention, rollout

pytestmark = pytest.mark.usefixtures("one_thread")

LABELS = torch.tensor([2, 0])


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return PixelCAM("test_vit", 3).eval()


@pytest.fixture
def images():
    return torch.rand(2, 3, 64, 96, generator=torch.Generator().manual_seed(0))


def attention_of_timm(network, images):
    """Each block's attention (n, heads, t, t), as its dropout sees it in the plain implementation."""
    found = []
    handles = [
        block.attn.attn_drop.register_forward_hook(lambda module, inputs, output: found.append(output))
        for block in network.encoder.body.blocks
    ]
    fused = [block.attn.fused_attn for block in network.encoder.body.blocks]
    for block in network.encoder.body.blocks:
        block.attn.fused_attn = False
    try:
        with torch.no_grad():
            network.encoder(images)
    finally:
        for handle, block, before in zip(handles, network.encoder.body.blocks, fused, strict=True):
            handle.remove()
            block.attn.fused_attn = before
    return found


def test_attention_is_read_as_timm_forms_it(network, images):
    wanted = attention_of_timm(network, images)
    with captured_attention(network.encoder) as found, torch.no_grad():
        network.encoder(images)
    assert len(found) == len(wanted) == len(network.encoder.body.blocks)
    for ours, theirs in zip(found, wanted, strict=True):
        assert ours.shape == (2, 25, 25)
        torch.testing.assert_close(ours, theirs.mean(dim=1), atol=1e-6, rtol=1e-4)
    hooks = [m._forward_hooks for m in network.encoder.body.modules()]
    assert not any(hooks)


def test_ts_cam_is_the_class_map_times_the_mean_attention_of_the_class_token(network, images):
    attention = torch.stack(attention_of_timm(network, images)).mean(dim=(0, 2))[:, 0, 1:]
    with torch.no_grad():
        final, _ = network.encoder(images)
        semantic = (final * network.image_head.classify.weight[LABELS][:, :, None, None]).sum(1)
    found = Teacher("ts-cam")._raw(network, images, LABELS)[0]
    torch.testing.assert_close(found, attention.reshape(2, 4, 6) * semantic, atol=1e-6, rtol=1e-4)


def test_rollout_follows_the_shares_of_every_path_through_the_blocks(network, images):
    attention = [block.mean(dim=1).double().numpy() for block in attention_of_timm(network, images)]
    wanted = []
    for index in range(2):
        total = np.eye(25)
        for block in attention:
            total = (0.5 * block[index] + 0.5 * np.eye(25)) @ total
        wanted.append(total)
    np.testing.assert_allclose(np.sum(wanted, axis=2), 1, rtol=1e-5)
    found = rollout([torch.from_numpy(block) for block in attention])
    np.testing.assert_allclose(found, wanted, rtol=1e-5)
    raw = Teacher("attention")._raw(network, images, LABELS)[0]
    np.testing.assert_allclose(raw.reshape(2, -1), np.stack(wanted)[:, 0, 1:], rtol=1e-3)


def test_attention_is_the_same_for_every_class_and_ts_cam_is_not(network, images):
    other = torch.tensor([0, 1])
    attention, ts_cam = Teacher("attention"), Teacher("ts-cam")
    assert torch.equal(attention.maps(network, images, LABELS), attention.maps(network, images, other))
    assert not torch.equal(ts_cam.maps(network, images, LABELS), ts_cam.maps(network, images, other))


def test_further_prefix_tokens_are_left_out_of_the_map():
    torch.manual_seed(0)
    network = PixelCAM("deit_tiny_distilled_patch16_224", 2).eval()
    maps = Teacher("attention").maps(network, torch.rand(1, 3, 32, 64), torch.tensor([0]))
    assert maps.shape == (1, 8, 16)
    assert float(maps.max()) == 1


def test_deep_mil_is_the_attention_of_the_image_head(images):
    torch.manual_seed(0)
    network = PixelCAM("test_efficientnet", 3, image_head="attention").eval()
    with torch.no_grad():
        wanted = network.image_head.attention(network.encoder(images)[0])
    torch.testing.assert_close(Teacher("deep-mil")._raw(network, images, LABELS)[0], wanted)
    assert float(Teacher("deep-mil").maps(network, images, LABELS).max()) == 1


@pytest.mark.parametrize(
    ("method", "encoder", "words"),
    [
        ("ts-cam", "test_efficientnet", "class token"),
        ("attention", "test_efficientnet", "class token"),
        ("attention", "vit_base_patch16_siglip_gap_224", "class token"),
        ("deep-mil", "test_efficientnet", "image head 'attention'"),
    ],
)
def test_a_network_without_the_attention_is_refused_in_words(method, encoder, words):
    with torch.device("meta"):
        network = PixelCAM(encoder, 2)
    with pytest.raises(ConfigError, match=words):
        Teacher(method).check(network)
    with pytest.raises(ConfigError, match=words):
        Teacher(method).maps(network, torch.rand(1, 3, 64, 64), torch.tensor([0]))
