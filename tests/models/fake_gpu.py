"""A GPU that is not there: tensors on it have a shape, a type and a device, but no values.

What is tried on it works only if it mixes no devices, uses operations that there are for its types, and never waits for
a value: a copy to the CPU is refused, unless it is one that nothing waits for.
"""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode, unset_fake_temporarily
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from robustmedclip.models.interface import VisionLanguageModel

#: Bytes of its memory.
MEMORY = 80 * 10**9
_GPU = torch.device("cuda", 0)
#: Places of the devices in c10's registry of guards (c10/core/DeviceType.h).
_CUDA, _META, _DEVICES = 1, 14, 24


class WaitsForTheGPU(AssertionError):
    """Something is copied to the CPU, and waited for."""


class NoKernel(AssertionError):
    """A GPU has no kernel for the types of what an operation is given."""


class _Kernels(TorchDispatchMode):
    """Refuses products of several types or of integers, and scaling of integers: fake tensors let them pass."""

    _PRODUCTS = ("mm", "addmm", "bmm", "baddbmm", "matmul", "linear", "convolution", "conv2d")
    _SCALING = ("_upsample_bilinear2d_aa", "_upsample_bicubic2d_aa")

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        if name in (*self._PRODUCTS, *self._SCALING):
            kinds = {each.dtype for each in args if isinstance(each, torch.Tensor) and each.device == _GPU}
            if not all(kind.is_floating_point for kind in kinds) or (name in self._PRODUCTS and len(kinds) > 1):
                raise NoKernel(f"{name} of {', '.join(sorted(map(str, kinds)))}")
        return func(*args, **(kwargs or {}))


class _Placement(TorchFunctionMode):
    """Puts on the GPU what is to be there: a build of torch without CUDA would not even try."""

    def __init__(self, mode: FakeTensorMode):
        super().__init__()
        self._mode = mode

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if func is torch.Tensor.pin_memory:
            return args[0]
        if func is torch.Tensor.numpy:
            return np.zeros(args[0].shape, str(args[0].dtype).removeprefix("torch."))
        if func is torch.Tensor.backward:
            return _give_gradients(args[0])
        if func in (torch.Tensor.to, torch.Tensor.cpu):
            return self._moved(func, *args, **kwargs)
        if _is_gpu(kwargs.get("device")):
            return self.put(func(*args, **kwargs | {"device": "cpu"}))
        return func(*args, **kwargs)

    def _moved(self, func: Any, tensor: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        device = "cpu" if func is torch.Tensor.cpu else kwargs.get("device", args[0] if args else None)
        if _is_gpu(device):
            kinds = [kind for kind in (*args[1:], *kwargs.values()) if isinstance(kind, torch.dtype)]
            tensor = tensor.to(*kinds) if kinds else tensor
            return tensor if tensor.device == _GPU else self.put(tensor)
        if device == "cpu" and tensor.device == _GPU and not kwargs.get("non_blocking"):
            raise WaitsForTheGPU(f"a tensor of shape {tuple(tensor.shape)} is copied to the CPU")
        return func(tensor, *args, **kwargs)

    def put(self, tensor: torch.Tensor) -> torch.Tensor:
        """A tensor of the GPU, of the same shape, strides and type."""
        with unset_fake_temporarily():
            empty = torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device="meta")
        return FakeTensor(self._mode, empty, _GPU)


def _give_gradients(loss: torch.Tensor) -> None:
    """Give gradients to the weights that a loss depends on: torch goes no way back on a GPU that is not there."""
    steps, seen = [loss.grad_fn], set[Any]()
    while steps:
        step = steps.pop()
        if step is None or step in seen:
            continue
        seen.add(step)
        steps.extend(following for following, _ in step.next_functions)
        if hasattr(step, "variable"):
            step.variable.grad = torch.zeros_like(step.variable)


def _is_gpu(device: Any) -> bool:
    return isinstance(device, str | torch.device) and torch.device(device).type == "cuda"


class _Event:
    def record(self) -> None: ...

    def synchronize(self) -> None: ...


class FakeGPU:
    """The GPU; models are on it while :func:`fake_gpu` is open."""

    def __init__(self, mode: FakeTensorMode, placement: _Placement):
        self._mode, self._placement = mode, placement

    def put(self, model: VisionLanguageModel) -> VisionLanguageModel:
        """A model on the GPU, its network in place; its tokenizer stays on the CPU, with values."""
        for layer in model.network.modules():
            for name, weight in layer._parameters.items():
                if weight is not None:
                    layer._parameters[name] = nn.Parameter(self._placement.put(weight), weight.requires_grad)
            for name, buffer in layer._buffers.items():
                if buffer is not None:
                    layer._buffers[name] = self._placement.put(buffer)

        def tokenize(texts: list[str]) -> torch.Tensor:
            with unset_fake_temporarily():
                return model.tokenize(texts)

        return replace(model, tokenize=tokenize)


@contextmanager
def fake_gpu() -> Iterator[FakeGPU]:
    """A GPU with bfloat16, in this thread alone; what would be given to other threads is done in it."""
    with pytest.MonkeyPatch.context() as patches, FakeTensorMode(allow_non_fake_inputs=True) as mode:
        properties = {"total_memory": MEMORY, "name": "fake"}
        patches.setattr("torch.cuda.get_device_properties", lambda device: type("Properties", (), properties))
        patches.setattr("torch.cuda.get_device_name", lambda device: "fake")
        patches.setattr("torch.cuda.is_bf16_supported", lambda including_emulation=True: True)
        patches.setattr("torch.cuda.amp.common.amp_definitely_not_available", lambda: False)
        patches.setattr("torch.cuda.Event", _Event)
        for module in ("models.inference", "adaptation.objective"):
            patches.setattr(f"robustmedclip.{module}.map_ahead", lambda function, items, *_: map(function, items))
        with _guarded_as_meta(), _Kernels(), _Placement(mode) as placement:
            yield FakeGPU(mode, placement)


@contextmanager
def _guarded_as_meta() -> Iterator[None]:
    """Let a build without CUDA, which has no guard of its devices, take that of the device ``meta``.

    It does nothing, as the guard of a build with CUDA where there is no GPU.
    """
    library = ctypes.CDLL(str(next((Path(torch.__file__).parent / "lib").glob("libc10.*"))))
    guards = (ctypes.c_void_p * _DEVICES).in_dll(library, "_ZN3c104impl26device_guard_impl_registryE")
    before = guards[_CUDA]
    guards[_CUDA] = before or guards[_META]
    try:
        yield
    finally:
        guards[_CUDA] = before
