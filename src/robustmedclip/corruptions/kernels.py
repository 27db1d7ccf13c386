"""The corruptions themselves: one image in, one image out.

Every kernel takes an image uint8 ``(H, W, C)``, a generator and the severity's value, and returns uint8 of
the same shape. As in ImageNet-C, results are clipped and then truncated, not rounded. A grey image
is corrupted as grey: noise is drawn once per pixel.
"""

from functools import lru_cache
from math import ceil, cos, radians, sin

import cv2
import numpy as np
from PIL import Image

from robustmedclip.corruptions.severities import REFERENCE_SIDE


def gaussian_noise(image: np.ndarray, rng: np.random.Generator, sigma: float) -> np.ndarray:
    """Add normal noise of standard deviation `sigma` to every value of an image scaled to [0, 1]."""
    noise = rng.standard_normal(image.shape, dtype=np.float32)
    noise *= np.float32(255 * sigma)
    noise += image
    return _truncated(noise)


def impulse_noise(image: np.ndarray, rng: np.random.Generator, share: float) -> np.ndarray:
    """Replace a `share` of all values, half by 0 and half by 255 (salt and pepper)."""
    draw = rng.random(image.shape, dtype=np.float32)
    return np.where(draw < share / 2, np.uint8(0), np.where(draw < share, np.uint8(255), image))


def motion_blur(image: np.ndarray, rng: np.random.Generator, trail: tuple[float, float]) -> np.ndarray:
    """Smear along a direction drawn from U(-45, 45) degrees, with a trail to one side.

    Equal to ImageMagick's motion blur, which ImageNet-C uses, within one grey level. `trail` is radius
    and standard deviation of the half Gaussian, in pixels of a side of 224.
    """
    scale = min(image.shape[:2]) / REFERENCE_SIDE
    radius, sigma = max(1, round(trail[0] * scale)), trail[1] * scale
    kernel = motion_kernel(radius, sigma, rng.uniform(-45, 45))
    blurred = cv2.filter2D(image.astype(np.float32), -1, kernel, borderType=cv2.BORDER_REPLICATE)
    return _truncated(blurred.reshape(image.shape))


def motion_kernel(radius: int, sigma: float, angle: float) -> np.ndarray:
    """Correlation kernel of a motion blur, float32 ``(4 * radius + 1,) * 2``, sum 1.

    Tap i = 0 .. 2 * radius weighs exp(-i^2 / (2 sigma^2)) and lies i pixels from the centre, at `angle`
    degrees, on the nearest pixel (ImageMagick's MotionBlurImage).
    """
    steps = np.arange(2 * radius + 1)
    weights = np.exp(-(steps**2) / (2 * sigma**2))
    rows = np.ceil(steps * sin(radians(angle)) - 0.5).astype(int)
    columns = np.ceil(steps * cos(radians(angle)) - 0.5).astype(int)
    kernel = np.zeros((4 * radius + 1,) * 2)
    np.add.at(kernel, (2 * radius + rows, 2 * radius + columns), weights / weights.sum())
    return kernel.astype(np.float32)


def zoom_blur(image: np.ndarray, rng: np.random.Generator, zoom: tuple[float, float]) -> np.ndarray:
    """Average of the image and its central magnifications by 1, 1 + step, ... last.

    Each is a centre crop enlarged bilinearly, corners on corners. `zoom` is (last, step).
    """
    total = image.astype(np.float32)
    factors = _zoom_factors(*zoom)
    for factor in factors:
        total += _magnified(image, factor)
    return _truncated(total / np.float32(len(factors) + 1))


def pixelate(image: np.ndarray, rng: np.random.Generator, share: float) -> np.ndarray:
    """Average over boxes down to `share` of the side, then enlarge the boxes again."""
    height, width = image.shape[:2]
    small = (max(1, int(width * share)), max(1, int(height * share)))
    picture = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
    boxes = picture.resize(small, Image.Resampling.BOX)
    return np.asarray(boxes.resize((width, height), Image.Resampling.BOX)).reshape(image.shape)


def brightness(image: np.ndarray, rng: np.random.Generator, amount: float) -> np.ndarray:
    """Add `amount` to the value of HSV, keeping hue and saturation: x V' / V with V = max over channels."""
    if image.shape[-1] == 1:
        return _truncated(image + np.float32(255 * amount))
    value = image.max(-1, keepdims=True).astype(np.float32)
    raised = np.minimum(value + np.float32(255 * amount), 255)
    return _truncated(np.where(value > 0, image * (raised / np.maximum(value, 1)), raised))


def contrast(image: np.ndarray, rng: np.random.Generator, factor: float) -> np.ndarray:
    """Shrink every channel's deviation from its mean to `factor`."""
    mean = image.mean((0, 1), dtype=np.float64).astype(np.float32)
    return _truncated((image - mean) * np.float32(factor) + mean)


def _truncated(values: np.ndarray) -> np.ndarray:
    return np.clip(values, 0, 255).astype(np.uint8)


def _zoom_factors(last: float, step: float) -> np.ndarray:
    return np.arange(1, last + step / 2, step)


def _magnified(image: np.ndarray, factor: float) -> np.ndarray:
    rows, row_weights = _source_positions(image.shape[0], factor)
    columns, column_weights = _source_positions(image.shape[1], factor)
    top, bottom = image[rows].astype(np.float32), image[rows + 1].astype(np.float32)
    lines = top + (bottom - top) * row_weights[:, None, None]
    left, right = lines[:, columns], lines[:, columns + 1]
    return left + (right - left) * column_weights[:, None]


@lru_cache(maxsize=256)
def _source_positions(side: int, factor: float) -> tuple[np.ndarray, np.ndarray]:
    """Where each pixel of a magnified side comes from: lower neighbour, and weight of the upper one."""
    crop = min(side, ceil(side / factor))
    enlarged = round(crop * factor)
    position = (np.arange(side) + (enlarged - side) // 2) * ((crop - 1) / (enlarged - 1))
    lower = np.minimum(position.astype(int), crop - 2)
    return lower + (side - crop) // 2, (position - lower).astype(np.float32)
