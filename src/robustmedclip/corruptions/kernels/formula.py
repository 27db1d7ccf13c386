"""Kernels that are one formula, which NumPy evaluates on the CPU and torch on another device.

Both evaluate it image by image in float32, with the same random numbers: results differ by one grey level in a few
places, and an image's bytes don't depend on its batch.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache, wraps
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from robustmedclip.corruptions.draws import Draws
from robustmedclip.corruptions.kernels import devices
from robustmedclip.corruptions.kernels.arrays import scale_of
from robustmedclip.corruptions.kernels.blur import kernel_of_deviation, separably, smoothed
from robustmedclip.corruptions.kernels.kernel import Kernel, device_form_of

if TYPE_CHECKING:
    from torch import Tensor

#: Standard deviation in pixels above twice of which a blur is made of means over squares.
_FINE = 10

#: Draws, the severity's value and the shape ``(H, W, C)`` of an image to the numbers that its formula takes.
Numbers = Callable[[Draws, Any, tuple[int, ...]], Sequence[Any]]


@dataclass(frozen=True)
class Grid:
    """Where the pixels of an image lie, as arrays of NumPy or tensors.

    Attributes
    ----------
    rows, columns : array
        Centres of the pixels, in pixels from the top and left edges, float32 ``(H, 1, 1)`` and ``(1, W, 1)``.
    scale : float
        Shorter side relative to 224 px.
    moved : callable
        Takes an array of NumPy to where the image is.
    """

    rows: Any
    columns: Any
    scale: float
    moved: Callable[[np.ndarray], Any]

    @property
    def down(self) -> Any:
        """Place of the rows, in (0, 1)."""
        return self.rows / len(self.rows)

    @property
    def across(self) -> Any:
        """Place of the columns, in (0, 1)."""
        return self.columns / self.columns.shape[1]

    @property
    def side(self) -> int:
        """Shorter side in pixels."""
        return int(min(len(self.rows), self.columns.shape[1]))

    @cached_property
    def from_probe(self) -> Any:
        """Distance from the middle of the upper edge, in units of the sides, ``(H, W, 1)``."""
        return ((self.across - 0.5) ** 2 + self.down**2) ** 0.5

    def distance2(self, down: float, across: float) -> Any:
        """Squared distance from a place in units of the shorter side, ``(H, W, 1)``."""
        vertical = (self.rows - down * len(self.rows)) / self.side
        return vertical**2 + ((self.columns - across * self.columns.shape[1]) / self.side) ** 2


def formula(
    numbers: Numbers,
    *,
    fields: Sequence[Callable[[], np.ndarray]] = (),
    correlation: tuple[float, float] = (0, 0),
    blur: float = 0,
) -> Callable[[Callable[..., Any]], Kernel]:
    """Make a kernel, and its form for devices, of a formula.

    The formula takes the module ``numpy`` or ``torch``; the image, float32 ``(H, W, C)`` in [0, 1], not to be modified;
    its :class:`Grid`; the numbers; the random fields; and the blurred image, if there are any. It returns an image of
    that shape, which is clipped to [0, 1] and rounded to grey levels.

    Parameters
    ----------
    numbers : callable
        See :data:`Numbers`. A number or an array of NumPy each.
    fields : sequence of callable
        For each random field ``(H, W, 1)``, which all channels share, the quantiles of its distribution, float32
        ``(65536,)``.
    correlation : tuple of float
        Standard deviations of the Gaussian that the fields are blurred by, downwards and across, in pixels at 224. The
        variance is kept.
    blur : float
        Standard deviation of the blur of the blurred image, in pixels at 224.
    """

    def kernel_of(function: Callable[..., Any]) -> Kernel:
        @wraps(function)
        def cpu_form(image: np.ndarray, draws: Draws, value: Any) -> np.ndarray:
            drawn = numbers(draws, value, image.shape)
            shape, scale = (*image.shape[:2], 1), scale_of(image.shape)
            random = [_correlated(draws.choices(table(), shape), correlation, scale) for table in fields]
            pixels = np.multiply(image, np.float32(1 / 255), dtype=np.float32)
            if blur:
                random.append(_blurred(pixels, blur * scale))
            values = function(np, pixels, _cpu_grid(image.shape), *drawn, *random)
            return np.asarray(np.rint(np.clip(values, 0, 1) * np.float32(255)), np.uint8)

        @device_form_of(cpu_form)
        def on_device(images: "Tensor", draws: Sequence[Draws], value: Any) -> "Tensor":
            import torch

            scale = scale_of(images.shape[1:])
            grid = _grid(tuple(images.shape[1:]), lambda array: devices.moved(array, images))
            corrupted = []
            for image, draw in zip(images, draws, strict=True):
                drawn = numbers(draw, value, tuple(image.shape))
                random = [_field_on_device(table(), draw, image, correlation, scale) for table in fields]
                pixels = image.float() * float(np.float32(1 / 255))
                if blur:
                    random.append(_blurred_on_device(pixels, blur * scale))
                values = function(torch, pixels, grid, *drawn, *random)
                corrupted.append(values.clamp(0, 1).mul(255).round().byte())
            return torch.stack(corrupted)

        return cpu_form

    return kernel_of


@lru_cache(maxsize=4)
def _cpu_grid(shape: tuple[int, ...]) -> Grid:
    return _grid(shape, lambda array: array)


def _grid(shape: tuple[int, ...], moved: Callable[[np.ndarray], Any]) -> Grid:
    rows, columns = (np.arange(side, dtype=np.float32) + np.float32(0.5) for side in shape[:2])
    return Grid(moved(rows[:, None, None]), moved(columns[None, :, None]), scale_of(shape), moved)


def _correlated(field: np.ndarray, correlation: tuple[float, float], scale: float) -> np.ndarray:
    """A field of independent numbers of mean 0, blurred, of the same variance."""
    if not any(correlation):
        return field
    down, across = (correlation_kernel(sigma * scale) for sigma in correlation)
    return cv2.sepFilter2D(field, cv2.CV_32F, across, down, borderType=cv2.BORDER_REFLECT_101)[..., None]


def _field_on_device(
    table: np.ndarray, draw: Draws, image: "Tensor", correlation: tuple[float, float], scale: float
) -> "Tensor":
    field = devices.taken(table, devices.bits16((*image.shape[:2], 1), [draw], image))
    if not any(correlation):
        return field[0]
    down, across = (correlation_kernel(sigma * scale) for sigma in correlation)
    return separably(field, down, across, "reflect")[0]


def _blurred(image: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian blur; a wide one of means over squares, interpolated, which is off by less than 1 %."""
    step = max(1, int(sigma / _FINE))
    if step == 1:
        return smoothed(image, sigma).reshape(image.shape)
    height, width, channels = image.shape
    padded = np.pad(image, ((0, -height % step), (0, -width % step), (0, 0)), "edge")
    squares = padded.reshape(len(padded) // step, step, -1, step, channels).mean((1, 3))
    blurred = cv2.resize(smoothed(squares, sigma / step), padded.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    return blurred.reshape(padded.shape)[:height, :width]


def _blurred_on_device(image: "Tensor", sigma: float) -> "Tensor":
    import torch

    step = max(1, int(sigma / _FINE))
    kernel = kernel_of_deviation(sigma / step)
    if step == 1:
        return separably(image[None], kernel, kernel, "edge")[0]
    height, width, _ = image.shape
    planes = image.permute(2, 0, 1)[None]
    padded = torch.nn.functional.pad(planes, (0, -width % step, 0, -height % step), mode="replicate")
    squares = torch.nn.functional.avg_pool2d(padded, step).permute(0, 2, 3, 1)
    blurred = separably(squares, kernel, kernel, "edge").permute(0, 3, 1, 2)
    fine = torch.nn.functional.interpolate(blurred, size=padded.shape[2:], mode="bilinear", align_corners=False)
    return fine[0, :, :height, :width].permute(1, 2, 0)


def correlation_kernel(sigma: float) -> np.ndarray:
    """Gaussian of a standard deviation in pixels, cut off at two, float32, odd, whose squares add up to 1."""
    reach = int(2 * sigma + 0.5)
    kernel = np.exp(-(np.arange(-reach, reach + 1) ** 2) / (2 * max(sigma, 1e-3) ** 2))
    return np.asarray(kernel / np.sqrt(np.square(kernel).sum()), np.float32)
