"""The network: encoders, heads, and what the two heads share."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import nn

from pixelcam.errors import ConfigError
from pixelcam.model import FINAL, PixelCAM, foreground_probability
from pixelcam.model.encoder import encoder_info
from pixelcam.model.geometry import Grid, move_to_grid

pytestmark = pytest.mark.usefixtures("one_thread")


def random_images(count=1, side=64):
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("encoder", "levels", "finest"),
    [
        ("tf_efficientnet_lite0", (1, 2, 3, FINAL), 4),
        ("resnet18", (1, 2, 3, 4), 4),
        ("mobilenetv2_100", (2, 4, FINAL), 8),
        ("deit_tiny_patch16_224", (2, 5, 11, FINAL), 16),
        ("vit_small_patch16_224", (2, FINAL), 16),
        ("convnextv2_nano", (0, 1, 3, FINAL), 4),
    ],
)
def test_an_unmodified_encoder_of_timm_gives_class_and_pixel_logits_in_one_pass(encoder, levels, finest):
    network = PixelCAM(encoder, 3, levels=levels).eval()
    with torch.inference_mode():
        prediction = network(random_images(2))
        final, maps = network.encoder(random_images(2), levels)
    assert prediction.class_logits.shape == (2, 3)
    assert prediction.pixel_logits.shape == (2, 2, 64 // finest, 64 // finest)
    assert network.pixel_head.stride == finest
    assert all(torch.isfinite(part).all() for part in prediction)
    info = network.encoder.info
    assert final.shape[1] == info.final_channels
    for level, feature in zip(levels, maps, strict=True):
        side = 64 // int(info.grid(level).stride)
        assert feature.shape == (2, info.level_channels(level), side, side)
    probability = foreground_probability(prediction.pixel_logits)
    assert probability.shape == (2, 64 // finest, 64 // finest)
    assert ((probability >= 0) & (probability <= 1)).all()


@pytest.mark.parametrize(("encoder", "count"), [("resnet50", 4098), ("deit_tiny_patch16_224", 386)])
def test_the_pixel_head_is_as_small_as_the_paper_says(encoder, count):
    with torch.device("meta"):
        head = PixelCAM(encoder, 2).pixel_head
    assert sum(parameter.numel() for parameter in head.parameters()) == count


def test_a_dilated_encoder_keeps_a_finer_map():
    network = PixelCAM("resnet10t", 2, output_stride=8).eval()
    with torch.inference_mode():
        assert network(random_images()).pixel_logits.shape == (1, 2, 8, 8)


def standardised(feature, norm):
    mean, variance = norm.running_mean.view(1, -1, 1, 1), norm.running_var.view(1, -1, 1, 1)
    return (feature - mean) / (variance + norm.eps).sqrt()


def test_the_pixel_head_is_one_linear_classifier_of_the_interpolated_standardised_features():
    torch.manual_seed(0)
    network = PixelCAM("mobilenetv3_small_050", 2, levels=(1, 2, FINAL)).double().eval()
    for norm in network.pixel_head.norms:
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.5, 2)
    images = random_images(2).double()
    with torch.no_grad():
        found = network(images).pixel_logits
        maps = network.encoder(images, network.levels)[1]
        target = Grid.plain(network.pixel_head.stride)
        pixels = [
            move_to_grid(standardised(feature, norm), grid, target, (16, 16))
            for feature, norm, grid in zip(
                maps, network.pixel_head.norms, network.pixel_head.grids, strict=True
            )
        ]
        convolutions = network.pixel_head.convolutions
        weight = torch.cat([convolution.weight[:, :, 0, 0] for convolution in convolutions], dim=1)
        wanted = torch.einsum("kc,nchw->nkhw", weight, torch.cat(pixels, dim=1)) + convolutions[0].bias.view(
            1, -1, 1, 1
        )
    assert sum(convolution.bias is not None for convolution in convolutions) == 1
    torch.testing.assert_close(found, wanted)


def with_statistics(network):
    """Give the pixel head running statistics and weights as training leaves them."""
    generator = torch.Generator().manual_seed(1)
    for norm, convolution in zip(network.pixel_head.norms, network.pixel_head.convolutions, strict=True):
        nn.init.normal_(convolution.weight, generator=generator)
        if isinstance(norm, nn.BatchNorm2d):
            nn.init.normal_(norm.running_mean, generator=generator)
            nn.init.uniform_(norm.running_var, 0.5, 2.0, generator=generator)
    return network.eval()


@pytest.mark.parametrize("standardise", [True, False])
@pytest.mark.parametrize(
    ("encoder", "levels"),
    [
        ("test_efficientnet", (1, 2, FINAL)),
        ("test_resnet", (0, 3)),
        ("test_convnext", (FINAL,)),
        ("mobilenetv3_small_050", (1, 4)),
        ("test_vit", (1, FINAL, 3)),
    ],
)
def test_a_pass_without_gradients_gives_what_a_pass_with_them_gives(encoder, levels, standardise):
    torch.manual_seed(0)
    network = with_statistics(PixelCAM(encoder, 3, levels=levels, standardise=standardise))
    images = torch.randn(2, 3, 64, 96)
    learning = network(images)
    with torch.no_grad():
        looking = network(images)
    assert torch.equal(looking.class_logits, learning.class_logits)
    scale = float(learning.pixel_logits.detach().abs().max())
    assert scale > 0.01
    torch.testing.assert_close(looking.pixel_logits, learning.pixel_logits, rtol=1e-5, atol=scale * 1e-5)


def test_passes_of_two_threads_do_not_mix():
    torch.manual_seed(0)
    network = with_statistics(PixelCAM("test_efficientnet", 2, levels=(1, 3)))
    batches = [torch.randn(1, 3, 64, 64) for _ in range(16)]

    def look(images):
        with torch.inference_mode():
            return network(images).pixel_logits

    alone = [look(images) for images in batches]
    with ThreadPoolExecutor(4) as threads:
        together = list(threads.map(look, batches))
    assert all(torch.equal(one, other) for one, other in zip(alone, together, strict=True))


def test_dropout_stands_only_before_the_image_head():
    network = PixelCAM("mobilenetv3_small_050", 2, levels=(1, FINAL), dropout=0.5)
    places = [name for name, module in network.named_modules() if isinstance(module, nn.Dropout2d)]
    assert places == ["image_head.dropout"]
    network.eval()
    network.image_head.train()
    torch.manual_seed(0)
    with torch.no_grad():
        first, second = network(random_images()), network(random_images())
    assert not torch.equal(first.class_logits, second.class_logits)
    assert torch.equal(first.pixel_logits, second.pixel_logits)


def test_the_pixel_loss_teaches_the_encoder_and_leaves_the_image_head_alone():
    network = PixelCAM("mobilenetv3_small_050", 2, levels=(1, 2)).eval()
    network(random_images()).pixel_logits[:, 1].sum().backward()
    assert network.encoder.body.conv_stem.weight.grad.abs().sum() > 0
    assert all(parameter.grad is None for parameter in network.image_head.parameters())


def test_the_class_logits_alone_are_those_of_the_whole_pass():
    network = PixelCAM("mobilenetv3_small_050", 4, levels=(0, 2)).eval()
    with torch.inference_mode():
        torch.testing.assert_close(network.classify(random_images()), network(random_images()).class_logits)


@pytest.mark.parametrize("encoder", ["mobilenetv3_small_050", "vgg11", "test_vit", "ghostnet_050"])
def test_the_image_head_fits_encoders_that_have_layers_of_their_own_after_pooling(encoder):
    with torch.device("meta"):
        network = PixelCAM(encoder, 2)
        assert network(torch.zeros(2, 3, 160, 160)).class_logits.shape == (2, 2)


@pytest.mark.parametrize(
    "encoder",
    ["swin_tiny_patch4_window7_224", "inception_v3", "hrnet_w18_small", "selecsls42", "efficientvim_m1"],
)
def test_an_encoder_whose_maps_do_not_cover_images_of_any_size_is_refused_before_training(encoder):
    with pytest.raises(ConfigError, match=f"{encoder} does not give whole maps"):
        encoder_info(encoder)


def test_what_is_fixed_about_an_encoder_is_known_without_making_its_weights():
    info = encoder_info("mobilenetv3_small_050")
    network = PixelCAM("mobilenetv3_small_050", 2)
    assert info == network.encoder.info


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"encoder": "resnet500"}, ("resnet500", "near it: resnet50")),
        ({"encoder": "resnet10t", "output_stride": 7}, ("output stride 7",)),
        ({"encoder": "vit_tiny_patch16_224", "output_stride": 8}, ("transformer", "output stride")),
        ({"encoder": "resnet10t", "levels": (9,)}, ("levels 0 to 4",)),
        ({"encoder": "resnet10t", "levels": ()}, ("levels 0 to 4",)),
    ],
)
def test_a_network_that_cannot_be_built_is_refused_in_one_sentence(arguments, words):
    with pytest.raises(ConfigError) as caught, torch.device("meta"):
        PixelCAM(arguments.pop("encoder"), 2, **arguments)
    for word in words:
        assert word in str(caught.value)


def test_what_another_thread_sees_by_the_same_encoder_does_not_come_between():
    network = PixelCAM("test_resnet", levels=(1, 2), classes=2).eval()
    one, other = torch.rand(2, 1, 3, 96, 128)

    def inferred(_):
        with torch.inference_mode():
            return network(one)[1]

    def seen(_):
        with torch.inference_mode():
            return network.encoder(other, (1, 2))[1][0]

    wanted = inferred(0)
    with ThreadPoolExecutor(2) as threads:
        beside, found = threads.map(seen, range(60)), list(threads.map(inferred, range(60)))
        assert all(torch.equal(each, wanted) for each in found)
        assert len(list(beside)) == 60
