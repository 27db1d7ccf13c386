"""What models are called where people read of them."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

import pandas as pd

from robustmedclip.metrics.logits import ZERO_SHOT
from robustmedclip.reporting.results import Results

#: Columns of tables that hold models.
_COLUMNS = ("model", "other")


def model_names(metrics: pd.DataFrame) -> dict[str, str]:
    """The name for people of each model: ``clip + lora (10 %)`` of ``clip_lora_k10``.

    `metrics` are as of :func:`robustmedclip.metrics.score_benchmark`. Models that would have one name keep theirs.
    """
    names = {
        row["model"]: name_for_people(row["model"], row) for row in metrics.drop_duplicates("model").to_dict("records")
    }
    models = Counter(names.values())
    return {model: name if models[name] == 1 else model for model, name in names.items()}


def name_for_people(model: str, attributes: Mapping[str, Any]) -> str:
    """The name for people of a model, by its ``base``, ``adaptation``, ``fraction`` and ``shots``."""
    if attributes["adaptation"] == ZERO_SHOT:
        return model
    amount = ""
    if not pd.isna(attributes["fraction"]):
        amount = f" ({100 * attributes['fraction']:g} %)"
    elif not pd.isna(attributes["shots"]):
        amount = f" ({attributes['shots']:.0f} of each class)"
    return f"{attributes['base']} + {attributes['adaptation']}{amount}"


def renamed(table: pd.DataFrame, names: Mapping[str, str]) -> pd.DataFrame:
    """A table whose models have other names."""
    return table.assign(**{column: table[column].replace(names) for column in _COLUMNS if column in table})


def with_names_for_people(results: Results) -> Results:
    """The results with the names of :func:`model_names`."""
    names = model_names(results.metrics)
    tables = {field.name: getattr(results, field.name) for field in fields(results)}
    return replace(results, **{name: renamed(of, names) for name, of in tables.items() if isinstance(of, pd.DataFrame)})
