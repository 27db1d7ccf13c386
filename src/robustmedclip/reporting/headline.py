"""What came out of a run, in plain sentences that the numbers write."""

from typing import Any, NamedTuple

import pandas as pd

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

    def __neg__(self) -> "_Value":
        return _Value(-self.value, -self.high, -self.low)

    @property
    def sign(self) -> int:
        """1 if it is above 0 and -1 if it is below, by its interval if there is one; 0 if that may be chance."""
        low, high = (self.value if pd.isna(bound) else bound for bound in (self.low, self.high))
        return int(low > 0) - int(high < 0)


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
    corrupted_sets = (rows["severity"] == 0) & (rows["corruption"] == ALL) & (rows["metric"] == ERROR.name)
    clean = rows[corrupted_sets].assign(metric=derived.CLEAN_ERROR)
    rows = pd.concat([rows[rows["severity"].isna()], clean]).set_index(["model", "metric", "corruption"])[
        ["value", "low", "high"]
    ]
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
    images = f"{clean:%} on clean images {{}} {corrupted:%} on corrupted ones"
    breaks = "breaks most" if others else "breaks"
    some_do = any(_errors(rows, model)[2].sign > 0 for model in others)
    doubt = (
        f"{first} may break most: its errors are" if some_do else f"no model surely breaks: the errors of {first} are"
    )
    sentence = (
        "Zero-shot, that is without tuning, "
        + {
            1: f"{first} {breaks}: its errors rise from {images.format('to')}, by {lost} points",
            0: f"{doubt} {images.format('and')}, {_perhaps(lost)}",
            -1: f"no model breaks: the errors of {first} fall from {images.format('to')}, by {-lost} points",
        }[lost.sign]
    )
    if others:
        clean, corrupted, least = _errors(rows, others[-1])
        extent = "least" if f"{least.value:.1f}" != f"{lost.value:.1f}" else "as much"
        sentence += (
            f"; those of {others[-1]} "
            + {
                1: f"rise {extent}, by {least}, from {clean.value:.1f} to {corrupted.value:.1f} %",
                0: f"are {clean.value:.1f} and {corrupted.value:.1f} %, {_perhaps(least)}",
                -1: f"fall, by {-least}, from {clean.value:.1f} to {corrupted.value:.1f} %",
            }[least.sign]
        )
    return f"{sentence}."


def _perhaps(lost: _Value) -> str:
    """What may be lost, or gained."""
    return (f"{lost} points more" if lost.value >= 0 else f"{-lost} points fewer") + ", which may be chance"


def _errors(rows: pd.DataFrame, model: str) -> tuple[_Value, _Value, _Value]:
    """Of a model on clean images of the data sets that are corrupted, on corrupted ones, and the points lost."""
    clean = _value(rows, model, derived.CLEAN_ERROR, ALL)
    return clean, _value(rows, model, ERROR.name, ALL), _value(rows, model, derived.POINTS_LOST, ALL)


def _worst_corruption(rows: pd.DataFrame, model: str) -> str:
    lost = rows.loc[model].loc[derived.POINTS_LOST].drop(index=ALL)["value"]
    (worst, most), (mildest, least) = (
        (str(name).replace("_", " "), _value(rows, model, derived.POINTS_LOST, name))
        for name in (lost.idxmax(), lost.idxmin())
    )
    surely = [name for name in lost.index if _value(rows, model, derived.POINTS_LOST, name).sign > 0]
    if most.sign == 0 and surely:
        name = lost[surely].idxmax()
        points = _value(rows, model, derived.POINTS_LOST, name)
        return (
            f"{model} surely breaks under {name.replace('_', ' ')}, by {points} points; under {worst} its errors are "
            f"{_perhaps(most)}."
        )
    if most.sign == 0:
        return f"Under no corruption {model} surely breaks; under {worst} its errors are {_perhaps(most)}."
    if most.sign < 0:
        return f"Under no corruption {model} breaks; under {worst} its errors fall least, by {-most} points."
    if f"{most.value:.1f}" == f"{least.value:.1f}":
        return f"{model} breaks under {worst}{'' if len(lost) == 1 else ' and all others alike'}, by {most} points."
    return (
        f"{model} breaks most under {worst}, by {most} points"
        + {
            1: f", and least under {mildest}, by {least}.",
            0: f"; under {mildest} its errors are {_perhaps(least)}.",
            -1: f"; under {mildest} its errors fall, by {-least}.",
        }[least.sign]
    )


def _won_back(rows: pd.DataFrame, base: str, adapted: pd.DataFrame) -> list[str]:
    """What adaptations of a base model win back: the best one, and the one with the fewest labels."""
    if adapted.empty:
        return []
    images = adapted[["training_images", "validation_images"]].sum(axis=1)
    order = ["corrupted_error", "model"]
    best = adapted.sort_values(order, kind="stable").iloc[0]
    fewest = adapted[images == images.min()].sort_values(order, kind="stable").iloc[0]
    (*_, lost), (clean, corrupted, _) = _errors(rows, base), _errors(rows, best["model"])
    errors = f"its errors are {corrupted:%} on corrupted images and {clean:%} on clean ones"
    first = f"{_winner(rows, best, images, lost, of_all=True)}: {errors}."
    return [first] if fewest.name == best.name else [first, f"{_winner(rows, fewest, images, lost)}."]


def _winner(rows: pd.DataFrame, adapted: pd.Series, images: pd.Series, lost: _Value, of_all: bool = False) -> str:
    """What an adaptation wins back; if it is wanted, of all the points that its base has lost."""
    won = _value(rows, adapted["model"], derived.POINTS_WON_BACK, ALL)
    labels = int(images[adapted.name])
    chance = "" if won.sign else " (which may be chance)"
    if won.value < 0:
        what = f"loses another {-won} points{chance}"
    elif lost.sign <= 0:
        what = f"makes {won} points fewer errors on corrupted images{chance}"
    else:
        more = ", more than" if won.value > lost.value else " of"
        what = f"wins back {won}" + (f"{more} the {lost.value:.1f} points" if of_all else "") + chance
    return f"With {f'{labels} labelled images' if labels else 'no label'}, {adapted['model']} {what}"


def _value(rows: pd.DataFrame, model: str, metric: str, corruption: Any) -> _Value:
    return _Value(*rows.loc[(model, metric, corruption)])
