"""Corruption of whole batches by torch, for devices other than the CPU, and what the device forms of kernels share.

The random bits are drawn on the CPU, and the tables, kernels and taps are those of the NumPy kernels: noise and tone
give their very bytes, filters may round otherwise. All algorithms work element by element or add whole
numbers, so that an image's bytes do not depend on its batch, which a library's convolutions don't promise.

Torch is imported when a batch is corrupted, not with this module.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from robustmedclip.corruptions.draws import Draws
from robustmedclip.corruptions.kernels.arrays import ROUNDING
from robustmedclip.corruptions.kernels.kernel import DeviceKernel
from robustmedclip.devices import to_device, to_host

if TYPE_CHECKING:
    from torch import Tensor

#: Weights of red, green and blue in Pillow's luminance, in units of 1 / 65536.
_LUMINANCE = (19595, 38470, 7471)


def check_device(device: str) -> None:
    """Check that torch has a device.

    Raises
    ------
    ValueError
        If it has not.
    """
    import torch

    known = ["cpu"]
    accelerator = torch.accelerator.current_accelerator()
    if accelerator and torch.accelerator.is_available():
        numbers = range(torch.accelerator.device_count())
        known += [accelerator.type, *(f"{accelerator.type}:{index}" for index in numbers)]
    if device not in known:
        raise ValueError(f"torch has no device {device!r} on this machine: choose {' or '.join(known)}")


def corrupted_batch(
    kernel: DeviceKernel, images: np.ndarray, draws: Sequence[Draws], value: Any, *, as_colour: bool, device: str
) -> np.ndarray:
    """Corrupt a batch on a device.

    Parameters
    ----------
    kernel : callable
        The device form of a kernel.
    images : ndarray
        uint8 ``(N, H, W, C)``, N > 0; not modified.
    draws : sequence of Draws
        One per image.
    value
        Of the severity, as `kernel` takes it.
    as_colour : bool
        Whether images of one channel are corrupted as colour images and converted to luminance.
    device : str
        A device that torch has.

    Returns
    -------
    ndarray
        uint8 ``(N, H, W, C)``.
    """
    source = to_device(np.array(images, order="C"), device)
    if as_colour:
        source = source.expand(*source.shape[:3], 3)
    corrupted = kernel(source, draws, value)
    return to_host([luminance(corrupted) if as_colour else corrupted])()[0]


def moved(array: np.ndarray | Sequence[np.ndarray], images: "Tensor") -> "Tensor":
    """An array, or several of one shape stacked, on the device of the images."""
    return to_device(np.array(array), images.device)


def bits16(shape: Sequence[int], draws: Sequence[Draws], images: "Tensor") -> "Tensor":
    """16 random bits for every value of each image, int32 ``(N, *shape)``, on the device of the images."""
    # As int16, because few operations of torch know uint16.
    return moved([draw.bits16(tuple(shape)).view(np.int16) for draw in draws], images).int() & 0xFFFF


def taken(table: np.ndarray, indices: "Tensor") -> "Tensor":
    """Entries of a table ``(K,)``, of the shape of the indices."""
    return moved(table, indices)[indices.int()]


def truncated(values: "Tensor") -> "Tensor":
    """As :func:`robustmedclip.corruptions.kernels.arrays.truncated`; `values` is overwritten."""
    return values.add_(float(ROUNDING)).clamp_(0, 255).byte()


def luminance(images: "Tensor") -> "Tensor":
    """Pillow's conversion of colour to luminance, uint8 ``(N, H, W, 1)``."""
    red, green, blue = (images[..., channel : channel + 1].int() * weight for channel, weight in enumerate(_LUMINANCE))
    return ((red + green + blue + 2**15) >> 16).byte()
