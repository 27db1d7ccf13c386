"""Which model is better, and how sure that is, from paired resamples."""

from itertools import combinations

import numpy as np
import pandas as pd
from scipy.special import ndtr

from robustmedclip.metrics.bootstrap import interval

#: Equal models differ by less: by the rounding error of means over seeds.
_ROUNDING = 1e-9


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
        difference[np.abs(difference) < _ROUNDING] = 0
        low, high = interval(difference)
        rows.append((model, other, difference[0], float(low), float(high), _wald(difference)))
    table = pd.DataFrame(rows, columns=["model", "other", "difference", "low", "high", "p"])
    return table.assign(p_holm=holm(table["p"].to_numpy(float)))


def holm(p: np.ndarray) -> np.ndarray:
    """P values corrected for their number, step-down (Holm 1979, jstor.org/stable/4615733); NaN stays out.

    The probability of any false rejection is kept below the level at which the corrected values are judged.
    """
    corrected = np.full(len(p), np.nan)
    order = np.argsort(p)[: np.sum(~np.isnan(p))]
    factors = np.arange(len(order), 0, -1)
    corrected[order] = np.minimum(np.maximum.accumulate(p[order] * factors), 1)
    return corrected


def rank_stability(samples: pd.DataFrame) -> pd.DataFrame:
    """How the ranking of models holds over resamples; the lowest value is first, equal values share a place.

    Parameters
    ----------
    samples : DataFrame
        As in :func:`compare_models`.

    Returns
    -------
    DataFrame
        A row per model in the order of the columns: ``model``, ``place``, the middle 95 % of its places in the
        resamples ``place_low`` and ``place_high``, ``place_share`` (of the resamples in which it has the same
        place) and ``first_share``; missing where the model's value or all resamples are.
    """
    values = samples.to_numpy(float)
    places = 1 + np.sum(values[:, None, :] < values[:, :, None] - _ROUNDING, axis=2, dtype=float)
    places[np.isnan(values)] = np.nan
    rows = []
    for model, (place, *resampled) in zip(samples.columns, places.T, strict=True):
        drawn = np.array(resampled)[~np.isnan(resampled)]
        if np.isnan(place) or not len(drawn):
            rows.append((model, place, *[np.nan] * 4))
            continue
        low, high = np.quantile(drawn, 0.025, method="lower"), np.quantile(drawn, 0.975, method="higher")
        rows.append((model, place, low, high, np.mean(drawn == place), np.mean(drawn == 1)))
    columns = ["model", "place", "place_low", "place_high", "place_share", "first_share"]
    table = pd.DataFrame(rows, columns=columns)
    return table.astype({name: "Int64" for name in columns[1:4]})


def _wald(difference: np.ndarray) -> float:
    """Two-sided p value of the estimate in the first place, by the spread of the others."""
    estimate, drawn = difference[0], difference[1:]
    if np.isnan(difference).any() or len(drawn) < 2:
        return np.nan
    spread = np.std(drawn, ddof=1)
    if spread == 0:
        return 1.0 if estimate == 0 else np.nan
    return float(2 * ndtr(-abs(estimate) / spread))
