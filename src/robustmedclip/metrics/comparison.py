"""Which model is better, and how sure that is, from paired resamples."""

from itertools import combinations

import numpy as np
import pandas as pd
from scipy.special import ndtr

from robustmedclip.metrics import derived
from robustmedclip.metrics.bootstrap import LEVEL, interval
from robustmedclip.metrics.table import PATIENTS, ROUNDING, overall


def compare_models(samples: pd.DataFrame) -> pd.DataFrame:
    """Every pair of models, compared on the same resamples.

    The p value is that of Wald's test: the difference over its bootstrap standard error is compared with a
    normal distribution (Efron & Tibshirani 1993, *An Introduction to the Bootstrap*, ch. 12-13), as the fraction
    of resamples on one side of zero can't be smaller than one over their number, too coarse for many pairs.
    It is corrected over all pairs by :func:`holm`.

    Parameters
    ----------
    samples : DataFrame
        A column per model: a statistic, first its estimate, then its value in each resample; NaN where undefined.

    Returns
    -------
    DataFrame
        A row per pair in the order of the columns: ``model``, ``other``, ``difference`` (model minus other) with
        its 95 % interval ``low`` and ``high``, ``p`` and ``p_holm``; NaN where a model or the spread is undefined.
    """
    pairs = list(combinations(samples.columns, 2))
    values = samples.to_numpy(float)
    position = {model: column for column, model in enumerate(samples.columns)}
    rows = []
    for model, other in pairs:
        difference = values[:, position[model]] - values[:, position[other]]
        difference[np.abs(difference) < ROUNDING] = 0
        low, high = interval(difference)
        rows.append((model, other, difference[0], float(low), float(high), _wald(difference)))
    table = pd.DataFrame(rows, columns=["model", "other", "difference", "low", "high", "p"])
    return table.assign(p_holm=holm(table["p"].to_numpy(float)))


def compare_pairs(metrics: pd.DataFrame, mce_resamples: pd.DataFrame) -> pd.DataFrame:
    """Every pair of models, the one with the lower mCE first, compared on the same resamples.

    `metrics` and `mce_resamples` are those of :class:`robustmedclip.metrics.Scores`; the column ``n`` of the table is
    the number of test images, ``patients`` that of their patients where it is known of some.
    """
    estimates = mce_resamples.iloc[0].sort_index().sort_values(kind="stable")
    averages = overall(metrics)
    counts = averages.loc[averages["metric"] == derived.MCE, [name for name in ("n", PATIENTS) if name in averages]]
    return compare_models(mce_resamples[estimates.index]).assign(**counts.max())


def holm(p: np.ndarray) -> np.ndarray:
    """P values corrected for their number, step-down (Holm 1979, jstor.org/stable/4615733); NaN stays out.

    The probability of any false rejection is kept below the level at which the corrected values are judged.
    """
    corrected = np.full(len(p), np.nan)
    order = np.argsort(p)[: np.sum(~np.isnan(p))]
    factors = np.arange(len(order), 0, -1)
    corrected[order] = np.minimum(np.maximum.accumulate(p[order] * factors), 1)
    return corrected


def places(samples: pd.DataFrame, comparisons: pd.DataFrame) -> pd.DataFrame:
    """Places of models, as far as their differences are certain; the lowest value is first, equal values share a place.

    A model's place lies between one more than the number of models that are significantly better, and the number
    of models that are not significantly worse. As the p values are corrected over all pairs, the places of all models
    lie in their ranges with a probability of 95 % at least (Mogstad, Romano, Shaikh & Wilhelm 2024,
    doi:10.1093/restud/rdad006).

    Parameters
    ----------
    samples : DataFrame
        As in :func:`compare_models`.
    comparisons : DataFrame
        As of :func:`compare_models`, of every pair.

    Returns
    -------
    DataFrame
        A row per model in the order of the columns of `samples`: ``model``, ``place`` of the estimate, its range
        ``place_low`` to ``place_high``, and ``first_fraction``, the fraction of the resamples in which it is first;
        missing where the model's value or all resamples are.
    """
    values = samples.to_numpy(float)
    ranks = 1 + np.sum(values[:, None, :] < values[:, :, None] - ROUNDING, axis=2, dtype=float)
    ranks[np.isnan(values)] = np.nan
    certain = comparisons[comparisons["p_holm"] <= 1 - LEVEL]
    better = certain["model"].where(certain["difference"] < 0, certain["other"]).value_counts()
    worse = certain["model"].where(certain["difference"] > 0, certain["other"]).value_counts()
    ranked = int((~np.isnan(values[0])).sum())
    rows = []
    for model, (place, *resampled) in zip(samples.columns, ranks.T, strict=True):
        drawn = np.array(resampled)[~np.isnan(resampled)]
        if np.isnan(place) or not len(drawn):
            rows.append((model, place, *[np.nan] * 3))
            continue
        low, high = 1 + worse.get(model, 0), ranked - better.get(model, 0)
        rows.append((model, place, low, high, np.mean(drawn == 1)))
    table = pd.DataFrame(rows, columns=["model", "place", "place_low", "place_high", "first_fraction"])
    return table.astype({"place": "Int64", "place_low": "Int64", "place_high": "Int64"})


def _wald(difference: np.ndarray) -> float:
    """Two-sided p value of the estimate in the first place, by the spread of the others."""
    estimate, drawn = difference[0], difference[1:]
    if np.isnan(difference).any() or len(drawn) < 2:
        return np.nan
    spread = np.std(drawn, ddof=1)
    if spread == 0:
        return 1.0 if estimate == 0 else np.nan
    return float(2 * ndtr(-abs(estimate) / spread))
