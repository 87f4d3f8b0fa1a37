"""A job without a model: works in a run folder in the way that its second argument names."""

import os
import signal
import sys
import time
from pathlib import Path

from pixelcam.errors import CancelledError, ImageError
from pixelcam.events import Event, Stop
from pixelcam.export.atomic import write_text
from pixelcam.jobs import host_job
from pixelcam.jobs.folder import refuse_gone

folder, behaviour = Path(sys.argv[1]), sys.argv[2]


def save(name: str) -> None:
    (folder / "checkpoints").mkdir(exist_ok=True)
    (folder / "checkpoints" / f"{name}.safetensors").write_bytes(b"weights")


def work(job):
    job.emit(Event("started", stage="joint", total=3))
    save("last")
    save("best-loc")
    if behaviour == "fail":
        raise ImageError("slide-07.svs is truncated: tile 311 ends past the end of the file.")
    if behaviour == "bug":
        raise TypeError("unsupported operand")
    if behaviour == "oom":
        os.kill(os.getpid(), signal.SIGKILL)
    if behaviour == "vanish":
        print("a last word", file=sys.stderr, flush=True)
        os._exit(7)
    if behaviour == "mute":
        os._exit(7)
    if behaviour == "half-line":
        with (folder / "events.jsonl").open("a") as file:
            file.write('{"kind": "st')
        os._exit(7)
    if behaviour == "loop":
        for step in range(10_000):
            job.emit(Event("step", stage="joint", step=step, metrics={"loss": 1 / (step + 1)}))
            time.sleep(0.02)
            match job.should_stop():
                case Stop.KEEP:
                    return
                case Stop.DISCARD:
                    raise CancelledError
    if behaviour == "saves":
        for step in range(10_000):
            job.emit(Event("step", step=step))
            refuse_gone(folder)
            write_text(folder / "checkpoints" / "last.safetensors", "weights" * 10_000)
    if behaviour in ("deaf", "stone-deaf"):
        if behaviour == "stone-deaf":
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            job.emit(Event("warning", message="ready"))
        time.sleep(60)
    if behaviour == "chatty":
        sys.stderr.write("x" * 1_000_000)
        sys.stdout.write("y" * 1_000_000)
    job.emit(Event("done", stage="joint", path="checkpoints/best-loc.safetensors"))


def interrupt(signum, frame):
    raise KeyboardInterrupt


if behaviour == "unclaimed":
    print("Usage: pixelcam train\n╭─ Error ─╮\n│ No such option: --spede │\n╰─────────╯", file=sys.stderr)
    sys.exit(2)
signal.signal(signal.SIGTERM, interrupt)
with host_job(folder, tuple(sys.argv[1:])) as job:
    work(job)
