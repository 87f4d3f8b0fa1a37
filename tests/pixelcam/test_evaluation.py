"""Evaluating models whose answers are known beforehand."""

from __future__ import annotations

import dataclasses
import json
import math
from types import SimpleNamespace

import numpy as np
import pytest
from skimage.transform import resize
from sklearn.metrics import average_precision_score

from pixelcam import metrics
from pixelcam.datasets import load_mask, open_dataset
from pixelcam.errors import CancelledError, CheckpointError, ConfigError
from pixelcam.evaluation import evaluate
from pixelcam.events import Stop
from tests.synthetic import write_labelled

KEYS = [
    "pxap",
    "chance_pxap",
    "accuracy",
    "dice",
    "iou",
    "ece",
    "class_ece",
    "threshold",
    "images",
]


class Oracle:
    """Answers with the labels and masks of a data set, in the order in which it is asked."""

    def __init__(self, dataset, classes=None, size=224, spoil=lambda maps: maps, multi_label=False):
        self.card = SimpleNamespace(
            classes=classes or dataset.classes, input_size=size, threshold=0.4, multi_label=multi_label
        )
        self.dataset, self.spoil, self.place, self.batches = dataset, spoil, 0, []

    def predict_batch(self, images):
        assert images.dtype == np.uint8
        assert images.shape[1:] == (self.card.input_size, self.card.input_size, 3)
        self.batches.append(len(images))
        samples = self.dataset.samples[self.place : self.place + len(images)]
        self.place += len(images)
        labels = [min(sample.label, len(self.card.classes) - 1) for sample in samples]
        maps = [
            load_mask(sample, self.card.input_size) if sample.has_mask else np.zeros(images.shape[1:3])
            for sample in samples
        ]
        probabilities = np.eye(len(self.card.classes), dtype=np.float32)[labels]
        return probabilities, self.spoil(np.stack(maps).astype(np.float32))


@pytest.fixture(scope="module")
def dataset(folder_root):
    return open_dataset("folder", folder_root, "test")


@pytest.fixture
def events():
    return []


def warnings(events):
    return [event.message for event in events if event.kind == "warning"]


def unmasked(dataset, but=()):
    samples = [s if s.name in but else dataclasses.replace(s, mask=None) for s in dataset.samples]
    return dataclasses.replace(dataset, samples=tuple(samples))


def test_a_model_that_knows_all_has_100_of_everything(dataset, events):
    result = evaluate(Oracle(dataset), dataset, on_event=events.append)
    assert (result.pxap, result.accuracy, result.dice, result.iou) == (100, 100, 100, 100)
    share = np.mean([load_mask(sample, 224).mean() for sample in dataset.samples])
    assert result.chance_pxap == pytest.approx(100 * share)
    assert result.threshold == 0.4, "the model's own"
    assert result.images == len(dataset)
    assert not warnings(events)


def test_the_document_has_the_published_keys_and_is_json(dataset):
    document = evaluate(Oracle(dataset), dataset).to_json()
    assert list(document) == KEYS
    assert json.loads(json.dumps(document)) == document


def test_a_model_that_knows_nothing_has_chance(dataset):
    result = evaluate(Oracle(dataset, spoil=lambda maps: np.full_like(maps, 0.3)), dataset)
    assert result.pxap == pytest.approx(result.chance_pxap)
    assert result.dice == 0


def test_pxap_pools_pixels_and_dice_averages_images(dataset):
    noise = np.random.default_rng(0)
    noisy = Oracle(dataset, spoil=lambda maps: np.clip(0.6 * maps + 0.4 * noise.random(maps.shape), 0, 1))
    maps = {}

    def keep(spoil):
        def spoiled(batch):
            maps[len(maps)] = spoil(batch)
            return maps[len(maps) - 1]

        return spoiled

    noisy.spoil = keep(noisy.spoil)
    result = evaluate(noisy, dataset, threshold=0.2, batch_size=4)
    scores = np.concatenate([maps[key] for key in sorted(maps)])
    masks = np.stack([load_mask(sample, 224) for sample in dataset.samples])
    assert result.pxap == pytest.approx(metrics.pxap(*metrics.score_histograms(scores, masks)))
    each = [
        2 * np.sum((score >= 0.2) & (mask == 1)) / (np.sum(score >= 0.2) + np.sum(mask == 1))
        for score, mask in zip(scores, masks, strict=True)
    ]
    assert result.dice == pytest.approx(100 * np.mean(each))
    assert [score.dice for score in result.per_image] == pytest.approx([100 * dice for dice in each])
    assert [score.name for score in result.per_image] == [sample.name for sample in dataset.samples]


def test_maps_of_another_size_are_compared_at_224(dataset):
    result = evaluate(Oracle(dataset, size=112), dataset)
    assert result.foreground.sum() + result.background.sum() == len(dataset) * 224 * 224
    assert 97 < result.pxap < 100, "a map of half the size loses only the outlines"


def test_maps_are_enlarged_bilinearly_with_pixel_areas_aligned(dataset):
    ramp = np.linspace(0.1, 0.9, 32, dtype=np.float32) * np.linspace(0.2, 1, 32, dtype=np.float32)[:, None]
    result = evaluate(Oracle(dataset, size=32, spoil=lambda maps: np.broadcast_to(ramp, maps.shape)), dataset)
    enlarged = resize(ramp, (224, 224), order=1, mode="edge", anti_aliasing=False)
    masks = np.stack([load_mask(sample, 224) for sample in dataset.samples])
    foreground, background = metrics.score_histograms(np.broadcast_to(enlarged, masks.shape), masks)
    # Rounding moves a pixel here and there over the edge of a bin, a shift of the map moves many.
    for found, expected in ((result.foreground, foreground), (result.background, background)):
        assert np.abs(np.cumsum(found - expected)).max() < 0.0005 * expected.sum()


def test_batches_are_no_larger_than_asked_for_and_progress_counts_images(dataset, events):
    oracle = Oracle(dataset)
    evaluate(oracle, dataset, batch_size=3, on_event=events.append)
    assert oracle.batches == [3] * (len(dataset) // 3) + ([len(dataset) % 3] if len(dataset) % 3 else [])
    assert [event.kind for event in events] == ["started", *["step"] * len(oracle.batches), "done"]
    assert {event.stage for event in events} == {"evaluate"}
    assert [event.step for event in events if event.kind == "step"] == np.cumsum(oracle.batches).tolist()
    assert events[-1].metrics["pxap"] == 100


@pytest.mark.parametrize("wish", [Stop.KEEP, Stop.DISCARD])
def test_stopping_ends_it_before_the_next_batch(dataset, wish):
    oracle = Oracle(dataset)
    with pytest.raises(CancelledError, match=f"after 2 of {len(dataset)} images"):
        evaluate(oracle, dataset, batch_size=2, should_stop=lambda: wish if oracle.place >= 2 else Stop.NO)
    assert oracle.place == 2


def test_without_masks_there_is_accuracy_only(dataset, events):
    bare = unmasked(dataset)
    document = evaluate(Oracle(bare), bare, on_event=events.append).to_json()
    assert document["accuracy"] == 100
    assert [document[key] for key in ("pxap", "chance_pxap", "dice", "iou")] == [None] * 4
    assert warnings(events) == ["No image has a mask, so there is no PxAP, Dice or IoU."]


def test_with_some_masks_the_figures_are_of_these_and_it_is_said(dataset, events):
    some = unmasked(dataset, but={dataset.samples[0].name})
    result = evaluate(Oracle(some), some, on_event=events.append)
    assert result.pxap == 100
    assert warnings(events) == [f"Only 1 of {len(some)} images have a mask: PxAP, Dice and IoU are of these."]


def test_where_no_mask_holds_foreground_pxap_is_not_defined(dataset, events):
    samples = [dataclasses.replace(s, mask=None, regionless=True) for s in dataset.samples]
    empty = dataclasses.replace(dataset, samples=tuple(samples))
    document = evaluate(Oracle(empty), empty, on_event=events.append).to_json()
    assert (document["pxap"], document["chance_pxap"]) == (None, 0)
    assert document["dice"] is None, "neither mask nor region has a pixel"
    assert warnings(events) == ["No mask holds a foreground pixel, so PxAP is not defined."]


def test_classes_are_matched_by_name_and_not_by_index(dataset):
    names = tuple(name.title() for name in dataset.classes)
    assert evaluate(Oracle(dataset, classes=names), dataset).accuracy == 100, "letter case aside"
    swapped = Oracle(dataset, classes=names[::-1])
    assert evaluate(swapped, dataset).accuracy == 0, "the same index is now the other class"


def test_images_of_a_class_that_the_model_does_not_know_are_left_out(dataset, events):
    partly = Oracle(dataset, classes=(dataset.classes[0], "adenoma"))
    result = evaluate(partly, dataset, on_event=events.append)
    assert result.accuracy == 100
    assert result.pxap == 100
    assert any(dataset.classes[1] in sentence for sentence in warnings(events))


def test_a_model_of_other_classes_is_measured_by_pixel_only(dataset, events):
    result = evaluate(Oracle(dataset, classes=("benign", "malignant")), dataset, on_event=events.append)
    assert result.accuracy is None
    assert result.pxap == 100
    (sentence,) = warnings(events)
    assert "benign, malignant" in sentence
    assert "no accuracy" in sentence


def test_a_model_that_gives_nan_is_named_with_its_image(dataset):
    broken = Oracle(dataset, spoil=lambda maps: np.where(maps > 0, math.nan, maps))
    with pytest.raises(CheckpointError, match=dataset.samples[0].name):
        evaluate(broken, dataset)


@pytest.mark.parametrize("threshold", [-0.1, 1.5, math.nan])
def test_a_threshold_outside_of_the_scores_is_refused(dataset, threshold):
    with pytest.raises(ConfigError, match="between 0 and 1"):
        evaluate(Oracle(dataset), dataset, threshold=threshold)


def test_order_of_the_samples_changes_nothing(dataset):
    backwards = dataclasses.replace(dataset, samples=dataset.samples[::-1])
    assert evaluate(Oracle(backwards), backwards).to_json() == evaluate(Oracle(dataset), dataset).to_json()


@pytest.fixture(scope="module")
def labelled(tmp_path_factory):
    root = write_labelled(tmp_path_factory.mktemp("labelled"), number=32, size=32)
    return open_dataset("folder", root, "train")


class LabelOracle(Oracle):
    """Answers with the given probabilities of labels."""

    def __init__(self, dataset, probabilities, **kwargs):
        super().__init__(dataset, multi_label=True, **kwargs)
        self.probabilities = probabilities

    def predict_batch(self, images):
        start = self.place
        _, maps = super().predict_batch(images)
        return self.probabilities[start : self.place], maps


def label_matrix(dataset):
    rows = [[index in sample.labels for index in range(len(dataset.classes))] for sample in dataset.samples]
    return np.array(rows, np.float32)


def test_of_several_labels_all_must_be_right(labelled):
    truth = label_matrix(labelled)
    result = evaluate(LabelOracle(labelled, 0.2 + 0.6 * truth), labelled)
    assert (result.accuracy, result.label_map) == (100, 100)
    assert {score.label: score.predicted for score in result.per_image} == {
        name: name for name in ("", "crowded", "round", "crowded;round")
    }
    wrong = 0.2 + 0.6 * truth
    wrong[0] = 0.6 - 0.2 * truth[0]  # one image turned round, its order too
    spoilt = evaluate(LabelOracle(labelled, wrong), labelled)
    assert spoilt.accuracy == pytest.approx(100 * (len(truth) - 1) / len(truth))
    assert list(spoilt.to_json()) == [*KEYS, "label_map"]


def test_the_label_map_is_scikit_learns(labelled):
    truth = label_matrix(labelled)
    rng = np.random.default_rng(0)
    probabilities = np.clip(rng.normal(0.4 + 0.2 * truth, 0.3), 0, 1).astype(np.float32)
    result = evaluate(LabelOracle(labelled, probabilities), labelled)
    assert result.label_map == pytest.approx(100 * average_precision_score(truth, probabilities))
    assert result.accuracy == pytest.approx(100 * ((probabilities >= 0.5) == truth).all(1).mean())


def test_labels_are_matched_by_name_and_unknown_ones_left_out(labelled, events):
    truth = label_matrix(labelled)
    oracle = LabelOracle(labelled, 0.2 + 0.6 * truth[:, ::-1], classes=("Round", "Crowded"))
    assert evaluate(oracle, labelled).label_map == 100
    partly = LabelOracle(
        labelled, np.stack([np.full(len(truth), 0.1), truth[:, 0]], 1), classes=("fat", "crowded")
    )
    result = evaluate(partly, labelled, on_event=events.append)
    assert (result.accuracy, result.label_map) == (100, 100)
    assert any("round" in sentence for sentence in warnings(events))
    other = LabelOracle(labelled, truth, classes=("fat", "bone"))
    document = evaluate(other, labelled).to_json()
    assert document["accuracy"] is None
    assert "label_map" not in document


def test_a_model_of_one_label_is_judged_by_it_on_images_of_several(labelled):
    truth = label_matrix(labelled)
    single = LabelOracle(labelled, np.where(truth == 1, 0.6, 0.4) + np.array([0.01, 0]))
    single.card.multi_label = False
    result = evaluate(single, labelled)
    assert result.accuracy == pytest.approx(100 * (truth.sum(1) == 1).mean())
    assert result.label_map == 100


def test_labels_that_the_data_set_does_not_have_are_not_held_against_the_model(labelled):
    truth = label_matrix(labelled)
    more = np.concatenate([0.2 + 0.6 * truth, np.full((len(truth), 1), 0.9, np.float32)], 1)
    result = evaluate(LabelOracle(labelled, more, classes=(*labelled.classes, "fat")), labelled)
    assert (result.accuracy, result.label_map) == (100, 100)
    assert all("fat" in score.predicted for score in result.per_image)
