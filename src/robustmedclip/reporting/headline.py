"""What came out of a run, in plain sentences that the numbers write."""

from typing import Any, NamedTuple

import pandas as pd

from robustmedclip.images.conditions import CLEAN
from robustmedclip.metrics import derived, overall
from robustmedclip.metrics.classification import ERROR
from robustmedclip.metrics.logits import ZERO_SHOT
from robustmedclip.metrics.runs import ALL


class _Value(NamedTuple):
    """A value and its interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        bounds = "" if pd.isna(self.low) else f" [{self.low:.1f}, {self.high:.1f}]"
        return f"{self.value:.1f}{bounds}"


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
    breaks = zero_shot.iloc[0]
    return [
        _breaks_most(rows, zero_shot["model"].tolist()),
        _worst_corruption(rows, breaks["model"]),
        *_won_back(rows, breaks, board[board[derived.POINTS_WON_BACK].notna()]),
    ]


def _breaks_most(rows: pd.DataFrame, models: list[str]) -> str:
    first, *others = models
    clean, corrupted = _value(rows, first, derived.CLEAN_ERROR, CLEAN.corruption), _value(rows, first, ERROR.name, ALL)
    most = " and breaks most" if others else ""
    sentence = (
        f"Zero-shot, {first} loses {_value(rows, first, 'points_lost', ALL)} points{most}: "
        f"{clean} % errors on clean images become {corrupted} % on corrupted ones"
    )
    if others:
        sentence += f"; {others[-1]} loses {_value(rows, others[-1], 'points_lost', ALL)}"
    return f"{sentence}."


def _worst_corruption(rows: pd.DataFrame, model: str) -> str:
    lost = rows.loc[model].loc[derived.POINTS_LOST].drop(index=ALL)["value"]
    worst = lost.idxmax()
    return (
        f"It loses most under {str(worst).replace('_', ' ')}, {_value(rows, model, 'points_lost', worst)} points, and "
        f"least under {str(lost.idxmin()).replace('_', ' ')}, {_value(rows, model, 'points_lost', lost.idxmin())}."
    )


def _won_back(rows: pd.DataFrame, unadapted: pd.Series, adapted: pd.DataFrame) -> list[str]:
    """What adaptations of a model win back: the best one, and the one with the fewest labels."""
    candidates = adapted[adapted["base"] == unadapted["model"]]
    if candidates.empty:
        return []
    images = candidates[["training_images", "validation_images"]].sum(axis=1)
    order = ["corrupted_error", "model"]
    best = candidates.sort_values(order, kind="stable").iloc[0]
    fewest = candidates[images == images.min()].sort_values(order, kind="stable").iloc[0]
    clean = _value(rows, best["model"], derived.CLEAN_ERROR, CLEAN.corruption)
    lost, won = unadapted[derived.POINTS_LOST], _value(rows, best["model"], derived.POINTS_WON_BACK, ALL).value
    of_these = f"Of its {lost:.1f} points," if won <= lost else f"More than its {lost:.1f} points:"
    sentences = [f"{of_these} {_winner(rows, best, images)}; its errors on clean images are {clean} %."]
    return sentences if fewest.name == best.name else [*sentences, f"{_winner(rows, fewest, images)}."]


def _winner(rows: pd.DataFrame, adapted: pd.Series, images: pd.Series) -> str:
    won = _value(rows, adapted["model"], derived.POINTS_WON_BACK, ALL)
    labels = int(images[adapted.name])
    certain = "" if won.low > 0 else ", which may be chance"
    return f"{adapted['model']} wins back {won}{certain} with {f'{labels} labelled images' if labels else 'no label'}"


def _value(rows: pd.DataFrame, model: str, metric: str, corruption: Any) -> _Value:
    return _Value(*rows.loc[(model, metric, corruption)])
