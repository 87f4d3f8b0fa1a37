"""One process that has imported everything, and forks a child for each trial.

The children are real processes with the C library's calls counted by `shim.c`, where there is a compiler.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import os
import resource
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent
SHIM_VARIABLE = "PIXELCAM_RELIABILITY_SHIM"
WRITE, SYNC, RENAME, UNLINK, CREATE, MKDIR, OPEN = (1 << bit for bit in range(7))
CHANGES = WRITE | SYNC | RENAME | UNLINK | CREATE | MKDIR
"""All calls that change files."""
COUNT, DIE, FAIL_ONCE, FAIL_ON = range(4)


@dataclass(frozen=True)
class Ended:
    """How a child ended.

    Attributes
    ----------
    code
        Its exit status; minus the signal's number where one ended it.
    peak
        The most memory it held, in bytes.
    out, err
        What it has printed.
    """

    code: int
    peak: int
    out: str
    err: str


def compile_shim(folder: Path) -> Path | None:
    """Return the compiled shim, None where there is no C compiler or no such loader."""
    compiler = next((name for name in ("cc", "gcc", "clang") if shutil.which(name)), None)
    if compiler is None or not sys.platform.startswith("linux"):
        return None
    made = folder / "shim.so"
    done = subprocess.run(
        [compiler, "-O2", "-shared", "-fPIC", "-o", made, Path(__file__).with_name("shim.c"), "-ldl"],
        capture_output=True,
    )
    return made if done.returncode == 0 else None


class Child:
    """A trial that runs."""

    def __init__(self, server: Server, number: int, process: int, folder: Path) -> None:
        self._server, self._number, self._folder = server, number, folder
        self.process = process

    def kill(self) -> None:
        """End it at once."""
        with suppress(ProcessLookupError):
            os.kill(self.process, signal.SIGKILL)

    def wait(self, seconds: float) -> Ended:
        """Wait for its end; one that takes longer is killed, which its code then says."""
        ended = self._server.wait(self._number, seconds)
        if ended is None:
            self.kill()
            ended = self._server.wait(self._number, 60)
            assert ended is not None, "a killed child does not end"
        code, peak = ended
        out, err = (_text(self._folder / f"{self._number}.{end}") for end in ("out", "err"))
        for end in ("out", "err"):
            (self._folder / f"{self._number}.{end}").unlink(missing_ok=True)
        return Ended(code, peak, out, err)

    @property
    def ended(self) -> bool:
        """Whether it has ended, as far as the server has said."""
        while self._server.listen(0):
            continue
        return self._server.has_ended(self._number)

    @property
    def printed(self) -> str:
        """What it has printed so far."""
        return _text(self._folder / f"{self._number}.out")


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return ""


class Server:
    """The forking process, used by one thread.

    Parameters
    ----------
    folder
        Where it may keep what it needs.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.shim = compile_shim(folder)
        environment = {
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "MKL_NUM_THREADS": "1",
            "HF_HUB_OFFLINE": "1",
            "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
            "PIXELCAM_HOME": str(folder / "home"),
        }
        if self.shim is not None:
            environment["LD_PRELOAD"] = environment[SHIM_VARIABLE] = str(self.shim)
        self._log = (folder / "server.log").open("wb")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.reliability.server", str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env=environment,
            cwd=ROOT,
        )
        self._buffer = b""
        self._news: dict[int, dict[str, int]] = {}
        self._ended: dict[int, dict[str, int]] = {}
        self._next = 0

    def start(self, call: str, **arguments: Any) -> Child:
        """Let a child call a function, "module:name", with arguments that JSON can hold."""
        self._next += 1
        task = {"number": self._next, "call": call, "arguments": arguments}
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(task).encode() + b"\n")
        self._process.stdin.flush()
        deadline = time.monotonic() + 600  # the first waits for the imports
        while self._next not in self._news:
            if not self.listen(deadline - time.monotonic()):
                raise RuntimeError(f"The server of trials is gone: {_text(self.folder / 'server.log')}")
        return Child(self, self._next, self._news.pop(self._next)["process"], self.folder)

    def run(self, call: str, seconds: float = 120, **arguments: Any) -> Ended:
        """Let a child call a function, and wait for it."""
        return self.start(call, **arguments).wait(seconds)

    def wait(self, number: int, seconds: float) -> tuple[int, int] | None:
        """Return a child's exit status and memory, None if it has not ended by then."""
        deadline = time.monotonic() + seconds
        while number not in self._ended:
            if not self.listen(deadline - time.monotonic()):
                return None
        ended = self._ended.pop(number)
        return ended["code"], ended["peak"]

    def has_ended(self, number: int) -> bool:
        """Return whether the server has said that a child has ended."""
        return number in self._ended

    def listen(self, seconds: float) -> bool:
        """Take what the server says next; False when it has said nothing for so long, or is gone."""
        assert self._process.stdout is not None
        descriptor = self._process.stdout.fileno()
        while b"\n" not in self._buffer:
            if not select.select([descriptor], [], [], max(0, seconds))[0]:
                return False
            data = os.read(descriptor, 65536)
            if not data:
                return False
            self._buffer += data
        line, self._buffer = self._buffer.split(b"\n", 1)
        word = json.loads(line)
        (self._ended if "code" in word else self._news)[word["number"]] = word
        return True

    def close(self) -> None:
        """End the server, and with it all that it has begun."""
        self._process.kill()
        self._process.wait(60)
        for pipe in (self._process.stdin, self._process.stdout, self._log):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()


# The server's own side.


def _serve(folder: Path) -> None:
    import pixelcam.cli.failures

    _record_foreign_errors(pixelcam.cli.failures)
    for name in (
        "pixelcam.cli.app",
        "pixelcam.review",
        "pixelcam.review.merging",
        "pixelcam.review.exporting",
        "pixelcam.review.report",
        "pixelcam.review.rescuing",
        "pixelcam.export.formats",
        "pixelcam.export.importing",
        "pixelcam.export.reading",
        "pixelcam.training.finetuning",
        "pixelcam.training.stages",
        "pixelcam.localize",
        "pixelcam.localize.uncertainty",
        "pixelcam.refine",
        "pixelcam.evaluation",
    ):
        importlib.import_module(name)
    import torch

    torch.set_num_threads(1)
    reading, waking = os.pipe()
    os.set_blocking(waking, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(waking, warn_on_full_buffer=False)
    children: dict[int, int] = {}
    buffer = b""
    while True:
        for descriptor in select.select([0, reading], [], [])[0]:
            data = os.read(descriptor, 65536)
            if descriptor == reading:
                _reap(children)
                continue
            if not data:
                return
            *lines, buffer = (buffer + data).split(b"\n")
            for line in lines:
                task = json.loads(line)
                process = os.fork()
                if process == 0:
                    signal.set_wakeup_fd(-1)
                    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                    _be_child(folder, task)
                children[process] = task["number"]
                _say(number=task["number"], process=process)


def _reap(children: dict[int, int]) -> None:
    while children:
        process, status, usage = os.wait4(-1, os.WNOHANG)
        if process == 0:
            return
        code = os.waitstatus_to_exitcode(status)
        _say(number=children.pop(process), code=code, peak=usage.ru_maxrss * 1024)


def _say(**word: int) -> None:
    os.write(1, json.dumps(word).encode() + b"\n")


def _be_child(folder: Path, task: dict[str, Any]) -> None:
    code = 1
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: not to outlive the server
    try:
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        for number, end in ((1, "out"), (2, "err")):
            file = os.open(folder / f"{task['number']}.{end}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(file, number)
            os.close(file)
        os.set_inheritable(0, True)
        module, name = task["call"].split(":")
        code = getattr(importlib.import_module(module), name)(**task["arguments"]) or 0
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        with suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


# Inside a child.

foreign_errors: list[BaseException] = []
"""What came to the surface of a command and is none of the errors that the program knows."""


def _record_foreign_errors(failures: Any) -> None:
    """Note each error that a command describes, before anything has imported the function that does."""
    from pixelcam.errors import PixelCAMError

    describe = failures.describe

    def noting(error: BaseException) -> str:
        if not isinstance(error, PixelCAMError):
            foreign_errors.append(error)
        return str(describe(error))

    failures.describe = noting


def shim() -> ctypes.CDLL:
    """Return the shim that was loaded before this process began."""
    return ctypes.CDLL(os.environ[SHIM_VARIABLE])


def arm(folder: Path, what: int, at: int = 0, error: int = 0, kinds: int = CHANGES) -> None:
    """Count the calls on files in `folder` from now on, and do at the n-th what is asked."""
    shim().shim_arm(os.fsencode(folder), kinds, what, ctypes.c_long(at), error)


def disarm() -> int:
    """Stop counting, and return how many calls there were."""
    return int(shim().shim_disarm())


def limit_memory(more: int) -> None:
    """Let this process take so many bytes more than it has."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + more
    resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))


def command(*arguments: str) -> int:
    """Run `pixelcam` with these arguments in this process."""
    from pixelcam.cli import main

    return main(list(arguments))


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        from tests.reliability import server

        os.umask(0o022)
        tempfile.tempdir = sys.argv[1]
        server._serve(Path(sys.argv[1]))
