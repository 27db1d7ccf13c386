"""The few numbers that sum a model up, as a tracker logs them."""

from collections.abc import Collection, Sequence

import pandas as pd

from robustmedclip.images.conditions import CLEAN
from robustmedclip.metrics import derived
from robustmedclip.metrics.classification import ERROR
from robustmedclip.metrics.metric import Metric
from robustmedclip.metrics.ranking import AUROC
from robustmedclip.metrics.runs import ALL
from robustmedclip.metrics.table import overall


def model_rows(metrics: pd.DataFrame, seed_metrics: pd.DataFrame, model: str, seed: int | None = None) -> pd.DataFrame:
    """The rows of one seed of a model, or its averages over seeds without `seed`.

    `metrics` and `seed_metrics` are those of :class:`robustmedclip.metrics.Scores`.
    """
    table = metrics[metrics["seed"].isna()] if seed is None else seed_metrics[seed_metrics["seed"] == seed]
    return table[table["model"] == model]


#: Values with an interval, and values alone, of the averages over all data sets: names in the table of metrics.
_WITH_INTERVALS = (derived.MCE, derived.CLEAN_ERROR, ERROR.name)
_ALONE = (derived.POINTS_LOST, derived.POINTS_WON_BACK)


def summary(rows: pd.DataFrame, metrics: Sequence[Metric]) -> dict[str, float]:
    """The summary of one model, averaged over all data sets, from its :func:`model_rows`.

    ``mce``, ``clean_error`` and ``corrupted_error``, each also as ``<name>_low`` and ``<name>_high``, ``points_lost``
    and ``points_won_back``; and of the `metrics` what the leaderboard has, with the prefix ``clean_`` or
    ``corrupted_``. What is undefined is left out.
    """
    table = overall(rows)
    table = table[table["severity"].isna() & table["corruption"].isin([ALL, CLEAN.corruption])]
    shown = {(metric.name, images) for metric in metrics if metric != ERROR for images in metric.leaderboard}
    values: dict[str, float] = {}
    for row in table.itertuples():
        if row.metric in _WITH_INTERVALS:
            name = f"corrupted_{row.metric}" if row.metric == ERROR.name else row.metric
            values |= {name: row.value, f"{name}_low": row.low, f"{name}_high": row.high}
        elif row.metric in _ALONE:
            values[row.metric] = row.value
        elif (row.metric, images := "corrupted" if row.corruption == ALL else "clean") in shown:
            values[f"{images}_{row.metric}"] = row.value
    return {name: float(value) for name, value in values.items() if pd.notna(value)}


def auroc_of_findings(rows: pd.DataFrame, data_sets: Collection[str]) -> dict[str, float]:
    """AUROC, the mean over some data sets of findings, from :func:`model_rows`.

    ``findings_clean_auroc`` and ``findings_corrupted_auroc``; without any value, neither.
    """
    table = rows[(rows["metric"] == AUROC.name) & rows["severity"].isna() & rows["data_set"].isin(data_sets)]
    means = table.groupby("corruption")["value"].mean().dropna()
    images = {CLEAN.corruption: "clean", ALL: "corrupted"}
    return {f"findings_{images[name]}_auroc": float(value) for name, value in means.items() if name in images}


def error_by_severity(rows: pd.DataFrame) -> dict[int, float]:
    """Severity (0: clean) to the error over all data sets that are corrupted, from :func:`model_rows` of a model."""
    table = overall(rows)
    rows = table[(table["metric"] == ERROR.name) & (table["corruption"] == ALL) & table["severity"].notna()]
    return {int(row.severity): float(row.value) for row in rows.dropna(subset="value").itertuples()}
