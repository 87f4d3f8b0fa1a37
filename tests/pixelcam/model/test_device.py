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


def test_running_out_of_memory_ends_with_advice():
    with pytest.raises(DeviceError, match=r"out of memory; buy more\."), device_memory_guard("buy more"):
        raise torch.OutOfMemoryError
