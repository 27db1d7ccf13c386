"""What the report says of the precision that images were encoded in, beside float32."""

from collections.abc import Sequence

import pandas as pd

from robustmedclip.images.conditions import CLEAN
from robustmedclip.metrics.precisions import changed_percent
from robustmedclip.reporting.note import Note
from robustmedclip.reporting.table import Table, with_interval


def precision_table(precisions: pd.DataFrame, models: Sequence[str]) -> Table:
    """A row per model, data set and condition, as of :func:`robustmedclip.metrics.precisions.precision_changes`.

    Of several seeds the decisions changed are their mean, and the others their worst.
    """
    groups = precisions[precisions["model"].isin(models)].groupby(
        ["model", "data_set", "corruption", "severity"], sort=False, as_index=False
    )
    rows = groups.agg(
        n=("n", "first"),
        changed=("changed", "mean"),
        largest_logit_difference=("largest_logit_difference", "max"),
        mean_cosine=("mean_cosine", "min"),
    ).sort_values("model", key=lambda names: names.map(list(models).index), kind="stable")
    text = pd.DataFrame(
        {
            "model": rows["model"],
            "data set": rows["data_set"],
            "images": [_spoken(*row) for row in zip(rows["corruption"], rows["severity"], strict=True)],
            "n": rows["n"],
            "decisions changed": [f"{changed:g}" for changed in rows["changed"].round(1)],
            "of all, %": [_percent(changed, n) for changed, n in zip(rows["changed"], rows["n"], strict=True)],
            "largest difference of a logit": [f"{value:.3g}" for value in rows["largest_logit_difference"]],
            "mean cosine of features": [f"{value:.6f}" for value in rows["mean_cosine"]],
        }
    )
    caption = f"{_precision(precisions)} beside float32, on a sample of the test images: what the precision changes"
    return Table(caption, precisions, text)


def precision_notes(precisions: pd.DataFrame) -> list[Note]:
    """How many decisions the precision changes, and on how many images."""
    changed, decisions = precisions["changed"].sum(), precisions["n"].sum()
    worst = precisions.loc[precisions["changed_percent"].idxmax()]
    text = (
        f"encoded in {_precision(precisions)}. On a sample of the test images, encoded in float32 too, {changed} of "
        f"{decisions} decisions are others, over all models and data sets; at worst, of {worst['model']} on "
        f"{worst['data_set']}: {with_interval(worst['changed_percent'], worst['low'], worst['high'], 2)} % of n = "
        f"{worst['n']}. A smaller difference between two models may come from the precision"
    )
    return [Note("Precision:", f"{text}.")]


def _percent(changed: float, images: int) -> str:
    """Percentage of changed decisions, with the interval of so many images, however many seeds decide on them."""
    of_all = changed_percent(round(changed), images)
    return with_interval(100 * changed / images, of_all["low"], of_all["high"], 2)


def _precision(precisions: pd.DataFrame) -> str:
    return str(precisions["precision"].iloc[0]).partition(" ")[0]


def _spoken(corruption: str, severity: int) -> str:
    return corruption if corruption == CLEAN.corruption else f"{corruption}, severity {severity}"
