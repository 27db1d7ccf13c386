"""Ratios of the errors of one model to those of a reference, of each data set and of means over data sets."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from robustmedclip.images.conditions import CLEAN
from robustmedclip.metrics import derived
from robustmedclip.metrics.grid import Grid
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


def ratios(grid: Grid, base: Grid, reference: np.ndarray) -> dict[str, np.ndarray]:
    """Ratios of each data set and corruption, ``(1 + resamples, data sets, corruptions)``, by name.

    `reference` are the balanced errors of a suite's reference model, ``(data sets, 1 + corruptions)``, the clean ones
    first; NaN where there are none.
    """
    errors, base_errors = grid.corrupted(), base.corrupted()
    by_name = {
        derived.CE: corruption_error(errors, base_errors),
        derived.RELATIVE_CE: relative_corruption_error(
            errors, grid.clean()[..., None], base_errors, base.clean()[..., None]
        ),
    }
    of_clean, of_corruptions = reference[:, 0], reference[:, 1:]
    if not np.isnan(of_clean).all():
        errors, clean = grid.balanced_errors()
        by_name[derived.BE] = balanced_error(errors, of_corruptions)
        by_name[derived.RBE] = relative_balanced_error(errors, clean[..., None], of_corruptions, of_clean[:, None])
    return by_name


def ratios_of_means(grid: Grid, base: Grid, reference: np.ndarray) -> Iterator[RatioOfMeans]:
    """Ratios of errors that are averaged over data sets first; `reference` is as of :func:`ratios`."""
    ratio, everywhere = error_ratio(grid.clean().mean(1), base.clean().mean(1)), np.full(len(reference), True)
    yield RatioOfMeans(CLEAN.corruption, f"{derived.CLEAN_ERROR_RATIO}_of_means", ratio, everywhere)
    corrupted = ~np.isnan(grid.corrupted()[0]).all((1, 2))
    if not corrupted.any():
        return
    errors, base_errors = pooled(grid.corrupted(), grid.clean()), pooled(base.corrupted(), base.clean())
    yield RatioOfMeans(ALL, f"{derived.MCE}_ratio_of_means", mce(errors[0], base_errors[0]), corrupted)
    relative = mean_of_defined(relative_corruption_error(*errors, *base_errors))
    yield RatioOfMeans(ALL, f"{derived.RELATIVE_MCE}_ratio_of_means", relative, corrupted)
    if not np.isnan(reference[:, 0]).all():
        yield from _balanced_ratios_of_means(grid, reference)


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
