"""The sentence that an unexpected error ends a command with."""

import pytest
import torch

from pixelcam.cli.failures import describe
from pixelcam.errors import ConfigError


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (ConfigError("Batch is\n  at least 1."), "Batch is at least 1."),
        (
            torch.OutOfMemoryError("CUDA out of memory."),
            "The device ran out of memory; use --device cpu, or smaller images or batches.",
        ),
        (MemoryError(), "The computer ran out of memory; use smaller images or batches."),
        (
            RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"),
            "The computer ran out of memory; use smaller images or batches.",
        ),
        (PermissionError(13, "Permission denied", "a.tif"), "a.tif: Permission denied."),
    ],
)
def test_an_error_is_one_sentence(error, sentence):
    assert describe(error) == sentence


def test_what_nobody_thought_of_says_how_to_report_it():
    assert "ZeroDivisionError: by 0); run again with PIXELCAM_DEBUG=1" in describe(ZeroDivisionError("by 0"))
