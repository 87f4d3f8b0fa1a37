"""Settings: defaults, files, and what is refused."""

import json
from pathlib import Path

import pytest

from pixelcam.datasets import Dataset, Sample
from pixelcam.errors import ConfigError, DatasetError, RunError
from pixelcam.model.encoder import FINAL, encoder_info
from pixelcam.teachers import FINAL_METHODS, TRAINED_TEACHERS
from pixelcam.training import FinetuneSettings, TrainSettings
from pixelcam.training.settings import default_levels
from pixelcam.training.setup import claim_run, plan_card, refuse_other_settings

BASE = {"dataset": "folder", "root": "data"}


def test_settings_survive_json_and_yaml(tmp_path):
    settings = TrainSettings.from_dict(
        {**BASE, "levels": [1, 2], "teacher_scales": 1.5, "batch": "8", "fold": 2.0}
    )
    assert settings.root == Path("data")
    assert (settings.levels, settings.teacher_scales, settings.batch, settings.fold) == ((1, 2), (1.5,), 8, 2)
    assert TrainSettings.from_dict(settings.to_dict()) == settings
    (tmp_path / "s.yaml").write_text("dataset: folder\nroot: data\nepochs-joint: 3\nweights: null\n")
    assert TrainSettings.from_dict(TrainSettings.read_yaml(tmp_path / "s.yaml")).epochs_joint == 3
    finetune = FinetuneSettings(Path("seeds"), epochs=3)
    assert FinetuneSettings.from_dict(finetune.to_dict()) == finetune


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"epoch_joint": 3}, "did you mean 'epochs_joint'"),
        ({"hovercraft": 3}, "the settings are: dataset"),
        ({"batch": "many"}, "batch cannot be 'many'"),
        ({"batch": 10**400}, "batch cannot be 1000"),
        ({"batch": 10**5000}, "batch cannot be a number of so many digits"),
        ({"batch": float("inf")}, "batch cannot be inf"),
        ({"batch": 2.5}, "takes int values"),
        ({"batch": True}, "takes int values"),
        ({"half": "yes"}, "takes bool values"),
        ({"levels": ["one"]}, "takes int values"),
        ({"batch": 1}, "batch is at least 2"),
        ({"input_size": 8}, "input_size"),
        ({"epochs_classifier": 0, "epochs_joint": 0}, "at least one stage"),
        ({"rate_joint": 0.0}, "learning rates"),
        ({"dropout": 1.0}, "dropout"),
        ({"pixel_weight": -1.0}, "weights are 0 or more"),
        ({"augment": "wild"}, "augment is paper or moderate or strong"),
        ({"image_head": "median"}, "image_head is one of average, max, lse, attention"),
        ({"teacher": "crystal-ball"}, "no teacher 'crystal-ball'"),
        ({"teacher_score": "luck"}, "logit or log-odds"),
        ({"sampler": "dice"}, "no sampler 'dice'"),
        ({"teacher_epochs": 0}, "teacher_epochs is at least 1"),
        ({"teacher_base": "negev"}, "teacher_base is one of cam"),
    ],
)
def test_a_setting_that_cannot_be_is_named(values, words):
    with pytest.raises(ConfigError, match=words):
        TrainSettings.from_dict({**BASE, **values})


def test_what_is_missing_is_named():
    with pytest.raises(ConfigError, match="needed: root"):
        TrainSettings.from_dict({"dataset": "folder"})


@pytest.mark.parametrize("text", ["- a\n- b\n", "a: [", "just words"])
def test_a_file_that_is_no_mapping_is_refused(tmp_path, text):
    (tmp_path / "s.yaml").write_text(text)
    with pytest.raises(ConfigError, match=r"s\.yaml"):
        TrainSettings.read_yaml(tmp_path / "s.yaml")
    with pytest.raises(ConfigError, match="cannot be read"):
        TrainSettings.read_yaml(tmp_path / "gone.yaml")


@pytest.mark.parametrize(
    "values",
    [
        {"epochs": 0},
        {"crop": 8},
        {"rate": 0.0},
        {"teacher_weight": -1.0},
        {"teacher_weight": 0.0, "seed_weight": 0.0},
    ],
)
def test_fine_tuning_out_of_range_is_refused(values):
    with pytest.raises(ConfigError):
        FinetuneSettings.from_dict({"seeds": "x", **values})


@pytest.mark.parametrize(
    ("encoder", "levels"),
    [("test_efficientnet", (1, 2, 3, 4)), ("test_convnext", (0, 1, 2, 3)), ("test_vit", (0, 2, 3, 5))],
)
def test_by_default_the_pixel_head_sees_every_level_of_stride_4_and_above_or_four_blocks(encoder, levels):
    assert default_levels(encoder_info(encoder)) == levels


def samples(*labels):
    return tuple(Sample(f"s{i}", Path(f"s{i}.png"), label, None, f"s{i}") for i, label in enumerate(labels))


def test_one_class_only_cannot_be_trained_on():
    dataset = Dataset("glas", ("benign", "malignant"), samples(1, 1, 1))
    with pytest.raises(DatasetError, match=r"all of one class|of one class \(malignant\)"):
        plan_card(TrainSettings.from_dict(BASE), dataset)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"input_size": 100}, "multiple of 32, for example 96"),
        ({"teacher_levels": (9,)}, "levels lie in -1..4"),
        ({"teacher": "cam", "teacher_levels": (2,)}, "CAM is defined on the final level only"),
        ({"encoder": "swin_tiny_patch4_window7_224"}, "does not give whole maps"),
        ({"encoder": "test_vit", "input_size": 120}, "multiple of 16, for example 128"),
    ],
)
def test_what_the_encoder_cannot_do_is_refused_before_training(values, words):
    dataset = Dataset("glas", ("benign", "malignant"), samples(0, 1))
    settings = TrainSettings.from_dict({**BASE, "encoder": "test_efficientnet", **values})
    with pytest.raises(ConfigError, match=words):
        plan_card(settings, dataset)


def test_the_card_says_how_the_model_was_made():
    dataset = Dataset("glas", ("benign", "malignant"), samples(0, 1), None, frozenset({0}))
    card = plan_card(
        TrainSettings.from_dict({**BASE, "encoder": "test_efficientnet", "input_size": 96}), dataset
    )
    assert (card.encoder, card.classes, card.input_size) == ("test_efficientnet", dataset.classes, 96)
    assert (card.levels, card.image_head, card.multi_label) == ((1, 2, 3, 4), "average", False)
    assert card.regionless == ("benign",)
    assert "image labels only" in card.trained_on
    assert card.training["teacher"] == "eigen"
    assert "root" not in card.training  # nobody else has that folder


@pytest.mark.parametrize("teacher", FINAL_METHODS)
def test_the_teacher_of_cam_and_attention_is_the_final_map(teacher):
    info = encoder_info("test_vit")
    assert TrainSettings.from_dict({**BASE, "teacher": teacher}).teacher_of(info).levels == (FINAL,)


@pytest.mark.parametrize("teacher", TRAINED_TEACHERS)
def test_a_teacher_that_is_trained_is_taught_by_another(teacher):
    settings = TrainSettings.from_dict({**BASE, "teacher": teacher, "teacher_base": "cam"})
    assert settings.teacher_of(encoder_info("test_efficientnet")).method == "cam"


def test_a_run_goes_on_with_its_own_settings_only(tmp_path):
    settings = TrainSettings.from_dict(BASE)
    claim_run(tmp_path, settings)
    other = TrainSettings.from_dict({**BASE, "batch": 4, "seed": 1})
    claim_run(tmp_path, other)  # nothing was trained yet
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "last.safetensors").write_bytes(b"x")
    with pytest.raises(RunError, match=r"other settings \(batch, seed\)"):
        claim_run(tmp_path, settings)
    refuse_other_settings(tmp_path, TrainSettings.from_dict({**BASE, "batch": 4, "seed": 1, "device": "cpu"}))
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(RunError, match="damaged"):
        claim_run(tmp_path, settings)


def test_a_run_from_before_glass_was_laid_goes_on_without_it(tmp_path):
    settings = TrainSettings.from_dict(BASE)
    assert settings.glass > 0
    values = settings.to_dict()
    del values["glass"]
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "last.safetensors").write_bytes(b"x")
    (tmp_path / "config.json").write_text(json.dumps(values))
    assert TrainSettings.read_run(tmp_path / "config.json")["glass"] == 0
    with pytest.raises(RunError, match=r"other settings \(glass\)"):
        claim_run(tmp_path, settings)
    claim_run(tmp_path, TrainSettings.from_dict({**BASE, "glass": 0.0}))


ODD = ("1" * 400, "." + "inf", "-.inf", ".nan", "1" * 5000, "1e400", "!!python/name:os.system", "2024-13-45")
DATES = ("2024-01-01", "2024-01-01 10:00:00", "!!timestamp 2024-01-01")
STRUCTURES = (
    "[[[[1]]]]",
    "{a: 1}",
    "!!set {a, b}",
    "!!binary aGVsbG8=",
    "!!omap [a: 1]",
    "*unknown",
    "[" * 5000,
)


@pytest.mark.parametrize("value", [*ODD, *DATES, *STRUCTURES])
@pytest.mark.parametrize("kind", [TrainSettings, FinetuneSettings])
def test_odd_values_of_yaml_are_refused_in_one_sentence(tmp_path, value, kind):
    path = tmp_path / "s.yaml"
    base = BASE if kind is TrainSettings else {"seeds": "x"}
    for key in ("seed", "momentum", "device", "batch", "pretrained", "weights", "levels", "teacher_scales"):
        if key not in kind.__dataclass_fields__:
            continue
        path.write_text(f"{key}: {value}\n")
        if value.startswith("1") and key in ("device", "weights"):
            continue  # digits alone are refused as numbers, or are a text
        with pytest.raises(ConfigError) as caught:
            kind.from_dict({**base, **kind.read_yaml(path)})
        assert len(str(caught.value)) < 300
        assert "\n" not in str(caught.value)


def test_a_text_that_yaml_takes_for_something_else_is_asked_for_in_quotes(tmp_path):
    for text in ("yes", "007", "2024-01-01", "5", "1.10"):
        (tmp_path / "s.yaml").write_text(f"name: {text}\n")
        with pytest.raises(ConfigError, match="put it in quotes"):
            TrainSettings.from_dict({**BASE, **TrainSettings.read_yaml(tmp_path / "s.yaml")})
        (tmp_path / "s.yaml").write_text(f"name: '{text}'\n")
        assert TrainSettings.from_dict({**BASE, **TrainSettings.read_yaml(tmp_path / "s.yaml")}).name == text


DAMAGED = ("[]", "5", "[" * 100_000, '{"seed": NaN}', '{"seed": 1e999}', f'{{"seed": {"9" * 400}}}')


@pytest.mark.parametrize("text", DAMAGED)
def test_a_runs_settings_with_odd_values_are_damaged(tmp_path, text):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(RunError, match="is damaged"):
        TrainSettings.read_run(tmp_path / "config.json")


ENDLESS = (float("inf"), float("nan"), 10**400, -(10**400), 2**31, True, None, "x" * 1000)


@pytest.mark.parametrize("value", ENDLESS)
def test_numbers_that_nothing_can_be_done_with_are_refused(value):
    for key in ("batch", "epochs", "steps"):
        with pytest.raises(ConfigError) as caught:
            FinetuneSettings.from_dict({"seeds": "x", key: value})
        assert len(str(caught.value)) < 300
    with pytest.raises(ConfigError):
        FinetuneSettings(Path("x"), rate=float("inf"))
