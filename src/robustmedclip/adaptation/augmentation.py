"""Training augmentation: random resized crop, horizontal flip, and corruptions that are not scored."""

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationInfo, field_validator

from robustmedclip.adaptation.methods.settings import Fraction
from robustmedclip.adaptation.seeds import derived_seed
from robustmedclip.corruptions import SEVERITIES, corrupt, corruptions


class TrainingCorruptions(BaseModel):
    """Corrupts a fraction of the training images, each by one corruption at one severity.

    Training on corrupted images carries over to corruptions that were not among them (Rusak et al. 2020,
    arXiv:2001.06057; for medical images Di Salvo et al. 2024, arXiv:2406.17536). What is scored is left
    out of `names`, so that no figure is bought by training on the test.

    Attributes
    ----------
    suite : str
        Suite of the corruptions.
    names : tuple of str
        Corruptions of the suite to draw from, all equally likely, at severities 1 to 5.
    probability : float
        Of each image to be corrupted, in (0, 1].
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    suite: str
    names: tuple[str, ...]
    probability: Fraction

    @field_validator("suite")
    @classmethod
    def _is_known(cls, suite: str) -> str:
        corruptions(suite)
        return suite

    @field_validator("names", mode="before")
    @classmethod
    def _are_of_the_suite(cls, names: Any, info: ValidationInfo) -> Any:
        if not isinstance(names, list | tuple) or not names:
            raise ValueError("expected a list of corruptions")
        if "suite" not in info.data:
            return names
        known = corruptions(info.data["suite"])
        if unknown := [str(name) for name in names if name not in known]:
            raise ValueError(f"found {', '.join(unknown)}; {info.data['suite']} has {', '.join(known)}")
        return names

    def corrupted(self, images: np.ndarray, sample_ids: Sequence[str], *key: int | str) -> np.ndarray:
        """Corrupt uint8 ``(N, H, W, C)`` into a new array; an image's draw depends on its id and `key` alone."""
        result = images.copy()
        for row, sample_id in enumerate(sample_ids):
            rng = np.random.default_rng(derived_seed("corruption", *key, sample_id))
            if rng.random() < self.probability:
                name = self.names[rng.integers(len(self.names))]
                severity = SEVERITIES[rng.integers(len(SEVERITIES))]
                seed = int(rng.integers(2**31))
                result[row] = corrupt(images[row : row + 1], name, severity, suite=self.suite, seed=seed)[0]
        return result


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
