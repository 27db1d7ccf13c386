"""The tables of subgroups: their errors, and the gaps between them."""

from collections.abc import Sequence

import pandas as pd

from robustmedclip.images.conditions import CLEAN
from robustmedclip.metrics.runs import ALL
from robustmedclip.metrics.subgroups import FEWEST_IMAGES, GAP
from robustmedclip.reporting.note import Note
from robustmedclip.reporting.patients import FEWEST_PATIENTS
from robustmedclip.reporting.table import Table, with_interval, with_n

_KEYS = ["model", "data_set", "subgroup"]


def subgroup_tables(subgroups: pd.DataFrame, models: Sequence[str]) -> dict[str, Table]:
    """The errors of groups, and the gaps between the worst and the best, clean, corrupted and at their widest.

    Parameters
    ----------
    subgroups : DataFrame
        As of :func:`robustmedclip.metrics.subgroups.subgroup_errors`.
    models : sequence of str
        Those that are shown, in the order of the rows.
    """
    shown = subgroups[subgroups["model"].isin(models)]
    order = shown.sort_values("model", key=lambda names: names.map(list(models).index), kind="stable")
    groups, gaps = order[order["group"] != GAP], order[order["group"] == GAP]
    tables = {
        "subgroups": Table(
            f"Errors of subgroups, %. Groups of fewer than {FEWEST_IMAGES} images are not compared",
            order,
            pd.DataFrame([_group_row(rows) for _, rows in groups.groupby([*_KEYS, "group"], sort=False)]),
        )
    }
    if len(gaps):
        text = [_gap_row(rows) for _, rows in gaps.groupby(_KEYS, sort=False)]
        caption = (
            "Gaps between subgroups: percentage points of error between the worst and the best, with intervals that "
            "are corrected for the choice of the two, and of the corruption"
        )
        tables["subgroup_gaps"] = Table(caption, gaps, pd.DataFrame(text))
    return tables


def subgroup_notes(subgroups: pd.DataFrame) -> list[Note]:
    """What a reader has to know of gaps, and the groups of few patients."""
    text = (
        "an error also differs with what the images of a group show: compare the most frequent classes before a gap is "
        "blamed on a model."
    )
    sizes = subgroups[subgroups["group"] != GAP].drop_duplicates(["data_set", "subgroup", "group"])
    few = sizes[(sizes["patients"] < FEWEST_PATIENTS) & (sizes["n"] >= FEWEST_IMAGES)]
    groups = [f"{row.data_set}, {row.subgroup}: {row.group} ({row.patients})" for row in few.itertuples()]
    warning = (
        f"these are of fewer than {FEWEST_PATIENTS}, so that their intervals, and those of their gaps, are too narrow: "
        f"{'; '.join(groups)}."
    )
    notes = [Note("Subgroups:", text)] if len(sizes) else []
    return [*notes, Note("Groups of few patients:", warning, warning=True)] if groups else notes


def _group_row(rows: pd.DataFrame) -> dict[str, str]:
    """What people read of one group."""
    of = rows.set_index("corruption")
    shown = {"clean error, %": of.loc[CLEAN.corruption], "corrupted error, %": of.loc[ALL]}
    small = of["n"].iloc[0] < FEWEST_IMAGES
    return {
        **_names(rows),
        "group": with_n(str(of["group"].iloc[0]), of),
        "most frequent class": f"{of['frequent_class'].iloc[0]} ({of['frequency'].iloc[0]:.0f} %)",
        **{title: "not compared" if small else _with_bounds(row) for title, row in shown.items()},
    }


def _gap_row(rows: pd.DataFrame) -> dict[str, str]:
    """What people read of the gaps of one subgroup: clean, corrupted, and under the corruption where it is widest."""
    of = rows.set_index("corruption")
    each = of.drop(index=[CLEAN.corruption, ALL])
    cells = {"gap, clean": _gap(of.loc[CLEAN.corruption]), "gap, corrupted": _gap(of.loc[ALL])}
    if len(each):
        widest = each.loc[each["value"].idxmax()]
        cells["widest gap"] = f"{widest.name}: {_gap(widest)}"
    return {**_names(rows), **cells}


def _names(rows: pd.DataFrame) -> dict[str, str]:
    return {key.replace("_", " "): str(rows[key].iloc[0]) for key in _KEYS}


def _gap(row: pd.Series) -> str:
    chance = "" if row["low"] > 0 else ", which may be chance"
    return f"{_with_bounds(row)} ({row['worst']} against {row['best']}{chance})"


def _with_bounds(row: pd.Series) -> str:
    return with_interval(row["value"], row["low"], row["high"], 1)
