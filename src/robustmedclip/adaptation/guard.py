"""An input guard: images are brought back into the range of the images that a model was tuned on.

What a corruption does to the noise, the brightness or the contrast of an image can be seen without knowing the
corruption: the image leaves the range of the few-shot images of its data set. The guard takes it back to the nearest
point of that range.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from scipy.special import stdtrit  # of scipy.stats.t, which is slow to import, the ppf

if TYPE_CHECKING:
    from robustmedclip.models.interface import VisionLanguageModel

#: Most passes of the median filter.
_PASSES = 3
#: Along rows and along columns, the difference of two Laplacians.
_SECOND_DIFFERENCE = np.array([1, -2, 1], np.float32)
_VALUES = np.arange(256.0)[:, None]
#: Least standard deviation of a channel in grey levels, where an image has none.
_FLAT = 0.5


@dataclass(frozen=True)
class Guard:
    """The range of the images of one data set.

    Attributes
    ----------
    noise : float
        Highest noise level in grey levels: noisier images are smoothed by a 3 x 3 median filter until they are below
        it, at most three times.
    low, high : tuple of tuple of float
        Lowest and highest mean, in grey levels, and logarithm of the standard deviation, of each channel, ``(2, C)``.
    """

    noise: float
    low: tuple[tuple[float, ...], tuple[float, ...]]
    high: tuple[tuple[float, ...], tuple[float, ...]]

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Bring uint8 images ``(N, H, W, C)`` into the range, each by itself, as a new array."""
        result = np.array(images, order="C")
        for image in result:
            for _ in range(_PASSES):
                if _noise(image) <= self.noise:
                    break
                cv2.medianBlur(image, 3, dst=image)
        present = tone(result)
        target = np.clip(present, self.low, self.high)
        moved = np.flatnonzero((target != present).any((1, 2)))
        for row, table in zip(moved, _tables(present[moved], target[moved]), strict=True):
            cv2.LUT(result[row], table, dst=result[row])
        return result


def fit_guard(batches: Iterable[np.ndarray], coverage: float) -> Guard:
    """The range of images: up to their highest noise level, and where a new image's tone lies with a probability.

    The range of each mean and standard deviation is the prediction interval of a normal variable (Hahn and Meeker 1991,
    Statistical Intervals, section 4.7): ``mean ± t(n - 1) sqrt(1 + 1 / n) s``. Of one image it is unbounded.

    Parameters
    ----------
    batches : iterable of ndarray
        The images, uint8 ``(n, H, W, C)``.
    coverage : float
        Probability in (0, 1).
    """
    tones_of_batches, noise = zip(*((tone(images), noise_level(images)) for images in batches), strict=True)
    tones = np.concatenate(tones_of_batches)
    n = len(tones)
    width = np.full(tones.shape[1:], np.inf)
    if n > 1:
        width = stdtrit(n - 1, (1 + coverage) / 2) * np.sqrt(1 + 1 / n) * tones.std(0, ddof=1)
    low, high = (_pair((tones.mean(0) + sign * width).tolist()) for sign in (-1, 1))
    return Guard(noise=float(np.concatenate(noise).max()), low=low, high=high)


def with_guard(model: VisionLanguageModel, guard: Guard | None) -> VisionLanguageModel:
    """The model whose images pass a guard first, or none."""
    return replace(model, preprocess=replace(model.preprocess, guard=guard))


def as_guard(values: Mapping[str, Any]) -> Guard:
    """A guard of its fields as JSON has them."""
    return Guard(noise=values["noise"], low=_pair(values["low"]), high=_pair(values["high"]))


def _tables(present: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The new of every grey level, which turns tones ``(N, 2, C)`` into others, uint8 ``(N, 256, 1, C)``."""
    mean, spread = present[:, :1], present[:, 1:]
    levels = (_VALUES - mean) * np.exp(target[:, 1:] - spread) + target[:, :1]
    tables: np.ndarray = np.clip(np.rint(levels), 0, 255).astype(np.uint8)
    return tables[:, :, None]


def _pair(values: Iterable[Iterable[float]]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    means, spreads = values
    return tuple(means), tuple(spreads)


def noise_level(images: np.ndarray) -> np.ndarray:
    """Standard deviation of the noise of images, averaged over channels, float64 ``(N,)`` in grey levels.

    `images` are uint8 ``(N, H, W, C)``.
    Immerkaer 1996, Computer Vision and Image Understanding 64 (2), eq. 4: the mean modulus of the difference of two
    Laplacians, which structures hardly contribute to.
    """
    return np.array([_noise(np.ascontiguousarray(image)) for image in images])


def tone(images: np.ndarray) -> np.ndarray:
    """Mean and logarithm of the standard deviation of each channel of uint8 ``(N, H, W, C)``, float64 ``(N, 2, C)``."""
    channels = images.shape[-1]
    statistics = [cv2.meanStdDev(_four_channels(np.ascontiguousarray(image))) for image in images]
    tones: np.ndarray = np.array(statistics).reshape(len(images), 2, 4 if channels == 3 else channels)[..., :channels]
    tones[:, 1] = np.log(np.maximum(tones[:, 1], _FLAT))
    return tones


def _four_channels(image: np.ndarray) -> np.ndarray:
    """A fourth channel beside three, with which OpenCV takes the mean and deviation in a third of the time."""
    return cv2.cvtColor(image, cv2.COLOR_RGB2RGBA) if image.shape[-1] == 3 else image


def _noise(image: np.ndarray) -> float:
    inside = cv2.sepFilter2D(image, cv2.CV_16S, _SECOND_DIFFERENCE, _SECOND_DIFFERENCE)[1:-1, 1:-1]
    return float(np.sqrt(np.pi / 2) / 6 * cv2.norm(inside, cv2.NORM_L1) / inside.size)
