"""Training augmentation: random resized crop, horizontal flip, and corruptions that are not scored."""

from collections.abc import Iterable

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


def augmented(images: np.ndarray, rng: np.random.Generator, min_area: float, flip: bool) -> np.ndarray:
    """Crop a random part of each image, resize it back to full size, and mirror half of the images.

    The crop keeps between `min_area` and all of the area, with an aspect ratio between 3/4 and 4/3
    (Szegedy et al. 2015, arXiv:1409.4842, section 6).

    Parameters
    ----------
    images : ndarray
        uint8 ``(N, H, W, C)``; not modified.
    rng : numpy.random.Generator
        Source of randomness.
    min_area : float
        In (0, 1]; 1 does not crop.
    flip : bool
        Whether to mirror.

    Returns
    -------
    ndarray
        uint8 ``(N, H, W, C)``.
    """
    result = np.empty_like(images)
    for image, target in zip(images, result, strict=True):
        target[:] = _cropped(image, rng, min_area) if min_area < 1 else image
        if flip and rng.random() < 0.5:
            target[:] = target[:, ::-1].copy()
    return result


def _cropped(image: np.ndarray, rng: np.random.Generator, min_area: float) -> np.ndarray:
    height, width = image.shape[:2]
    area, stretch = rng.uniform(min_area, 1), np.exp(rng.uniform(np.log(3 / 4), np.log(4 / 3)) / 2)
    rows = min(height, max(1, round(height * np.sqrt(area) / stretch)))
    columns = min(width, max(1, round(width * np.sqrt(area) * stretch)))
    top, left = rng.integers(height - rows + 1), rng.integers(width - columns + 1)
    crop = np.ascontiguousarray(image[top : top + rows, left : left + columns])
    return cv2.resize(crop, (width, height), interpolation=cv2.INTER_CUBIC).reshape(image.shape)
