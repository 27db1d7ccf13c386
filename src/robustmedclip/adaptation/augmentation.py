"""Training augmentation: random resized crop, horizontal flip, and corruptions that are not scored."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from robustmedclip.adaptation.seeds import derived_seed
from robustmedclip.corruptions import SEVERITIES, corrupt, corruptions
from robustmedclip.errors import InputError


@dataclass(frozen=True)
class CorruptionAugmentation:
    """Corrupts a share of the training images, each by one corruption at one severity.

    Training on corrupted images carries over to corruptions that were not among them (Rusak et al. 2020,
    arXiv:2001.06057; for medical images Di Salvo et al. 2024, arXiv:2406.17536). What is scored is left
    out of `names`, so that no figure is bought by training on the test.

    Attributes
    ----------
    suite : str
        Suite of the corruptions, ``imagenet-c`` or ``medimeta-c``.
    names : tuple of str
        Corruptions of the suite to draw from, all equally likely, at severities 1 to 5.
    share : float
        Share of the images that are corrupted, in (0, 1].

    Raises
    ------
    InputError
        If a value is not valid; the message lists all that are not.
    """

    suite: str
    names: tuple[str, ...]
    share: float

    def __post_init__(self) -> None:
        if problems := list(corruption_problems("corruptions", self.suite, self.names, self.share)):
            raise InputError("\n".join(problems))
        object.__setattr__(self, "names", tuple(self.names))

    def __call__(self, images: np.ndarray, sample_ids: Sequence[str], *key: int | str) -> np.ndarray:
        """Corrupt uint8 ``(N, H, W, C)`` into a new array; an image's draw depends on its id and `key` alone."""
        result = images.copy()
        for row, sample_id in enumerate(sample_ids):
            rng = np.random.default_rng(derived_seed("corruption", *key, sample_id))
            if rng.random() < self.share:
                name = self.names[rng.integers(len(self.names))]
                severity = SEVERITIES[rng.integers(len(SEVERITIES))]
                seed = int(rng.integers(2**31))
                result[row] = corrupt(images[row : row + 1], name, severity, suite=self.suite, seed=seed)[0]
        return result


def corruption_problems(place: str, suite: Any, names: Any, share: Any) -> Iterator[str]:
    """What is wrong with the fields of :class:`CorruptionAugmentation`; a line per problem."""
    try:
        known = corruptions(suite)
    except ValueError as error:
        yield f"{place}.suite: {error}"
    else:
        if not isinstance(names, list | tuple) or not names:
            yield f"{place}.names: expected a list of corruptions, found {names!r}"
        elif unknown := [str(name) for name in names if name not in known]:
            yield f"{place}.names: found {', '.join(unknown)}; {suite} has {', '.join(known)}"
    if not isinstance(share, int | float) or isinstance(share, bool) or not 0 < share <= 1:
        yield f"{place}.share: expected a number above 0 and up to 1, found {share!r}"


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
