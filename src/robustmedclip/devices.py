"""Work on a GPU that nothing waits for: copies to it and back, and a stream per thread. On a CPU nothing changes.

Torch is imported when something is moved, not with this module.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

from robustmedclip.errors import InputError

if TYPE_CHECKING:
    import torch


def to_device(array: np.ndarray, device: "torch.device | str") -> "torch.Tensor":
    """An array as a tensor: on the CPU with the array's memory; a GPU fetches it while the CPU goes on."""
    import torch

    tensor = torch.from_numpy(array)
    if torch.device(device).type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


def to_host(tensors: "Sequence[torch.Tensor]") -> Callable[[], tuple[np.ndarray, ...]]:
    """Send tensors of one device to the CPU; a function that waits until they are there, and gives them as arrays."""
    import torch

    copies = [tensor.to("cpu", non_blocking=True) for tensor in tensors]
    arrival = torch.cuda.Event() if tensors[0].device.type == "cuda" else None  # type: ignore[no-untyped-call]
    if arrival is not None:
        arrival.record()

    def arrived() -> tuple[np.ndarray, ...]:
        if arrival is not None:
            arrival.synchronize()
        return tuple(copy.numpy() for copy in copies)

    return arrived


def use_own_stream(device: "torch.device | str") -> None:
    """Let what this thread asks of a GPU from now on run beside what other threads ask of it."""
    if str(device).startswith("cuda"):
        import torch

        stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.default_stream(device))  # where weights may still be changed
        torch.cuda.set_stream(stream)


@contextmanager
def memory_explained(advice: str) -> Iterator[None]:
    """Say what to do where the memory of a GPU is too small for what is done inside.

    Raises
    ------
    InputError
        With `advice`, in place of torch's error.
    """
    import torch

    try:
        yield
    except torch.OutOfMemoryError as error:
        reason = str(error).partition(". ")[0]
        raise InputError(f"The memory of the GPU is too small ({reason}): {advice}") from error
