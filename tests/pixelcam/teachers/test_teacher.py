"""Teachers on real encoders: which activations they take, where their maps lie, how they average."""

import copy

import numpy as np
import pytest
import torch
from scipy.ndimage import map_coordinates

from pixelcam.errors import ConfigError
from pixelcam.model import FINAL, PixelCAM
from pixelcam.teachers import FINAL_METHODS, MAP_METHODS, TRAINED_TEACHERS, Teacher
from pixelcam.teachers.maps import GRADIENT_METHODS, smooth_grad_cam_plus_plus
from pixelcam.teachers.teacher import NOISE, NOISY_COPIES
from tests.pixelcam.networks import linearised

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return PixelCAM("test_efficientnet", 3).eval()


@pytest.fixture(scope="module")
def transformer():
    torch.manual_seed(0)
    return PixelCAM("test_vit", 3).eval()


@pytest.fixture
def images():
    return torch.rand(2, 3, 64, 96, generator=torch.Generator().manual_seed(0))


LABELS = torch.tensor([2, 0])


def scaled(values):
    return (values - values.min()) / (values.max() - values.min())


def on_image(values, grid, size):
    """Interpolate a map from its grid to every fourth pixel, by SciPy."""
    places = [((4 * np.arange(n) + 1.5) - grid.offset) / grid.stride for n in size]
    return map_coordinates(values, np.meshgrid(*places, indexing="ij"), order=1, mode="nearest")


@pytest.mark.parametrize("level", [1, 3, FINAL])
def test_a_map_is_its_formula_on_the_levels_own_activations_and_gradients(network, images, level):
    final, (activations,) = network.encoder(images, (level,))
    score = network.image_head(final).gather(1, LABELS[:, None]).sum()
    gradients = torch.autograd.grad(score, activations)[0].numpy()
    raw = np.maximum((np.maximum(gradients, 0) * activations.detach().numpy()).sum(1), 0)
    found = Teacher("layercam", (level,)).maps(network, images, LABELS)
    assert found.shape == (2, 16, 24)
    assert found.dtype == torch.float32
    for index in range(2):
        wanted = on_image(scaled(raw[index]), network.encoder.info.grid(level), (16, 24))
        np.testing.assert_allclose(found[index], scaled(wanted), atol=1e-4)


def test_a_class_activation_map_is_the_final_map_seen_by_the_classifier(network, images):
    network = copy.deepcopy(network)
    with torch.no_grad():
        network.image_head.classify.weight.abs_()  # or all that speaks for a class may be below zero
        final, _ = network.encoder(images)
    raw = torch.einsum("nchw,nc->nhw", final, network.image_head.classify.weight[LABELS].detach()).relu()
    found = Teacher("cam").maps(network, images, LABELS)
    for index in range(2):
        wanted = on_image(scaled(raw[index].numpy()), network.encoder.info.grid(FINAL), (16, 24))
        np.testing.assert_allclose(found[index], scaled(wanted), atol=1e-4)


@pytest.mark.parametrize("block", [0, 3])
def test_a_transformers_block_is_taken_as_the_map_of_its_patch_tokens(transformer, images, block):
    body = transformer.encoder.body
    tokens = body.norm_pre(body._pos_embed(body.patch_embed(images)))
    for layer in body.blocks[: block + 1]:
        tokens = layer(tokens)
    tokens = tokens.detach().requires_grad_()
    deeper = tokens
    for layer in body.blocks[block + 1 :]:
        deeper = layer(deeper)
    final = body.norm(deeper)[:, 1:].transpose(1, 2).reshape(2, -1, 4, 6)
    transformer.image_head(final).gather(1, LABELS[:, None]).sum().backward()
    product = (tokens.grad.abs() * tokens.detach().abs())[:, 1:].sum(2).reshape(2, 4, 6).numpy()
    found = Teacher("layercam-abs", (block,)).maps(transformer, images, LABELS)
    for index in range(2):
        wanted = on_image(scaled(product[index]), transformer.encoder.info.grid(block), (16, 24))
        np.testing.assert_allclose(found[index], scaled(wanted), atol=1e-4)


EVERYWHERE = [("network", m) for m in ("cam", *GRADIENT_METHODS)] + [
    ("transformer", m) for m in MAP_METHODS if m != "deep-mil"
]


@pytest.mark.parametrize(("kind", "method"), EVERYWHERE)
def test_every_teacher_maps_every_kind_of_encoder_between_0_and_1(request, images, method, kind):
    teacher = Teacher(method, scales=(1.0, 1.5), flips=True, score="log-odds")
    maps = teacher.maps(request.getfixturevalue(kind), images, LABELS)
    assert maps.shape == (2, 16, 24)
    assert torch.isfinite(maps).all()
    assert maps.amin() >= 0
    assert maps.amax() <= 1


def test_grad_cam_of_the_final_map_is_cam_where_the_head_averages(network, images):
    # Zhou's map is Selvaraju's up to the number of cells, by the latter's own proof.
    torch.testing.assert_close(
        Teacher("grad-cam").maps(network, images, LABELS),
        Teacher("cam").maps(network, images, LABELS),
        atol=1e-4,
        rtol=0,
    )


def test_smooth_grad_cam_plus_plus_sees_noisy_copies_but_the_images_own_activations(network, images):
    def gradients_of(inputs):
        final, (activations,) = network.encoder(inputs, (2,))
        score = network.image_head(final).gather(1, LABELS[:, None]).sum()
        return activations.detach(), torch.autograd.grad(score, activations)[0]

    generator = torch.Generator().manual_seed(0)
    copies = []
    for _ in range(NOISY_COPIES):
        noise = torch.randn(1, *images.shape[1:], generator=generator)
        span = torch.stack([image.max() - image.min() for image in images])
        copies.append(gradients_of(images + NOISE * span[:, None, None, None] * noise)[1])
    wanted = smooth_grad_cam_plus_plus(gradients_of(images)[0], torch.stack(copies))
    teacher = Teacher("smooth-grad-cam++", (2,))
    found = teacher._raw(network, images, LABELS)[0]
    torch.testing.assert_close(found, wanted, atol=1e-6 * float(wanted.max()), rtol=1e-3)
    alone = teacher.maps(network, images[:1], LABELS[:1])
    torch.testing.assert_close(alone, teacher.maps(network, images, LABELS)[:1], atol=1e-3, rtol=0)


def test_the_log_odds_are_the_classs_logit_less_the_log_sum_of_the_others(network, images):
    final, (activations,) = network.encoder(images, (2,))
    logits = network.image_head(final)
    odds = torch.log(
        torch.softmax(logits, 1)[[0, 1], LABELS] / (1 - torch.softmax(logits, 1)[[0, 1], LABELS])
    )
    gradients = torch.autograd.grad(odds.sum(), activations)[0]
    raw = (gradients.abs() * activations.detach().abs()).sum(1).numpy()
    found = Teacher("layercam-abs", (2,), score="log-odds").maps(network, images, LABELS)
    wanted = on_image(scaled(raw[0]), network.encoder.info.grid(2), (16, 24))
    np.testing.assert_allclose(found[0], scaled(wanted), atol=1e-3)


def test_levels_are_averaged_each_at_its_own_range(network, images):
    raw = []
    for level in (1, 3):
        final, (activations,) = network.encoder(images, (level,))
        gradients = torch.autograd.grad(network.image_head(final)[0, 2], activations)[0]
        product = (gradients.abs() * activations.detach().abs()).sum(1)[0].numpy()
        raw.append(on_image(scaled(product), network.encoder.info.grid(level), (16, 24)))
    found = Teacher("layercam-abs", (1, 3)).maps(network, images, LABELS)
    np.testing.assert_allclose(found[0], scaled(sum(raw)), atol=1e-4)


@pytest.mark.parametrize("axes", [(2,), (3,), (2, 3)])
def test_the_map_of_a_mirror_image_is_the_mirror_image_of_the_map(network, images, axes):
    teacher = Teacher("layercam-abs", (2,), flips=True)
    straight = teacher.maps(network, images, LABELS)
    mirrored = teacher.maps(network, torch.flip(images, axes), LABELS)
    torch.testing.assert_close(torch.flip(mirrored, [axis - 1 for axis in axes]), straight, atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("encoder", "level"), [("tf_efficientnet_lite0", 2), ("resnet18", 2), ("mobilenetv2_100", 2)]
)
@pytest.mark.parametrize("options", [{}, {"scales": (1.5,)}, {"flips": True}])
def test_the_map_of_a_bright_spot_lies_on_the_spot(encoder, level, options):
    torch.manual_seed(0)
    network = linearised(PixelCAM(encoder, 2))
    rows, columns = torch.meshgrid(torch.arange(160.0), torch.arange(192.0), indexing="ij")
    spot = torch.exp(-((rows - 70) ** 2 + (columns - 104) ** 2) / 50) * 1e-2
    # Grad-CAM weighs whole channels: what strided layers do to single cells of the gradient does not count.
    maps = Teacher("grad-cam", (level,), **options).maps(
        network, spot.expand(1, 3, -1, -1), torch.tensor([1])
    )[0]
    weights = maps.clamp(min=0.1) - 0.1  # the spot alone, not the rims
    y = float((weights.sum(1) * (4 * torch.arange(40) + 1.5)).sum() / weights.sum())
    x = float((weights.sum(0) * (4 * torch.arange(48) + 1.5)).sum() / weights.sum())
    # Weights that look evenly at all they see look to one side, by up to half a stride; mirrors even it out.
    slack = 0.75 if options.get("flips") else 0.75 + (network.encoder.info.strides[level] - 1) / 2
    assert y == pytest.approx(70, abs=slack)
    assert x == pytest.approx(104, abs=slack)


def test_a_teacher_leaves_the_network_as_it_was(network, images):
    before = {key: value.clone() for key, value in network.state_dict().items()}
    with torch.inference_mode(False):
        Teacher("grad-cam", (1, 2)).maps(network, images, LABELS)
    assert all(torch.equal(network.state_dict()[key], value) for key, value in before.items())
    assert all(parameter.grad is None for parameter in network.parameters())
    assert not any(module._forward_hooks for module in network.modules())


@pytest.mark.parametrize(
    "options",
    [
        {"method": "crystal-ball"},
        {"score": "luck"},
        {"levels": ()},
        {"scales": ()},
        {"scales": (0.0,)},
        *({"method": method, "levels": (2,)} for method in FINAL_METHODS),
    ],
)
def test_a_teacher_that_cannot_be_is_refused(options):
    with pytest.raises(ConfigError):
        Teacher(**options)


@pytest.mark.parametrize("method", TRAINED_TEACHERS)
def test_a_teacher_that_must_be_trained_first_says_so(method):
    with pytest.raises(ConfigError, match=f"{method} must be trained first"):
        Teacher(method)
