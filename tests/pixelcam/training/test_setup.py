"""What is looked at before the first step: the run's folder, its images, and settings that cannot work."""

import dataclasses
import shutil

import numpy as np
import pytest
from PIL import Image

from pixelcam.datasets import open_dataset
from pixelcam.errors import ConfigError, DatasetError, RunError
from pixelcam.training import TrainSettings
from pixelcam.training.setup import claim_data, plan_card
from pixelcam.training.validation import ONE_KIND, Validation


@pytest.fixture
def root(folder_root, tmp_path):
    return shutil.copytree(folder_root, tmp_path / "folder")


@pytest.fixture
def settings(root):
    return TrainSettings(
        dataset="folder",
        root=root,
        encoder="test_efficientnet",
        input_size=64,
        view_size=64,
        eigen_sides=(64,),
    )


def opened(root, split="train"):
    return open_dataset("folder", root, split, 0)


def test_images_that_change_while_a_run_rests_are_told(root, tmp_path):
    run = tmp_path / "run"
    (run / "state").mkdir(parents=True)
    claim_data(run, {"training": opened(root), "validation": opened(root, "valcl")})
    first = opened(root).samples[0].image
    Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save(first)
    # Nothing was learned yet that could be wrong for it.
    claim_data(run, {"training": opened(root), "validation": opened(root, "valcl")})
    (run / "state" / "maps-joint.safetensors").touch()
    claim_data(run, {"training": opened(root), "validation": opened(root, "valcl")})
    Image.fromarray(np.ones((96, 96, 3), np.uint8)).save(first)
    with pytest.raises(RunError, match="training images have changed"):
        claim_data(run, {"training": opened(root), "validation": opened(root, "valcl")})
    (run / "data.json").write_text("{")
    with pytest.raises(RunError, match="damaged"):
        claim_data(run, {"training": opened(root)})


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"eigen_level": 99}, "eigen_level lies in"),
        ({"eigen_sides": (65,)}, "eigen_sides are multiples"),
        ({"encoder": "test_vit", "input_size": 64, "view_size": 70}, "view_size is a multiple of"),
    ],
)
def test_settings_that_do_not_fit_the_encoder_are_told_before_any_work(settings, root, changes, words):
    with pytest.raises(ConfigError, match=words):
        plan_card(dataclasses.replace(settings, **changes), opened(root))


@pytest.mark.parametrize("name", ["rate_joint", "clip", "pixel_weight"])
def test_numbers_that_are_none_are_told(settings, name):
    with pytest.raises(ConfigError, match=f"{name} is a finite number"):
        dataclasses.replace(settings, **{name: float("nan")})


def test_classes_without_a_region_alone_teach_nothing(settings, root):
    train = opened(root)
    everything = dataclasses.replace(train, regionless=frozenset(range(len(train.classes))))
    with pytest.raises(DatasetError, match="without a region"):
        plan_card(settings, everything)


def test_masks_that_say_nothing_are_not_used_and_that_is_told(settings, root):
    assert Validation.load(settings).valpx is not None
    for sample in opened(root, "valpx").samples:
        with Image.open(sample.mask) as mask:
            blank = np.zeros((mask.height, mask.width), np.uint8)
        Image.fromarray(blank).save(sample.mask)
    begun = Validation.load(settings)
    assert (begun.valpx, begun.masks, begun.caution) == (None, [], ONE_KIND)
    assert begun.selection_of("best-loc") == "mask-free"


def test_no_masks_need_no_word(settings, root):
    for mask in root.rglob("masks/*/*.png"):
        mask.unlink()
    found = Validation.load(settings)
    assert (found.valpx, found.caution) == (None, "")


def test_masks_that_cannot_be_had_are_told(camelyon_root):
    settings = TrainSettings(
        dataset="camelyon512", root=camelyon_root, encoder="test_efficientnet", input_size=64
    )
    next(iter(open_dataset("camelyon512", camelyon_root, "valpx", 0).masked)).mask.unlink()
    found = Validation.load(settings)
    assert found.valpx is None
    assert found.caution.startswith("No validation masks are used")


@pytest.fixture
def camelyon_root(tmp_path):
    from tests.synthetic import write_camelyon_like

    return write_camelyon_like(tmp_path / "camelyon")
