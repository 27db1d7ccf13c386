"""Image corruptions over batches: uint8 in, uint8 out, each image with randomness of its own.

>>> from robustmedclip.corruptions import corrupt
>>> noisy = corrupt(images, "gaussian_noise", severity=3, seed=0)
"""

import hashlib
from collections.abc import Sequence
from numbers import Integral

import numpy as np

from robustmedclip.corruptions import kernels
from robustmedclip.corruptions.severities import SUITES as _TABLES

__all__ = ["SEVERITIES", "SUITES", "VERSION", "corrupt", "corruptions"]

#: Version of the corruptions; raised whenever the bytes of a corrupted image change.
VERSION = 1
SUITES = tuple(_TABLES)
SEVERITIES = (1, 2, 3, 4, 5)


def corruptions(suite: str = "medimeta-c") -> tuple[str, ...]:
    """Names of the corruptions of a suite.

    Raises
    ------
    ValueError
        If there is no such suite.
    """
    if suite not in _TABLES:
        raise ValueError(f"unknown corruption suite {suite!r}; known are {', '.join(SUITES)}")
    return tuple(_TABLES[suite])


def corrupt(
    images: np.ndarray,
    name: str,
    severity: int,
    *,
    suite: str = "medimeta-c",
    dataset: str = "",
    seed: int = 0,
    sample_ids: Sequence[str] | None = None,
) -> np.ndarray:
    """Corrupt a batch of images.

    The randomness of an image is a function of (seed, dataset, name, severity, sample id): it depends
    neither on the other images nor on the position in the batch.

    Parameters
    ----------
    images : ndarray
        uint8 ``(N, H, W, C)``, C in {1, 3}; not modified.
    name : str
        A corruption of the suite.
    severity : int
        1 to 5.
    suite : str
        Corruption suite.
    dataset : str
        Name of the data set.
    seed : int
        Seed of the benchmark.
    sample_ids : sequence of str, optional
        One per image; by default ``"0"``, ``"1"``, ...

    Returns
    -------
    ndarray
        uint8 ``(N, H, W, C)``.

    Raises
    ------
    ValueError
        If the suite, corruption or severity is unknown, the images are not uint8 ``(N, H, W, 1 or 3)``
        of at least 8 px, or there are not as many sample ids as images.
    """
    if name not in corruptions(suite):
        raise ValueError(f"unknown corruption {name!r} of suite {suite!r}; known are {', '.join(corruptions(suite))}")
    if type(severity) is bool or not isinstance(severity, Integral) or severity not in SEVERITIES:
        raise ValueError(f"severity must be 1, 2, 3, 4 or 5, not {severity!r}")
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] not in (1, 3):
        raise ValueError(f"images must be uint8 (N, H, W, 1 or 3), not {images.dtype} {images.shape}")
    if min(images.shape[1:3]) < 8:
        raise ValueError(f"images must be at least 8 px high and wide, not {images.shape[1]} x {images.shape[2]}")
    ids = [str(index) for index in range(len(images))] if sample_ids is None else list(sample_ids)
    if len(ids) != len(images):
        raise ValueError(f"{len(ids)} sample ids for {len(images)} images")
    kernel, value = getattr(kernels, name), _TABLES[suite][name][severity - 1]
    corrupted = np.empty_like(images)
    for image, result, sample_id in zip(images, corrupted, ids, strict=True):
        result[:] = kernel(image, _generator(seed, suite, dataset, name, int(severity), sample_id), value)
    return corrupted


def _generator(*key: int | str) -> np.random.Generator:
    digest = hashlib.blake2b("\0".join(map(str, key)).encode(), digest_size=16).digest()
    return np.random.Generator(np.random.SFC64(int.from_bytes(digest, "little")))
