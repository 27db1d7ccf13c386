"""Blur: filters and resampling."""

from collections.abc import Sequence
from functools import lru_cache
from math import ceil, cos, pi, radians, sin
from typing import TYPE_CHECKING, Literal

import cv2
import numpy as np

from robustmedclip.corruptions.draws import Draws
from robustmedclip.corruptions.kernels import devices
from robustmedclip.corruptions.kernels.arrays import gaussian_kernel, scale_of, truncated
from robustmedclip.corruptions.kernels.kernel import device_form_of

if TYPE_CHECKING:
    from torch import Tensor

#: Range of the directions of motion blur.
MOTION_DEGREES = (-45, 45)
_SUPERSAMPLING = 16

#: How images go on over their edges, as in ``numpy.pad``.
Edge = Literal["edge", "reflect"]


def motion_blur(image: np.ndarray, draws: Draws, trail: tuple[float, float]) -> np.ndarray:
    """Smear along a direction drawn from U(-45, 45) degrees, with a trail to one side.

    Equal to ImageMagick's motion blur, which ImageNet-C uses, within one grey level. `trail` is radius
    and standard deviation of the half Gaussian, in pixels of a side of 224.
    """
    return truncated(smeared(image, *scaled_trail(*trail, scale_of(image.shape)), draws.uniform(*MOTION_DEGREES)))


@device_form_of(motion_blur)
def _motion_blur_on_device(images: "Tensor", draws: Sequence[Draws], trail: tuple[float, float]) -> "Tensor":
    import torch

    scaled = scaled_trail(*trail, scale_of(images.shape[1:]))
    blurred = []
    for image, draw in zip(images.unsqueeze(1), draws, strict=True):
        rows, columns, weights = trail_taps(*scaled, draw.uniform(*MOTION_DEGREES))
        blurred.append(devices.truncated(_weighted_sum(image, rows, columns, weights / weights.sum(), "edge")))
    return torch.cat(blurred)


def scaled_trail(radius: float, sigma: float, scale: float) -> tuple[int, float]:
    """Radius, at least 1 px, and standard deviation of a trail at another size."""
    return max(1, round(radius * scale)), sigma * scale


def smeared(image: np.ndarray, radius: int, sigma: float, angle: float) -> np.ndarray:
    """One-sided motion blur, float32 of the shape of `image`, by :func:`trail_taps`. Edge pixels are repeated."""
    rows, columns, weights = trail_taps(radius, sigma, angle)
    top, left = max(0, -rows.min()), max(0, -columns.min())
    padded = cv2.copyMakeBorder(
        image, top, max(0, rows.max()), left, max(0, columns.max()), cv2.BORDER_REPLICATE
    ).reshape(-1, image.shape[1] + left + max(0, columns.max()), *image.shape[2:])
    height, width = image.shape[:2]
    blurred, total = np.zeros(image.shape, np.float32), 0.0
    for row, column, weight in zip(top + rows[::-1], left + columns[::-1], weights[::-1], strict=True):
        total += weight
        cv2.accumulateWeighted(padded[row : row + height, column : column + width], blurred, weight / total)
    return blurred


def trail_taps(radius: int, sigma: float, angle: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Taps of a one-sided motion blur (ImageMagick's MotionBlurImage).

    Tap i = 0 .. 2 * radius weighs exp(-i^2 / (2 sigma^2)) and is the pixel nearest to i pixels from the centre,
    at `angle` degrees; taps that weigh less than a millionth of all are left out.

    Returns
    -------
    rows, columns, weights : ndarray
        Offsets int ``(T,)``, and float64 ``(T,)``, whose sum is not 1.
    """
    steps = np.arange(2 * radius + 1)
    weights = np.exp(-(steps**2) / (2 * sigma**2))
    used = weights > 1e-6 * weights.sum()
    rows, columns = (np.ceil(steps[used] * part(radians(angle)) - 0.5).astype(int) for part in (sin, cos))
    return rows, columns, weights[used]


def zoom_blur(image: np.ndarray, draws: Draws, zoom: tuple[float, float]) -> np.ndarray:
    """Average of the image and its central magnifications by 1, 1 + step, ... last.

    Each is a centre crop enlarged bilinearly, corners on corners. `zoom` is (last, step).
    """
    factors = zoom_factors(*zoom)
    height, width, channels = image.shape
    # OpenCV warps four channels in less than half the time of three.
    source = (cv2.cvtColor(image, cv2.COLOR_RGB2RGBA) if channels == 3 else image).astype(np.float32)
    total, buffer = 2 * source, np.empty_like(source)
    for factor in factors[1:]:
        (left, across), (top, down) = magnification(width, factor), magnification(height, factor)
        magnified = cv2.warpAffine(
            source,
            np.array([[across, 0, left], [0, down, top]]),
            (width, height),
            dst=buffer,
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REPLICATE,
        )
        total += magnified.reshape(source.shape)
    total /= np.float32(len(factors) + 1)
    blurred = truncated(total)
    return cv2.cvtColor(blurred, cv2.COLOR_RGBA2RGB) if channels == 3 else blurred


@device_form_of(zoom_blur)
def _zoom_blur_on_device(images: "Tensor", draws: Sequence[Draws], zoom: tuple[float, float]) -> "Tensor":
    factors = zoom_factors(*zoom)
    source = images.float()
    total = 2 * source
    for factor in factors[1:]:
        magnified = source
        for axis in (1, 2):
            start, step = magnification(images.shape[axis], factor)
            magnified = _interpolated(magnified, axis, start + step * np.arange(images.shape[axis]))
        total += magnified
    return devices.truncated(total / (len(factors) + 1))


def zoom_factors(last: float, step: float) -> np.ndarray:
    """1, 1 + step, ... last, float64 ``(K,)``."""
    return np.arange(1, last + step / 2, step)


def magnification(side: int, factor: float) -> tuple[float, float]:
    """Where the first pixel of a magnified side comes from, and the distance from one to the next."""
    crop = ceil(side / factor)
    enlarged = round(crop * factor)
    step = (crop - 1) / (enlarged - 1)
    return (side - crop) // 2 + (enlarged - side) // 2 * step, step


def defocus_blur(image: np.ndarray, draws: Draws, disk: tuple[float, float]) -> np.ndarray:
    """Average over a disk. `disk` is its radius and the standard deviation of its smoothing, in pixels at 224."""
    return truncated(cv2.filter2D(image.astype(np.float32), -1, disk_kernel(*disk, scale_of(image.shape))))


@device_form_of(defocus_blur)
def _defocus_blur_on_device(images: "Tensor", draws: Sequence[Draws], disk: tuple[float, float]) -> "Tensor":
    kernel = disk_kernel(*disk, scale_of(images.shape[1:]))
    rows, columns = np.nonzero(kernel)
    reach = len(kernel) // 2
    return devices.truncated(_weighted_sum(images, rows - reach, columns - reach, kernel[rows, columns], "reflect"))


@lru_cache(maxsize=64)
def disk_kernel(radius: float, smoothing: float, scale: float) -> np.ndarray:
    """Kernel of a defocused lens, float32, odd and square, sum 1.

    At scale 1 it holds ImageNet-C's pixels, those with x^2 + y^2 <= radius^2; at other scales
    the fraction of each pixel that a disk of the same area, scaled, covers. Then it is smoothed by a Gaussian of 3 x 3
    taps, or 5 x 5 for a radius above 8.
    """
    reach = int(max(radius, 8) if scale == 1 else ceil(radius * scale) + 3)
    grid = np.arange(-reach, reach + 1)
    kernel = (grid**2 + grid[:, None] ** 2 <= radius**2).astype(np.float64)
    if scale != 1:
        pixels = np.arange(-ceil(radius), ceil(radius) + 1)
        area = np.count_nonzero(pixels**2 + pixels[:, None] ** 2 <= radius**2) * scale**2
        fine = (np.arange(len(grid) * _SUPERSAMPLING) + 0.5) / _SUPERSAMPLING - 0.5 - reach
        covered = (fine**2 + fine[:, None] ** 2 <= area / pi).astype(np.float64)
        kernel = covered.reshape(len(grid), _SUPERSAMPLING, len(grid), _SUPERSAMPLING).sum((1, 3))
    taps = 3 if radius <= 8 else 5
    kernel = cv2.GaussianBlur(kernel / kernel.sum(), (taps, taps), smoothing * scale)
    used = np.abs(np.argwhere(kernel > 1e-9) - reach).max()
    return np.ascontiguousarray(kernel[reach - used : reach + used + 1, reach - used : reach + used + 1], np.float32)


def gaussian_blur(image: np.ndarray, draws: Draws, sigma: float) -> np.ndarray:
    """Gaussian blur of standard deviation `sigma`, in pixels at 224, cut off at 4 sigma; edge pixels are repeated."""
    return truncated(smoothed(image, sigma * scale_of(image.shape)))


@device_form_of(gaussian_blur)
def _gaussian_blur_on_device(images: "Tensor", draws: Sequence[Draws], sigma: float) -> "Tensor":
    kernel = kernel_of_deviation(sigma * scale_of(images.shape[1:]))
    return devices.truncated(separably(images, kernel, kernel, "edge"))


def kernel_blur(image: np.ndarray, draws: Draws, side: int) -> np.ndarray:
    """Gaussian blur by a kernel of `side` pixels at 224, mirrored at the edges and rounded, as in torchvision.

    Its standard deviation is ``0.3 * ((side - 1) / 2 - 1) + 0.8``.
    """
    blurred = _filtered(image, kernel_of_side(side, scale_of(image.shape)), cv2.BORDER_REFLECT_101)
    return np.asarray(np.rint(blurred), np.uint8)


@device_form_of(kernel_blur)
def _kernel_blur_on_device(images: "Tensor", draws: Sequence[Draws], side: int) -> "Tensor":
    kernel = kernel_of_side(side, scale_of(images.shape[1:]))
    blurred = separably(images, kernel, kernel, "reflect")
    return blurred.round_().byte()


def kernel_of_side(side: int, scale: float) -> np.ndarray:
    """Kernel of :func:`kernel_blur` at another size, float32, odd, sum 1."""
    sigma, reach = 0.3 * ((side - 1) * 0.5 - 1) + 0.8, max(1, round((side - 1) / 2 * scale))
    return gaussian_kernel(sigma * scale, reach)


def glass_blur(image: np.ndarray, draws: Draws, glass: tuple[float, int, int]) -> np.ndarray:
    """Blur, let pixels take the place of near ones at random, blur.

    From the last pixel to the first, each takes the present value of a neighbour at most `delta` away, which
    keeps it: the published code exchanges views of one array, which copies. `glass` is (standard deviation,
    delta, passes), lengths in pixels at 224.
    """
    sigma, delta, passes = glass
    scale = scale_of(image.shape)
    delta = max(1, round(delta * scale))
    shuffled = truncated(smoothed(image, sigma * scale)).reshape(-1, image.shape[-1])
    for _ in range(passes):
        shuffled = shuffled.take(_taken_from(image.shape[0], image.shape[1], delta, draws), 0)
    return truncated(smoothed(shuffled.reshape(image.shape), sigma * scale))


def _taken_from(height: int, width: int, delta: int, draws: Draws) -> np.ndarray:
    """Flat index of the pixel whose value each pixel ends up with after one pass, int64 ``(height * width,)``."""
    inner = (height - 2 * delta, width - 2 * delta)
    offsets = ((draws.bits16((2, *inner)).astype(np.int32) * (2 * delta)) >> 16) - delta
    steps = np.zeros((height, width), np.int32)
    moved = (slice(delta + 1, height - delta + 1), slice(delta + 1, width - delta + 1))
    steps[moved] = offsets[0] * width + offsets[1]
    step, follow = steps.ravel(), np.arange(height * width)
    neighbour = follow + step
    # A neighbour that comes later in the image was moved before: follow it, by doubling, to where its value is from.
    later = np.flatnonzero(step > 0)
    later = later[step.take(neighbour.take(later)) != 0]
    reached, further = later, neighbour.take(later)
    while not np.array_equal(reached, further):
        follow[later] = reached = further
        further = follow.take(reached)
    return neighbour.take(follow)


def smoothed(image: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian blur cut off at four standard deviations, float32; edge pixels are repeated (as in scikit-image)."""
    return _filtered(image, kernel_of_deviation(sigma), cv2.BORDER_REPLICATE)


def kernel_of_deviation(sigma: float) -> np.ndarray:
    """Samples of a Gaussian out to four standard deviations, float32, odd, sum 1."""
    return gaussian_kernel(sigma, int(4 * sigma + 0.5))


def _filtered(image: np.ndarray, kernel: np.ndarray, border: int) -> np.ndarray:
    return cv2.sepFilter2D(image, cv2.CV_32F, kernel, kernel, borderType=border)


def _weighted_sum(images: "Tensor", rows: np.ndarray, columns: np.ndarray, weights: np.ndarray, edge: Edge) -> "Tensor":
    """Weighted sum of the pixels at the given offsets ``(T,)`` from each pixel, float32.

    `edge` says how images go on over their edges, as in ``numpy.pad``.
    """
    _, height, width, _ = images.shape
    padded = images.float()
    for axis, offsets in ((1, rows), (2, columns)):
        beyond = max(0, -offsets.min()), max(0, offsets.max())
        padded = padded.index_select(axis, devices.moved(np.pad(np.arange(images.shape[axis]), beyond, edge), images))
    total = padded.new_zeros(images.shape)
    first_row, first_column = rows - min(0, rows.min()), columns - min(0, columns.min())
    for row, column, weight in zip(first_row, first_column, weights.tolist(), strict=True):
        total.add_(padded[:, row : row + height, column : column + width], alpha=weight)
    return total


def separably(images: "Tensor", down: np.ndarray, across: np.ndarray, edge: Edge) -> "Tensor":
    """Filter by symmetric kernels ``(2 * reach + 1,)``, one along rows and one along columns, float32."""
    rows, columns = (np.arange(len(kernel)) - len(kernel) // 2 for kernel in (down, across))
    filtered = _weighted_sum(images, np.zeros_like(columns), columns, across, edge)
    return _weighted_sum(filtered, rows, np.zeros_like(rows), down, edge)


def _interpolated(images: "Tensor", axis: int, positions: np.ndarray) -> "Tensor":
    """Linear interpolation at the positions along an axis; edge pixels are repeated."""
    positions = np.clip(positions, 0, images.shape[axis] - 1)
    below = positions.astype(int)
    above = np.minimum(below + 1, images.shape[axis] - 1)
    weight = devices.moved((positions - below).astype(np.float32), images).reshape(-1, *[1] * (3 - axis))
    first, second = (images.index_select(axis, devices.moved(part, images)) for part in (below, above))
    return first.lerp(second, weight)
