"""The leaderboard: a row per model, the lowest mCE first, or the lowest error where that is undefined."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from robustmedclip.images.conditions import CLEAN
from robustmedclip.metrics import Metric, derived, overall
from robustmedclip.metrics.classification import ERROR
from robustmedclip.metrics.runs import ALL
from robustmedclip.metrics.table import PATIENTS
from robustmedclip.reporting.latex import latex
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
    derived.POINTS_LOST: Column(derived.POINTS_LOST, ALL, "points lost"),
    derived.POINTS_WON_BACK: Column(derived.POINTS_WON_BACK, ALL, "points won back"),
    derived.MCE: Column(derived.MCE, ALL, "mCE"),
    "mce_ratio_of_means": Column("mce_ratio_of_means", ALL, "mCE, ratio of means"),
}
#: The same of the levels that no scanner makes, where some suite says which these are.
_EXTREME = {
    derived.ERROR_EXTREME: Column(derived.ERROR_EXTREME, ALL, "error at extreme levels, %"),
    derived.MCE_EXTREME: Column(derived.MCE_EXTREME, ALL, "mCE, extreme levels"),
}
#: What stands first for people; the rest follows.
FIRST = (derived.CLEAN_ERROR, "corrupted_error", derived.POINTS_LOST, derived.MCE)
#: How many columns people see first: the model, its labelled images, and those.
FIRST_COLUMNS = 2 + len(FIRST)
#: What models are ranked by, for people: the first that is defined, as mCE isn't where the baseline makes no errors.
RANKED_BY = {derived.MCE: "mCE", "corrupted_error": "corrupted error", derived.CLEAN_ERROR: "clean error"}
#: The columns of the table for the text of a paper, beside the model and its labelled images.
_MAIN_TEXT = (derived.CLEAN_ERROR, "corrupted_error", derived.MCE)
#: What the size of a test set is counted in.
_COUNTS = ("n", PATIENTS)
_CONDITIONS = {"clean": ("", CLEAN.corruption), "corrupted": ("corrupted_", ALL)}


def labelled_images(
    metrics: pd.DataFrame, few_shots: Mapping[str, pd.DataFrame], roles: Mapping[str, Mapping[str, Collection[str]]]
) -> pd.DataFrame:
    """How many labelled images each tuned model has seen, of all data sets: what its adaptation costs in labels.

    Parameters
    ----------
    metrics : DataFrame
        As of :func:`robustmedclip.metrics.score_benchmark`.
    few_shots : mapping
        Tuned model to its few-shot images, with their ``role``: ``training`` or ``validation``.
    roles : mapping
        Adaptation to the roles of the ``training_images``, which it learns from, and of the ``validation_images``,
        which it chooses by.

    Returns
    -------
    DataFrame
        ``model``, ``training_images`` and ``validation_images``, int.
    """
    columns = ["training_images", "validation_images"]
    tuned = metrics[metrics["model"].isin(few_shots)].drop_duplicates("model")
    rows = [
        (row.model, *(few_shots[row.model]["role"].isin(roles[row.adaptation][column]).sum() for column in columns))
        for row in tuned.itertuples()
    ]
    return pd.DataFrame(rows, columns=["model", *columns])


def leaderboard(
    metrics: pd.DataFrame, places: pd.DataFrame, labelled: pd.DataFrame, scores: Sequence[Metric]
) -> pd.DataFrame:
    """One row per model, as they are :func:`ranked`, with averages over all data sets.

    Parameters
    ----------
    metrics, places, labelled : DataFrame
        As of :func:`robustmedclip.metrics.score_benchmark`, :func:`robustmedclip.metrics.places` and
        :func:`labelled_images`.
    scores : sequence of Metric
        What `metrics` was scored by; each says whether it is on the leaderboard.

    Returns
    -------
    DataFrame
        ``model``, ``place`` and its range (see :func:`robustmedclip.metrics.places`), ``training_images`` and
        ``validation_images`` that it has seen, ``base``, ``method``, ``rank``, ``fraction``, ``seeds`` (how many), then
        the metrics, with their 95 % interval in ``<metric>_low`` and ``<metric>_high`` and the number of their test
        images in ``<metric>_n``, and ``n``, the number of all test images; ``<metric>_patients`` and ``patients``,
        where it is known of some whose they are.
    """
    extreme = _EXTREME if metrics["metric"].isin(_EXTREME).any() else {}
    columns = _ERRORS | extreme | _columns([score for score in scores if score != ERROR])
    counted = [count for count in _COUNTS if count in metrics]
    seeds = metrics.groupby("model")["seed"].nunique()
    everywhere = overall(metrics)
    everywhere = everywhere[everywhere["severity"].isna()]
    rows = []
    for model, of_model in everywhere.groupby("model"):
        values = of_model.set_index(["metric", "corruption"])[["value", "low", "high", *counted]]
        row = {**of_model.iloc[0][["model", "base", "method", "rank", "fraction"]], "seeds": seeds[model]}
        for name, column in columns.items():
            cell = values.reindex([(column.metric, column.corruption)]).iloc[0]
            row |= {
                name: cell["value"],
                f"{name}_low": cell["low"],
                f"{name}_high": cell["high"],
                **{f"{name}_{count}": cell[count] for count in counted},
            }
        rows.append(row | {count: of_model[count].max() for count in counted})
    whole = {"rank": "Int64", **{f"{name}_{count}": "Int64" for name in columns for count in counted}}
    counts = labelled.astype({"training_images": "Int64", "validation_images": "Int64"})
    table = places.merge(counts, on="model", how="left")
    table = table.merge(pd.DataFrame(rows).astype(whole | {"fraction": "float64"}), on="model")
    return ranked(table)


def ranked(board: pd.DataFrame) -> pd.DataFrame:
    """The rows of a leaderboard, the lowest mCE first, where it is undefined the lowest corrupted error."""
    return board.sort_values([*RANKED_BY, "model"], kind="stable", ignore_index=True)


def ranking(metrics: pd.DataFrame) -> pd.DataFrame:
    """Of the :func:`leaderboard`, ``model`` and the columns that it is ranked by."""
    rows = overall(metrics)
    rows = rows[rows["severity"].isna()].set_index(["model", "metric", "corruption"])["value"]
    values = rows.unstack(["metric", "corruption"])
    chosen = {name: values.get((_ERRORS[name].metric, _ERRORS[name].corruption), np.nan) for name in RANKED_BY}
    return ranked(pd.DataFrame(chosen, index=values.index).reset_index())


def ranked_by(board: pd.DataFrame) -> str:
    """The column that the first row of a leaderboard has the lowest value of."""
    return next((name for name in RANKED_BY if board[name].notna().any()), derived.MCE)


def readable_leaderboard(board: pd.DataFrame, scores: Sequence[Metric]) -> pd.DataFrame:
    """What people read of the :func:`leaderboard`: errors, and the metrics that stand in no other table."""
    further = {derived.POINTS_WON_BACK: _ERRORS[derived.POINTS_WON_BACK]}
    further |= {name: column for name, column in _EXTREME.items() if name in board}
    further |= _columns([score for score in scores if score != ERROR and score.table is None])
    return pd.DataFrame(
        {
            "model": board["model"],
            "labelled images": [_labels(row) for row in board.itertuples()],
            **_cells(board, {name: _ERRORS[name] for name in FIRST}),
            "place": [_place(row) for row in board.itertuples()],
            "first in resamples": [
                "" if pd.isna(fraction) else f"{100 * fraction:.0f} %" for fraction in board["first_fraction"]
            ],
            "method": board["method"],
            **_cells(board, further),
        }
    )


def main_text_table(board: pd.DataFrame, baseline: str, mce_on: Metric = ERROR) -> str:
    """The :func:`leaderboard` for the text of a paper, in LaTeX: five columns, the lowest value of each in bold."""
    cells = _cells(board, {name: _ERRORS[name] for name in _MAIN_TEXT})
    labels = board[["training_images", "validation_images"]].sum(axis=1).astype(int)
    text = pd.DataFrame({"model": board["model"], "labelled images": labels.astype(str), **cells})
    lowest = [
        (int(row), title)
        for name, title in zip(_MAIN_TEXT, cells, strict=True)
        for row in np.flatnonzero(board[name].round(1) == board[name].min().round(1))
    ]
    caption = (
        "Errors on clean images and their mean over corruptions and severities, averaged over data sets, and mCE"
        f"{made_of(mce_on)}, in which {baseline} is 100; lower is better. Labelled images are those for training and "
        "validation. In brackets: 95 % bootstrap intervals"
    )
    return latex(caption, text, "main_text", lowest)


def made_of(mce_on: Metric) -> str:
    """What ratios are made of, where that is not the error, as a part of a caption."""
    return "" if mce_on == ERROR else f" (of {mce_on.loss_title})"


def first_rows(board: pd.DataFrame, count: int, mce_on: Metric = ERROR) -> str:
    """The first rows of the :func:`leaderboard` as lines of a terminal, without intervals."""
    titles = dict(zip(FIRST, ("clean", "corrupted", "lost", f"mCE{made_of(mce_on)}"), strict=True))
    rows = board[["model", *FIRST]].head(count).rename(columns=titles)
    labels = board[["training_images", "validation_images"]].sum(axis=1).head(count)
    rows.insert(1, "labelled images", labels.astype(int).map(lambda images: str(images or "")))
    width = rows["model"].str.len().max()
    table: str = rows.to_string(index=False, float_format="%.1f", formatters={"model": lambda name: name.ljust(width)})
    return f"The best {len(rows)} of {len(board)} models; errors in %, lost in points:\n{table}"


def _cells(board: pd.DataFrame, columns: Mapping[str, Column]) -> dict[str, list[str]]:
    """Columns of the leaderboard as people read them; what a model can't have is empty."""
    cells = {}
    for name, column in columns.items():
        rows = zip(*(board[f"{name}{end}"] for end in ("_n", "", "_low", "_high")), strict=True)
        texts = ["" if pd.isna(n) else with_interval(value, low, high, column.decimals) for n, value, low, high in rows]
        counts = {count: board[f"{name}_{count}"] for count in _COUNTS if f"{name}_{count}" in board}
        cells[with_n(column.title, pd.DataFrame(counts))] = texts
    return cells


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
    if pd.isna(row.place_low) or row.place_low == row.place_high:
        return f"{row.place:.0f}"
    return f"{row.place_low:.0f} to {row.place_high:.0f}"


def _labels(row: Any) -> str:
    if pd.isna(row.training_images):
        return ""
    validation = f" + {row.validation_images:.0f} to validate" if row.validation_images else ""
    fraction = "" if pd.isna(row.fraction) else f" ({100 * row.fraction:g} %)"
    return f"{row.training_images:.0f}{validation}{fraction}"
