"""What the kernels share: truncation, and the scale of an image relative to the reference."""

from collections.abc import Sequence

import cv2
import numpy as np

#: Shorter side, in pixels, of the images that the severities are published for.
REFERENCE_SIDE = 224


#: Added before truncation, in grey levels, so that a whole number that float32 missed from below stays whole.
ROUNDING = np.float32(2**-9)


def truncated(values: np.ndarray) -> np.ndarray:
    """Float32 grey levels clipped to 0 .. 255 and truncated to uint8, as ImageNet-C does; `values` is overwritten."""
    values += ROUNDING
    return np.clip(values, 0, 255, out=values).astype(np.uint8)


def scale_of(shape: Sequence[int]) -> float:
    """Shorter side of an image of shape ``(H, W, ...)``, relative to the 224 px that the severities are given for."""
    return min(shape[:2]) / REFERENCE_SIDE


def reference_grid(image: np.ndarray) -> tuple[int, int]:
    """Height and width of the image if its shorter side were 224 px."""
    scale = scale_of(image.shape)
    return round(image.shape[0] / scale), round(image.shape[1] / scale)


def resized(layer: np.ndarray, image: np.ndarray) -> np.ndarray:
    """A layer made on the reference grid, float32 ``(H', W')``, brought to the size of the image."""
    height, width = image.shape[:2]
    if layer.shape[:2] == (height, width):
        return layer
    interpolation = cv2.INTER_AREA if height < layer.shape[0] else cv2.INTER_LINEAR
    return cv2.resize(layer, (width, height), interpolation=interpolation)


def luminance(image: np.ndarray) -> np.ndarray:
    """Float32 luminance ``(H, W)`` in grey levels (ITU-R BT.601)."""
    if image.shape[-1] == 1:
        return image[..., 0].astype(np.float32)
    return cv2.cvtColor(image.astype(np.float32), cv2.COLOR_RGB2GRAY)


def tinted(colour: tuple[float, float, float], channels: int) -> np.ndarray:
    """An RGB colour as float32 ``(channels,)``; its luminance where there is one channel."""
    rgb = np.array(colour, np.float32)
    return rgb if channels == 3 else np.array([rgb @ (0.299, 0.587, 0.114)], np.float32)


def in_channels(layer: np.ndarray, channels: int) -> np.ndarray:
    """A layer float32 ``(H, W)`` in each of 1 or 3 channels, ``(H, W, channels)``.

    With it NumPy computes several times as fast as with ``layer[..., None]``, whose last axis it goes along by itself.
    """
    return layer[..., None] if channels == 1 else cv2.cvtColor(layer, cv2.COLOR_GRAY2RGB)


def painted(layer: np.ndarray, colour: np.ndarray) -> np.ndarray:
    """A layer float32 ``(H, W)`` times a colour float32 ``(C,)``, ``(H, W, C)``."""
    return np.asarray(cv2.merge([layer * value for value in colour])).reshape(*layer.shape, len(colour))


def gaussian_kernel(sigma: float, reach: int) -> np.ndarray:
    """Samples of a Gaussian at -reach .. reach pixels, float32 ``(2 * reach + 1,)``, sum 1."""
    kernel = np.exp(-(np.arange(-reach, reach + 1) ** 2) / (2 * sigma**2))
    return np.asarray(kernel / kernel.sum(), np.float32)
