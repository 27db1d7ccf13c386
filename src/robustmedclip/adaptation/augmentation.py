"""Training augmentation: random resized crop, horizontal flip, and corruptions that are not scored."""

from collections.abc import Iterable
from typing import NamedTuple

import cv2
import numpy as np

from robustmedclip.adaptation.seeds import derived_seed
from robustmedclip.corruptions import RandomCorruption


def corrupted(
    images: np.ndarray, corruptions: RandomCorruption, sample_ids: Iterable[str], *key: int | str
) -> np.ndarray:
    """Corrupt some of the images uint8 ``(N, H, W, C)``; what is drawn for one depends on its id and `key` alone."""
    seeds = (derived_seed("corruption", *key, sample_id) for sample_id in sample_ids)
    return corruptions.corrupted(images, map(np.random.default_rng, seeds))


class View(NamedTuple):
    """A part of an image, which is resized to full size, and whether it is mirrored; without a part, all of it."""

    part: tuple[slice, slice] | None
    mirrored: bool


def random_view(shape: tuple[int, int], rng: np.random.Generator, min_area: float, flip: bool) -> View:
    """A random crop of an image, and whether to mirror it.

    The crop keeps between `min_area` and all of the area, with an aspect ratio between 3/4 and 4/3
    (Szegedy et al. 2015, arXiv:1409.4842, section 6).

    Parameters
    ----------
    shape : (int, int)
        Height and width of the image.
    rng : numpy.random.Generator
        Source of randomness.
    min_area : float
        In (0, 1]; 1 does not crop.
    flip : bool
        Whether to mirror half of the images.
    """
    part = _random_part(*shape, rng, min_area) if min_area < 1 else None
    return View(part, bool(flip and rng.random() < 0.5))


def viewed(images: np.ndarray, views: Iterable[View]) -> np.ndarray:
    """A view of each of the images uint8 ``(N, H, W, C)``, which are not modified."""
    result = np.empty_like(images)
    height, width = images.shape[1:3]
    for image, target, (part, mirrored) in zip(images, result, views, strict=True):
        if part is None:
            target[:] = image
        else:
            cv2.resize(image[part], (width, height), dst=target, interpolation=cv2.INTER_CUBIC)
        if mirrored:
            cv2.flip(target, 1, dst=target)
    return result


def _random_part(height: int, width: int, rng: np.random.Generator, min_area: float) -> tuple[slice, slice]:
    area, stretch = rng.uniform(min_area, 1), np.exp(rng.uniform(np.log(3 / 4), np.log(4 / 3)) / 2)
    rows = min(height, max(1, round(height * np.sqrt(area) / stretch)))
    columns = min(width, max(1, round(width * np.sqrt(area) * stretch)))
    top, left = rng.integers(height - rows + 1), rng.integers(width - columns + 1)
    return slice(top, top + rows), slice(left, left + columns)
