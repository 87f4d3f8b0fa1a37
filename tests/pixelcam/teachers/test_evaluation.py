"""Teachers as baselines: whose maps are measured, of which class, and where a trained one learns."""

import copy
import dataclasses

import numpy as np
import pytest
import torch

from pixelcam import metrics
from pixelcam.datasets import load_image, load_mask, open_dataset
from pixelcam.errors import ConfigError
from pixelcam.localize.localizer import normalise
from pixelcam.model import ModelCard
from pixelcam.teachers import Teacher
from pixelcam.teachers.evaluation import evaluate_maps, load_teacher
from pixelcam.teachers.localizers import TrainedLocalizer
from pixelcam.training import TrainSettings

pytestmark = pytest.mark.usefixtures("one_thread")

CLASSES = ("crowded", "round")


@pytest.fixture(scope="module")
def dataset(folder_root):
    return open_dataset("folder", folder_root, "test")


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    card = ModelCard(encoder="test_efficientnet", classes=CLASSES, input_size=96)
    return card.build().eval(), card


class Asked:
    """A teacher that notes what it is asked for, and answers with a constant."""

    def __init__(self, monkeypatch):
        self.labels = []

        def answer(teacher, network, images, labels):
            self.labels.append(labels)
            return torch.full((len(images), 24, 24), 0.5)

        monkeypatch.setattr("pixelcam.teachers.evaluation.teacher_maps", answer)


def test_the_figures_are_those_of_the_teachers_maps_at_the_protocols_size(model, dataset):
    network, card = model
    teacher = Teacher("layercam-abs", (2, 3))
    result = evaluate_maps(teacher, network, card, dataset, of="true", threshold=0.3)
    images = torch.stack([torch.from_numpy(load_image(sample, 96)) for sample in dataset.samples])
    labels = torch.tensor([sample.label for sample in dataset.samples])
    inputs = normalise(images, card)
    with torch.no_grad():
        predicted = network.classify(inputs).argmax(1)
    maps = teacher.maps(network, inputs, labels)[:, None]
    large = torch.nn.functional.interpolate(maps, (224, 224), mode="bilinear", align_corners=False)[:, 0]
    masks = np.stack([load_mask(sample, 224) for sample in dataset.samples])
    histograms = metrics.score_histograms(large.clamp(0, 1).numpy(), masks)
    assert result.pxap == pytest.approx(metrics.pxap(*histograms), abs=0.05)
    assert result.chance_pxap == pytest.approx(metrics.chance_pxap(*histograms))
    assert result.accuracy == pytest.approx(100 * float((predicted == labels).float().mean()))
    assert result.threshold == 0.3
    assert evaluate_maps(teacher, network, card, dataset).threshold == 0.5, "not the pixel head's"


def test_maps_are_of_the_predicted_class_or_of_the_true_one(model, dataset, monkeypatch):
    network, card = model
    asked = Asked(monkeypatch)
    inputs = normalise(
        torch.stack([torch.from_numpy(load_image(sample, 96)) for sample in dataset.samples]), card
    )
    with torch.no_grad():
        predicted = network.classify(inputs).argmax(1)
    evaluate_maps(Teacher(), network, card, dataset)
    assert torch.cat(asked.labels).tolist() == predicted.tolist()
    asked.labels.clear()
    swapped = dataclasses.replace(card, classes=("Round", "Crowded"))
    evaluate_maps(Teacher(), network, swapped, dataset, of="true")
    names = [swapped.classes[label].lower() for label in torch.cat(asked.labels)]
    assert names == [dataset.classes[sample.label] for sample in dataset.samples]
    asked.labels.clear()
    foreign = dataclasses.replace(card, classes=("benign", "malignant"))
    evaluate_maps(Teacher(), network, foreign, dataset, of="true")
    assert torch.cat(asked.labels).tolist() == predicted.tolist(), "the true class is unknown to the model"


def test_of_a_model_of_several_labels_maps_are_of_all_that_it_finds(model, dataset, monkeypatch):
    network, card = copy.deepcopy(model[0]), dataclasses.replace(model[1], multi_label=True)
    asked = Asked(monkeypatch)
    for bias, wanted in (((9.0, 9.0), [1, 1]), ((-9.0, -4.0), [0, 1])):  # the likeliest, if none is likely
        with torch.no_grad():
            network.image_head.classify.bias.copy_(torch.tensor(bias))
        evaluate_maps(Teacher(), network, card, dataset)
        assert torch.cat(asked.labels).tolist() == [wanted] * len(dataset)
        asked.labels.clear()


@pytest.fixture
def settings(folder_root):
    return TrainSettings(
        "folder", folder_root, encoder="test_efficientnet", input_size=96, teacher_scales=(1.0,),
        teacher="layercam-abs", teacher_epochs=1, seeds=10,
    )  # fmt: skip


def test_a_teacher_that_is_trained_learns_on_the_training_images(model, dataset, settings):
    network, card = model
    events = []
    chosen = dataclasses.replace(settings, teacher="f-cam")
    teacher = load_teacher(chosen, network, card, on_event=events.append)
    assert isinstance(teacher, TrainedLocalizer)
    assert {event.stage for event in events} == {"teacher"}
    result = evaluate_maps(teacher, network, card, dataset)
    assert 0 < result.pxap < 100
    assert result.images == len(dataset)


def test_a_teacher_that_is_not_needs_none(model, settings, tmp_path):
    network, card = model
    nowhere = dataclasses.replace(settings, root=tmp_path / "gone")
    assert load_teacher(nowhere, network, card) == nowhere.teacher_of(network.encoder.info)
    with pytest.raises(ConfigError, match="class token"):
        load_teacher(dataclasses.replace(nowhere, teacher="ts-cam"), network, card)
    with pytest.raises(ConfigError, match="exist for no others"):
        load_teacher(dataclasses.replace(nowhere, teacher="eigen"), network, card)


def test_a_teacher_is_not_trained_on_other_classes_than_the_models(model, settings):
    network, card = model
    other = dataclasses.replace(card, classes=("benign", "malignant"))
    with pytest.raises(ConfigError, match="own classes"):
        load_teacher(dataclasses.replace(settings, teacher="negev"), network, other)
