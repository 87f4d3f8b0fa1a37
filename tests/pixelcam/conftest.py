"""Folders as people without rights see them, also where the tests run as root, and torch on one thread."""

from __future__ import annotations

import os
import pathlib
import shutil
import tempfile

import pytest

_NOBODY = 65534


class UnprivilegedFolder(type(pathlib.Path())):
    """A folder that anybody may enter, and the switch to a user whom permissions bind."""

    def become_nobody(self):
        """Give up root's rights, which ignore permissions, until the test ends."""
        if os.geteuid() == 0:
            os.seteuid(_NOBODY)


@pytest.fixture
def unprivileged_folder():
    """A fresh folder that only its owner may write to; nobody else may enter pytest's own."""
    folder = UnprivilegedFolder(tempfile.mkdtemp(prefix="pixelcam-test-"))
    folder.chmod(0o755)
    user = os.geteuid()
    yield folder
    os.seteuid(user)
    folder.chmod(0o755)
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def one_thread():
    """Keep torch to one thread: tiny networks are quicker so, and sums come out the same everywhere."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
