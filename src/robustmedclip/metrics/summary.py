"""The few numbers that sum a model up, as a tracker logs them."""

from collections.abc import Sequence

import pandas as pd

from robustmedclip.images.conditions import CLEAN
from robustmedclip.metrics import derived
from robustmedclip.metrics.classification import ERROR
from robustmedclip.metrics.metric import Metric
from robustmedclip.metrics.runs import ALL
from robustmedclip.metrics.table import overall


def model_rows(metrics: pd.DataFrame, seed_metrics: pd.DataFrame, model: str, seed: int | None = None) -> pd.DataFrame:
    """The rows of one seed of a model, or its averages over seeds without `seed`.

    `metrics` and `seed_metrics` are those of :class:`robustmedclip.metrics.Scores`.
    """
    table = metrics[metrics["seed"].isna()] if seed is None else seed_metrics[seed_metrics["seed"] == seed]
    return table[table["model"] == model]


def summary(rows: pd.DataFrame, metrics: Sequence[Metric]) -> dict[str, float]:
    """The summary of one model from its :func:`model_rows`.

    Names are ``mce``, ``clean_error`` and so on for the average over all data sets, ``<metric>.<data set>`` for one
    data set, and ``ce.<corruption>``; `metrics` on clean images have the prefix ``clean_``, their means over all
    corruptions ``corrupted_``. What is undefined is left out.
    """
    of_data_sets = rows[rows["data_set"] != ALL].assign(suffix=lambda table: "." + table["data_set"])
    table = pd.concat([overall(rows).assign(suffix=""), of_data_sets])
    names = {metric.name for metric in metrics}
    values = {}
    for row in table[table["severity"].isna() & table["value"].notna()].itertuples():
        name = row.metric
        if name in names:
            name = ("corrupted_" if row.corruption == ALL else "clean_") + name
        elif row.corruption not in (ALL, CLEAN.corruption):
            name += f".{row.corruption}"
        values[name + row.suffix] = float(row.value)
    return values


def error_by_severity(rows: pd.DataFrame) -> dict[int, float]:
    """Severity (0: clean) to the error over all data sets and corruptions, from the :func:`model_rows` of a model."""
    table = overall(rows)
    clean = table[table["metric"] == derived.CLEAN_ERROR].assign(severity=0)
    corrupted = table[(table["metric"] == ERROR.name) & (table["corruption"] == ALL) & table["severity"].notna()]
    defined = pd.concat([clean, corrupted]).dropna(subset="value")
    return {int(row.severity): float(row.value) for row in defined.itertuples()}
