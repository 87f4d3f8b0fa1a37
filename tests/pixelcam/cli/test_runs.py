"""`pixelcam train` and `pixelcam finetune`: settings, run folders, being stopped; the learning is faked."""

import dataclasses
import inspect
import json
import os
import signal
import time

import pytest
import yaml

from pixelcam.cli.finetune import finetune as finetune_command
from pixelcam.cli.train import train as train_command
from pixelcam.errors import CancelledError, DatasetError
from pixelcam.events import Event, Stop
from pixelcam.jobs import Run
from pixelcam.jobs.folder import TOKEN_VARIABLE
from pixelcam.training import FinetuneSettings, TrainSettings

SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


@dataclasses.dataclass
class FakeLearning:
    """Stands in for `train` and `finetune`: notes its settings, then does what it is told."""

    model: bytes
    behave: object = None
    events: tuple = ()
    settings: list = dataclasses.field(default_factory=list)

    def __call__(self, settings, run, *, on_event, should_stop):
        self.settings.append(settings)
        (run / "config.json").write_text(json.dumps(settings.to_dict()))
        (run / "checkpoints").mkdir(exist_ok=True)
        (run / "state").mkdir(exist_ok=True)
        (run / "checkpoints" / "last.safetensors").write_bytes(self.model)
        on_event(Event("started", stage="joint", epochs=2))
        for event in self.events:
            on_event(event)
        if self.behave is not None:
            self.behave(run, should_stop)
        (run / "checkpoints" / "best-loc.safetensors").write_bytes(self.model)
        on_event(
            Event("done", path=str(run / "checkpoints" / "best-loc.safetensors"), metrics={"pxap": 71.5})
        )


@pytest.fixture
def learning(monkeypatch, tiny_model):
    fake = FakeLearning(tiny_model.read_bytes())
    monkeypatch.setattr("pixelcam.training.stages.train", fake)
    monkeypatch.setattr("pixelcam.training.finetuning.finetune", fake)
    return fake


@pytest.fixture
def run_folder(tmp_path):
    return tmp_path / "run"


@pytest.mark.parametrize(
    ("command_function", "settings"), [(train_command, TrainSettings), (finetune_command, FinetuneSettings)]
)
def test_every_setting_is_an_option_and_the_other_way_round(command_function, settings):
    options = set(inspect.signature(command_function).parameters) - {"out", "config", "register", "as_json"}
    assert options == {field.name for field in dataclasses.fields(settings)}


def test_every_option_reaches_the_settings(command, learning, run_folder, tmp_path):
    values = {
        "dataset": "folder", "root": tmp_path, "fold": 1, "scheme": "official", "encoder": "resnet18",
        "weights": tmp_path / "w.pt", "levels": (1, 2), "output_stride": 8, "input_size": 96,
        "teacher": "cam", "teacher_levels": (3,), "teacher_scales": (1.0, 2.0), "teacher_score": "logit",
        "teacher_margin": 16, "teacher_epochs": 4, "teacher_base": "cam", "pixel_factor": 2.0,
        "mpp": 0.5, "image_head": "lse",
        "view_size": 64, "augment_classifier": "moderate", "eigen_level": 2, "eigen_sides": (64, 96),
        "eigen_rounds": 1,
        "pixel_loss": "partial", "certain": 0.2, "rounds": 2, "selection": "mask-free",
        "sampler": "threshold", "seeds": 7, "low_area": 0.3, "high_area": 0.1, "erosion": 3,
        "augment": "paper", "glass": 0.5, "epochs_classifier": 2, "epochs_joint": 3, "batch": 4,
        "rate_classifier": 0.1, "rate_joint": 0.2, "head_factor": 3.0, "momentum": 0.5, "weight_decay": 0.01,
        "pixel_weight_decay": 0.02, "pixel_weight": 0.5, "clip": 2.0,
        "dropout": 0.2, "seed": 5, "device": "cpu",
        "name": "mine", "description": "for tests", "licence": "none", "foreground_name": "glands",
    }  # fmt: skip
    options = ["--pretrained", "--no-standardise", "--no-teacher-flips", "--half", "--no-eigen-by-label"]
    for key, value in values.items():
        text = ",".join(map(str, value)) if isinstance(value, tuple) else value
        options += [f"--{key.replace('_', '-')}", text]
    assert command("train", *options, "--out", run_folder).code == 0
    flags = {"pretrained": True, "standardise": False, "teacher_flips": False, "half": True}
    flags["eigen_by_label"] = False
    assert dataclasses.asdict(learning.settings[0]) == {**values, **flags}


def test_options_win_over_the_file_and_the_file_over_the_defaults(command, learning, run_folder, tmp_path):
    file = tmp_path / "settings.yaml"
    file.write_text(yaml.safe_dump({"dataset": "ebhi", "root": "data", "epochs-joint": 3, "seed": 4}))
    assert command("train", "--config", file, "--seed", 9, "--out", run_folder).code == 0
    settings = learning.settings[0]
    assert (settings.dataset, settings.epochs_joint, settings.seed) == ("ebhi", 3, 9)
    assert settings.batch == TrainSettings.batch
    assert settings.root.is_absolute()


def test_a_models_file_is_the_same_from_any_folder_and_a_name_stays_a_name(
    command, learning, run_folder, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.safetensors").write_bytes(learning.model)
    (tmp_path / "starter").write_text("a file that only has a model's name")
    for number, model in enumerate(("mine.safetensors", "starter")):
        ending = command("finetune", "--seeds", "s", "--model", model, "--out", tmp_path / f"run{number}")
        assert ending.code == 0
    assert [each.model for each in learning.settings] == [str(tmp_path / "mine.safetensors"), "starter"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("dataset: glas\nroot: x\nepoch_joint: 3\n", ("epoch_joint", "epochs_joint")),
        ("dataset: glas\nroot: x\nseed: often\n", ("seed", "often")),
        ("dataset: glas\nroot: x\nbatch: 0\n", ("batch",)),
        ("dataset: glas\n", ("root",)),
        ("- a\n- b\n", ("settings.yaml",)),
        ("a: [1\n", ("settings.yaml",)),
    ],
)
def test_a_faulty_settings_file_is_one_sentence_and_no_run(
    command, learning, run_folder, tmp_path, text, words
):
    file = tmp_path / "settings.yaml"
    file.write_text(text)
    assert command("train", "--config", file, "--out", run_folder).failed_with(*words)
    assert not run_folder.exists()


def test_a_missing_settings_file_and_missing_settings_are_told(command, learning, run_folder, tmp_path):
    assert command("train", "--config", tmp_path / "no.yaml", "--out", run_folder).failed_with("no.yaml")
    assert command("train", "--out", run_folder).failed_with("dataset", "root")
    assert command("finetune", "--out", run_folder).failed_with("seeds")
    assert command("train", "--levels", "1,x", "--out", run_folder).failed_with("1,x")
    assert not run_folder.exists()


def start_training(command, run_folder, *more):
    return command("train", "--dataset", "folder", "--root", "data", *more, "--out", run_folder)


def test_a_run_goes_on_with_its_own_settings_when_only_its_folder_is_named(command, learning, run_folder):
    assert start_training(command, run_folder, "--seed", 3, "--device", "cpu").code == 0
    assert command("train", "--out", run_folder).code == 0
    assert command("train", "--out", run_folder, "--device", "auto").code == 0
    first, second, third = learning.settings
    assert second == first
    assert third == dataclasses.replace(first, device="auto")


def test_other_settings_in_the_folder_of_a_run_are_refused_and_harm_nothing(
    command, learning, run_folder, tmp_path
):
    assert start_training(command, run_folder, "--seed", 3).code == 0
    before = (run_folder / "config.json").read_bytes()
    assert start_training(command, run_folder, "--seed", 4).failed_with("other settings", "seed")
    assert command("finetune", "--seeds", tmp_path, "--out", run_folder).failed_with("other settings")
    assert (run_folder / "config.json").read_bytes() == before
    assert Run.open(run_folder).state == "done"


def test_a_run_that_failed_before_it_learned_can_be_begun_anew(command, learning, run_folder):
    def fail(run, should_stop):
        (run / "checkpoints" / "last.safetensors").unlink()
        raise DatasetError("The folder data is empty.")

    learning.behave = fail
    assert start_training(command, run_folder, "--fold", 7).code == 1
    learning.behave = None
    assert start_training(command, run_folder, "--fold", 0).code == 0


def test_a_run_in_the_terminal_can_be_watched_from_elsewhere(command, learning, run_folder):
    ending = start_training(command, run_folder)
    assert (ending.code, ending.err) == (0, "")
    run = Run.open(run_folder)
    assert run.state == "done"
    assert [event.kind for event in run.events()[0]] == ["started", "done"]
    assert run.checkpoint() is not None


def test_json_prints_the_events_as_lines(command, learning, run_folder):
    ending = start_training(command, run_folder, "--json")
    events = [Event.from_json(line) for line in ending.out.splitlines()]
    assert [event.kind for event in events] == ["started", "done"]
    assert events[-1].metrics == {"pxap": 71.5}


def test_a_failure_is_one_sentence_and_on_record(command, learning, run_folder):
    def fail(run, should_stop):
        raise DatasetError("The folder data is empty.")

    learning.behave = fail
    ending = start_training(command, run_folder, "--json")
    assert ending.failed_with("empty")
    assert Event.from_json(ending.out.splitlines()[-1]).kind == "failed"
    run = Run.open(run_folder)
    assert (run.state, run.error_message()) == ("failed", "The folder data is empty.")


@pytest.mark.parametrize("watched", [False, True])
def test_a_log_gets_a_line_an_epoch_unless_the_folder_is_watched(
    command, learning, run_folder, monkeypatch, watched
):
    learning.events = (
        Event("step", stage="joint", step=1, total=9, metrics={"loss": 0.75}),
        Event("epoch", stage="joint", epoch=1, epochs=2, metrics={"loss": 0.5, "pixel_loss": 0.25}),
        Event("validation", stage="joint", epoch=1, epochs=2, metrics={"pxap": 71.5}),
        Event("warning", message="Something is odd."),
    )
    if watched:
        monkeypatch.setenv(TOKEN_VARIABLE, "")
    ending = start_training(command, run_folder)
    lines = ["joint epoch 1/2: loss 0.5  pixel_loss 0.25", "joint epoch 1/2: pxap 71.5"]
    last = f"The model is {run_folder / 'checkpoints' / 'best-loc.safetensors'}."
    assert ending.out.splitlines() == [*([] if watched else lines), last]
    assert ending.err == "Something is odd.\n"


@pytest.fixture
def answer_to():
    """Return a function that has a signal answered as is said while the test lasts: nohup ignores one."""
    before = {}

    def answer(number, handler):
        before.setdefault(number, signal.signal(number, handler))

    yield answer
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", SIGNALS)
def test_an_interrupt_ends_with_130_and_keeps_the_state(command, learning, run_folder, answer_to, number):
    answer_to(number, signal.SIG_DFL)

    def interrupt(run, should_stop):
        os.kill(os.getpid(), number)
        time.sleep(5)

    learning.behave = interrupt
    assert start_training(command, run_folder).code == 130
    run = Run.open(run_folder)
    assert run.state == "stopped"
    assert run.checkpoint("last") is not None
    learning.behave = None
    assert command("train", "--out", run_folder).code == 0
    assert Run.open(run_folder).state == "done"


@pytest.mark.parametrize("number", SIGNALS)
def test_an_interrupt_that_the_process_was_started_to_ignore_is_ignored(
    command, learning, run_folder, answer_to, number
):
    answer_to(number, signal.SIG_IGN)
    learning.behave = lambda run, should_stop: os.kill(os.getpid(), number)
    assert start_training(command, run_folder).code == 0
    assert Run.open(run_folder).state == "done"


def test_the_note_cancel_ends_with_130_and_discards(command, learning, run_folder):
    def cancel(run, should_stop):
        (run / "STOP").write_text("cancel")
        time.sleep(0.25)
        assert should_stop() is Stop.DISCARD
        raise CancelledError

    learning.behave = cancel
    assert start_training(command, run_folder).code == 130
    run = Run.open(run_folder)
    assert run.state == "cancelled"
    assert not (run_folder / "checkpoints").exists()
    assert not (run_folder / "state").exists()


def test_the_note_stop_ends_well_and_keeps(command, learning, run_folder):
    def stop(run, should_stop):
        (run / "STOP").write_text("stop")
        time.sleep(0.25)
        assert should_stop() is Stop.KEEP

    learning.behave = stop
    assert start_training(command, run_folder).code == 0
    assert Run.open(run_folder).state == "stopped"
    assert Run.open(run_folder).checkpoint() is not None


def test_a_folder_of_other_things_is_refused_and_left_alone(command, learning, run_folder):
    run_folder.mkdir()
    (run_folder / "thesis.docx").write_text("precious")
    assert start_training(command, run_folder).failed_with("not a run folder", "thesis.docx")
    assert [path.name for path in run_folder.iterdir()] == ["thesis.docx"]


def test_the_finished_model_can_be_given_a_name(command, learning, run_folder, tmp_path):
    options = ("--seeds", tmp_path, "--out", run_folder)
    assert command("finetune", *options, "--register", "corrected").code == 0
    assert command("models", "path", "corrected").code == 0
    again = command("finetune", "--seeds", tmp_path, "--out", tmp_path / "other", "--register", "corrected")
    assert again.failed_with("corrected")
    assert len(learning.settings) == 1, "a name that is taken is told before the work"


def test_finetune_options_reach_the_settings(command, learning, run_folder, tmp_path):
    values = {
        "seeds": tmp_path, "model": "mine", "epochs": 2, "steps": 3, "crop": 64, "batch": 2, "rate": 0.5,
        "encoder_factor": 0.1, "momentum": 0.3, "weight_decay": 0.2, "teacher_weight": 0.4,
        "seed_weight": 0.7, "label_weight": 0.6, "seed": 8, "device": "cpu", "name": "new",
    }  # fmt: skip
    options = [part for key, value in values.items() for part in (f"--{key.replace('_', '-')}", value)]
    assert command("finetune", *options, "--out", run_folder).code == 0
    assert dataclasses.asdict(learning.settings[0]) == values
