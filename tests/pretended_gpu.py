"""A GPU for tests where there is none: tensors that say they are on it, and fail as there where devices mix.

The numbers are real and lie in the memory of the CPU, so that results can be compared. Caught are operations
on tensors of two devices, NumPy arrays of tensors on the GPU, and double precision there, which Apple's GPUs
do not know. Not caught are operations that a GPU lacks or does otherwise, and it has no bfloat16.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_leaves, tree_map

aten = torch.ops.aten
INDEXING = {aten.index.Tensor, aten.index_put_.default, aten._index_put_impl_.default}
"""These take indices that lie on the CPU."""


class GPUTensor(torch.Tensor):
    """A tensor on the pretended GPU; for PyTorch's own core it has no memory, like one of the device meta."""

    @staticmethod
    def __new__(cls, content: Tensor) -> GPUTensor:
        return torch.Tensor._make_wrapper_subclass(
            cls, content.size(), strides=content.stride(), storage_offset=content.storage_offset(),
            dtype=content.dtype, layout=content.layout, device=torch.device("meta"),
        )  # fmt: skip

    def __init__(self, content: Tensor) -> None:
        if content.dtype == torch.float64:
            raise TypeError("The pretended GPU has no float64.")
        self.content = content

    device = property(lambda self: torch.device("cuda:0"))
    is_cuda = property(lambda self: True)

    def tolist(self) -> Any:
        return self.content.tolist()

    def __repr__(self) -> str:
        return f"{self.content!r} on the pretended GPU"

    @classmethod
    def __torch_dispatch__(cls, operation, types, args=(), kwargs=None):
        return _run(operation, args, kwargs or {})


class _Mode(TorchDispatchMode):
    """Sees the operations on CPU tensors too, which may lead to the GPU."""

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        return _run(operation, args, kwargs or {})


def _run(operation, args, kwargs):
    if operation._overloadpacket is aten.to:
        with _Mode():
            return operation.decompose(*args, **kwargs)
    tensors = [each for each in tree_leaves((args, kwargs)) if isinstance(each, Tensor)]
    on_gpu = any(isinstance(each, GPUTensor) for each in tensors)
    copies = operation in (aten._to_copy.default, aten.copy_.default)
    if on_gpu and not copies and operation not in INDEXING:
        # As on a real one, a single number of the CPU may join in.
        strangers = [each for each in tensors if each.dim() and not isinstance(each, GPUTensor)]
        if strangers:
            raise RuntimeError(f"Tensors of two devices in {operation}.")
    goes_to_gpu = on_gpu
    if kwargs.get("device") is not None:
        kind = torch.device(kwargs["device"]).type
        # PyTorch's core asks for meta where it wants the device of another tensor; our own code, with a
        # default device or tensors of that device, to learn shapes.
        shapes = torch.get_default_device().type == "meta" or any(_is_plain_meta(each) for each in tensors)
        goes_to_gpu = kind == "cuda" or (kind == "meta" and not shapes)
        if goes_to_gpu:
            kwargs = {**kwargs, "device": torch.device("cpu")}
    plain_args, plain_kwargs = tree_map(_content, (args, kwargs))
    result = operation(*plain_args, **plain_kwargs)
    if operation is aten.copy_.default:
        return args[0]
    if not goes_to_gpu:
        return result
    result = tree_map(lambda each: GPUTensor(each) if isinstance(each, Tensor) else each, result)
    return return_and_correct_aliasing(operation, args, kwargs, result) if on_gpu else result


def _content(value: Any) -> Any:
    return value.content if isinstance(value, GPUTensor) else value


def _is_plain_meta(tensor: Tensor) -> bool:
    return not isinstance(tensor, GPUTensor) and tensor.device.type == "meta"


@contextlib.contextmanager
def pretended_gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[torch.device]:
    """Put a pretended GPU into this machine, as seen from this thread, and yield its device."""
    from_numbers = torch.tensor

    def tensor(data, *, device=None, **more):
        made = from_numbers(data, **more)
        return made if device is None else made.to(device)

    monkeypatch.setattr(torch.cuda, "_lazy_init", lambda: None)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: False)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda index=0: "pretended")
    monkeypatch.setattr(torch, "tensor", tensor)
    # Views of wrapped tensors cannot be made in inference mode.
    monkeypatch.setattr(torch, "inference_mode", torch.no_grad)
    overwritten = torch.__future__.get_overwrite_module_params_on_conversion()
    torch.__future__.set_overwrite_module_params_on_conversion(True)
    try:
        with torch.autograd.set_multithreading_enabled(False), _Mode():
            yield torch.device("cuda:0")
    finally:
        torch.__future__.set_overwrite_module_params_on_conversion(overwritten)
