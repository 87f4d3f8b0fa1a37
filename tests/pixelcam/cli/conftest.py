"""Runs the command line in this process, with a tiny model of random weights."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pixelcam.cli import main


@dataclass(frozen=True)
class Ending:
    code: int
    out: str
    err: str

    def failed_with(self, *words: str) -> bool:
        """Exit code 1 and one sentence on stderr, with these words and no traceback."""
        assert self.code == 1, (self.code, self.err)
        lines = self.err.splitlines()
        assert len(lines) == 1, self.err
        assert lines[0].endswith((".", "?")), lines[0]
        assert "Traceback" not in self.err + self.out
        for word in words:
            assert word.lower() in lines[0].lower(), lines[0]
        return True


@pytest.fixture
def command(capfd):
    """Run ``pixelcam`` with these arguments and return how it ended."""

    def run(*arguments: object) -> Ending:
        capfd.readouterr()
        code = main([str(argument) for argument in arguments])
        out, err = capfd.readouterr()
        return Ending(code, out, err)

    return run


@pytest.fixture(scope="package", autouse=True)
def one_thread():
    """A tiny network is faster on one core than on several, and much so where others work on them."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")  # for jobs in processes of their own
        yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory) -> Path:
    """A checkpoint of random weights, far too small to be right about anything."""
    import torch

    from pixelcam.model import ModelCard, save_checkpoint

    torch.manual_seed(0)
    card = ModelCard(encoder="test_efficientnet", classes=("benign", "malignant"), input_size=64, name="tiny")
    path = tmp_path_factory.mktemp("model") / "tiny.safetensors"
    save_checkpoint(path, card.build(), card)
    return path


@pytest.fixture
def tissue(tmp_path) -> Path:
    """A small RGB image."""
    pixels = np.random.default_rng(0).integers(0, 255, (48, 80, 3), dtype=np.uint8)
    path = tmp_path / "tissue.png"
    Image.fromarray(pixels).save(path)
    return path
