"""What came out of a run, in plain sentences that the numbers write."""

from typing import Any, NamedTuple

import pandas as pd

from robustmedclip.images.conditions import CLEAN
from robustmedclip.metrics import derived, overall
from robustmedclip.metrics.classification import ERROR
from robustmedclip.metrics.logits import ZERO_SHOT
from robustmedclip.metrics.runs import ALL


class _Value(NamedTuple):
    """A value and its interval; as text, the interval in brackets, after a unit if one is given: ``f"{value:%}"``."""

    value: float
    low: float
    high: float

    def __format__(self, unit: str) -> str:
        bounds = "" if pd.isna(self.low) else f" [{self.low:.1f}, {self.high:.1f}]"
        return f"{self.value:.1f}{f' {unit}' if unit else ''}{bounds}"


def headline(metrics: pd.DataFrame, leaderboard: pd.DataFrame) -> list[str]:
    """Which model breaks most, under what, and how much of it labels win back.

    Parameters
    ----------
    metrics, leaderboard : DataFrame
        As of :func:`robustmedclip.metrics.score_benchmark` and :func:`robustmedclip.reporting.leaderboard.leaderboard`.

    Returns
    -------
    list of str
        Sentences, errors in percent with 95 % intervals; none where nothing was corrupted.
    """
    rows = overall(metrics)
    rows = rows[rows["severity"].isna()].set_index(["model", "metric", "corruption"])[["value", "low", "high"]]
    board = leaderboard.dropna(subset=derived.POINTS_LOST).sort_values(
        derived.POINTS_LOST, ascending=False, kind="stable"
    )
    zero_shot = board[board["model"].isin(metrics.loc[metrics["adaptation"] == ZERO_SHOT, "model"])]
    if zero_shot.empty:
        return []
    first = zero_shot["model"].iloc[0]
    return [
        _breaks_most(rows, zero_shot["model"].tolist()),
        _worst_corruption(rows, first),
        *_won_back(rows, first, board[(board["base"] == first) & board[derived.POINTS_WON_BACK].notna()]),
    ]


def _breaks_most(rows: pd.DataFrame, models: list[str]) -> str:
    first, *others = models
    clean, corrupted, lost = _errors(rows, first)
    sentence = (
        f"Zero-shot, that is without tuning, {first} breaks{' most' if others else ''}: its errors rise from "
        f"{clean:%} on clean images to {corrupted:%} on corrupted ones, by {lost} points"
    )
    if others:
        clean, corrupted, lost = _errors(rows, others[-1])
        sentence += f"; those of {others[-1]} rise least, by {lost}, from {clean.value:.1f} to {corrupted.value:.1f} %"
    return f"{sentence}."


def _errors(rows: pd.DataFrame, model: str) -> tuple[_Value, _Value, _Value]:
    """Of a model on clean images, on corrupted ones, and the points lost."""
    clean = _value(rows, model, derived.CLEAN_ERROR, CLEAN.corruption)
    return clean, _value(rows, model, ERROR.name, ALL), _value(rows, model, derived.POINTS_LOST, ALL)


def _worst_corruption(rows: pd.DataFrame, model: str) -> str:
    lost = rows.loc[model].loc[derived.POINTS_LOST].drop(index=ALL)["value"]
    (worst, most), (mildest, least) = (
        (str(name).replace("_", " "), _value(rows, model, derived.POINTS_LOST, name))
        for name in (lost.idxmax(), lost.idxmin())
    )
    return f"{model} breaks most under {worst}, by {most} points, and least under {mildest}, by {least}."


def _won_back(rows: pd.DataFrame, base: str, adapted: pd.DataFrame) -> list[str]:
    """What adaptations of a base model win back: the best one, and the one with the fewest labels."""
    if adapted.empty:
        return []
    images = adapted[["training_images", "validation_images"]].sum(axis=1)
    order = ["corrupted_error", "model"]
    best = adapted.sort_values(order, kind="stable").iloc[0]
    fewest = adapted[images == images.min()].sort_values(order, kind="stable").iloc[0]
    (*_, lost), (clean, corrupted, _) = _errors(rows, base), _errors(rows, best["model"])
    more = ", more than" if best[derived.POINTS_WON_BACK] > lost.value else " of"
    first = (
        f"{_winner(rows, best, images)}{more} the {lost.value:.1f} points: its errors are {corrupted:%} on corrupted "
        f"images and {clean:%} on clean ones."
    )
    return [first] if fewest.name == best.name else [first, f"{_winner(rows, fewest, images)}."]


def _winner(rows: pd.DataFrame, adapted: pd.Series, images: pd.Series) -> str:
    won = _value(rows, adapted["model"], derived.POINTS_WON_BACK, ALL)
    labels = int(images[adapted.name])
    chance = "" if won.low > 0 else " (which may be chance)"
    return f"With {f'{labels} labelled images' if labels else 'no label'}, {adapted['model']} wins back {won}{chance}"


def _value(rows: pd.DataFrame, model: str, metric: str, corruption: Any) -> _Value:
    return _Value(*rows.loc[(model, metric, corruption)])
