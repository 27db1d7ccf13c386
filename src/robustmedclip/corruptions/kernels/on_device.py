"""Corruptions of whole batches by torch, for devices other than the CPU.

The random bits are drawn on the CPU, and the tables, kernels and taps are those of the NumPy kernels: noise and tone
give their very bytes, filters may round otherwise. All algorithms work element by element or add whole
numbers, so that an image's bytes do not depend on its batch, which a library's convolutions don't promise.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from robustmedclip.corruptions.draws import Draws
from robustmedclip.corruptions.kernels import artefacts, blur, digital, noise, tone
from robustmedclip.corruptions.kernels.arrays import ROUNDING, scale_of, truncated
from robustmedclip.corruptions.kernels.kernel import Kernel

#: Images uint8 ``(N, H, W, C)``, their draws and the severity's value to images uint8 of the same shape.
BatchKernel = Callable[[Tensor, Sequence[Draws], Any], Tensor]

#: Weights of red, green and blue in Pillow's luminance, in units of 1 / 65536.
_LUMINANCE = (19595, 38470, 7471)
#: Bits after the point in Pillow's weights of a box.
_BOX_PRECISION = 22

_batch_kernels: dict[Kernel, BatchKernel] = {}


def check_device(device: str) -> None:
    """Check that torch has a device.

    Raises
    ------
    ValueError
        If it has not.
    """
    known = ["cpu"]
    if count := torch.accelerator.device_count():
        kind = torch.accelerator.current_accelerator().type
        known += [kind, *(f"{kind}:{index}" for index in range(count))]
    if device not in known:
        raise ValueError(f"torch has no device {device!r} on this machine: choose {' or '.join(known)}")


def has_batch_kernel(kernel: Kernel) -> bool:
    """Whether there is a kernel here that does to a batch what `kernel` does to an image."""
    return kernel in _batch_kernels


def corrupted(
    kernel: Kernel, images: np.ndarray, draws: Iterable[Draws], value: Any, *, as_colour: bool, device: str
) -> np.ndarray:
    """Do to a batch on a device what `kernel` does to an image.

    Parameters
    ----------
    kernel : callable
        A kernel for which :func:`has_batch_kernel`.
    images : ndarray
        uint8 ``(N, H, W, C)``, N > 0; not modified.
    draws : iterable of Draws
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
    source = torch.from_numpy(np.array(images, order="C")).to(device)
    if as_colour:
        source = source.expand(*source.shape[:3], 3)
    made = _batch_kernels[kernel](source, list(draws), value)
    return (_luminance(made) if as_colour else made).cpu().numpy()


def _batch_kernel_of(kernel: Kernel) -> Callable[[BatchKernel], BatchKernel]:
    def register(batch_kernel: BatchKernel) -> BatchKernel:
        _batch_kernels[kernel] = batch_kernel
        return batch_kernel

    return register


@_batch_kernel_of(noise.gaussian_noise)
def _gaussian_noise(images: Tensor, draws: Sequence[Draws], sigma: float) -> Tensor:
    added = _taken(noise.floored_normal(sigma), _bits16(images, draws))
    return added.add_(images).clamp_(0, 255).to(torch.uint8)


@_batch_kernel_of(noise.speckle_noise)
def _speckle_noise(images: Tensor, draws: Sequence[Draws], sigma: float) -> Tensor:
    return _truncated(_taken(noise.factors(sigma), _bits16(images, draws)).mul_(images))


@_batch_kernel_of(noise.shot_noise)
def _shot_noise(images: Tensor, draws: Sequence[Draws], photons: float) -> Tensor:
    levels, thresholds, aliases = noise.photon_table(photons)
    drawn = [draw.bits32(images.shape[1:]).view(np.int32) for draw in draws]
    bits = _moved(drawn, images).long() & 0xFFFFFFFF
    shift = 32 - (len(levels) - 1).bit_length()
    outcome = bits >> shift
    cell = images.int() * len(levels) + outcome
    kept = (bits & ((1 << shift) - 1)) < _taken(thresholds.astype(np.int64), cell)
    return torch.where(kept, _taken(levels, outcome), _taken(aliases, cell))


@_batch_kernel_of(noise.impulse_noise)
def _impulse_noise(images: Tensor, draws: Sequence[Draws], share: float) -> Tensor:
    bits, limit = _bits16(images, draws), noise.pepper_limit(share)
    return images.masked_fill(bits < limit, 0).masked_fill_(bits >= 65536 - limit, 255)


@_batch_kernel_of(tone.brightness)
def _brightness(images: Tensor, draws: Sequence[Draws], amount: float) -> Tensor:
    raised = truncated(tone.raised_levels(amount))
    if images.shape[-1] == 1:
        return _taken(raised, images)
    value = images.amax(-1, keepdim=True)
    brighter = _truncated(_taken(tone.raised_ratios(amount), value) * images)
    return torch.where(value == 0, int(raised[0]), brighter)


@_batch_kernel_of(tone.contrast)
def _contrast(images: Tensor, draws: Sequence[Draws], factor: float) -> Tensor:
    return _looked_up(images, [tone.contracted_levels(means, factor) for means in _means(images)])


@_batch_kernel_of(tone.scaled_brightness)
def _scaled_brightness(images: Tensor, draws: Sequence[Draws], factor: float) -> Tensor:
    return _taken(tone.blended(0, factor), images)


@_batch_kernel_of(tone.scaled_contrast)
def _scaled_contrast(images: Tensor, draws: Sequence[Draws], factor: float) -> Tensor:
    grey = images if images.shape[-1] == 1 else _luminance(images)
    return _looked_up(images, [tone.blended(int(mean + 0.5), factor)[:, None] for (mean,) in _means(grey)])


@_batch_kernel_of(tone.gamma)
def _gamma(images: Tensor, draws: Sequence[Draws], exponent: float) -> Tensor:
    return _taken(tone.gamma_levels(exponent), images)


@_batch_kernel_of(tone.saturation)
def _saturation(images: Tensor, draws: Sequence[Draws], change: tuple[float, float]) -> Tensor:
    if images.shape[-1] == 1:
        return images
    value, lowest = images.amax(-1, keepdim=True), images.amin(-1, keepdim=True)
    ratio = _taken(tone.saturation_ratios(*change), value.int() * 256 + lowest)
    saturated = _truncated(value - (value - images) * ratio)
    others = saturated[..., 1:]
    others.copy_(torch.where(value == lowest, _taken(tone.reddened_levels(change[1]), value), others))
    return saturated


@_batch_kernel_of(tone.added_saturation)
def _added_saturation(images: Tensor, draws: Sequence[Draws], amount: float) -> Tensor:
    return _saturation(images, draws, (1, amount))


@_batch_kernel_of(blur.motion_blur)
def _motion_blur(images: Tensor, draws: Sequence[Draws], trail: tuple[float, float]) -> Tensor:
    scaled = blur.scaled_trail(*trail, scale_of(images[0]))
    blurred = []
    for image, draw in zip(images.split(1), draws, strict=True):
        rows, columns, weights = blur.trail_taps(*scaled, draw.uniform(*blur.MOTION_DEGREES))
        blurred.append(_truncated(_filtered(image, rows, columns, weights / weights.sum(), "edge")))
    return torch.cat(blurred)


@_batch_kernel_of(blur.zoom_blur)
def _zoom_blur(images: Tensor, draws: Sequence[Draws], zoom: tuple[float, float]) -> Tensor:
    factors = blur.zoom_factors(*zoom)
    source = images.float()
    total = 2 * source
    for factor in factors[1:]:
        magnified = source
        for axis in (1, 2):
            start, step = blur.magnification(images.shape[axis], factor)
            magnified = _interpolated(magnified, axis, start + step * np.arange(images.shape[axis]))
        total += magnified
    return _truncated(total / (len(factors) + 1))


@_batch_kernel_of(blur.defocus_blur)
def _defocus_blur(images: Tensor, draws: Sequence[Draws], disk: tuple[float, float]) -> Tensor:
    kernel = blur.disk_kernel(*disk, scale_of(images[0]))
    rows, columns = np.nonzero(kernel)
    reach = len(kernel) // 2
    return _truncated(_filtered(images, rows - reach, columns - reach, kernel[rows, columns], "reflect"))


@_batch_kernel_of(blur.gaussian_blur)
def _gaussian_blur(images: Tensor, draws: Sequence[Draws], sigma: float) -> Tensor:
    return _truncated(_separably(images, blur.kernel_of_deviation(sigma * scale_of(images[0])), "edge"))


@_batch_kernel_of(blur.kernel_blur)
def _kernel_blur(images: Tensor, draws: Sequence[Draws], side: int) -> Tensor:
    blurred = _separably(images, blur.kernel_of_side(side, scale_of(images[0])), "reflect")
    return blurred.round_().to(torch.uint8)


@_batch_kernel_of(digital.pixelate)
def _pixelate(images: Tensor, draws: Sequence[Draws], share: float) -> Tensor:
    # From Pillow 13 on, columns of tall images are averaged before rows: there results differ by a grey level.
    boxes = images.int()
    for axis in (2, 1):
        boxes = _box_means(boxes, axis, digital.boxes_along(images.shape[axis], share))
    for axis in (1, 2):
        nearest = Image.fromarray(np.arange(boxes.shape[axis], dtype=np.int32)[None]).resize(
            (images.shape[axis], 1), Image.Resampling.NEAREST
        )
        boxes = boxes.index_select(axis, _moved(np.array(nearest)[0], images))
    return boxes.to(torch.uint8)


@_batch_kernel_of(artefacts.black_corner)
def _black_corner(images: Tensor, draws: Sequence[Draws], share: float) -> Tensor:
    return images * _moved(artefacts.centred_disk(*images.shape[1:3], share), images)[..., None]


def _moved(array: np.ndarray | Sequence[np.ndarray], images: Tensor) -> Tensor:
    """An array, or several of one shape stacked, on the device of the images."""
    return torch.from_numpy(np.array(array)).to(images.device)


def _bits16(images: Tensor, draws: Sequence[Draws]) -> Tensor:
    """16 random bits for every value, int32 of the shape of the images."""
    # As int16, because few operations of torch know uint16.
    return _moved([draw.bits16(images.shape[1:]).view(np.int16) for draw in draws], images).int() & 0xFFFF


def _taken(table: np.ndarray, indices: Tensor) -> Tensor:
    """Entries of a table ``(K,)``, of the shape of the indices."""
    return _moved(table, indices)[indices.int()]


def _looked_up(images: Tensor, tables: Sequence[np.ndarray]) -> Tensor:
    """Grey levels by a table for every image, ``(256, C)`` or ``(256, 1)``."""
    tables = _moved(tables, images).expand(-1, -1, images.shape[-1])
    return tables.gather(1, images.flatten(1, 2).long()).reshape(images.shape)


def _means(images: Tensor) -> np.ndarray:
    """Mean of every channel of every image, float64 ``(N, C)``."""
    return images.sum((1, 2)).cpu().numpy() / (images.shape[1] * images.shape[2])


def _luminance(images: Tensor) -> Tensor:
    """Pillow's conversion of colour to luminance, uint8 ``(N, H, W, 1)``."""
    red, green, blue = (images[..., [channel]].int() * weight for channel, weight in enumerate(_LUMINANCE))
    return ((red + green + blue + 2**15) >> 16).to(torch.uint8)


def _truncated(values: Tensor) -> Tensor:
    """As :func:`robustmedclip.corruptions.kernels.arrays.truncated`; `values` is overwritten."""
    return values.add_(float(ROUNDING)).clamp_(0, 255).to(torch.uint8)


def _filtered(images: Tensor, rows: np.ndarray, columns: np.ndarray, weights: np.ndarray, edge: str) -> Tensor:
    """Weighted sum of the pixels at the given offsets ``(T,)`` from each pixel, float32.

    `edge` says how images go on over their edges, as in ``numpy.pad``.
    """
    _, height, width, _ = images.shape
    padded = images.float()
    for axis, offsets in ((1, rows), (2, columns)):
        beyond = max(0, -offsets.min()), max(0, offsets.max())
        padded = padded.index_select(axis, _moved(np.pad(np.arange(images.shape[axis]), beyond, edge), images))
    filtered = torch.zeros(images.shape, dtype=torch.float32, device=images.device)
    first_row, first_column = rows - min(0, rows.min()), columns - min(0, columns.min())
    for row, column, weight in zip(first_row, first_column, weights.tolist(), strict=True):
        filtered.add_(padded[:, row : row + height, column : column + width], alpha=weight)
    return filtered


def _separably(images: Tensor, kernel: np.ndarray, edge: str) -> Tensor:
    """Filter by a symmetric kernel ``(2 * reach + 1,)`` along rows and along columns, float32."""
    offsets = np.arange(len(kernel)) - len(kernel) // 2
    here = np.zeros_like(offsets)
    return _filtered(_filtered(images, here, offsets, kernel, edge), offsets, here, kernel, edge)


def _interpolated(images: Tensor, axis: int, positions: np.ndarray) -> Tensor:
    """Linear interpolation at the positions along an axis; edge pixels are repeated."""
    positions = np.clip(positions, 0, images.shape[axis] - 1)
    below = positions.astype(int)
    above = np.minimum(below + 1, images.shape[axis] - 1)
    share = _moved((positions - below).astype(np.float32), images).reshape(-1, *[1] * (3 - axis))
    return torch.lerp(*(images.index_select(axis, _moved(part, images)) for part in (below, above)), share)


def _box_means(images: Tensor, axis: int, boxes: int) -> Tensor:
    """Means over boxes along an axis, int32, weighted and rounded as Pillow's resizing does."""
    scale = images.shape[axis] / boxes
    centres = (np.arange(boxes) + 0.5) * scale
    starts, ends = ((centres + half + 0.5).astype(int) for half in (-0.5 * scale, 0.5 * scale))
    # Where a pixel's centre lies on the edge of a box, the rounding of these very terms decides.
    starts += (starts + 0.5 - centres) * (1 / scale) <= -0.5
    ends -= (ends - 0.5 - centres) * (1 / scale) > 0.5
    sums = torch.cumsum(images, axis, dtype=torch.int32)
    sums = torch.cat([torch.zeros_like(sums.narrow(axis, 0, 1)), sums], axis)
    sums = sums.index_select(axis, _moved(ends, images)) - sums.index_select(axis, _moved(starts, images))
    weights = np.rint(2**_BOX_PRECISION / (ends - starts)).astype(np.int32)
    weights = _moved(weights, images).reshape(-1, *[1] * (3 - axis))
    return (sums * weights + 2 ** (_BOX_PRECISION - 1)) >> _BOX_PRECISION
