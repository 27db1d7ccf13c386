"""The leaderboard: a row per model, the lowest mCE first."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import pandas as pd

from robustmedclip.images.conditions import CLEAN
from robustmedclip.metrics import Metric, derived, overall
from robustmedclip.metrics.classification import ERROR
from robustmedclip.metrics.runs import ALL
from robustmedclip.reporting.table import with_interval, with_n


class Column(NamedTuple):
    """A column: which metric under which conditions, its title, and the decimals that are shown."""

    metric: str
    corruption: str
    title: str
    decimals: int = 1


#: Errors and what is made of them.
_ERRORS = {
    derived.CLEAN_ERROR: Column(derived.CLEAN_ERROR, CLEAN.corruption, "clean error, %"),
    derived.CLEAN_ERROR_RATIO: Column(derived.CLEAN_ERROR_RATIO, CLEAN.corruption, "clean error ratio"),
    "corrupted_error": Column(ERROR.name, ALL, "corrupted error, %"),
    derived.MCE: Column(derived.MCE, ALL, "mCE"),
    derived.RELATIVE_MCE: Column(derived.RELATIVE_MCE, ALL, "relative mCE"),
    "mce_ratio_of_means": Column("mce_ratio_of_means", ALL, "mCE, ratio of means"),
}
#: The same of the levels that no scanner makes, where some suite says which these are.
_EXTREME = {
    derived.ERROR_EXTREME: Column(derived.ERROR_EXTREME, ALL, "error at extreme levels, %"),
    derived.MCE_EXTREME: Column(derived.MCE_EXTREME, ALL, "mCE, extreme levels"),
}
_SHOWN = (derived.CLEAN_ERROR, "corrupted_error", derived.MCE, derived.RELATIVE_MCE)
_CONDITIONS = {"clean": ("", CLEAN.corruption), "corrupted": ("corrupted_", ALL)}


def leaderboard(metrics: pd.DataFrame, stability: pd.DataFrame, scores: Sequence[Metric]) -> pd.DataFrame:
    """One row per model, the lowest mCE first, with averages over all data sets.

    Parameters
    ----------
    metrics, stability : DataFrame
        As of :func:`robustmedclip.metrics.score_benchmark` and :func:`robustmedclip.metrics.rank_stability`.
    scores : sequence of Metric
        What `metrics` was scored by; each says whether it is on the leaderboard.

    Returns
    -------
    DataFrame
        ``place`` and its stability over resamples (see :func:`robustmedclip.metrics.rank_stability`), ``model``,
        ``base``, ``method``, ``rank``, ``fraction``, ``seeds`` (how many), then the metrics, with their 95 % interval
        in ``<metric>_low`` and ``<metric>_high`` and the number of their test images in ``<metric>_n``, and ``n``,
        the number of all test images.
    """
    extreme = _EXTREME if metrics["metric"].isin(_EXTREME).any() else {}
    columns = _ERRORS | extreme | _columns([score for score in scores if score != ERROR])
    seeds = metrics.groupby("model")["seed"].nunique()
    everywhere = overall(metrics)
    everywhere = everywhere[everywhere["severity"].isna()]
    rows = []
    for model, of_model in everywhere.groupby("model"):
        values = of_model.set_index(["metric", "corruption"])[["value", "low", "high", "n"]]
        row = {**of_model.iloc[0][["model", "base", "method", "rank", "fraction"]], "seeds": seeds[model]}
        for name, column in columns.items():
            cell = values.reindex([(column.metric, column.corruption)]).iloc[0]
            row |= {
                name: cell["value"],
                f"{name}_low": cell["low"],
                f"{name}_high": cell["high"],
                f"{name}_n": cell["n"],
            }
        rows.append(row | {"n": of_model["n"].max()})
    whole = {"rank": "Int64", **{f"{name}_n": "Int64" for name in columns}}
    table = stability.merge(pd.DataFrame(rows).astype(whole | {"fraction": "float64"}), on="model")
    return table.sort_values([derived.MCE, "model"], kind="stable", ignore_index=True)


def readable_leaderboard(board: pd.DataFrame, scores: Sequence[Metric]) -> pd.DataFrame:
    """What people read of the :func:`leaderboard`: errors, and the metrics that stand in no other table."""
    columns: dict[str, Any] = {
        "place": [_place(row) for row in board.itertuples()],
        "model": board["model"],
        "method": board["method"],
        "labels": ["" if pd.isna(fraction) else f"{100 * fraction:g} %" for fraction in board["fraction"]],
    }
    shown = {name: _ERRORS[name] for name in _SHOWN}
    shown |= {name: column for name, column in _EXTREME.items() if name in board}
    shown |= _columns([score for score in scores if score != ERROR and score.table is None])
    for name, column in shown.items():
        title = with_n(column.title, board[f"{name}_n"])
        cells = zip(board[name], board[f"{name}_low"], board[f"{name}_high"], strict=True)
        columns[title] = [with_interval(value, low, high, column.decimals) for value, low, high in cells]
    columns["first in resamples"] = [
        "" if pd.isna(fraction) else f"{100 * fraction:.0f} %" for fraction in board["first_share"]
    ]
    return pd.DataFrame(columns)


def _columns(scores: Sequence[Metric]) -> dict[str, Column]:
    """Columns of the leaderboard, as the metrics want them."""
    columns = {}
    for score in scores:
        for images in score.leaderboard:
            prefix, corruption = _CONDITIONS[images]
            title = f"{prefix.replace('_', ' ')}{score.title}{', %' if score.unit else ''}"
            columns[prefix + score.name] = Column(score.name, corruption, title, score.decimals)
    return columns


def _place(row: Any) -> str:
    if pd.isna(row.place):
        return ""
    place = f"{row.place:.0f}"
    return place if pd.isna(row.place_low) else f"{place} [{row.place_low:.0f}, {row.place_high:.0f}]"
