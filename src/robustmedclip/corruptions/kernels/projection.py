"""Computed tomography: projections of a slice, their noise, and filtered back projection.

Rays are parallel, the detector has bins of a pixel, and is as long as the diagonal of the slice. Bilinear interpolation
of the slice and linear interpolation of the projections are those of scikit-image's `radon` and `iradon`.
"""

from collections.abc import Sequence
from functools import lru_cache
from math import ceil, cos, hypot, pi, sin
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import scipy.fft

from robustmedclip.corruptions.draws import Draws
from robustmedclip.corruptions.kernels import devices
from robustmedclip.corruptions.kernels.arrays import luminance, scale_of
from robustmedclip.corruptions.kernels.kernel import device_form_of

if TYPE_CHECKING:
    from torch import Tensor

#: Views over half a turn of a scan at low dose.
VIEWS = 180
#: Attenuation along a whole side of white: that of 40 cm of water.
ATTENUATION = 8.0
#: Views that are looked at together on a device.
_AT_A_TIME = 12


def low_dose(image: np.ndarray, draws: Draws, photons: float) -> np.ndarray:
    """Add the noise of a scan with fewer photons.

    The slice is projected, each bin counts Poisson(photons exp(-p)), and what that changes of the logarithm is back
    projected: the slice itself is not blurred. White attenuates by 8 along a side, as 40 cm of water does. `photons`
    are those of a bin at 224 px; at other sizes there are as many as make a pixel as noisy.
    """
    slice_ = luminance(image) / np.float32(255)
    attenuation = np.float32(ATTENUATION / min(slice_.shape))
    noise = count_noise(
        radon(slice_, VIEWS) * attenuation, _normal(draws, slice_.shape), photons * scale_of(slice_.shape) ** 2
    )
    added = back_projection(filtered(noise), slice_.shape) / attenuation
    return _rounded(image, added)


@device_form_of(low_dose)
def _low_dose_on_device(images: "Tensor", draws: Sequence[Draws], photons: float) -> "Tensor":
    import torch

    shape = (images.shape[1], images.shape[2])
    attenuation = ATTENUATION / min(shape)
    results = []
    for image, draw in zip(images, draws, strict=True):
        slice_ = _luminance_on_device(image)
        normal = devices.moved(_normal(draw, shape), images)
        projections = _radon_on_device(slice_, VIEWS) * attenuation
        noise = count_noise(projections, normal, photons * scale_of(shape) ** 2, torch)
        added = _back_projection_on_device(_filtered_on_device(noise), shape) / attenuation
        results.append((image + 255 * added[..., None]).clamp(0, 255).round().byte())
    return torch.stack(results)


def sparse_views(image: np.ndarray, draws: Draws, views: int) -> np.ndarray:
    """Reconstruct the slice from few views, evenly over half a turn, by filtered back projection: streaks."""
    slice_ = luminance(image) / np.float32(255)
    reconstructed = back_projection(filtered(radon(slice_, views)), slice_.shape)
    return _rounded(image, reconstructed - slice_)


@device_form_of(sparse_views)
def _sparse_views_on_device(images: "Tensor", draws: Sequence[Draws], views: int) -> "Tensor":
    import torch

    shape = (images.shape[1], images.shape[2])
    results = []
    for image in images:
        slice_ = _luminance_on_device(image)
        added = _back_projection_on_device(_filtered_on_device(_radon_on_device(slice_, views)), shape) - slice_
        results.append((image + 255 * added[..., None]).clamp(0, 255).round().byte())
    return torch.stack(results)


def radon(slice_: np.ndarray, views: int) -> np.ndarray:
    """Line integrals, in pixels times the value, over half a turn.

    Parameters
    ----------
    slice_ : ndarray
        float32 ``(H, W)``.
    views : int
        Number of angles, from 0 on, evenly below 180 degrees.

    Returns
    -------
    ndarray
        float32 ``(views, bins)``, bins as of :func:`bins_of`.
    """
    bins = bins_of(slice_.shape)
    projections = np.empty((views, bins), np.float32)
    for projection, (to_slice, _) in zip(projections, _plan(slice_.shape, views), strict=True):
        turned = cv2.warpAffine(slice_, to_slice, (bins, bins), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
        cv2.reduce(turned, 0, cv2.REDUCE_SUM, projection[None])
    return projections


def filtered(projections: np.ndarray) -> np.ndarray:
    """Projections ``(views, bins)``, filtered by the ramp |f|, float32."""
    size, ramp = ramp_filter(projections.shape[1])
    spectrum = scipy.fft.rfft(projections, size, 1) * ramp
    return np.ascontiguousarray(scipy.fft.irfft(spectrum, size, 1)[:, : projections.shape[1]])


def back_projection(projections: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Smear filtered projections over the slice: the inverse of :func:`radon`, float32 ``shape``."""
    slice_ = np.zeros(shape, np.float32)
    for projection, (_, to_bin) in zip(projections, _plan(shape, len(projections)), strict=True):
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        slice_ += cv2.warpAffine(projection[None], to_bin, (shape[1], shape[0]), flags=flags)
    return slice_ * np.float32(pi / len(projections))


def count_noise(projections: Any, normal: Any, photons: float, xp: Any = np) -> Any:
    """What the noise of counting changes of projections, natural logarithms.

    The Poisson of mean m is (sqrt(m) + n / 2)^2 - 1/4, n standard normal, as in
    :func:`robustmedclip.corruptions.kernels.radiography.quantum_noise`; a bin counts at least one photon.
    """
    counts = (xp.sqrt(photons * xp.exp(-projections)) + normal / 2) ** 2 - 0.25
    return -xp.log(xp.clip(counts, 1, None) / photons) - projections


def bins_of(shape: tuple[int, ...]) -> int:
    """Bins of the detector: those that the diagonal of a slice covers, and one on each side."""
    return ceil(hypot(*shape)) + 2


@lru_cache(maxsize=16)
def ramp_filter(bins: int) -> tuple[int, np.ndarray]:
    """Length of the padded projections, and the ramp at its frequencies, float32 ``(length / 2 + 1,)``.

    The transform of the ramp that is cut off at the highest frequency (Kak & Slaney 1988, eq. 3.61): 1/4 at 0,
    -1 / (pi n)^2 at odd n, and 0 at the others.
    """
    size = max(64, 1 << (2 * bins - 1).bit_length())
    distance = np.minimum(np.arange(size), size - np.arange(size))
    kernel = np.where(distance % 2 == 1, -1 / (pi * np.maximum(distance, 1)) ** 2, 0)
    kernel[0] = 0.25
    return size, np.fft.rfft(kernel).real.astype(np.float32)


@lru_cache(maxsize=16)
def _plan(shape: tuple[int, ...], views: int) -> tuple[tuple[np.ndarray, np.ndarray], ...]:
    """For each view, where the pixels of the turned slice lie in the slice, and in which bin those of the slice lie."""
    height, width = shape
    middle, x, y = (bins_of(shape) - 1) / 2, (width - 1) / 2, (height - 1) / 2
    plans = []
    for angle in np.arange(views) * pi / views:
        c, s = cos(angle), sin(angle)
        to_slice = np.array([[c, s, x - middle * (c + s)], [-s, c, y - middle * (c - s)]])
        to_bin = np.array([[c, -s, middle - c * x + s * y], [0, 0, 0]])
        plans.append((to_slice, to_bin))
    return tuple(plans)


def _normal(draws: Draws, shape: tuple[int, ...]) -> np.ndarray:
    return draws.normal((VIEWS, bins_of(shape)))


def _rounded(image: np.ndarray, added: np.ndarray) -> np.ndarray:
    """An image with the same added to all channels, a fraction of full scale."""
    return np.rint(np.clip(image + np.float32(255) * added[..., None], 0, 255)).astype(np.uint8)


def _luminance_on_device(image: "Tensor") -> "Tensor":
    weights = (1.0,) if image.shape[-1] == 1 else (0.299, 0.587, 0.114)
    return sum(image[..., channel].float() * weight for channel, weight in enumerate(weights)) / 255  # type: ignore


def _radon_on_device(slice_: "Tensor", views: int) -> "Tensor":
    import torch

    shape = (slice_.shape[0], slice_.shape[1])
    places = torch.arange(bins_of(shape), dtype=torch.float32, device=slice_.device)
    padded = torch.nn.functional.pad(slice_, (1, 1, 1, 1)).flatten()
    projections = []
    for start in range(0, views, _AT_A_TIME):
        plan = devices.moved([to_slice for to_slice, _ in _plan(shape, views)[start : start + _AT_A_TIME]], slice_)
        matrix = plan.float()[:, :, :, None, None]
        across = matrix[:, 0, 0] * places + matrix[:, 0, 1] * places[:, None] + matrix[:, 0, 2]
        down = matrix[:, 1, 0] * places + matrix[:, 1, 1] * places[:, None] + matrix[:, 1, 2]
        projections.append(_bilinear(padded, down, across, shape).sum(1))
    return torch.cat(projections)


def _bilinear(padded: "Tensor", down: "Tensor", across: "Tensor", shape: tuple[int, int]) -> "Tensor":
    """Values at places of a slice with a margin of one pixel of zeros, flattened; zero beyond it."""
    down, across = down.clamp(-1, shape[0]), across.clamp(-1, shape[1])
    top, left = down.floor().clamp(max=shape[0] - 1), across.floor().clamp(max=shape[1] - 1)
    lower, right = down - top, across - left
    index = ((top + 1) * (shape[1] + 2) + left + 1).long()
    upper_row = padded[index] * (1 - right) + padded[index + 1] * right
    lower_row = padded[index + shape[1] + 2] * (1 - right) + padded[index + shape[1] + 3] * right
    return upper_row * (1 - lower) + lower_row * lower


def _filtered_on_device(projections: "Tensor") -> "Tensor":
    import torch

    size, ramp = ramp_filter(projections.shape[1])
    spectrum = torch.fft.rfft(projections, size, 1) * devices.moved(ramp, projections)
    sharpened: Tensor = torch.fft.irfft(spectrum, size, 1)
    return sharpened[:, : projections.shape[1]]


def _back_projection_on_device(projections: "Tensor", shape: tuple[int, int]) -> "Tensor":
    import torch

    rows, columns = (torch.arange(side, dtype=torch.float32, device=projections.device) for side in shape)
    slice_ = projections.new_zeros(shape)
    for projection, (_, to_bin) in zip(projections, _plan(shape, len(projections)), strict=True):
        place = float(to_bin[0, 0]) * columns + float(to_bin[0, 1]) * rows[:, None] + float(to_bin[0, 2])
        first = place.floor()
        index, weight = first.long(), place - first
        slice_ += projection[index] * (1 - weight) + projection[index + 1] * weight
    return slice_ * (pi / len(projections))
