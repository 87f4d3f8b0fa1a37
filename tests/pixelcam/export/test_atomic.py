"""A file is there whole or not at all, whatever fails while it is written."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile

from pixelcam.errors import OutputError
from pixelcam.export.atomic import atomic_path, atomic_paths, write_text


def fail(code):
    def raise_error(*_arguments, **_options):
        raise OSError(code, os.strerror(code))

    return raise_error


def write_then(path, *actions):
    """Write half a file and do what shall fail."""
    with atomic_path(path) as temporary:
        temporary.write_text("half")
        for action in actions:
            action()


def raise_it(error):
    raise error


def only(folder):
    """Return name and text of every file of a folder, hidden ones included."""
    return {path.name: path.read_text() for path in folder.iterdir()}


def test_the_file_appears_under_its_name_with_its_folder(tmp_path):
    with atomic_path(tmp_path / "new" / "a.ome.tif") as temporary:
        assert temporary.parent == tmp_path / "new"
        assert temporary.suffix == ".tif"
        temporary.write_text("new")
        assert not (tmp_path / "new" / "a.ome.tif").exists()
    assert only(tmp_path / "new") == {"a.ome.tif": "new"}


def test_an_older_file_is_replaced(tmp_path):
    (tmp_path / "a.txt").write_text("old")
    write_text(tmp_path / "a.txt", "new µ")
    assert (tmp_path / "a.txt").read_bytes() == "new µ".encode()


def test_an_error_of_the_writer_passes_through_and_leaves_the_old_file(tmp_path):
    (tmp_path / "a.txt").write_text("old")
    with pytest.raises(RuntimeError, match="mine"):
        write_then(tmp_path / "a.txt", lambda: raise_it(RuntimeError("mine")))
    assert only(tmp_path) == {"a.txt": "old"}


def test_an_interruption_leaves_the_old_file(tmp_path):
    (tmp_path / "a.txt").write_text("old")
    with pytest.raises(KeyboardInterrupt):
        write_then(tmp_path / "a.txt", lambda: raise_it(KeyboardInterrupt()))
    assert only(tmp_path) == {"a.txt": "old"}


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (errno.ENOSPC, "the disk is full; free some space or choose another folder"),
        (errno.EDQUOT, "your disk quota is used up"),
        (errno.EACCES, "writing there is not permitted"),
        (errno.EROFS, "that place is read-only"),
        (errno.EIO, "the disk reported an error"),
        (errno.EBUSY, "choose another folder"),
    ],
)
@pytest.mark.parametrize("step", ["open", "fsync", "replace"])
def test_each_failing_step_is_told_and_leaves_the_old_file(tmp_path, monkeypatch, code, words, step):
    path = tmp_path / "a.txt"
    path.write_text("old")
    owner = os if step == "fsync" else Path
    with pytest.raises(OutputError) as caught:
        write_then(path, lambda: monkeypatch.setattr(owner, step, fail(code)))
    monkeypatch.undo()
    message = str(caught.value)
    assert message.startswith(f"{path} cannot be written: ")
    assert words in message
    assert message.endswith(".")
    assert only(tmp_path) == {"a.txt": "old"}


@pytest.mark.parametrize("kind", ["tifffile", "safetensors"])
def test_a_full_disk_is_recognised_without_an_error_number(tmp_path, kind):
    error = {
        "tifffile": OSError("16777216 requested and 4096 written"),
        "safetensors": Exception("Error while serializing: I/O error: No space left (os error 28)"),
    }[kind]
    with pytest.raises(OutputError, match="the disk is full"), atomic_path(tmp_path / "a"):
        raise error


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit on a file's size to fill up")
def test_a_really_failing_write_is_told_and_leaves_the_old_file(tmp_path):
    """A limit on the size of files stands for the full disk: the system stops the write in the middle."""
    (tmp_path / "a.tif").write_text("old")
    program = f"""
import resource, numpy, tifffile
from pixelcam.errors import OutputError
from pixelcam.export.atomic import atomic_path
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
try:
    with atomic_path({str(tmp_path / "a.tif")!r}) as path:
        tifffile.imwrite(path, numpy.zeros((300, 300), numpy.float32))
except OutputError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "cannot be written" in done.stdout
    assert len(done.stdout.splitlines()) == 1
    assert only(tmp_path) == {"a.tif": "old"}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no always-full device")
def test_a_really_full_device_is_told(tmp_path):

    def write():
        with atomic_path(tmp_path / "a.tif") as temporary:
            temporary.symlink_to("/dev/full")
            tifffile.imwrite(temporary, np.zeros((600, 600), np.float32))

    with pytest.raises(OutputError, match="the disk is full"):
        write()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not hasattr(os, "seteuid"), reason="this system has no such permissions")
def test_a_read_only_folder_is_told_and_leaves_the_old_file(unprivileged_folder):
    (unprivileged_folder / "a.txt").write_text("old")
    unprivileged_folder.chmod(0o555)
    unprivileged_folder.become_nobody()
    for name in ("a.txt", "b.txt", "new/c.txt"):
        with pytest.raises(OutputError, match="not permitted; choose a folder that you may write to"):
            write_text(unprivileged_folder / name, "new")
    assert only(unprivileged_folder) == {"a.txt": "old"}


@pytest.mark.skipif(not hasattr(os, "seteuid"), reason="this system has no such permissions")
def test_a_write_protected_file_is_kept(unprivileged_folder):
    unprivileged_folder.chmod(0o777)
    unprivileged_folder.become_nobody()
    path = unprivileged_folder / "a.txt"
    path.write_text("old")
    path.chmod(stat.S_IREAD)
    with pytest.raises(OutputError, match="not permitted"):
        write_text(path, "new")
    assert only(unprivileged_folder) == {"a.txt": "old"}


def test_a_folder_or_a_file_in_the_way_is_told(tmp_path):
    (tmp_path / "a.txt").mkdir()
    with pytest.raises(OutputError, match="a folder of that name is in the way"):
        write_text(tmp_path / "a.txt", "new")
    (tmp_path / "b").write_text("old")
    for name in ("b/c.txt", "b/c/d.txt"):
        with pytest.raises(OutputError, match="is a file, not a folder"):
            write_text(tmp_path / name, "new")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.txt", "b"]


def test_files_that_belong_together_appear_together(tmp_path):
    (tmp_path / "a").write_text("old")
    paths = [tmp_path / "a", tmp_path / "b"]

    def write_two(error):
        with atomic_paths(*paths) as (a, b):
            a.write_text("new")
            b.write_text("new")
            raise error

    with pytest.raises(OutputError, match="disk is full"):
        write_two(OSError(errno.ENOSPC, "full"))
    assert only(tmp_path) == {"a": "old"}
    with atomic_paths(*paths) as (a, b):
        a.write_text("new a")
        b.write_text("new b")
    assert only(tmp_path) == {"a": "new a", "b": "new b"}


def test_the_first_of_files_that_belong_together_is_renamed_last(tmp_path, monkeypatch):
    order = []
    replace = Path.replace
    monkeypatch.setattr(Path, "replace", lambda self, to: (order.append(to.name), replace(self, to))[1])
    with atomic_paths(tmp_path / "sidecar", tmp_path / "data") as paths:
        for path in paths:
            path.write_text("new")
    assert order == ["data", "sidecar"]


def test_a_device_is_never_replaced(tmp_path):
    pipe = tmp_path / "pipe"
    if not hasattr(os, "mkfifo"):
        pytest.skip("this system has no named pipes")
    os.mkfifo(pipe)
    with pytest.raises(OutputError, match="is a device, not a file; choose another name"):
        write_text(pipe, "new")
    assert pipe.is_fifo()
