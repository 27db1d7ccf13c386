"""What a kernel is: a function of one image, which may carry its form for whole batches on another device."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar, cast

import numpy as np

from robustmedclip.corruptions.draws import Draws

if TYPE_CHECKING:
    from torch import Tensor

#: Image uint8 ``(H, W, C)``, draws and the severity's value to image uint8 of as many elements; the input is not
#: modified.
Kernel = Callable[[np.ndarray, Draws, Any], np.ndarray]

#: Images uint8 ``(N, H, W, C)`` on a device, their draws and the severity's value to images uint8 of the same shape.
DeviceKernel = Callable[["Tensor", Sequence[Draws], Any], "Tensor"]

_Form = TypeVar("_Form", bound=DeviceKernel)


def device_form_of(kernel: Kernel) -> Callable[[_Form], _Form]:
    """Let a kernel carry the decorated function, which does to a batch on a device what the kernel does to an image.

    It draws the same random numbers, and works image by image or element by element, so that an image's bytes don't
    depend on its batch.
    """

    def attach(form: _Form) -> _Form:
        kernel.device_form = form  # type: ignore[attr-defined]
        return form

    return attach


def device_form(kernel: Kernel) -> DeviceKernel | None:
    """The form of a kernel for batches on a device, if it has one."""
    return cast(DeviceKernel | None, getattr(kernel, "device_form", None))
