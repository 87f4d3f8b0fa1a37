"""Jobs that run in processes of their own, with a stand-in for the training."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from pixelcam.errors import OutputError, RunError
from pixelcam.events import Event, Stop
from pixelcam.jobs import JobRecord, Run, host_job, run_events, stop_check
from pixelcam.jobs import folder as layout
from pixelcam.jobs import run as run_module
from pixelcam.jobs.process import ProcessMark, mark_process

ROOT = Path(__file__).parents[2]
FAKE = Path(__file__).with_name("fake_job.py")
linux_only = pytest.mark.skipif(sys.platform == "win32", reason="sends POSIX signals")


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


@pytest.fixture
def start(tmp_path):
    runs = []

    def begin(behaviour, folder=None):
        folder = folder or tmp_path / "run"
        run = Run.start(folder, (str(folder), behaviour), command=(sys.executable, str(FAKE)))
        runs.append(run)
        return run

    yield begin
    for run in runs:
        record = JobRecord.read(run.folder)
        if record is None:  # the test has deleted the folder
            continue
        if record.process is not None:
            record.process.kill()
        run.wait(10)


def wait_for(condition, seconds=20):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def kinds(run, since=0):
    return [event.kind for event in run.events(since)[0]]


def test_a_job_runs_to_its_end_and_leaves_its_events_and_models(start):
    run = start("ok")
    assert run.state in ("starting", "running", "done")
    assert run.wait(20) == "done"
    assert kinds(run) == ["started", "done"]
    assert run.checkpoint() == run.folder / "checkpoints" / "best-loc.safetensors"
    assert run.checkpoint("best-cl") is None
    assert run.error_message() == ""
    assert json.loads((run.folder / "env.json").read_text())["python"].startswith("3.")
    assert run.arguments == (str(run.folder), "ok")


def test_events_are_given_once_each_from_the_offset_on(start):
    run = start("loop")
    wait_for(lambda: len(run.events()[0]) > 3)
    first, offset = run.events()
    wait_for(lambda: run.events(offset)[0])
    second, _ = run.events(offset)
    assert second[0].step == first[-1].step + 1
    assert run.state == "running"


def test_stop_keeps_the_best_weights(start):
    run = start("loop")
    wait_for(lambda: "step" in kinds(run))
    run.stop()
    assert run.wait(20) == "stopped"
    assert run.checkpoint() is not None


def test_cancel_leaves_no_checkpoints(start):
    run = start("loop")
    wait_for(lambda: "step" in kinds(run))
    run.cancel()
    assert run.wait(20) == "cancelled"
    assert run.checkpoint() is None
    assert not (run.folder / "checkpoints").exists()
    assert run.events()[0], "what happened stays on record"


def test_cancel_wins_over_a_later_stop(start):
    run = start("loop")
    wait_for(lambda: "step" in kinds(run))
    run.cancel()
    run.stop()
    assert run.wait(20) == "cancelled"


@linux_only
def test_a_job_that_does_not_answer_is_terminated_without_blocking_the_caller(start):
    run = start("deaf")
    wait_for(lambda: "started" in kinds(run))
    before = time.monotonic()
    run.cancel(grace=0.3)
    assert time.monotonic() - before < 0.2
    assert run.wait(20) == "cancelled"
    assert run.checkpoint() is None


@linux_only
def test_a_job_deaf_to_sigterm_is_killed_and_its_checkpoints_are_discarded(start, monkeypatch):
    run = start("stone-deaf")
    wait_for(lambda: "warning" in kinds(run))
    monkeypatch.setattr(run_module, "_PATIENCE_AFTER_SIGNAL", 0.3)
    run.cancel(grace=0.1)
    assert run.wait(20) == "cancelled"
    assert run.checkpoint() is None


@linux_only
def test_an_interrupted_job_keeps_what_it_has_saved(start):
    run = start("deaf")
    wait_for(lambda: "started" in kinds(run))
    os.kill(JobRecord.read(run.folder).process.pid, signal.SIGINT)
    assert run.wait(20) == "stopped"
    assert run.checkpoint("last") is not None


def test_a_failure_is_told_in_the_words_of_the_error(start):
    run = start("fail")
    assert run.wait(20) == "failed"
    assert run.error_message() == "slide-07.svs is truncated: tile 311 ends past the end of the file."
    assert kinds(run)[-1] == "failed"


@linux_only
def test_a_job_killed_for_memory_has_failed_with_that_guess(start):
    run = start("oom")
    assert run.wait(20) == "failed"
    assert "memory" in run.error_message()


def test_a_job_that_dies_silently_is_told_by_the_end_of_its_log(start):
    run = start("vanish")
    assert run.wait(20) == "failed"
    assert run.error_message() == "a last word"


def test_a_job_that_ends_before_it_begins_is_told_by_its_log_without_the_box(start):
    run = start("unclaimed")
    assert run.wait(20) == "failed"
    assert run.error_message() == "No such option: --spede"


def test_half_a_line_in_the_events_is_left_out_and_does_not_swallow_the_next(start):
    run = start("half-line")
    assert run.wait(20) == "failed"
    assert kinds(run) == ["started"]
    again = start("ok")
    assert again.wait(20) == "done"
    assert kinds(again) == ["started", "started", "done"]
    assert kinds(again, again.events_from) == ["started", "done"]


def test_a_talkative_job_does_not_block_on_a_pipe(start):
    run = start("chatty")
    assert run.wait(20) == "done"
    assert (run.folder / "stderr.log").stat().st_size >= 2_000_000


def test_a_second_start_in_a_busy_folder_is_refused(start):
    run = start("loop")
    with pytest.raises(RunError, match="at work"):
        start("ok")
    wait_for(lambda: run.state == "running")
    with pytest.raises(RunError, match="at work"):
        start("ok")
    run.stop()
    run.wait(20)
    assert start("ok").wait(20) == "done"


def test_a_job_started_in_a_terminal_is_refused_in_a_busy_folder_and_harms_nothing(start):
    run = start("loop")
    wait_for(lambda: run.state == "running")
    other = subprocess.run(
        [sys.executable, str(FAKE), str(run.folder), "ok"], capture_output=True, text=True, check=False
    )
    assert other.returncode != 0
    assert "at work" in other.stderr
    assert run.state == "running"
    run.stop()
    assert run.wait(20) == "stopped"


def test_a_job_started_in_a_terminal_can_be_watched(tmp_path):
    folder = tmp_path / "run"
    subprocess.run([sys.executable, str(FAKE), str(folder), "ok"], check=True)
    run = Run.open(folder)
    assert run.state == "done"
    assert kinds(run) == ["started", "done"]


def test_a_job_survives_the_death_of_its_parent_and_is_found_again(tmp_path):
    folder = tmp_path / "run"
    code = (
        "import os, sys; from pixelcam.jobs import Run\n"
        f"Run.start({str(folder)!r}, ({str(folder)!r}, 'loop'), command=(sys.executable, {str(FAKE)!r}))\n"
        "os._exit(1)"
    )
    subprocess.run([sys.executable, "-c", code], check=False)
    run = Run.open(folder)
    wait_for(lambda: "step" in kinds(run))
    assert run.state == "running"
    run.stop()
    assert run.wait(20) == "stopped"


@linux_only
def test_a_job_that_died_while_nobody_watched_has_failed(start):
    run = start("loop")
    wait_for(lambda: run.state == "running")
    JobRecord.read(run.folder).process.kill()
    run_module._children.clear()
    found = Run.open(run.folder)
    wait_for(lambda: found.state == "failed")
    assert "died without saying why" in found.error_message()


def test_a_process_id_that_was_reused_is_not_taken_for_the_job(tmp_path):
    me = mark_process()
    assert me is not None
    assert me.is_alive()
    stranger = replace(me, started="a start long ago")
    assert not stranger.is_alive()
    stranger.kill()  # would end this very test
    record = replace(JobRecord.begin(tmp_path, ("train",)), process=stranger, claimed=True)
    record.write(tmp_path)
    assert Run.open(tmp_path).state == "failed"


def test_a_job_on_another_machine_is_believed_and_never_killed(tmp_path):
    mark = ProcessMark(os.getpid(), "whenever", "elsewhere")
    replace(JobRecord.begin(tmp_path, ("train",)), process=mark, claimed=True).write(tmp_path)
    run = Run.open(tmp_path)
    assert run.state == "running"
    with pytest.raises(RunError, match="elsewhere"):
        Run.start(tmp_path, ("x",))


def someone_elsewhere(folder, age, place="another start of another system", host="elsewhere"):
    """Let a job of another machine have given its last sign of life so many seconds ago."""
    mark = ProcessMark(os.getpid(), "whenever", host, place)
    replace(JobRecord.begin(folder, ("train",)), process=mark, claimed=True).write(folder)
    os.utime(folder / layout.JOB, (time.time() - age,) * 2)


def test_a_job_on_another_machine_that_gives_no_sign_of_life_is_gone(tmp_path, start):
    someone_elsewhere(tmp_path, layout.LEASE - 60)
    assert Run.open(tmp_path).state == "running"
    someone_elsewhere(tmp_path, layout.LEASE + 60)
    assert Run.open(tmp_path).state == "failed"
    someone_elsewhere(tmp_path, layout.LEASE + 60)
    assert start("ok", tmp_path).wait(20) == "done"


def test_a_job_of_an_earlier_version_on_another_machine_is_believed_for_a_day(tmp_path):
    someone_elsewhere(tmp_path, 3600, place="")
    assert Run.open(tmp_path).state == "running"
    someone_elsewhere(tmp_path, 25 * 3600, place="")
    assert Run.open(tmp_path).state == "failed"


@pytest.mark.skipif(sys.platform != "linux", reason="where a start of the system has no name")
def test_a_job_is_found_again_on_a_machine_that_got_another_name(start):
    run = start("loop")
    wait_for(lambda: run.state == "running")
    record = JobRecord.read(run.folder)
    for place in (record.process.place, ""):  # what this version writes, and what earlier ones have
        renamed = replace(record, process=replace(record.process, host="a name of before", place=place))
        renamed.write(run.folder)
        assert run.state == "running"
    record.process.kill()
    run_module._children.clear()
    wait_for(lambda: run.state == "failed")


def test_a_job_of_before_this_machine_was_started_anew_is_gone_at_once(tmp_path, monkeypatch):
    someone_elsewhere(tmp_path, 30, host=mark_process().host)
    assert Run.open(tmp_path).state == "running", "the name alone may be that of another machine"
    monkeypatch.setattr("pixelcam.jobs.process.psutil.boot_time", lambda: time.time() - 10)
    assert JobRecord.read(tmp_path).process.was_before_this_start(time.time() - 30)
    monkeypatch.setattr(layout, "LEASE", 20)
    assert Run.open(tmp_path).state == "failed"


def test_a_job_at_work_gives_signs_of_life(tmp_path, monkeypatch):
    monkeypatch.setattr(layout, "BEAT", 0.02)
    with host_job(tmp_path, ("x",)):
        os.utime(tmp_path / layout.JOB, (1, 1))
        wait_for(lambda: (tmp_path / layout.JOB).stat().st_mtime > 1)


def test_a_job_whose_folder_another_has_taken_over_ends_and_changes_nothing(tmp_path, monkeypatch):
    """It slept on another machine until it counted as gone."""
    monkeypatch.setattr(layout, "BEAT", 0.02)
    other = JobRecord.begin(tmp_path, ("other",))

    def sleep_on(job):
        other.write(tmp_path)
        for _ in range(500):
            job.emit(Event("step"))
            time.sleep(0.02)

    def work():
        with host_job(tmp_path, ("x",)) as job:
            sleep_on(job)

    with pytest.raises(RunError, match="taken over"):
        work()
    assert JobRecord.read(tmp_path) == other


@linux_only
@pytest.mark.parametrize("behaviour", ["loop", "saves"])
def test_a_deleted_run_folder_stays_gone(start, behaviour):
    run = start(behaviour)
    wait_for(lambda: "step" in kinds(run))
    process = JobRecord.read(run.folder).process
    deadline = time.monotonic() + 20
    while run.folder.exists():  # it may be writing into it just now
        shutil.rmtree(run.folder, ignore_errors=True)
        assert time.monotonic() < deadline
    wait_for(lambda: not process.is_alive())
    assert not run.folder.exists()
    for ask in (run.stop, run.cancel, lambda: run.state):
        with pytest.raises(RunError, match="is gone"):
            ask()
    assert not run.folder.exists()


def test_a_lock_of_another_machine_does_not_lock_for_ever(tmp_path, start):
    lock = tmp_path / "job.lock"
    lock.write_text(json.dumps({"pid": 1, "started": "x", "host": "elsewhere", "place": "elsewhere"}))
    os.utime(lock, (time.time() - 120,) * 2)
    assert start("ok", tmp_path).wait(20) == "done"
    lock.mkdir()
    with pytest.raises(RunError, match=r"folder called job\.lock is in the way"):
        start("ok", tmp_path)


DAMAGED_RECORDS = (
    "[]",
    "null",
    "1",
    "[" * 100_000,
    '{"arguments": [], "token": "x", "started": 1e999}',
    '{"arguments": [], "token": "x", "started": NaN}',
    '{"arguments": [], "token": 5, "started": 1}',
    '{"arguments": [], "token": "x", "started": 1, "outcome": "won"}',
    '{"arguments": [], "token": "x", "started": 1, "log_from": ' + "9" * 400 + "}",
    '{"arguments": [], "token": "x", "started": 1, "process": {"pid": -1, "started": "", "host": ""}}',
    '{"arguments": [], "token": "x", "started": 1, "process": {"pid": "1", "started": "", "host": ""}}',
    '{"arguments": [], "token": "x", "started": 1, "process": [1]}',
)


@pytest.mark.parametrize("text", DAMAGED_RECORDS)
def test_a_record_with_odd_values_is_damaged_and_no_bug(tmp_path, text):
    (tmp_path / layout.JOB).write_text(text)
    for ask in (lambda: Run.open(tmp_path), lambda: Run.start(tmp_path, ("x",))):
        with pytest.raises(RunError, match="damaged, or is no run's"):
            ask()


@pytest.mark.parametrize("name", ["config.json", "job.json"])
def test_a_persons_own_project_is_not_taken_for_a_run(tmp_path, name):
    """Its own config.json or job.json beside its own checkpoints, which a cancelled job would remove."""
    (tmp_path / name).write_text('{"learning_rate": 1}')
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "mine").write_text("precious")
    with pytest.raises(RunError, match=r"not a run folder|is no run's"):
        Run.start(tmp_path, ("x",))
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([name, "checkpoints"])


@linux_only
def test_a_read_only_run_folder_is_told(unprivileged_folder):
    unprivileged_folder.chmod(0o555)
    unprivileged_folder.become_nobody()
    with pytest.raises(OutputError, match="not permitted"):
        Run.start(unprivileged_folder, ("x",))


def test_a_folder_with_other_files_is_refused_and_left_alone(tmp_path):
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "mine.safetensors").write_bytes(b"precious")
    with pytest.raises(RunError, match="not a run folder"):
        Run.start(tmp_path, ("x",))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoints"]


def test_opening_what_is_no_run_says_so(tmp_path):
    with pytest.raises(RunError, match="not a run folder"):
        Run.open(tmp_path)
    (tmp_path / layout.JOB).write_text('{"token": ')
    with pytest.raises(RunError, match="damaged"):
        Run.open(tmp_path)


def test_a_file_in_the_way_of_the_run_folder_is_named(tmp_path):
    (tmp_path / "run").write_text("not a folder")
    with pytest.raises(OutputError, match="run"):
        Run.start(tmp_path / "run", ("x",))


def test_a_lock_left_by_a_dead_process_does_not_lock_for_ever(tmp_path, start):
    folder = tmp_path / "run"
    folder.mkdir()
    lock = folder / "job.lock"
    lock.write_text(json.dumps({"pid": os.getpid(), "started": "before", "host": mark_process().host}))
    os.utime(lock, (1, 1))
    assert start("ok", folder).wait(20) == "done"
    assert not lock.exists()


def test_a_full_disk_is_told_where_not_even_the_lock_can_be_written(tmp_path, monkeypatch, start):
    run = start("mute", tmp_path / "run")
    wait_for(lambda: run._exit_status(JobRecord.read(run.folder)) is not None)
    real = os.fdopen

    def full(descriptor, *args, **kwargs):
        real(descriptor, *args, **kwargs).close()
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("pixelcam.jobs.folder.os.fdopen", full)
        assert run.state == "failed"
        assert "could not write down, most often because the disk is full" in run.error_message()
        with pytest.raises(OutputError, match="disk is full"):
            Run.start(tmp_path / "run", ("x",))
    assert not (tmp_path / "run" / "job.lock").exists()


def test_a_display_that_fails_does_not_end_the_work(tmp_path):
    def closed_terminal(event):
        raise OSError(5, "Input/output error")

    with host_job(tmp_path, ("x",), on_event=closed_terminal) as job:
        job.emit(Event("epoch", epoch=1, epochs=1))
    assert Run.open(tmp_path).state == "done"


def test_a_full_disk_fails_the_event_with_a_sentence(tmp_path, monkeypatch):
    sink = run_events(tmp_path)
    sink(Event("started"))

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(OutputError, match="disk is full"):
        sink(Event("done"))


STOP_NOTES = {
    "a word": (b"stop", Stop.KEEP),
    "nothing": (b"", Stop.KEEP),
    "a line": (b"cancel\n", Stop.DISCARD),
    "capitals and spaces": (b"  CANCEL \r\n\r\n", Stop.DISCARD),
    "quotes, as cmd.exe echoes them": (b'"cancel" \r\n', Stop.DISCARD),
    "a mark of UTF-8, as Notepad saves it": (b"\xef\xbb\xbfcancel", Stop.DISCARD),
    "PowerShell 5": ("\ufeffcancel\r\n".encode("utf-16-le"), Stop.DISCARD),
    "PowerShell 5, stop": ("\ufeffstop\r\n".encode("utf-16-le"), Stop.KEEP),
    "UTF-16 the other way round": ("\ufeffCancel".encode("utf-16-be"), Stop.DISCARD),
    "UTF-16 without a mark": ("cancel\r\n".encode("utf-16-le"), Stop.DISCARD),
    "another word": ("arrêt".encode("latin-1"), Stop.KEEP),
    "noise": (bytes(range(256)) * 40, Stop.KEEP),
    "not wholly the word": (b"do not cancel", Stop.KEEP),
}


@pytest.mark.parametrize("note", STOP_NOTES)
def test_the_stop_note_is_read_in_all_its_forms(tmp_path, note):
    assert stop_check(tmp_path)() is Stop.NO
    data, meaning = STOP_NOTES[note]
    (tmp_path / "STOP").write_bytes(data)
    assert stop_check(tmp_path)() is meaning


def test_a_folder_called_stop_stops_and_is_taken_away_by_the_next_start(tmp_path, start):
    run = start("loop")
    wait_for(lambda: "step" in kinds(run))
    (run.folder / "STOP").mkdir()
    assert run.wait(20) == "stopped"
    assert start("ok").wait(20) == "done"
    assert not (run.folder / "STOP").exists()
    (run.folder / "STOP").mkdir()
    (run.folder / "STOP" / "mine").write_text("x")
    with pytest.raises(OutputError, match="cannot be removed"):
        start("ok")
    assert (run.folder / "STOP" / "mine").exists()


def test_the_stop_note_is_not_looked_at_more_than_five_times_a_second(tmp_path, monkeypatch):
    looks = []
    monkeypatch.setattr(layout, "read_stop", lambda folder: looks.append(folder) or "")
    check = stop_check(tmp_path)
    for _ in range(1000):
        check()
    assert len(looks) < 5
