"""Corruption errors: how much worse than a baseline a model gets under corruption.

Errors are fractions in [0, 1], in arrays that end in (corruptions, severities) or a part of it; leading
axes, such as resamples, are kept. Results are on the scale where the baseline is 100.

A ratio is undefined, NaN, where the baseline's part of it is too small. As this depends on the baseline
alone, means leave undefined ratios out: every model is averaged over the same corruptions.
"""

import numpy as np

MINIMUM_DEGRADATION = 0.01


def error_ratio(error: np.ndarray, baseline: np.ndarray) -> np.ndarray:
    """Error relative to that of the baseline, 100 * E / E_base; NaN where the baseline makes no error."""
    return _percentage(error, baseline, defined=np.asarray(baseline) > 0)


def corruption_error(errors: np.ndarray, baseline: np.ndarray) -> np.ndarray:
    """CE_c = 100 * sum_s E_{c,s} / sum_s E^base_{c,s} (Hendrycks & Dietterich 2019, arXiv:1903.12261).

    Parameters
    ----------
    errors, baseline : ndarray
        ``(..., severities)``.

    Returns
    -------
    ndarray
        ``(...)``, NaN where the baseline makes no error.
    """
    return error_ratio(np.sum(errors, axis=-1), np.sum(baseline, axis=-1))


def relative_corruption_error(
    errors: np.ndarray, clean: np.ndarray, baseline: np.ndarray, baseline_clean: np.ndarray
) -> np.ndarray:
    """CE of the errors that corruption adds: 100 * sum_s (E_{c,s} - E_clean) / the same of the baseline.

    After Hendrycks & Dietterich 2019 (arXiv:1903.12261). Where a corruption hardly hurts the baseline,
    or helps it, the quotient explodes or changes its sign; hence the guard.

    Parameters
    ----------
    errors, baseline : ndarray
        ``(..., severities)``.
    clean, baseline_clean : ndarray
        Broadcastable to ``(...)``.

    Returns
    -------
    ndarray
        ``(...)``, NaN where corruption adds less than 0.01 per severity to the baseline's error.
    """
    added = np.mean(errors, axis=-1) - clean
    added_to_baseline = np.mean(baseline, axis=-1) - baseline_clean
    return _percentage(added, added_to_baseline, defined=added_to_baseline >= MINIMUM_DEGRADATION)


def mce(errors: np.ndarray, baseline: np.ndarray) -> np.ndarray:
    """Mean corruption error: the mean of the defined CE_c, ``(..., corruptions, severities)`` to ``(...)``."""
    return mean_of_defined(corruption_error(errors, baseline))


def relative_mce(
    errors: np.ndarray, clean: np.ndarray, baseline: np.ndarray, baseline_clean: np.ndarray
) -> np.ndarray:
    """Mean of the defined relative CE_c: ``(..., corruptions, severities)`` and clean ``(...)`` to ``(...)``."""
    clean, baseline_clean = np.asarray(clean)[..., None], np.asarray(baseline_clean)[..., None]
    return mean_of_defined(relative_corruption_error(errors, clean, baseline, baseline_clean))


def mce_ratio_of_means(errors: np.ndarray, baseline: np.ndarray) -> np.ndarray:
    """MCE of the errors summed over data sets, so that hard data sets weigh more.

    The other order of averaging, the mean over data sets of their :func:`mce`, weighs them alike.

    Parameters
    ----------
    errors, baseline : ndarray
        ``(..., data sets, corruptions, severities)``, NaN where a data set lacks a corruption.

    Returns
    -------
    ndarray
        ``(...)``.
    """
    return mce(np.nansum(errors, axis=-3), np.nansum(baseline, axis=-3))


def mean_of_defined(values: np.ndarray, axis: int | tuple[int, ...] = -1) -> np.ndarray:
    """Mean over `axis` of the values that are not NaN; NaN where all are."""
    with np.errstate(invalid="ignore"):
        return np.nansum(values, axis=axis) / np.sum(~np.isnan(values), axis=axis)


def _percentage(part: np.ndarray, whole: np.ndarray, defined: np.ndarray) -> np.ndarray:
    part, whole = np.broadcast_arrays(part, whole)
    return 100 * np.divide(part, whole, out=np.full(whole.shape, np.nan), where=defined)
