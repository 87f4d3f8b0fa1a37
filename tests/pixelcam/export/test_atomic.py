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
from pixelcam.export.atomic import (
    atomic_folder,
    atomic_path,
    atomic_paths,
    clear_abandoned,
    write_text,
)


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


def test_a_rename_that_fails_leaves_no_second_name_of_the_old_file(tmp_path, monkeypatch):
    paths = [tmp_path / name for name in ("a", "b")]
    for path in paths:
        path.write_text("old")
    real = Path.replace
    monkeypatch.setattr(
        Path, "replace", lambda self, to: real(self, to) if Path(to).name != "a" else _refuse(to)
    )

    def write_both():
        with atomic_paths(*paths) as temporaries:
            for temporary in temporaries:
                temporary.write_text("new")

    with pytest.raises(OutputError, match="disk is full"):
        write_both()
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"a": "old", "b": "old"}


def _refuse(path):
    raise OSError(errno.ENOSPC, "No space left on device", str(path))


def test_where_one_of_several_cannot_be_renamed_all_old_ones_stay(tmp_path):
    """The third of four names becomes a folder after the others are staged, as another program might do."""
    paths = [tmp_path / name for name in ("a", "b", "c", "d")]
    for path in paths[:2]:
        path.write_text("old")

    def write_all():
        with atomic_paths(*paths) as temporaries:
            for temporary in temporaries:
                temporary.write_text("new")
            paths[0].unlink()
            (paths[0] / "mine").mkdir(parents=True)

    with pytest.raises(OutputError, match="a folder of that name is in the way"):
        write_all()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]
    assert paths[1].read_text() == "old"
    assert (paths[0] / "mine").is_dir()


@pytest.mark.skipif(os.name != "posix", reason="Windows has no umask")
@pytest.mark.parametrize("umask", [0o022, 0o002, 0o007, 0o077])
def test_who_may_read_a_file_is_told_by_the_umask(tmp_path, umask):
    """Also where the library that writes it makes it its owner's alone, as safetensors does."""

    def close(path):
        path.write_text("x")
        path.chmod(0o600)

    before = os.umask(umask)
    try:
        write_text(tmp_path / "plain", "x")
        with atomic_path(tmp_path / "closed") as temporary:
            close(temporary)
        with atomic_folder(tmp_path / "folder", "part") as temporary:
            close(temporary / "part")
    finally:
        os.umask(before)
    for name in ("plain", "closed", "folder/part"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o666 & ~umask
    assert stat.S_IMODE((tmp_path / "folder").stat().st_mode) == 0o777 & ~umask
    assert sorted(path.name for path in tmp_path.iterdir()) == ["closed", "folder", "plain"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs a process that is really killed")
def test_what_a_killed_process_has_left_is_cleared_by_the_next_one(tmp_path):
    program = """
import os, signal, sys
from pathlib import Path
from pixelcam.export.atomic import atomic_folder, atomic_path
with atomic_path(Path(sys.argv[1]) / "a.txt") as one, atomic_folder(Path(sys.argv[1]) / "b.zarr", "0") as two:
    one.write_text("half")
    (two / "0").write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", program, tmp_path], check=False)
    assert done.returncode < 0
    (tmp_path / ".pixelcam-notes").write_text("a person's own")
    assert len(list(tmp_path.iterdir())) == 3
    with atomic_path(tmp_path / "living") as temporary:
        temporary.write_text("x")
        clear_abandoned(tmp_path)
        assert temporary.exists(), "what is being written is nobody's leaving"
    assert only(tmp_path) == {"living": "x", ".pixelcam-notes": "a person's own"}


def test_what_another_machine_is_writing_is_left_for_a_day(tmp_path):

    new = tmp_path / ".pixelcam-ffffff-7-ffffff-01234567.png"
    old = tmp_path / ".pixelcam-ffffff-8-ffffff-01234567.ome.zarr"
    earlier = tmp_path / ".pixelcam-01234567.json"
    new.write_text("x")
    old.mkdir()
    earlier.write_text("x")
    for path in (old, earlier):
        os.utime(path, (1, 1))
    write_text(tmp_path / "a", "new")
    assert only(tmp_path) == {"a": "new", new.name: "x"}


@pytest.mark.skipif(not hasattr(os, "symlink"), reason="this system has no links")
def test_a_link_among_the_leavings_is_removed_and_not_followed(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "precious").write_text("x")
    link = tmp_path / ".pixelcam-01234567.zarr"
    link.symlink_to(tmp_path / "mine")
    os.utime(link, (1, 1), follow_symlinks=False)
    clear_abandoned(tmp_path)
    assert not link.is_symlink()
    assert (tmp_path / "mine" / "precious").exists()


def test_a_folder_is_made_only_where_that_is_wanted(tmp_path):
    with pytest.raises(OutputError):
        write_text(tmp_path / "gone" / "a", "x", make_folder=False)
    assert not (tmp_path / "gone").exists()
