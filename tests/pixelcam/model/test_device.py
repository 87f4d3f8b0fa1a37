"""Which processor is meant by a name."""

import pytest
import torch

from pixelcam.errors import DeviceError
from pixelcam.model import available_devices, resolve_device
from pixelcam.model.device import device_memory_guard


@pytest.fixture
def two_gpus(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


def test_automatic_takes_the_first_of_what_is_there():
    assert str(resolve_device("auto")) == available_devices()[0]
    assert available_devices()[-1] == "cpu"
    assert resolve_device("cpu").type == "cpu"


def test_each_of_several_gpus_has_a_name(two_gpus):
    assert available_devices() == ["cuda:0", "cuda:1", "cpu"]
    assert resolve_device("cuda").type == "cuda"
    assert resolve_device("cuda:1").index == 1
    with pytest.raises(DeviceError, match=r"cuda:2 is not available .* cuda:0, cuda:1, cpu"):
        resolve_device("cuda:2")


@pytest.mark.parametrize("name", ["abacus", "cuda:99", "meta", "", "xpu"])
def test_a_device_that_is_not_there_is_refused_with_those_that_are(name):
    with pytest.raises(DeviceError, match=r"use one of: auto, .*cpu"):
        resolve_device(name)


@pytest.mark.parametrize(
    ("error", "smaller", "sentence"),
    [
        (
            torch.OutOfMemoryError("CUDA out of memory."), "",
            "The device ran out of memory; choose the device cpu, or close other programs that use it.",
        ),
        (
            RuntimeError("MPS backend out of memory (MPS allocated: 9 GB)."), "a smaller crop",
            "The device ran out of memory; choose a smaller crop, or the device cpu, or close other programs "
            "that use it.",
        ),
        (
            RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), "",
            "The computer ran out of memory; close other programs.",
        ),
        (
            RuntimeError("[enforce fail] DefaultCPUAllocator: not enough memory"), "a smaller crop",
            "The computer ran out of memory; choose a smaller crop, or close other programs.",
        ),
    ],
)  # fmt: skip
def test_running_out_of_memory_ends_with_advice(error, smaller, sentence):
    with pytest.raises(DeviceError) as caught, device_memory_guard(smaller):
        raise error
    assert str(caught.value) == sentence


def test_pytorch_says_it_in_these_words_on_this_computer():
    with pytest.raises(DeviceError, match="The computer ran out of memory"), device_memory_guard():
        torch.empty(10**15)


def test_another_error_passes():
    with pytest.raises(RuntimeError, match="shapes"), device_memory_guard():
        raise RuntimeError("shapes do not match")
