"""From the table of metrics to the tables that people read: in a browser, a spreadsheet or a paper."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType

import pandas as pd

from robustmedclip.images.conditions import CLEAN
from robustmedclip.metrics import Metric, derived, operating_range, overall
from robustmedclip.metrics.runs import ALL
from robustmedclip.reporting.further_tables import further_tables
from robustmedclip.reporting.leaderboard import Column, made_of, readable_leaderboard
from robustmedclip.reporting.missing import without
from robustmedclip.reporting.results import Results, Setting
from robustmedclip.reporting.table import Table, model_table, text_table, with_interval, with_n

_AVERAGES = [
    Column(metric, corruption, f"{title}, {order}", decimals)
    for name, corruption, title, decimals in [
        (derived.CLEAN_ERROR_RATIO, CLEAN.corruption, "clean error", 1),
        (derived.MCE, ALL, "mCE", 1),
        (derived.RELATIVE_MCE, ALL, "relative mCE", 1),
        (derived.BE, ALL, "BE", 2),
        (derived.RBE, ALL, "relative BE", 2),
    ]
    for metric, order in [
        (name, "mean of ratios"),
        (f"{name.removesuffix('_ratio')}_ratio_of_means", "ratio of means"),
    ]
]
_SEEN = [Column(derived.MCE_SEEN, ALL, "mCE, seen"), Column(derived.MCE_HELD_OUT, ALL, "mCE, held out")]
_BETTER = {True: "higher is better", False: "lower is better", None: "0 is best"}
#: Captions of the tables that metrics choose.
_CAPTIONS = {"calibration": "Calibration and selective risk"}


def report_tables(results: Results, setting: Setting) -> dict[str, Table]:
    """Every table of the report by name, but those that would be empty."""
    metrics, board, scores = results.metrics, results.leaderboard, setting.metrics
    models, ratios = board["model"].tolist(), made_of(setting.mce_on)
    tables = {
        "leaderboard": Table(
            f"Leaderboard, averages over data sets. In mCE{ratios}, {setting.baseline} is 100"
            f"{without(results.missing_cells)}",
            board,
            readable_leaderboard(board, scores),
        ),
        "operating_range": _operating_range(metrics, models, setting.tolerated_points),
        "comparisons": comparison_table(results.comparisons),
        **_ratio_tables(
            metrics, models, f"{ratios}; {setting.baseline} is 100, lower is better", setting.related.keys()
        ),
        "retained_accuracy_by_severity": _by(
            "Retained accuracy by severity: what is left of the clean accuracy, %",
            overall(metrics)[lambda rows: rows["severity"].notna()].astype({"severity": int}),
            models,
            derived.RETAINED_ACCURACY,
            "severity",
        ),
        **_metric_tables(metrics, models, scores),
        **_severity_tables(metrics, models, scores),
        **_balanced_error_tables(metrics, models),
        **further_tables(models, results, setting),
    }
    return {name: table.with_common_n() for name, table in tables.items() if len(table.numbers)}


def comparison_table(comparisons: pd.DataFrame, of: str | None = None) -> Table:
    """How pairs of models differ: all of them, or those with a model."""
    caption = "Differences of mCE on the same resamples; p by Wald's test, and by Holm's correction for all pairs"
    if of is not None:
        comparisons = comparisons[comparisons[["model", "other"]].eq(of).any(axis=1)]
        caption += f"; the pairs of {of}"
    differences = zip(comparisons["difference"], comparisons["low"], comparisons["high"], strict=True)
    text = {
        "model": comparisons["model"],
        "other": comparisons["other"],
        with_n("difference", comparisons): [with_interval(value, low, high, 1) for value, low, high in differences],
        "p": [_p_value(p) for p in comparisons["p"]],
        "p, Holm": [_p_value(p) for p in comparisons["p_holm"]],
    }
    return Table(caption, comparisons, pd.DataFrame(text))


def _operating_range(metrics: pd.DataFrame, models: Sequence[str], points: float) -> Table:
    """The highest severity up to which each model holds."""
    severities = operating_range(metrics, points).reindex(models).rename_axis(columns=None)
    by_corruption = overall(metrics).groupby("corruption")
    severities.columns = [with_n(name, by_corruption.get_group(name)) for name in severities.columns]
    severities = severities.reset_index()
    caption = (
        f"Operating range: the severity up to which the error stays within {points:g} points of that of clean images; "
        "0 where severity 1 costs more already"
    )
    return text_table(caption, severities if severities.shape[1] > 1 else severities.head(0))


def metric_definitions(scores: Sequence[Metric]) -> pd.DataFrame:
    """What the metrics are and where they are defined, for people."""
    rows = [
        {
            "metric": score.title + (", %" if score.unit else ""),
            "better": _BETTER[score.higher_is_better].removesuffix(" is better").removesuffix(" is best"),
            "definition": score.source,
        }
        for score in scores
    ]
    return pd.DataFrame(rows)


def _ratio_tables(
    metrics: pd.DataFrame, models: Sequence[str], scale: str, related: Collection[str]
) -> dict[str, Table]:
    """Clean errors, CE and mCE, of averages and of each data set, modality, collection and corruption.

    `scale` is the end of the captions of ratios.
    """
    everywhere, of_data_sets = overall(metrics), _of_data_sets(metrics)
    groups = metrics[metrics["data_set"] == ALL]
    of_modalities = groups[(groups["modality"] != ALL) & (groups["collection"] == ALL)]
    of_collections = groups[(groups["modality"] == ALL) & (groups["collection"] != ALL)]
    titles = {name: f"{name} (relatives in tuning)" for name in related}
    tables = {
        "averages": _side_by_side(f"Averages over data sets, both ways{scale}", everywhere, models, _AVERAGES),
        "mce_seen_and_held_out": _side_by_side(
            f"mCE on corruptions seen in tuning, and held out of it{scale}", everywhere, models, _SEEN
        ),
        "clean_error_by_data_set": _by(
            "Clean error by data set, %", of_data_sets, models, derived.CLEAN_ERROR, "data_set"
        ),
        "mce_by_data_set": _by(f"mCE by data set{scale}", of_data_sets, models, derived.MCE, "data_set"),
        "mce_by_modality": _by(f"mCE by modality{scale}", of_modalities, models, derived.MCE, "modality"),
        "mce_by_collection": _by(f"mCE by collection{scale}", of_collections, models, derived.MCE, "collection"),
        "ce_by_corruption": _by(
            f"CE by corruption{scale}", everywhere, models, derived.CE, "corruption", titles=titles
        ),
        "relative_ce_by_corruption": _by(
            f"Relative CE by corruption{scale}", everywhere, models, derived.RELATIVE_CE, "corruption", titles=titles
        ),
    }
    if of_modalities["modality"].nunique() == of_data_sets["data_set"].nunique():
        del tables["mce_by_modality"]
    return tables


def _metric_tables(metrics: pd.DataFrame, models: Sequence[str], scores: Sequence[Metric]) -> dict[str, Table]:
    """The tables that metrics choose, clean and corrupted."""
    tables = {}
    for name in dict.fromkeys(score.table for score in scores if score.table is not None):
        chosen = [score for score in scores if score.table == name]
        columns = [
            Column(score.name, corruption, f"{score.title}, {images}{', %' if score.unit else ''}", score.decimals)
            for score in chosen
            for corruption, images in [(CLEAN.corruption, "clean"), (ALL, "corrupted")]
        ]
        caption = f"{_CAPTIONS.get(name, name.replace('_', ' ').capitalize())}; {_directions(chosen)}"
        tables[name] = _side_by_side(caption, overall(metrics), models, columns)
    return tables


def _severity_tables(metrics: pd.DataFrame, models: Sequence[str], scores: Sequence[Metric]) -> dict[str, Table]:
    """The tables of metrics that have one of each severity."""
    rows = overall(metrics)[lambda rows: rows["severity"].notna()].astype({"severity": int})
    return {
        f"{score.name}_by_severity": _by(
            f"{score.title} by severity{', %' if score.unit else ''}; {_directions([score])}",
            rows,
            models,
            score.name,
            "severity",
            decimals=score.decimals,
        )
        for score in scores
        if score.by_severity
    }


def _directions(scores: Sequence[Metric]) -> str:
    """Which values are better, first those of most metrics."""
    titles: dict[bool | None, list[str]] = defaultdict(list)
    for score in scores:
        titles[score.higher_is_better].append(score.title)
    most, *others = sorted(titles, key=lambda direction: -len(titles[direction]))
    return "; ".join([_BETTER[most], *(f"{_BETTER[other]} in {', '.join(titles[other])}" for other in others)])


def _balanced_error_tables(metrics: pd.DataFrame, models: Sequence[str]) -> dict[str, Table]:
    return {
        f"{metric}_by_data_set": _by(
            f"{title} by data set in MedMNIST-C's form; its AlexNet is 1",
            _of_data_sets(metrics),
            models,
            metric,
            "data_set",
            decimals=2,
        )
        for metric, title in [(derived.BE, "BE"), (derived.RBE, "Relative BE")]
    }


def _of_data_sets(metrics: pd.DataFrame) -> pd.DataFrame:
    return metrics[(metrics["data_set"] != ALL) & metrics["seed"].isna()]


def _side_by_side(caption: str, rows: pd.DataFrame, models: Sequence[str], columns: Sequence[Column]) -> Table:
    """A row per model, the columns that there are."""
    rows = rows[rows["severity"].isna()]
    parts = []
    for column in columns:
        chosen = rows[(rows["metric"] == column.metric) & (rows["corruption"] == column.corruption)]
        parts.append(chosen.assign(title=column.title, decimals=column.decimals))
    return model_table(caption, pd.concat(parts), models, ["metric", "corruption"])


def _by(
    caption: str,
    rows: pd.DataFrame,
    models: Sequence[str],
    metric: str,
    columns: str,
    decimals: int = 1,
    titles: Mapping[str, str] = MappingProxyType({}),
) -> Table:
    """One metric: a row per model, a column for each of `columns`, with a title of its own or its name."""
    chosen = rows[rows["metric"] == metric]
    if columns != "severity":
        chosen = chosen[chosen["severity"].isna()]
    if columns == "corruption":
        chosen = chosen[chosen["corruption"] != ALL]
    else:
        chosen = chosen[chosen["corruption"].isin([ALL, CLEAN.corruption])]
    names = chosen[columns].astype(str)
    chosen = chosen.assign(title=names.replace(dict(titles)), decimals=decimals).sort_values(columns, kind="stable")
    return model_table(caption, chosen, models, [columns])


def _p_value(p: float) -> str:
    if pd.isna(p):
        return "undefined"
    return "< 0.001" if p < 0.001 else f"{p:.3f}"
