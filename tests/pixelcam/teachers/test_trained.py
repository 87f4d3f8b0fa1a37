"""NEGEV, F-CAM and MaxMin: what they learn, what they leave alone, and how they stop."""

import copy
import math

import numpy as np
import pytest
import torch

from pixelcam.errors import CancelledError, ConfigError, RunError
from pixelcam.events import Stop
from pixelcam.localize.localizer import standardise
from pixelcam.metrics import chance_pxap, pxap, score_histograms
from pixelcam.model import PixelCAM, load_checkpoint
from pixelcam.seeds.samplers import SamplerSettings
from pixelcam.teachers import MAP_STRIDE, TRAINED_TEACHERS, Teacher
from pixelcam.teachers.decoder import MaskDecoder
from pixelcam.teachers.localizers import Batch, LocalizerSettings
from pixelcam.teachers.maxmin import MaxMin, negative_entropy, surrogate_certainty
from pixelcam.teachers.seeded import FCam, Negev
from pixelcam.teachers.trained import classifier_maps, prepare_teacher, train_localizer
from pixelcam.training import TrainSettings, engine
from pixelcam.training.data import ImageStack
from pixelcam.training.losses import area_log_barrier, colour_affinity_loss, partial_cross_entropy
from tests.synthetic import tissue

pytestmark = pytest.mark.usefixtures("one_thread")

SIZE = 64
KINDS = {"crowded": 0, "round": 1, "stroma": 2}


def normalised(images):
    return (images - 0.5) / 0.25


def made(kinds, number, size=SIZE):
    """A stack of made pictures with their labels, and their masks at a quarter of the size."""
    pictures = [(kind, *tissue(kind, 100 + seed, size)) for seed in range(number) for kind in kinds]
    images = torch.stack([torch.from_numpy(picture) for _, picture, _ in pictures])
    labels = torch.tensor([KINDS[kind] for kind, _, _ in pictures])
    masks = torch.stack([torch.from_numpy(mask).float() for _, _, mask in pictures])
    small = torch.nn.functional.avg_pool2d(masks[:, None], MAP_STRIDE)[:, 0]
    return ImageStack(images, labels, labels == KINDS["stroma"]), small


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    network = PixelCAM("test_efficientnet", 3).train()
    images = made(("crowded", "round", "stroma"), 4)[0].images
    with torch.no_grad():
        for _ in range(30):  # without its own statistics a fresh network gives next to nothing
            network.classify(normalised(images.permute(0, 3, 1, 2).float() / 255))
    return network.eval()


@pytest.fixture(scope="module")
def transformer():
    torch.manual_seed(0)
    return PixelCAM("test_vit", 3).eval()


@pytest.fixture(scope="module")
def stack():
    return made(("crowded", "round", "stroma"), 2)


def settings(kind, **changes):
    values = {"size": SIZE, "epochs": 1, "batch": 3, "sampler": SamplerSettings("extremes", 10), **changes}
    return LocalizerSettings(kind, **values)


def trained(kind, network, stack, *, on_event=lambda event: None, should_stop=lambda: Stop.NO, **changes):
    data, maps = stack
    return train_localizer(
        settings(kind, **changes), network, data, maps, normalised, on_event=on_event, should_stop=should_stop
    )


def maps_of(localizer, stack):
    data, _ = stack
    return classifier_maps(localizer, localizer.network, data, normalised)


@pytest.mark.parametrize("kind", TRAINED_TEACHERS)
@pytest.mark.parametrize("encoder", ["network", "transformer"])
def test_each_kind_maps_images_of_any_encoder_between_0_and_1(request, encoder, kind, stack):
    localizer = trained(kind, request.getfixturevalue(encoder), stack)
    maps = localizer.maps(torch.rand(2, 3, 64, 96), torch.tensor([0, 1]))
    assert (maps.shape, maps.dtype) == ((2, 16, 24), torch.float32)
    assert not maps.requires_grad
    assert 0 <= float(maps.min()) < float(maps.max()) <= 1


@pytest.mark.parametrize("kind", TRAINED_TEACHERS)
def test_the_classifier_stays_as_it_was_and_the_localizer_does_not_follow_it(network, kind, stack):
    classifier = copy.deepcopy(network).train()
    before = {key: value.clone() for key, value in classifier.state_dict().items()}
    state = torch.random.get_rng_state()
    localizer = trained(kind, classifier, stack)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(classifier.state_dict()[key], value) for key, value in before.items())
    assert classifier.training
    assert all(p.requires_grad and p.grad is None for p in classifier.parameters())
    maps = maps_of(localizer, stack)
    with torch.no_grad():
        for parameter in classifier.parameters():
            parameter.zero_()
    assert torch.equal(maps_of(localizer, stack), maps)


@pytest.mark.parametrize("kind", TRAINED_TEACHERS)
def test_the_same_seed_gives_the_same_localizer(network, kind, stack):
    first = maps_of(trained(kind, network, stack), stack)
    torch.rand(7)
    assert torch.equal(maps_of(trained(kind, network, stack), stack), first)
    assert not torch.equal(maps_of(trained(kind, network, stack, seed=1), stack), first)


@pytest.mark.parametrize("kind", ["negev", "f-cam"])
def test_a_decoder_learns_where_the_seeds_come_from(network, kind):
    data, masks = made(("crowded", "round"), 8)
    localizer = train_localizer(
        settings(kind, epochs=15, batch=8, augment="paper"), network, data, masks, normalised
    )
    unseen = made(("crowded",), 20)
    unseen = (
        ImageStack(unseen[0].images[10:], unseen[0].labels[10:], unseen[0].regionless[10:]),
        unseen[1][10:],
    )
    found = maps_of(localizer, unseen).numpy()
    histograms = score_histograms(found, (unseen[1] > 0.5).numpy().astype(np.uint8))
    assert pxap(*histograms) > chance_pxap(*histograms) + 25


def test_negative_evidence_empties_the_maps_of_images_without_a_region(network):
    data, maps = made(("crowded", "stroma"), 6)
    localizer = trained("negev", network, (data, maps), epochs=25, batch=6, augment="paper")
    found = maps_of(localizer, (data, maps)).mean(dim=(1, 2))
    assert float(found[data.regionless].max()) < float(found[~data.regionless].min())


def batch_of(stack, network):
    data, maps = stack
    colours = data.images.permute(0, 3, 1, 2).float() / 255
    seeds = torch.where(maps > 0.5, 2, 1)
    seeds[:, ::2] = 0
    return Batch(normalised(colours), colours, data.labels, data.regionless, seeds)


def test_the_terms_of_negev_are_seeds_where_there_may_be_a_region_and_background_where_there_is_none(
    network, stack
):
    localizer, batch = Negev(network, settings("negev")), batch_of(stack, network)
    terms = localizer.losses(batch, 1.0)
    logits = localizer.pixel_logits(batch.inputs)
    empty = batch.regionless
    wanted = partial_cross_entropy(logits[~empty], batch.seeds[~empty])
    torch.testing.assert_close(terms["seed_loss"], wanted)
    torch.testing.assert_close(
        terms["negative_loss"], -torch.log_softmax(logits, 1)[empty][:, 0].mean(), atol=1e-5, rtol=1e-4
    )


def test_the_terms_of_f_cam_are_seeds_colours_and_areas(network, stack):
    localizer, batch = FCam(network, settings("f-cam", colour_weight=2.0)), batch_of(stack, network)
    terms = localizer.losses(batch, 3.0)
    logits = localizer.pixel_logits(batch.inputs)
    probability = torch.softmax(logits, 1)
    colours = torch.nn.functional.avg_pool2d(batch.colours, MAP_STRIDE)
    torch.testing.assert_close(terms["seed_loss"], partial_cross_entropy(logits, batch.seeds))
    torch.testing.assert_close(terms["colour_loss"], 2 * colour_affinity_loss(probability, colours))
    torch.testing.assert_close(
        terms["area_loss"], 0.1 * area_log_barrier(probability[~batch.regionless], 3.0)
    )


def test_only_the_decoder_is_trained_over_a_frozen_classifier(network, stack):
    localizer = FCam(network, settings("f-cam"))
    sum(localizer.losses(batch_of(stack, network), 1.0).values()).backward()
    assert all(parameter.grad is not None for parameter in localizer.decoder.parameters())
    assert all(parameter.grad is None for parameter in localizer.network.parameters())


def test_the_mask_of_maxmin_is_its_formula(network, stack):
    data, _ = stack
    images = normalised(data.images.permute(0, 3, 1, 2).float() / 255)
    localizer = MaxMin(network, settings("maxmin", slope=5.0, middle=0.4))
    with torch.no_grad():
        final, _ = network.encoder(images)
        probabilities = torch.softmax(network.image_head(final), 1).numpy()
    maps = np.einsum(
        "nj,jc,nchw->nhw", probabilities, network.image_head.classify.weight.detach().numpy(), final.numpy()
    )
    low, high = maps.min((1, 2), keepdims=True), maps.max((1, 2), keepdims=True)
    scaled = torch.from_numpy((maps - low) / (high - low))[:, None]
    enlarged = torch.nn.functional.interpolate(scaled, (16, 16), mode="bilinear", align_corners=False)[:, 0]
    wanted = 1 / (1 + np.exp(-5 * (enlarged.numpy() - 0.4)))
    np.testing.assert_allclose(localizer.maps(images, data.labels), wanted, atol=1e-3)


def test_maxmin_pushes_the_mask_of_images_without_a_region_to_0(network, stack):
    localizer, batch = MaxMin(network, settings("maxmin")), batch_of(stack, network)
    terms = localizer.losses(batch, 1.0)
    mask = localizer.maps(batch.inputs, batch.labels)[batch.regionless]
    assert float(terms["negative_loss"].detach()) == pytest.approx(
        -float(torch.log(1 - mask).mean()), rel=1e-4
    )
    terms["negative_loss"].backward()
    moved = [p for p in localizer.network.encoder.parameters() if p.grad is not None and p.grad.any()]
    assert len(moved) > 10


@pytest.mark.parametrize("kind", ["maxmin", "maxmin-sem"])
def test_maxmin_lowers_what_it_minimises_and_still_knows_whole_images(trained_model, kind):
    network, card = load_checkpoint(trained_model)
    (data, _), labels = made(("crowded", "round"), 8, size=96), torch.tensor([0, 1] * 8)
    data = ImageStack(data.images, labels, labels < 0)

    def for_model(images):
        return standardise(images, card)

    colours = data.images.permute(0, 3, 1, 2).float() / 255
    batch = Batch(for_model(colours), colours, labels, data.regionless, None)
    chosen = settings(kind, size=96, epochs=8, batch=8, rate=0.0002, augment="paper")
    with torch.no_grad():
        before = MaxMin(network, chosen).losses(batch, 1.0)
        after = train_localizer(chosen, network, data, None, for_model).losses(batch, 1.0)
    assert sum(map(float, after.values())) < sum(map(float, before.values()))
    assert float(after["class_loss"]) < float(before["class_loss"]) + 0.1


@pytest.mark.parametrize("multi_label", [False, True])
def test_certainty_is_least_where_every_class_is_as_likely(multi_label):
    logits = torch.tensor([[2.0, -1.0, 0.5], [0.0, 3.0, 0.0]], dtype=torch.float64)
    if multi_label:
        chances = 1 / (1 + np.exp(-logits.numpy()))
        chances = np.stack([1 - chances, chances], -1)
    else:
        chances = np.exp(logits.numpy()) / np.exp(logits.numpy()).sum(1, keepdims=True)
    logarithms = np.log(chances)
    assert float(negative_entropy(logits, multi_label)) == pytest.approx(
        (chances * logarithms).sum(-1).mean()
    )
    assert float(surrogate_certainty(logits, multi_label)) == pytest.approx(-logarithms.mean())
    even, ways = torch.zeros(2, 3), 2 if multi_label else 3
    assert float(negative_entropy(even, multi_label)) == pytest.approx(-math.log(ways))
    assert float(surrogate_certainty(even, multi_label)) == pytest.approx(math.log(ways))
    for measure in (negative_entropy, surrogate_certainty):
        assert measure(even.double(), multi_label) < measure(logits, multi_label)


def test_events_tell_each_step_and_epoch(network, stack):
    events = []
    trained("f-cam", network, stack, epochs=2, on_event=events.append)
    told = [(event.kind, event.epoch, event.step) for event in events]
    assert told == [
        *[("step", 1, 1), ("step", 1, 2), ("epoch", 1, None)],
        *[("step", 2, 1), ("step", 2, 2), ("epoch", 2, None)],
    ]
    assert all((event.stage, event.epochs) == ("teacher", 2) for event in events)
    assert set(events[0].metrics) == {"loss", "seed_loss", "colour_loss", "area_loss"}


def stop_after(events, steps, wish):
    return lambda: wish if len(events) >= steps else Stop.NO


def test_stopping_keeps_what_was_learned_and_cancelling_nothing(network, stack):
    for wish in (Stop.KEEP, Stop.DISCARD):
        events = []
        options = {"epochs": 50, "on_event": events.append, "should_stop": stop_after(events, 3, wish)}
        if wish is Stop.DISCARD:
            with pytest.raises(CancelledError):
                trained("negev", network, stack, **options)
        else:
            assert float(maps_of(trained("negev", network, stack, **options), stack).std()) > 0
        assert len(events) == 3


def test_a_run_draws_no_seeds_from_a_half_trained_teacher(network, stack):
    data, _ = stack
    run = TrainSettings(
        "folder", "x", teacher="negev", input_size=SIZE, teacher_scales=(1.0,), teacher_epochs=3
    )
    card = type("Card", (), {"mean": (0.5, 0.5, 0.5), "std": (0.2, 0.2, 0.2)})
    events = []
    with pytest.raises(engine.StopTraining):
        prepare_teacher(
            run, network, card, data, on_event=events.append, should_stop=stop_after(events, 2, Stop.KEEP)
        )
    assert [event.kind for event in events] == ["step", "epoch"]
    assert prepare_teacher(run, network, card, data).settings.epochs == 3


def test_seeds_can_come_from_a_teacher_that_needs_no_training(network, stack):
    data, _ = stack
    teacher = Teacher("layercam-abs", (2, 3))
    maps = classifier_maps(teacher, network, data, normalised)
    given = train_localizer(settings("negev"), network, data, maps, normalised)
    made_there = train_localizer(settings("negev"), network, data, teacher, normalised)
    assert torch.equal(maps_of(given, stack), maps_of(made_there, stack))
    with pytest.raises(ConfigError, match="needs maps"):
        train_localizer(settings("negev"), network, data, None, normalised)
    with pytest.raises(CancelledError):
        classifier_maps(teacher, network, data, normalised, should_stop=lambda: Stop.KEEP)


def test_a_training_that_diverges_says_what_to_do(network, stack, monkeypatch):
    def diverge(optimizer, loss):
        raise FloatingPointError

    monkeypatch.setattr(engine, "take_step", diverge)
    with pytest.raises(RunError, match=r"f-cam diverged .* lower its learning rate"):
        trained("f-cam", network, stack)


@pytest.mark.parametrize(
    "changes",
    [
        {"kind": "layercam"},
        {"augment": "wild"},
        {"epochs": 0},
        {"batch": 0},
        {"rate": 0.0},
        {"barrier_growth": 0.5},
        {"slope": 0.0},
    ],
)
def test_settings_that_cannot_be_are_refused(changes):
    with pytest.raises(ConfigError):
        LocalizerSettings(**{"kind": "negev", **changes})


def test_the_barriers_steepen_by_a_hundredth_each_step_up_to_their_end():
    found = [LocalizerSettings("f-cam").barrier(step) for step in (0, 1, 100, 231, 232, 10**6)]
    assert found == pytest.approx([1, 1.01, 1.01**100, 1.01**231, 10, 10])


@pytest.mark.parametrize(
    ("strides", "sizes"), [((4, 8, 16), (16, 8, 4)), ((16, 16), (4, 4)), ((2, 4), (32, 16)), ((32,), (2,))]
)
def test_a_decoder_ends_at_a_quarter_of_the_image_from_whichever_levels(strides, sizes):
    torch.manual_seed(0)
    decoder = MaskDecoder([3] * len(strides), strides, width=8)
    maps = [torch.randn(2, 3, side, 2 * side) for side in sizes]
    assert decoder(maps, (64, 128)).shape == (2, 2, 16, 32)
