"""Tone and colour: brightness, contrast, gamma, saturation."""

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

import cv2
import numpy as np
from PIL import Image

from robustmedclip.corruptions.draws import Draws
from robustmedclip.corruptions.kernels import devices
from robustmedclip.corruptions.kernels.arrays import truncated
from robustmedclip.corruptions.kernels.kernel import device_form_of
from robustmedclip.devices import to_host

if TYPE_CHECKING:
    from torch import Tensor

_LEVELS = np.arange(256)


def brightness(image: np.ndarray, draws: Draws, amount: float) -> np.ndarray:
    """Add `amount` to the value of HSV, keeping hue and saturation: x V' / V with V = max over channels."""
    raised = raised_levels(amount)
    if image.shape[-1] == 1:
        return cv2.LUT(image, truncated(raised))
    planes = cv2.split(image)
    value = cv2.max(cv2.max(planes[0], planes[1]), planes[2])
    factor = cv2.LUT(value, raised_ratios(amount))
    brighter = cv2.merge([truncated(cv2.multiply(plane, factor, dtype=cv2.CV_32F)) for plane in planes])
    brighter[value == 0] = np.uint8(raised[0])
    return brighter


@device_form_of(brightness)
def _brightness_on_device(images: "Tensor", draws: Sequence[Draws], amount: float) -> "Tensor":
    raised = truncated(raised_levels(amount))
    if images.shape[-1] == 1:
        return devices.taken(raised, images)
    value = images.amax(-1, keepdim=True)
    brighter = devices.truncated(devices.taken(raised_ratios(amount), value) * images)
    return brighter.masked_fill_(value == 0, int(raised[0]))


def contrast(image: np.ndarray, draws: Draws, factor: float) -> np.ndarray:
    """Shrink every channel's deviation from its mean to `factor`."""
    means = np.array(cv2.mean(image)[: image.shape[-1]])
    return cv2.LUT(image, contracted_levels(means, factor)[:, None])


@device_form_of(contrast)
def _contrast_on_device(images: "Tensor", draws: Sequence[Draws], factor: float) -> "Tensor":
    return _looked_up(images, [contracted_levels(means, factor) for means in _means(images)])


def scaled_brightness(image: np.ndarray, draws: Draws, factor: float) -> np.ndarray:
    """Multiply by `factor` (Pillow's Brightness)."""
    return cv2.LUT(image, blended(0, factor))


@device_form_of(scaled_brightness)
def _scaled_brightness_on_device(images: "Tensor", draws: Sequence[Draws], factor: float) -> "Tensor":
    return devices.taken(blended(0, factor), images)


def scaled_contrast(image: np.ndarray, draws: Draws, factor: float) -> np.ndarray:
    """Scale the deviation from the mean luminance, one whole number for all channels, by `factor` (as in Pillow)."""
    grey = image if image.shape[-1] == 1 else np.asarray(Image.fromarray(image).convert("L"))
    return cv2.LUT(image, blended(int(grey.mean() + 0.5), factor))


@device_form_of(scaled_contrast)
def _scaled_contrast_on_device(images: "Tensor", draws: Sequence[Draws], factor: float) -> "Tensor":
    grey = images if images.shape[-1] == 1 else devices.luminance(images)
    return _looked_up(images, [blended(int(mean + 0.5), factor)[:, None] for (mean,) in _means(grey)])


def gamma(image: np.ndarray, draws: Draws, exponent: float) -> np.ndarray:
    """Raise values in [0, 1] to `exponent`, truncated as torchvision does."""
    return cv2.LUT(image, gamma_levels(exponent))


@device_form_of(gamma)
def _gamma_on_device(images: "Tensor", draws: Sequence[Draws], exponent: float) -> "Tensor":
    return devices.taken(gamma_levels(exponent), images)


def saturation(image: np.ndarray, draws: Draws, change: tuple[float, float]) -> np.ndarray:
    """Scale the saturation of HSV by a factor and add to it; `change` is (factor, added). Grey images stay as they are.

    With V and m the largest and smallest channel, S = (V - m) / V, and a new saturation S' takes
    x to V - (V - x) S' / S. A pixel without a hue gets that of red, as in scikit-image.
    """
    if image.shape[-1] == 1:
        return image.copy()
    planes = cv2.split(image)
    value: np.ndarray = cv2.max(cv2.max(planes[0], planes[1]), planes[2])
    lowest: np.ndarray = cv2.min(cv2.min(planes[0], planes[1]), planes[2])
    ratio = np.take(saturation_ratios(*change), value * np.uint16(256) + lowest)
    saturated = [truncated(value - cv2.multiply(value - plane, ratio, dtype=cv2.CV_32F)) for plane in planes]
    hueless = value == lowest
    for plane in saturated[1:]:
        plane[hueless] = np.take(reddened_levels(change[1]), value[hueless])
    return cv2.merge(saturated)


@device_form_of(saturation)
def _saturation_on_device(images: "Tensor", draws: Sequence[Draws], change: tuple[float, float]) -> "Tensor":
    if images.shape[-1] == 1:
        return images
    value, lowest = images.amax(-1, keepdim=True), images.amin(-1, keepdim=True)
    ratio = devices.taken(saturation_ratios(*change), value.int() * 256 + lowest)
    saturated = devices.truncated(value - (value - images) * ratio)
    others = saturated[..., 1:]
    others.copy_(devices.taken(reddened_levels(change[1]), value).where(value == lowest, others))
    return saturated


def added_saturation(image: np.ndarray, draws: Draws, amount: float) -> np.ndarray:
    """Add `amount` to the saturation of HSV; see :func:`saturation`."""
    return saturation(image, draws, (1, amount))


@device_form_of(added_saturation)
def _added_saturation_on_device(images: "Tensor", draws: Sequence[Draws], amount: float) -> "Tensor":
    return _saturation_on_device(images, draws, (1, amount))


def raised_levels(amount: float) -> np.ndarray:
    """V' of every V, float32 ``(256,)``."""
    return np.asarray(np.minimum(_LEVELS + 255 * amount, 255), np.float32)


def raised_ratios(amount: float) -> np.ndarray:
    """V' / V of every V, float32 ``(256,)``."""
    return np.asarray(raised_levels(amount) / np.maximum(_LEVELS, 1).astype(np.float32))


def contracted_levels(means: np.ndarray, factor: float) -> np.ndarray:
    """Where every grey level goes in channels of the given means ``(C,)``, uint8 ``(256, C)``."""
    return truncated(((_LEVELS[:, None] - means) * factor + means).astype(np.float32))


def gamma_levels(exponent: float) -> np.ndarray:
    """Where every grey level goes, uint8 ``(256,)``."""
    return (255.999 * (_LEVELS / 255) ** exponent).astype(np.uint8)


def reddened_levels(added: float) -> np.ndarray:
    """Green and blue of a pixel that was grey, for every grey level, uint8 ``(256,)``."""
    return (_LEVELS * max(0, 1 - added)).astype(np.uint8)


@lru_cache(maxsize=16)
def saturation_ratios(factor: float, added: float) -> np.ndarray:
    """S' / S for every pair of largest and smallest channel, float32 ``(65536,)``; 1 where there is no hue."""
    value, lowest = _LEVELS[:, None], _LEVELS
    before = np.where(value > lowest, value - lowest, 1) / np.maximum(value, 1)
    ratios = np.clip(before * factor + added, 0, 1) / before
    return np.where(value > lowest, ratios, 1).astype(np.float32).ravel()


@lru_cache(maxsize=256)
def blended(level: int, factor: float) -> np.ndarray:
    """Where Pillow takes each grey level when it moves it from `level` by `factor`, uint8 ``(256,)``."""
    ramp = Image.fromarray(_LEVELS.astype(np.uint8)[None])
    return np.asarray(Image.blend(Image.new("L", ramp.size, level), ramp, factor)).ravel()


def _looked_up(images: "Tensor", tables: Sequence[np.ndarray]) -> "Tensor":
    """Grey levels by a table for every image, ``(256, C)`` or ``(256, 1)``."""
    levels = devices.moved(tables, images).expand(-1, -1, images.shape[-1])
    return levels.gather(1, images.flatten(1, 2).long()).reshape(images.shape)


def _means(images: "Tensor") -> np.ndarray:
    """Mean of every channel of every image, float64 ``(N, C)``."""
    (sums,) = to_host([images.sum((1, 2))])()
    return sums / (images.shape[1] * images.shape[2])
