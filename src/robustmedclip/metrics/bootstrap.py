"""Paired cluster bootstrap over test images, and over seeds where there are several.

An image is the unit that is drawn, with everything known of it: all conditions, all models and all seeds
see the same resample, so differences between them keep their pairing (Efron & Tibshirani 1993,
*An Introduction to the Bootstrap*, ch. 8). Where it is known whose the images are, a patient is drawn in its place,
with all of their images: a mean is then a ratio, of the sum of the values to the number of the images that are drawn
(Davison & Hinkley 1997, *Bootstrap Methods and their Application*, sec. 3.8). Seeds are drawn beside the images, all
data sets with the same draw, as a seed is one training (the bootstrap of crossed factors, Owen 2007,
doi:10.1214/07-AOAS122).
"""

from collections.abc import Iterator

import numpy as np
from scipy.special import ndtr, ndtri  # of scipy.stats.norm, which is slow to import, the cdf and the ppf

LEVEL = 0.95
_BLOCK = 2**22


def resample_counts(seed: int, data_set: str, resamples: int, images: int) -> np.ndarray:
    """How often each image is drawn in each resample, int64 ``(resamples, images)``, rows summing to `images`.

    Depends on nothing but the arguments: the generator is keyed by `seed` and `data_set`.
    """
    blocks = [np.empty((0, images), np.int64), *_blocks(seed, data_set, resamples, images)]
    return np.concatenate(blocks)


def resampled_means(
    values: np.ndarray, seed: int, data_set: str, resamples: int, patients: np.ndarray | None = None
) -> np.ndarray:
    """Means over images, then the means over the same resamples as in :func:`resample_counts`.

    Parameters
    ----------
    values : ndarray
        float64 ``(..., N)``.
    seed, data_set, resamples
        As in :func:`resample_counts`.
    patients : ndarray, optional
        Whose each image is, ``(N,)``: patients are drawn then, in the order of their names, in place of images.

    Returns
    -------
    ndarray
        float64 ``(1 + resamples, ...)``, the plain mean first. Resamples are drawn in blocks: besides `values`, a
        copy of them and the result, memory stays below some 100 MB up to a million images.
    """
    images = values.shape[-1]
    estimate = values.mean(-1)
    units, sizes = _sums_of_patients((values - estimate[..., None]).reshape(-1, images).T, patients)
    means = np.empty((1 + resamples, *values.shape[:-1]))
    means[0], start = estimate, 1
    for drawn in _blocks(seed, data_set, resamples, len(sizes)):
        counts = drawn.astype(np.float64)
        deviation = counts @ units / (counts @ sizes)[:, None]
        means[start : start + len(counts)] = estimate + deviation.reshape(-1, *estimate.shape)
        start += len(counts)
    return means


def _sums_of_patients(rows: np.ndarray, patients: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Sums of ``(N, columns)`` over the images of each patient, and how many images that is; rows that are patients."""
    if patients is None:
        return rows, np.ones(len(rows))
    _, place, sizes = np.unique(patients, return_inverse=True, return_counts=True)
    first = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    return np.add.reduceat(rows[np.argsort(place, kind="stable")], first, axis=0), sizes.astype(np.float64)


def seed_weights(seed: int, seeds: list[int | None], resamples: int) -> np.ndarray:
    """Weight of each training seed in the mean over seeds, and in every resample of it.

    One seed fewer than there are is drawn, with replacement: drawing all would make the spread between
    seeds too small by a factor of (S - 1) / S, which matters for the usual two to five (Rao & Wu 1988,
    doi:10.1080/01621459.1988.10478591). A single seed has the weight 1.

    Returns
    -------
    ndarray
        float64 ``(1 + resamples, seeds)`` whose rows sum to 1, the first alike. Depends on the arguments
        alone: models trained with the same seeds share their draws.
    """
    count = len(seeds)
    weights = np.full((1 + resamples, count), 1 / count)
    if count > 1:
        generator = np.random.default_rng([seed, *",".join(map(str, seeds)).encode()])
        weights[1:] = generator.multinomial(count - 1, weights[0], size=resamples) / (count - 1)
    return weights


def interval(samples: np.ndarray, level: float = LEVEL) -> tuple[np.ndarray, np.ndarray]:
    """Bias-corrected percentile interval of a statistic from its values in the resamples.

    Efron 1981, doi:10.2307/3314608. A ratio of errors is larger in resamples than in the data where the
    denominator is small, and an average over data sets keeps this bias while the spread shrinks: the
    plain percentile interval of an mCE over five data sets of 100 images covers the truth in 91 % of
    simulations in place of 95 %, the bias-corrected one in 95 %. The correction is not carried beyond
    the estimate, so the interval contains it.

    Bounds are order statistics, taken outwards. A resample in which the statistic is undefined might lie
    anywhere: it counts as below the lower and above the upper bound.

    Parameters
    ----------
    samples : ndarray
        float ``(1 + resamples, ...)``, the estimate first; NaN where undefined.
    level : float
        Coverage in (0, 1).

    Returns
    -------
    low, high : ndarray
        float ``(...)``; both NaN where the estimate or too many resamples are undefined, or there is none.
    """
    estimate, ordered = np.asarray(samples[0]), np.sort(samples[1:], axis=0)
    total, defined = len(ordered), np.sum(~np.isnan(ordered), axis=0)
    if not total:
        return np.full(estimate.shape, np.nan), np.full(estimate.shape, np.nan)
    below = (np.sum(ordered < estimate, axis=0) + np.sum(ordered <= estimate, axis=0)) / 2
    bound = ndtri((1 + level) / 2)
    shift = ndtri(np.clip(below / np.maximum(defined, 1), 1 - (1 + level) / 2, (1 + level) / 2))
    first = np.floor(ndtr(2 * shift - bound) * (total - 1)).astype(int) - (total - defined)
    last = np.ceil(ndtr(2 * shift + bound) * (total - 1)).astype(int)
    bounded = (first >= 0) & (last < defined) & ~np.isnan(estimate)

    def bounds(place: np.ndarray, outwards: np.ufunc) -> np.ndarray:
        chosen = np.take_along_axis(ordered, np.clip(place, 0, total - 1)[None], axis=0)[0]
        return np.where(bounded, outwards(chosen, estimate), np.nan)

    return bounds(first, np.minimum), bounds(last, np.maximum)


def _blocks(seed: int, data_set: str, resamples: int, images: int) -> Iterator[np.ndarray]:
    """The rows of :func:`resample_counts`, some at a time."""
    generator = np.random.default_rng([seed, *data_set.encode()])
    step = max(1, _BLOCK // images)
    for start in range(0, resamples, step):
        rows = min(step, resamples - start)
        drawn = generator.integers(images, size=(rows, images)) + images * np.arange(rows)[:, None]
        yield np.bincount(drawn.ravel(), minlength=rows * images).reshape(rows, images)
