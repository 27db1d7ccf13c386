"""Corruption errors: how much worse than a reference a model gets under corruption.

Errors are fractions in [0, 1], in arrays that end in (corruptions, severities) or a part of it; leading
axes, such as resamples, are kept.

A ratio is undefined, NaN, where the reference's part of it is below `MINIMUM`, as the quotient would then tell
of the reference's luck, or change its sign. As this depends on the reference alone, means leave
undefined ratios out: every model is averaged over the same corruptions.

With `resampled`, the first axis has the estimate, then resamples, and the estimate decides for all of them: a resample
is a mean over the same ratios as the estimate, and is undefined where one of those is, as the reference's part is 0
there or negative.
"""

from collections.abc import Mapping, Sequence

import numpy as np

#: The smallest error, or rise of an error, of the reference that others are divided by.
MINIMUM = 0.01


def error_ratio(error: np.ndarray, baseline: np.ndarray, *, resampled: bool = False) -> np.ndarray:
    """Error relative to that of the baseline, 100 * E / E_base; NaN where E_base is below 0.01."""
    return 100 * _ratio(error, baseline, resampled)


def corruption_error(errors: np.ndarray, baseline: np.ndarray, *, resampled: bool = False) -> np.ndarray:
    """CE_c = 100 * sum_s E_{c,s} / sum_s E^base_{c,s} (Hendrycks & Dietterich 2019, arXiv:1903.12261, sec. 4.3).

    Parameters
    ----------
    errors, baseline : ndarray
        ``(..., severities)``, NaN at severities that are left out.

    Returns
    -------
    ndarray
        ``(...)``, NaN where the mean error of the baseline is below 0.01.
    """
    return error_ratio(mean_of_defined(errors), mean_of_defined(baseline), resampled=resampled)


def relative_corruption_error(
    errors: np.ndarray,
    clean: np.ndarray,
    baseline: np.ndarray,
    baseline_clean: np.ndarray,
    *,
    resampled: bool = False,
) -> np.ndarray:
    """CE of the errors that corruption adds: 100 * sum_s (E_{c,s} - E_clean) / the same of the baseline.

    After Hendrycks & Dietterich 2019 (arXiv:1903.12261, sec. 4.3).

    Parameters
    ----------
    errors, baseline : ndarray
        ``(..., severities)``, NaN at severities that are left out.
    clean, baseline_clean : ndarray
        Broadcastable to ``(...)``.

    Returns
    -------
    ndarray
        ``(...)``, NaN where corruption adds less than 0.01 per severity to the baseline's error.
    """
    return 100 * _ratio(mean_of_defined(errors) - clean, mean_of_defined(baseline) - baseline_clean, resampled)


def mce(errors: np.ndarray, baseline: np.ndarray, *, resampled: bool = False) -> np.ndarray:
    """Mean corruption error: the mean of the defined CE_c, ``(..., corruptions, severities)`` to ``(...)``."""
    return mean_of_defined(corruption_error(errors, baseline, resampled=resampled), resampled=resampled)


def relative_mce(errors: np.ndarray, clean: np.ndarray, baseline: np.ndarray, baseline_clean: np.ndarray) -> np.ndarray:
    """Mean of the defined relative CE_c: ``(..., corruptions, severities)`` and clean ``(...)`` to ``(...)``."""
    clean, baseline_clean = np.asarray(clean)[..., None], np.asarray(baseline_clean)[..., None]
    return mean_of_defined(relative_corruption_error(errors, clean, baseline, baseline_clean))


def pooled(errors: np.ndarray, clean: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Errors averaged over data sets, for ratios of means, in which hard data sets weigh more.

    The other order of averaging, the mean over data sets of their ratios, weighs them alike.

    Parameters
    ----------
    errors : ndarray
        ``(..., data sets, corruptions, severities)``, NaN where a data set lacks a corruption.
    clean : ndarray
        ``(..., data sets)``.

    Returns
    -------
    errors, clean : ndarray
        ``(..., corruptions, severities)`` and ``(..., corruptions)``, each over the data sets that have the corruption.
    """
    present = ~np.isnan(errors).all(-1)
    return mean_of_defined(errors, axis=-3), mean_of_defined(np.where(present, clean[..., None], np.nan), axis=-2)


def balanced_error(errors: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """BE_c = mean_s e_{c,s} / e^ref_c of balanced errors e, 1 for the reference (MedMNIST-C form).

    Di Salvo et al. 2024, arXiv:2406.17536. Its reference is AlexNet.

    Parameters
    ----------
    errors : ndarray
        1 - balanced accuracy, ``(..., severities)``.
    reference : ndarray
        The same of the reference, averaged over severities, broadcastable to ``(...)``.

    Returns
    -------
    ndarray
        ``(...)``, NaN where the reference is unknown or below 0.01.
    """
    return _ratio(mean_of_defined(errors), reference)


def relative_balanced_error(
    errors: np.ndarray, clean: np.ndarray, reference: np.ndarray, reference_clean: np.ndarray
) -> np.ndarray:
    """rBE_c = (mean_s e_{c,s} - e_clean) / (e^ref_c - e^ref_clean) of balanced errors e (MedMNIST-C form).

    Di Salvo et al. 2024, arXiv:2406.17536. Parameters as in :func:`balanced_error`, `clean` broadcastable to
    ``(...)``. NaN where corruption adds less than 0.01 to the error of the reference: AlexNet gets
    better by contrast_up and gamma_corr_up of pneumoniamnist.
    """
    return _ratio(mean_of_defined(errors) - clean, np.asarray(reference) - reference_clean)


def reference_errors(known: Mapping[str, float], corruptions: Sequence[str]) -> np.ndarray:
    """Balanced errors of a suite's reference model: on clean images, then under each corruption.

    Parameters
    ----------
    known : mapping
        ``clean`` or a corruption to the error, averaged over severities; in [0, 1].
    corruptions : sequence of str
        Those that are asked for.

    Returns
    -------
    ndarray
        float64 ``(1 + corruptions,)``, NaN where the error isn't known.
    """
    return np.array([known.get(condition, np.nan) for condition in ("clean", *corruptions)])


def retained_accuracy(errors: np.ndarray, clean: np.ndarray, *, resampled: bool = False) -> np.ndarray:
    """What is left of the clean accuracy, in percent: 100 * (1 - E) / (1 - E_clean).

    The robustness score of Laugros et al. 2019, arXiv:1909.02436. NaN where the clean accuracy is below 0.01.

    `errors` and `clean` are broadcast against each other.
    """
    return 100 * _ratio(1 - np.asarray(errors), 1 - np.asarray(clean), resampled)


def mean_of_defined(values: np.ndarray, axis: int | tuple[int, ...] = -1, *, resampled: bool = False) -> np.ndarray:
    """Mean over `axis` of the values that are not NaN; NaN where all are."""
    defined = ~np.isnan(values[:1] if resampled else values)
    with np.errstate(invalid="ignore"):
        mean: np.ndarray = np.where(defined, values, 0).sum(axis) / defined.sum(axis)
    return mean


def _ratio(part: np.ndarray, whole: np.ndarray, resampled: bool = False) -> np.ndarray:
    part, whole = np.broadcast_arrays(part, whole)
    defined = (whole > 0) & (whole[:1] >= MINIMUM) if resampled else whole >= MINIMUM
    ratio: np.ndarray = np.divide(part, whole, out=np.full(whole.shape, np.nan), where=defined)
    return ratio
