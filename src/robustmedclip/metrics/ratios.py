"""Ratios of the errors of one model to those of a reference, of each data set and of means over data sets."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from robustmedclip.images.conditions import CLEAN
from robustmedclip.metrics import derived
from robustmedclip.metrics.bootstrap import interval
from robustmedclip.metrics.classification import ERROR
from robustmedclip.metrics.grid import Grid
from robustmedclip.metrics.metric import Metric
from robustmedclip.metrics.robustness import (
    balanced_error,
    corruption_error,
    error_ratio,
    mce,
    mean_of_defined,
    pooled,
    relative_balanced_error,
    relative_corruption_error,
)
from robustmedclip.metrics.runs import ALL


class RatioOfMeans(NamedTuple):
    """A ratio of errors that are averaged over data sets first.

    `values` are ``(1 + resamples,)``, and `included` says of each data set whether it takes part.
    """

    corruption: str
    metric: str
    values: np.ndarray
    included: np.ndarray


def ratios(grid: Grid, base: Grid, reference: np.ndarray, mce_on: Metric = ERROR) -> dict[str, np.ndarray]:
    """Ratios of each data set and corruption, ``(1 + resamples, data sets, corruptions)``, by name.

    `base` are the errors of the baseline by the metric `mce_on`, see :meth:`Grid.errors`, with all of its resamples
    even where the grid has none. `reference` are the balanced errors of a suite's reference model,
    ``(data sets, 1 + corruptions)``, the clean ones first; NaN where there are none.
    """
    of_model, rises = grid.errors(mce_on), _surely_rises(base.corrupted(), base.clean()[..., None])
    paired = base.beside(grid)
    errors, base_errors, base_clean = of_model.corrupted(), paired.corrupted(), paired.clean()[..., None]
    clean = of_model.clean()[..., None]
    relative = relative_corruption_error(errors, clean, base_errors, base_clean, resampled=True)
    by_name = {
        derived.CE: corruption_error(errors, base_errors, resampled=True),
        derived.RELATIVE_CE: np.where(rises, relative, np.nan),
    }
    of_clean, of_corruptions = reference[:, 0], reference[:, 1:]
    if not np.isnan(of_clean).all():
        errors, clean = grid.balanced_errors()
        by_name[derived.BE] = balanced_error(errors, of_corruptions)
        by_name[derived.RBE] = relative_balanced_error(errors, clean[..., None], of_corruptions, of_clean[:, None])
    return by_name


def ratios_of_means(grid: Grid, base: Grid, reference: np.ndarray, mce_on: Metric = ERROR) -> Iterator[RatioOfMeans]:
    """Ratios of errors that are averaged over data sets first; parameters are those of :func:`ratios`."""
    of_model, rises = grid.errors(mce_on), _surely_rises(*pooled(base.corrupted(), base.clean()))
    base, everywhere = base.beside(grid), np.full(len(reference), True)
    ratio = error_ratio(of_model.clean().mean(1), base.clean().mean(1), resampled=True)
    yield RatioOfMeans(CLEAN.corruption, f"{derived.CLEAN_ERROR_RATIO}_of_means", ratio, everywhere)
    corrupted = ~np.isnan(of_model.corrupted()[0]).all((1, 2))
    if not corrupted.any():
        return
    errors, base_errors = pooled(of_model.corrupted(), of_model.clean()), pooled(base.corrupted(), base.clean())
    yield RatioOfMeans(ALL, "mce_ratio_of_means", mce(errors[0], base_errors[0], resampled=True), corrupted)
    relative = relative_corruption_error(*errors, *base_errors, resampled=True)
    relative = mean_of_defined(np.where(rises, relative, np.nan), resampled=True)
    yield RatioOfMeans(ALL, "relative_mce_ratio_of_means", relative, corrupted)
    if not np.isnan(reference[:, 0]).all():
        yield from _balanced_ratios_of_means(grid, reference)


def _surely_rises(errors: np.ndarray, clean: np.ndarray) -> np.ndarray:
    """Where the 95 % interval of what corruption adds to an error lies above 0; everywhere, without resamples.

    A quotient by a number whose sign is not known says nothing.

    Parameters
    ----------
    errors, clean : ndarray
        ``(1 + resamples, ..., severities)`` and what broadcasts to ``(1 + resamples, ...)``.
    """
    rise = mean_of_defined(errors) - clean
    return np.asarray(interval(rise)[0] > 0) if len(rise) > 1 else np.full(rise.shape[1:], True)


def _balanced_ratios_of_means(grid: Grid, reference: np.ndarray) -> Iterator[RatioOfMeans]:
    errors, clean = grid.balanced_errors()
    known = np.where(np.isnan(errors[0]).all(-1), np.nan, reference[:, 1:])
    errors, clean = pooled(np.where(np.isnan(known)[..., None], np.nan, errors), clean)
    expected, expected_clean = pooled(known[..., None], reference[:, 0])
    included = np.asarray(~np.isnan(known).all(1))
    be = mean_of_defined(balanced_error(errors, expected[..., 0]))
    yield RatioOfMeans(ALL, f"{derived.BE}_ratio_of_means", be, included)
    rbe = mean_of_defined(relative_balanced_error(errors, clean, expected[..., 0], expected_clean))
    yield RatioOfMeans(ALL, f"{derived.RBE}_ratio_of_means", rbe, included)
