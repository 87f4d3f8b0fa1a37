"""Training: what a run leaves, that it can be repeated, resumed and stopped, and that it learns."""

import dataclasses
import itertools

import pytest
from safetensors import safe_open

import pixelcam
from pixelcam.datasets import open_dataset
from pixelcam.errors import CancelledError, ConfigError, RunError
from pixelcam.evaluation import evaluate
from pixelcam.events import Stop
from pixelcam.model import file_sha256, load_checkpoint, read_card
from pixelcam.training import TrainSettings, engine, train
from pixelcam.training import stages as stages_module
from tests.synthetic import write_folder

pytestmark = pytest.mark.usefixtures("one_thread")

NAMES = ("best-cl", "best-loc", "last")


@pytest.fixture(scope="module")
def settings(folder_root):
    return TrainSettings(
        dataset="folder",
        root=folder_root,
        encoder="test_efficientnet",
        input_size=64,
        view_size=64,
        teacher="layercam-abs",
        pixel_loss="partial",
        sampler="extremes",
        seeds=10,
        epochs_classifier=2,
        epochs_joint=2,
        rounds=1,
        batch=8,
        device="cpu",
    )


def contents(run):
    """The hash of each checkpoint: a difference in bytes is no reading for people."""
    return {name: file_sha256(run / "checkpoints" / f"{name}.safetensors") for name in NAMES}


@pytest.fixture(scope="module")
def uninterrupted(settings, tmp_path_factory):
    """The run folder and the events of a run from beginning to end."""
    run, events = tmp_path_factory.mktemp("run") / "whole", []
    train(settings, run, on_event=events.append)
    return run, events


def test_a_run_leaves_three_checkpoints_that_can_be_used(uninterrupted):
    run, _ = uninterrupted
    assert sorted(path.stem for path in (run / "checkpoints").iterdir()) == list(NAMES)
    for name in NAMES:
        _, card = load_checkpoint(run / "checkpoints" / f"{name}.safetensors")
        assert card.classes == ("crowded", "round")
        figures = {"valcl_accuracy", "valpx_pxap", "valpx_chance", "valpx_ece", "valpx_images"}
        assert set(card.metrics) == figures
        assert 0 <= card.threshold <= 1


def test_events_tell_how_far_it_is(uninterrupted):
    _, events = uninterrupted
    assert [event.kind for event in events[:1] + events[-1:]] == ["started", "done"]
    steps = [event for event in events if event.kind == "step"]
    stages = [stage for stage, _ in itertools.groupby(event.stage for event in steps)]
    assert stages == ["classifier", "teacher", "joint"]
    for event in steps:
        assert 1 <= event.step <= event.total
    joint = [event for event in steps if event.stage == "joint"]
    assert all(event.epochs == 2 and event.metrics["pixel_loss"] > 0 for event in joint)
    assert all(event.metrics["foreground_seeds"] > 0 for event in joint)
    best = max(e.metrics["valpx_pxap"] for e in events if e.kind == "validation" and e.stage == "joint")
    run, _ = uninterrupted
    assert read_card(run / "checkpoints" / "best-loc.safetensors").metrics["valpx_pxap"] == best


def test_the_same_settings_give_the_same_checkpoints_to_the_bit(settings, uninterrupted, tmp_path):
    train(settings, tmp_path / "again")
    assert contents(tmp_path / "again") == contents(uninterrupted[0])


class Interruption(BaseException):
    """As a user's Ctrl+C or a killed process."""


@pytest.mark.parametrize(
    ("stage", "kind", "epoch"),
    [
        ("classifier", "step", 1),
        ("classifier", "step", 2),
        ("classifier", "epoch", 2),
        ("teacher", "step", None),
        ("joint", "step", 1),
        ("joint", "checkpoint", None),
        ("joint", "step", 2),
        ("joint", "validation", 2),
    ],
)
def test_a_resumed_run_equals_an_uninterrupted_one_to_the_bit(
    settings, uninterrupted, tmp_path, stage, kind, epoch
):
    def interrupt(event):
        if kind == event.kind == "checkpoint" or (event.stage, event.kind, event.epoch) == (
            stage,
            kind,
            epoch,
        ):
            raise Interruption

    with pytest.raises(Interruption):
        train(settings, tmp_path / "run", on_event=interrupt)
    events = []
    train(settings, tmp_path / "run", on_event=events.append)
    assert contents(tmp_path / "run") == contents(uninterrupted[0])
    done = sum(event.kind == "epoch" for event in events)
    assert done == {("classifier", 1): 4, ("classifier", 2): 3, ("joint", 2): 1}.get((stage, epoch), 2)


def test_a_finished_run_started_again_changes_nothing(settings, uninterrupted):
    before, events = contents(uninterrupted[0]), []
    train(settings, uninterrupted[0], on_event=events.append)
    assert contents(uninterrupted[0]) == before
    assert not any(event.kind == "step" for event in events)


def stop_at(events, wish, stage, step):
    def check():
        last = events[-1] if events else None
        here = last is not None and (last.stage, last.kind, last.step) == (stage, "step", step)
        return wish if here else Stop.NO

    return check


@pytest.mark.parametrize(("stage", "step"), [("classifier", 1), ("teacher", 1), ("joint", 2)])
def test_stopping_keeps_usable_weights_and_the_run_can_go_on(settings, uninterrupted, tmp_path, stage, step):
    run, events = tmp_path / "run", []
    train(settings, run, on_event=events.append, should_stop=stop_at(events, Stop.KEEP, stage, step))
    assert events[-1].kind == "done"
    assert ("kept" if stage == "joint" else "only classify") in events[-1].message
    for name in NAMES:
        load_checkpoint(run / "checkpoints" / f"{name}.safetensors")
    train(settings, run)
    assert contents(run) == contents(uninterrupted[0])


@pytest.mark.parametrize(("stage", "step"), [("classifier", 1), ("teacher", 1), ("joint", 2)])
def test_cancelling_leaves_no_weights(settings, tmp_path, stage, step):
    run, events = tmp_path / "run", []
    with pytest.raises(CancelledError):
        train(settings, run, on_event=events.append, should_stop=stop_at(events, Stop.DISCARD, stage, step))
    assert not list(run.rglob("*.safetensors"))


def test_other_settings_on_the_same_folder_are_refused_and_nothing_is_lost(settings, uninterrupted):
    run, _ = uninterrupted
    before = contents(run)
    with pytest.raises(RunError, match=r"other settings \(seed\)"):
        train(dataclasses.replace(settings, seed=1), run)
    assert contents(run) == before


def test_a_damaged_state_is_named(settings, tmp_path):
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "last.safetensors").write_bytes(b"half a file")
    with pytest.raises(RunError, match=r"last\.safetensors is damaged"):
        train(settings, tmp_path)


def test_without_masks_the_last_epoch_counts_as_the_best(settings, tmp_path):
    root = write_folder(tmp_path / "data", per_class=5, size=64, masks=False)
    train(dataclasses.replace(settings, root=root, half=True), tmp_path / "run")
    found = contents(tmp_path / "run")
    assert found["best-loc"] == found["last"]
    card = read_card(tmp_path / "run" / "checkpoints" / "best-loc.safetensors")
    assert set(card.metrics) == {"valcl_accuracy"}
    with safe_open(tmp_path / "run" / "checkpoints" / "last.safetensors", framework="pt") as file:
        assert str(file.get_tensor("image_head.classify.weight").dtype) == "torch.float16"


def test_a_mask_free_run_reads_no_mask_at_all(settings, uninterrupted, tmp_path, monkeypatch):
    def refuse(*args):
        raise AssertionError("a mask was read")

    for place in ("pixelcam.training.data.load_mask", "pixelcam.training.validation.load_masks"):
        monkeypatch.setattr(place, refuse)
    changed = dataclasses.replace(settings, selection="mask-free", epochs_classifier=1, epochs_joint=1)
    train(changed, tmp_path / "run")
    assert contents(tmp_path / "run")["best-loc"] == contents(tmp_path / "run")["last"]
    card = read_card(tmp_path / "run" / "checkpoints" / "best-loc.safetensors")
    assert (card.selection, card.threshold) == ("mask-free", 0.5)
    assert set(card.metrics) == {"valcl_accuracy"}
    told = [read_card(uninterrupted[0] / "checkpoints" / f"{name}.safetensors").selection for name in NAMES]
    whole = read_card(uninterrupted[0] / "checkpoints" / "last.safetensors")
    count = int(whole.metrics["valpx_images"])
    assert told == [f"B-CL, {count} masks", f"B-LOC, {count} masks", f"last epoch, {count} masks"]


def test_images_without_a_region_give_background_seeds_only(settings, tmp_path):
    root = write_folder(
        tmp_path / "data", per_class=6, size=64, kinds=(("normal", "stroma"), ("tumour", "crowded"))
    )
    events = []
    changed = dataclasses.replace(
        settings, root=root, epochs_classifier=1, epochs_joint=1, sampler="probability"
    )
    train(changed, tmp_path / "run", on_event=events.append)
    card = read_card(tmp_path / "run" / "checkpoints" / "last.safetensors")
    assert card.regionless == ("normal",)
    counts = next(event.metrics for event in events if event.kind == "epoch" and event.stage == "joint")
    assert counts["background_seeds"] > 1.5 * counts["foreground_seeds"] > 0


def test_one_stage_alone_will_do(settings, tmp_path):
    train(dataclasses.replace(settings, epochs_classifier=1, epochs_joint=0), tmp_path / "classifier")
    train(dataclasses.replace(settings, epochs_classifier=0, epochs_joint=1), tmp_path / "joint")
    for run in ("classifier", "joint"):
        assert set(contents(tmp_path / run)) == set(NAMES)


@pytest.mark.parametrize(
    ("teacher", "sampler"),
    [
        ("cam", "probability"),
        ("grad-cam++", "threshold"),
        ("layercam", "extremes"),
        ("ts-cam", "extremes"),
        ("negev", "extremes"),
    ],
)
def test_a_transformer_learns_from_every_teacher_too(settings, tmp_path, teacher, sampler):
    changed = dataclasses.replace(
        settings,
        encoder="test_vit",
        teacher=teacher,
        sampler=sampler,
        erosion=3,
        epochs_classifier=1,
        epochs_joint=1,
    )
    train(changed, tmp_path / "run")
    assert read_card(tmp_path / "run" / "checkpoints" / "best-loc.safetensors").levels == (0, 2, 3, 5)


@pytest.mark.parametrize("teacher", ["f-cam", "maxmin"])
def test_a_run_interrupted_while_its_teacher_is_trained_equals_an_uninterrupted_one(
    settings, tmp_path, teacher
):
    changed = dataclasses.replace(
        settings, teacher=teacher, teacher_epochs=2, epochs_classifier=1, epochs_joint=1
    )

    def interrupt(event):
        if (event.stage, event.kind) == ("teacher", "epoch"):
            raise Interruption

    train(changed, tmp_path / "whole")
    with pytest.raises(Interruption):
        train(changed, tmp_path / "run", on_event=interrupt)
    train(changed, tmp_path / "run")
    assert contents(tmp_path / "run") == contents(tmp_path / "whole")


def test_a_teacher_that_the_encoder_cannot_have_is_refused_before_training(settings, tmp_path):
    with pytest.raises(ConfigError, match="class token"):
        train(dataclasses.replace(settings, teacher="ts-cam"), tmp_path / "run")
    assert not list((tmp_path / "run").rglob("*.safetensors"))


def test_a_loss_that_is_not_a_number_ends_with_advice(settings, tmp_path, monkeypatch):
    def diverge(optimizer, loss, clip):
        raise FloatingPointError

    monkeypatch.setattr(engine, "take_step", diverge)
    with pytest.raises(RunError, match="lower the learning rate"):
        train(settings, tmp_path / "run")


def test_a_classifier_that_does_no_better_than_guessing_is_told_of(settings, tmp_path, monkeypatch):
    def warned(name, **changes):
        events = []
        changed = dataclasses.replace(settings, **{"rate_classifier": 1.0, "epochs_joint": 1, **changes})
        train(changed, tmp_path / name, on_event=events.append)
        return [(event.stage, event.message) for event in events if event.kind == "warning"]

    stages, sentences = zip(*warned("diverged"), strict=True)
    assert stages == ("classifier", "joint")
    assert all("has not learned the labels" in each and "guessing has 0.69" in each for each in sentences)
    assert "set clip to 1" in sentences[0]
    # One bad epoch at the end, of a few steps under strong changes of colour, is no sign of it.
    found = iter([0.4, 0.2, 0.3, 5.0])
    monkeypatch.setattr(
        stages_module, "classification_loss", lambda logits, labels: 0 * logits.sum() + next(found)
    )
    assert warned("a bad last step", epochs_classifier=4, epochs_joint=0, batch=1000) == []
    monkeypatch.undo()
    monkeypatch.setattr(stages_module, "guessing_loss", lambda classes, multi_label: 1e6)
    assert warned("better than that") == []


def test_image_labels_alone_teach_where_the_glands_are(trained_run, learning_root):
    dataset = open_dataset("folder", learning_root, "test")
    found = evaluate(pixelcam.load(trained_run / "checkpoints" / "best-loc.safetensors", "cpu"), dataset)
    assert found.images == 20
    # Five seeds have 58 to 73 against a chance of 37; random weights stay within 5 of chance.
    assert found.pxap > found.chance_pxap + 10
    named = evaluate(pixelcam.load(trained_run / "checkpoints" / "best-cl.safetensors", "cpu"), dataset)
    assert named.accuracy >= 75
