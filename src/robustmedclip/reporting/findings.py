"""What the report says of findings, of which an image may have several."""

from collections.abc import Sequence

import pandas as pd

from robustmedclip.images.conditions import CLEAN
from robustmedclip.images.findings import SCORINGS
from robustmedclip.metrics import derived
from robustmedclip.metrics.classification import ERROR
from robustmedclip.metrics.findings import BALANCED_ERROR
from robustmedclip.metrics.ranking import AUROC
from robustmedclip.metrics.runs import ALL
from robustmedclip.reporting.note import Note
from robustmedclip.reporting.results import Setting
from robustmedclip.reporting.table import Table, with_interval

#: Metrics that have a table each: title, and decimals.
_SHOWN = {AUROC.name: ("AUROC", 3), BALANCED_ERROR: ("Balanced error, %", 1)}
#: What columns of no one corruption are called.
_TITLES = {CLEAN.corruption: "clean", ALL: "all corruptions"}


def mce_notes(findings: pd.DataFrame | None, setting: Setting) -> list[Note]:
    """What mCE is made of, where that is not the error, or there are findings."""
    if setting.mce_on == ERROR and findings is None:
        return []
    text = f"{setting.mce_on.loss_title}, as are CE, their relatives, and ratios of clean errors."
    return [Note("mCE is made of:", text)]


def finding_notes(setting: Setting) -> list[Note]:
    """How findings are scored and averaged."""
    scored = [
        f"{name} against prompts of '{SCORINGS[scoring].format(finding='<finding>')}'"
        for name, scoring in setting.scorings.items()
    ]
    prompts = f" Those of {'; '.join(scored)}." if scored else ""
    text = (
        "an image may have several of them. Each is scored as a task of two classes, on the images of which it is "
        f"known.{prompts} Every figure of such a data set is the unweighted mean over its findings, and an image is "
        "drawn with all of them for intervals."
    )
    return [Note("Findings:", text)]


def finding_tables(findings: pd.DataFrame, models: Sequence[str], setting: Setting) -> dict[str, Table]:
    """Findings by corruptions, for every model: a table of AUROC and one of balanced errors.

    Parameters
    ----------
    findings : DataFrame
        As of :func:`robustmedclip.metrics.findings.finding_scores`.
    models : sequence of str
        Those that are shown, in the order of the rows.
    setting : Setting
        What mCE is made of.
    """
    shown = findings[findings["model"].isin(models)]
    order = shown.sort_values("model", key=lambda names: names.map(list(models).index), kind="stable")
    return {f"findings_{metric}": _table(order, metric, setting) for metric in _SHOWN}


def _table(findings: pd.DataFrame, metric: str, setting: Setting) -> Table:
    title, decimals = _SHOWN[metric]
    wanted = findings["severity"].isna() & findings["metric"].isin([metric, derived.MCE])
    mce_title = f"mCE of {setting.mce_on.loss_title}"
    text = pd.DataFrame(
        [
            _row(of_finding, metric, decimals, mce_title)
            for _, of_finding in findings[wanted].groupby(["model", "data_set", "finding"], sort=False)
        ]
    ).fillna("")  # of corruptions that a data set lacks
    means = [name for name in (_TITLES[ALL], mce_title) if name in text]
    text = text[[*text.columns.drop(means), *means]]
    caption = f"{title}, of findings by corruption: means over severities; in mCE, {setting.baseline} is 100"
    return Table(caption, findings[findings["metric"].isin([metric, derived.CE, derived.MCE])], text)


def _row(rows: pd.DataFrame, metric: str, decimals: int, mce_title: str) -> dict[str, str]:
    """What people read of one finding of a model."""
    first = rows.iloc[0]
    patients = "" if pd.isna(first["patients"]) else f" of {first['patients']:.0f} patients"
    name, it = ("mean over findings", "any") if first["finding"] == ALL else (first["finding"], "it")
    cells = {
        "model": str(first["model"]),
        "data set": str(first["data_set"]),
        "finding": f"{name} (n = {first['n']} images{patients}, {first['present']} with {it})",
    }
    of_metric = rows[rows["metric"] == metric].set_index("corruption")
    for corruption, row in of_metric.iterrows():
        cells[_TITLES.get(str(corruption), str(corruption))] = _with_bounds(row, decimals)
    for _, row in rows[rows["metric"] == derived.MCE].iterrows():
        cells[mce_title] = _with_bounds(row, 1)
    return cells


def _with_bounds(row: pd.Series, decimals: int) -> str:
    return with_interval(row["value"], row["low"], row["high"], decimals)
