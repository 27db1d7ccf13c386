"""Paired cluster bootstrap over test images.

An image is the unit that is drawn, with everything known of it: all conditions, all models and all seeds
see the same resample, so differences between them keep their pairing (Efron & Tibshirani 1993,
*An Introduction to the Bootstrap*, ch. 8 and 13).
"""

import numpy as np

LEVEL = 0.95


def resample_counts(seed: int, data_set: str, resamples: int, images: int) -> np.ndarray:
    """How often each image is drawn in each resample.

    Depends on nothing but the arguments: the generator is keyed by `seed` and `data_set`.

    Returns
    -------
    ndarray
        float32 ``(resamples, images)``, whole numbers whose rows sum to `images`. As float32 they go
        straight into a matrix product, exact up to 2**24 images.
    """
    generator = np.random.default_rng([seed, *data_set.encode()])
    counts = np.empty((resamples, images), dtype=np.float32)
    for row in counts:
        row[:] = np.bincount(generator.integers(images, size=images), minlength=images)
    return counts


def interval(samples: np.ndarray, level: float = LEVEL) -> tuple[np.ndarray, np.ndarray]:
    """Percentile interval of the values of a statistic in the resamples.

    Bounds are order statistics, taken outwards. A resample in which the statistic is undefined might lie
    anywhere: it counts as below the lower and above the upper bound.

    Parameters
    ----------
    samples : ndarray
        float ``(resamples, ...)``, NaN where undefined.
    level : float
        Coverage in (0, 1).

    Returns
    -------
    low, high : ndarray
        float ``(...)``; both NaN where too many resamples are undefined, or there is none.
    """
    if not len(samples):
        return (np.full(samples.shape[1:], np.nan),) * 2
    tail = (1 - level) / 2
    undefined = np.isnan(samples)
    low = np.quantile(np.where(undefined, -np.inf, samples), tail, axis=0, method="lower")
    high = np.quantile(np.where(undefined, np.inf, samples), 1 - tail, axis=0, method="higher")
    bounded = np.isfinite(low) & np.isfinite(high)
    return np.where(bounded, low, np.nan), np.where(bounded, high, np.nan)
