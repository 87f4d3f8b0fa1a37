"""Fine-tuning from the dock's side: what the job is told, what its events become, and how each end is met."""

import json
import threading
import time
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait

import pytest

from napari_pixelcam import backend
from napari_pixelcam.background import Task
from napari_pixelcam.controllers import finetune
from napari_pixelcam.controllers.finetune import TuneSettings
from napari_pixelcam.controllers.refine import RefineController
from napari_pixelcam.device_queue import DeviceQueue
from pixelcam import refine
from pixelcam.errors import CancelledError, RunError
from pixelcam.events import Event, Stop
from pixelcam.export import read_seeds


class FakeRun:
    """A job that says what it is told to."""

    started: list = []  # noqa: RUF012

    def __init__(self, folder):
        self.folder, self.state, self.said, self.asked = folder, "running", [], []

    @classmethod
    def start(cls, folder, arguments):
        run = cls(folder)
        run.arguments = arguments
        cls.started.append(run)
        return run

    @classmethod
    def open(cls, folder):
        for run in cls.started:
            if run.folder == folder:
                return run
        raise RunError("no such run")

    def events(self, since=0):
        return self.said[since:], len(self.said)

    def stop(self):
        self.asked.append("stop")

    def cancel(self):
        self.asked.append("cancel")

    def error_message(self):
        return "The job ran out of memory; try smaller images."

    def checkpoint(self, name="best-loc"):
        return self.folder / f"{name}.safetensors" if self.state in ("done", "stopped") else None


@pytest.fixture
def jobs(monkeypatch):
    FakeRun.started = []
    monkeypatch.setattr(finetune, "Run", FakeRun)
    monkeypatch.setattr(backend, "register", lambda checkpoint, name: name)
    return FakeRun.started


@pytest.fixture
def painted(bench):
    bench.localize.run()
    bench.seeds.propose()
    return bench


def test_it_starts_a_job_with_the_seeds_of_every_image_and_frees_the_model(painted, jobs):
    painted.viewer.add_image(painted.record.layer.data[::-1].copy(), name="second", rgb=True)
    painted.localize.run()
    painted.seeds.propose()
    assert painted.session.localizers.loaded
    painted.finetune.start(TuneSettings("better", epochs=3, learning_rate=0.05))
    assert not painted.session.localizers.loaded
    arguments = jobs[0].arguments
    assert arguments[0] == "finetune"
    options = dict(zip(arguments[1::2], arguments[2::2], strict=True))
    assert (options["--model"], options["--epochs"], options["--rate"]) == ("tiny", "3", "0.05")
    assert len(read_seeds(options["--seeds"])) == 2
    assert painted.finetune.progress.state == "starting"


class Threads:
    """Runs work in threads, and calls back when it is told to, on the thread that tells it."""

    def __init__(self):
        self.pool, self.running = ThreadPoolExecutor(4), []

    def submit(self, work, *, done, failed, progress=None):
        task = Task()
        self.running.append((self.pool.submit(work, task), done, failed))
        return task

    def settle(self):
        while self.running:
            ended, _ = wait([future for future, _, _ in self.running], 60, FIRST_COMPLETED)
            at = next(at for at, (future, _, _) in enumerate(self.running) if future in ended)
            future, done, failed = self.running.pop(at)
            error = future.exception()
            done(future.result()) if error is None else failed(error)


def test_starting_waits_for_no_extraction_but_breaks_it_off(painted, jobs, monkeypatch):
    began, asked = threading.Event(), []

    def extract(localizer, slide, *, should_stop):
        began.set()
        deadline = time.monotonic() + 20
        while should_stop() is Stop.NO and time.monotonic() < deadline:
            time.sleep(0.01)
        asked.append(should_stop())
        raise CancelledError

    monkeypatch.setattr(refine, "extract_features", extract)
    threads = painted.session.background = Threads()
    painted.session.queue = DeviceQueue(threads)
    try:
        controller = RefineController(painted.session)
        painted.session.localized.emit(painted.record)
        assert began.wait(60)
        painted.finetune.start(TuneSettings("better"))
        assert painted.finetune.progress.state == "preparing", "and the window goes on"
        threads.settle()
    finally:
        threads.pool.shutdown()
    assert asked == [Stop.DISCARD]
    assert len(jobs) == 1
    assert not painted.session.localizers.loaded
    assert controller.state.text == "", "nothing has gone wrong"


def test_events_become_progress_and_the_new_model_is_chosen(painted, jobs):
    painted.finetune.start(TuneSettings("better"))
    jobs[0].said = [
        Event("step", stage="finetune", step=1, total=4, epoch=1, epochs=2, metrics={"loss": 0.7}),
        Event("step", stage="finetune", step=2, total=4, epoch=1, epochs=2, metrics={"loss": 0.5}),
        Event("epoch", stage="finetune", epoch=1, epochs=2, metrics={"agreement": 90.0}),
    ]
    painted.finetune.poll()
    progress = painted.finetune.progress
    assert (progress.state, progress.losses, progress.agreement) == ("running", [0.7, 0.5], [90.0])
    assert (progress.step, progress.total, progress.epoch) == (2, 4, 1)
    jobs[0].said.append(Event("step", stage="finetune", step=3, total=4, metrics={"loss": 0.4}))
    jobs[0].state = "done"
    painted.finetune.poll()
    assert painted.finetune.progress.losses == [0.7, 0.5, 0.4]
    assert painted.session.model == "better"
    assert "better" in painted.session.catalogue.models
    assert painted.finetune.suggest_name() == "better-tuned"


def test_stop_keeps_the_weights_and_cancel_keeps_nothing(painted, jobs):
    painted.finetune.start(TuneSettings("better"))
    painted.finetune.stop()
    assert jobs[0].asked == ["stop"]
    jobs[0].state = "stopped"
    painted.finetune.poll()
    assert painted.session.model == "better"
    painted.finetune.start(TuneSettings("best"))
    painted.finetune.cancel()
    assert jobs[1].asked == ["cancel"]
    jobs[1].state = "cancelled"
    painted.finetune.poll()
    assert painted.session.model == "better"
    assert not jobs[1].folder.parent.exists()


def test_a_failed_job_says_why_and_can_be_started_again(painted, jobs):
    painted.finetune.start(TuneSettings("better"))
    jobs[0].state = "failed"
    painted.finetune.poll()
    assert painted.said[-1] == ("error", "The job ran out of memory; try smaller images.")
    assert not painted.finetune.progress.busy
    painted.finetune.start(TuneSettings("better"))
    assert len(jobs) == 2


def test_a_dock_that_is_opened_again_finds_the_running_job(painted, jobs):
    from tests.napari_pixelcam.helpers import Bench

    painted.finetune.start(TuneSettings("better"))
    jobs[0].said = [Event("step", stage="finetune", step=1, total=4, metrics={"loss": 0.7})]
    again = Bench(painted.viewer)
    try:
        assert again.finetune.progress.busy
        again.finetune.poll()
        assert again.finetune.progress.losses == [0.7]
        assert again.finetune.progress.name == "better"
        jobs[0].state = "done"
        again.finetune.poll()
        assert again.session.model == "better"
    finally:
        again.close()
    note = json.loads((jobs[0].folder.parent / "dock.json").read_text())
    assert note == {"name": "better", "taken": True}


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("", "cannot be a model's name"),
        ("a/b", "cannot be a model's name"),
        ("../../up", "cannot be a model's name"),
        ("n" * 120, "at most 100"),
        ("tiny", "a model named 'tiny' already"),
    ],
)
def test_names_that_cannot_be_are_refused_before_anything_is_written(
    painted, jobs, user_folder, name, sentence
):
    told = []
    painted.finetune.named.connect(told.append)
    painted.finetune.look_at(name)
    assert sentence in told[-1]
    painted.finetune.start(TuneSettings(name))
    assert sentence in painted.said[-1][1]
    assert jobs == []
    assert not painted.finetune.runs.exists()


def test_a_name_is_suggested_that_can_be(painted):
    from pixelcam.model.registry import check_new_name

    for model in ("hf-hub:org/a model", "/home/ann/über.safetensors", "m" * 100, "-x", "ready-tuned-3", ""):
        painted.session.choose_model(model)
        check_new_name(painted.finetune.suggest_name())


def test_a_model_whose_name_is_refused_in_the_end_is_not_tried_again(painted, jobs, monkeypatch):
    from pixelcam.errors import ConfigError
    from tests.napari_pixelcam.helpers import Bench

    def refuse(checkpoint, name):
        raise ConfigError("A model's name has at most 100 characters.")

    monkeypatch.setattr(backend, "register", refuse)
    painted.finetune.start(TuneSettings("better"))
    jobs[0].state = "done"
    painted.finetune.poll()
    assert painted.said[-1][0] == "error"
    assert "best-loc.safetensors" in painted.said[-1][1]
    again = Bench(painted.viewer)
    try:
        assert not again.finetune.progress.busy
    finally:
        again.close()


def test_without_seeds_there_is_nothing_to_learn_from(bench, jobs):
    bench.localize.run()
    bench.finetune.start(TuneSettings("better"))
    assert "Paint or propose some seeds first" in bench.said[-1][1]
    assert jobs == []


def test_with_a_project_open_the_job_learns_from_all_its_images(seeded, jobs):
    seeded.finetune.start(TuneSettings("better"))
    (folder,) = (job.folder.parent / "seeds" for job in jobs)
    found = {record.sidecar.image.name: record for record in read_seeds(folder)}
    assert found.keys() == {"image-1", "image-2"}
    assert found["image-2"].labels[5:8, 5:8].tolist() == [[2] * 3] * 3
    assert found["image-2"].sidecar.corrected_label == "benign"
    assert found["image-2"].sidecar.reviewer == "Ann"
    assert seeded.project.runs()[0].folder == jobs[0].folder
    jobs[0].state = "done"
    seeded.finetune.poll()
    (run,) = seeded.project.runs()
    assert (run.kind, run.reviewer, run.model) == ("finetune", "Ann", "0" * 64)


def test_what_is_painted_on_the_open_image_is_learned_from_too_and_once_only(seeded, jobs):
    seeded.seeds.take("foreground")
    seeded.layer("seeds").paint((30, 30), 2)
    seeded.finetune.start(TuneSettings("better"))
    names = sorted(record.sidecar.image.name for record in read_seeds(jobs[0].folder.parent / "seeds"))
    assert names == ["image-0", "image-1", "image-2"]


def test_a_missing_image_is_left_out_of_the_job_and_told(seeded, jobs, tmp_path):
    (tmp_path / "images" / "image-1.png").unlink()
    seeded.finetune.start(TuneSettings("better"))
    assert len(read_seeds(jobs[0].folder.parent / "seeds")) == 1
    warning = next(text for level, text in seeded.said if level == "warning")
    assert warning.startswith("1 image is not learned from: ")
    jobs[0].state = "failed"
    seeded.finetune.poll()
    (tmp_path / "images" / "image-2.png").unlink()
    seeded.finetune.start(TuneSettings("best"))
    assert len(jobs) == 1
    assert "image-1.png is missing" in seeded.said[-1][1]
