"""From the table of metrics to what people read: in a browser, a spreadsheet or a paper."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd
from tabulate import LATEX_ESCAPE_RULES

from robustmedclip.images.conditions import CLEAN
from robustmedclip.metrics.table import ALL, overall


class Table(NamedTuple):
    """A table with its numbers, and as text: rounded, each value with its interval, n in the head of its column."""

    caption: str
    numbers: pd.DataFrame
    text: pd.DataFrame

    def markdown(self) -> str:
        """The text in Markdown, without the caption."""
        return to_markdown(self.text)

    def latex(self, name: str) -> str:
        """A floating table for the package booktabs, labelled ``tab:<name>``."""
        tabular = self.text.to_markdown(index=False, disable_numparse=True, tablefmt="latex_booktabs")
        caption = "".join(LATEX_ESCAPE_RULES.get(letter, letter) for letter in self.caption)
        head = f"\\begin{{table}}\n\\centering\n\\caption{{{caption}}}\n\\label{{tab:{name}}}"
        return f"{head}\n{tabular}\n\\end{{table}}\n"

    def files(self, name: str) -> dict[str, bytes]:
        """The content of ``<name>.csv``, ``<name>.md`` and ``<name>.tex``."""
        contents = {
            "csv": self.numbers.to_csv(index=False, float_format="%.6g"),
            "md": f"{self.caption}\n\n{self.markdown()}\n",
            "tex": self.latex(name),
        }
        return {f"{name}.{ending}": content.encode() for ending, content in contents.items()}


class _Score(NamedTuple):
    """A column: which metric under which conditions, its title, and the decimals that are shown."""

    metric: str
    corruption: str
    title: str
    decimals: int = 1


#: Columns of the leaderboard.
_LEADERBOARD = {
    "clean_error": _Score("clean_error", CLEAN.corruption, "clean error, %"),
    "clean_error_ratio": _Score("clean_error_ratio", CLEAN.corruption, "clean error ratio"),
    "corrupted_error": _Score("error", ALL, "corrupted error, %"),
    "mce": _Score("mce", ALL, "mCE"),
    "relative_mce": _Score("relative_mce", ALL, "relative mCE"),
    "mce_ratio_of_means": _Score("mce_ratio_of_means", ALL, "mCE, ratio of means"),
    "balanced_accuracy": _Score("balanced_accuracy", CLEAN.corruption, "balanced accuracy, %"),
    "auroc": _Score("auroc", CLEAN.corruption, "AUROC", 3),
    "ece": _Score("ece", CLEAN.corruption, "ECE, %"),
}
_SHOWN = ("clean_error", "corrupted_error", "mce", "relative_mce", "balanced_accuracy", "auroc")
_AVERAGES = [
    _Score(metric, corruption, f"{title}, {order}", decimals)
    for name, corruption, title, decimals in [
        ("clean_error_ratio", CLEAN.corruption, "clean error", 1),
        ("mce", ALL, "mCE", 1),
        ("relative_mce", ALL, "relative mCE", 1),
        ("be", ALL, "BE", 2),
        ("rbe", ALL, "relative BE", 2),
    ]
    for metric, order in [
        (name, "mean of ratios"),
        (f"{name.removesuffix('_ratio')}_ratio_of_means", "ratio of means"),
    ]
]
_CALIBRATION = [
    _Score(metric, corruption, f"{title}, {where}{unit}", decimals)
    for metric, title, unit, decimals in [
        ("ece", "ECE", ", %", 1),
        ("scaled_ece", "ECE after temperature scaling", ", %", 1),
        ("brier", "Brier", "", 3),
        ("aurc", "AURC", ", %", 1),
    ]
    for corruption, where in [(CLEAN.corruption, "clean"), (ALL, "corrupted")]
]


def leaderboard(metrics: pd.DataFrame, stability: pd.DataFrame) -> pd.DataFrame:
    """One row per model, the lowest mCE first, with averages over all data sets.

    Returns
    -------
    DataFrame
        ``place`` and its stability over resamples (see :func:`robustmedclip.metrics.rank_stability`), ``model``,
        ``base``, ``method``, ``rank``, ``fraction``, ``seeds`` (how many), then the metrics, with their 95 % interval in
        ``<metric>_low`` and ``<metric>_high`` and the number of test images behind them in ``<metric>_n``, and ``n``,
        the number of all test images.
    """
    seeds = metrics.groupby("model")["seed"].nunique()
    everywhere = overall(metrics)
    everywhere = everywhere[everywhere["severity"].isna()]
    rows = []
    for model, group in everywhere.groupby("model"):
        values = group.set_index(["metric", "corruption"])[["value", "low", "high", "n"]]
        row = {**group.iloc[0][["model", "base", "method", "rank", "fraction"]], "seeds": seeds[model]}
        for column, score in _LEADERBOARD.items():
            found = values.reindex([(score.metric, score.corruption)]).iloc[0]
            row |= {column: found["value"], f"{column}_low": found["low"], f"{column}_high": found["high"]}
            row[f"{column}_n"] = found["n"]
        rows.append(row | {"n": group["n"].max()})
    whole = {"rank": "Int64", **{f"{column}_n": "Int64" for column in _LEADERBOARD}}
    table = stability.merge(pd.DataFrame(rows).astype(whole | {"fraction": "float64"}), on="model")
    return table.sort_values(["mce", "model"], kind="stable", ignore_index=True)


def report_tables(
    metrics: pd.DataFrame, board: pd.DataFrame, comparisons: pd.DataFrame, baseline: str
) -> dict[str, Table]:
    """Every table of the report by name.

    Parameters
    ----------
    metrics, board, comparisons : DataFrame
        As of :func:`robustmedclip.metrics.score_benchmark`, :func:`leaderboard` and
        :func:`robustmedclip.metrics.compare_models`.
    baseline : str
        The model that counts as 100.
    """
    models, everywhere = board["model"].tolist(), overall(metrics)
    of_data_sets = metrics[(metrics["data_set"] != ALL) & metrics["seed"].isna()]
    groups = metrics[metrics["data_set"] == ALL]
    of_modalities = groups[(groups["modality"] != ALL) & (groups["collection"] == ALL)]
    of_collections = groups[(groups["modality"] == ALL) & (groups["collection"] != ALL)]
    scale = f"; {baseline} is 100, lower is better"

    tables = {
        "leaderboard": Table(
            f"Leaderboard, averages over data sets. In mCE, {baseline} is 100", board, _readable(board)
        ),
        "comparisons": Table(
            "Differences of mCE on the same resamples; p by Wald's test, and by Holm's correction for all pairs",
            comparisons,
            _readable_comparisons(comparisons),
        ),
        "averages": _scores(f"Averages over data sets, both ways{scale}", everywhere, models, _AVERAGES),
        "mce_seen_and_held_out": _scores(
            f"mCE on corruptions seen in tuning, and held out of it{scale}",
            everywhere,
            models,
            [_Score("mce_seen", ALL, "mCE, seen"), _Score("mce_held_out", ALL, "mCE, held out")],
        ),
        "clean_error_by_data_set": _pivot(
            "Clean error by data set, %", of_data_sets, models, "clean_error", "data_set"
        ),
        "mce_by_data_set": _pivot(f"mCE by data set{scale}", of_data_sets, models, "mce", "data_set"),
        "mce_by_modality": _pivot(f"mCE by modality{scale}", of_modalities, models, "mce", "modality"),
        "mce_by_collection": _pivot(f"mCE by collection{scale}", of_collections, models, "mce", "collection"),
        "ce_by_corruption": _pivot(f"CE by corruption{scale}", everywhere, models, "ce", "corruption"),
        "relative_ce_by_corruption": _pivot(
            f"Relative CE by corruption{scale}", everywhere, models, "relative_ce", "corruption"
        ),
        "retained_accuracy_by_severity": _pivot(
            "Retained accuracy by severity: what is left of the clean accuracy, %",
            everywhere[everywhere["severity"].notna()].astype({"severity": int}),
            models,
            "retained_accuracy",
            "severity",
        ),
        "calibration": _scores("Calibration and selective risk", everywhere, models, _CALIBRATION),
    }
    for metric, title in [("be", "BE"), ("rbe", "Relative BE")]:
        caption = f"{title} by data set in MedMNIST-C's form; its AlexNet is 1"
        tables[f"{metric}_by_data_set"] = _pivot(caption, of_data_sets, models, metric, "data_set", decimals=2)
    if of_modalities["modality"].nunique() == of_data_sets["data_set"].nunique():
        del tables["mce_by_modality"]
    return {name: table for name, table in tables.items() if len(table.numbers)}


def report(
    metrics: pd.DataFrame,
    tables: Mapping[str, Table],
    duplicates: pd.DataFrame,
    few_shots: Mapping[str, pd.DataFrame],
    *,
    baseline: str,
    suites: Sequence[str],
    synthetic: Sequence[str],
    seen: Sequence[str],
    protocol: str,
    published: Table | None,
) -> str:
    """The report as Markdown: what was run, the tables, and what is undefined."""
    board = tables["leaderboard"].numbers
    sizes = metrics[metrics["data_set"] != ALL].groupby(["data_set", "modality"])["n"].max().reset_index()
    lines = ["# Robustness report", ""]
    if synthetic:
        lines += [
            f"**Synthetic phantoms, not patients:** the images of {', '.join(synthetic)} are drawn by a program.",
            "Figures on them show how the benchmark works; they are not clinical findings.",
            "",
        ]
    if seen:
        lines += [
            f"**Seen in tuning:** {', '.join(seen)}. Figures of tuned models under these corruptions, and their means, do not "
            "say how the models do on corruptions that are new to them; the table of mCE seen and held out does.",
            "",
        ]
    lines += [
        f"**Protocol:** {protocol}.",
        "",
        f"Models: {len(board)}; data sets: {len(sizes)}. Errors are of clean images and under the corruptions of "
        f"{', '.join(suites)} at severities 1 to 5. In ratios, CE and mCE the baseline `{baseline}` is 100; "
        "lower is better. Averages over data sets weigh each data set alike.",
        "",
        "In brackets: 95 % bootstrap interval, over n test images with all conditions of an image kept together"
        f"{_seeds(board)}. It is unbounded where the baseline's part of a ratio vanishes in too many resamples, and a "
        "value is undefined where that part is below 0.01.",
        "",
    ]
    for name, table in tables.items():
        shown = table
        if name == "comparisons":
            first = board["model"].iloc[0]
            pairs = table.numbers[table.numbers[["model", "other"]].eq(first).any(axis=1)]
            shown = Table(f"{table.caption}; the pairs of {first}", pairs, _readable_comparisons(pairs))
        lines += [f"## {shown.caption}", "", shown.markdown(), ""]
    if published is not None:
        lines += [f"## {published.caption}", "", published.markdown(), ""]
    if gaps := undefined(metrics, baseline):
        lines += ["## Undefined", "", "Left out of all averages, for every model:", ""]
        lines += [*(f"- {gap}" for gap in gaps), ""]
    lines += ["## Data", "", to_markdown(sizes.rename(columns={"data_set": "data set", "n": "test images"})), ""]
    lines += _leakage(duplicates)
    if few_shots:
        lines += ["Few-shot images of each cell (up to as many more are for validation):", ""]
        lines += [to_markdown(few_shot_counts(few_shots)), ""]
    return "\n".join(lines)


def _leakage(duplicates: pd.DataFrame) -> list[str]:
    """How many images of each training pool were left out because they are in a test split, by pair of data sets."""
    if duplicates.empty:
        return ["No image of a training pool is also in a test split.", ""]
    pairs = ["pool_set", "test_set", "kind"]
    counts = duplicates.groupby(pairs, as_index=False).size().rename(columns={"pool_set": "training pool of"})
    counts = counts.rename(columns={"test_set": "test split of", "kind": "match", "size": "images"})
    return [
        "Images of the training pools that are also in a test split, and are not trained on:",
        "",
        to_markdown(counts),
        "",
    ]


def to_markdown(table: pd.DataFrame) -> str:
    """A table in Markdown; bars in its cells and titles are escaped."""
    escaped = table.map(_escaped).rename(columns=_escaped)
    return escaped.to_markdown(index=False, disable_numparse=True)


def _escaped(cell: object) -> str:
    return str(cell).replace("|", "\\|")


def _scores(caption: str, rows: pd.DataFrame, models: Sequence[str], scores: Sequence[_Score]) -> Table:
    """A row per model, a column per score that there is."""
    rows = rows[rows["severity"].isna()]
    parts = []
    for score in scores:
        chosen = rows[(rows["metric"] == score.metric) & (rows["corruption"] == score.corruption)]
        parts.append(chosen.assign(title=score.title, decimals=score.decimals))
    return _table(caption, pd.concat(parts), models, ["metric", "corruption"])


def _pivot(
    caption: str, rows: pd.DataFrame, models: Sequence[str], metric: str, columns: str, decimals: int = 1
) -> Table:
    """One metric: a row per model, a column for each of `columns`."""
    chosen = rows[rows["metric"] == metric]
    if columns != "severity":
        chosen = chosen[chosen["severity"].isna()]
    chosen = chosen[chosen["corruption"] != ALL] if columns == "corruption" else chosen[_summary(chosen)]
    chosen = chosen.assign(title=chosen[columns].astype(str), decimals=decimals).sort_values(columns, kind="stable")
    return _table(caption, chosen, models, [columns])


def _summary(rows: pd.DataFrame) -> pd.Series:
    """The rows of a metric that stand for all corruptions, or for the clean images."""
    return rows["corruption"].isin([ALL, CLEAN.corruption])


def _table(caption: str, rows: pd.DataFrame, models: Sequence[str], keys: Sequence[str]) -> Table:
    numbers = rows.sort_values("model", key=lambda names: names.map(models.index), kind="stable")
    columns = {"model": list(models)}
    for title, column in rows.groupby("title", sort=False):
        cells = {row.model: _with_interval(row.value, row.low, row.high, row.decimals) for row in column.itertuples()}
        columns[_headed(title, column["n"])] = [cells.get(model, "") for model in models]
    return Table(caption, numbers[["model", *keys, "value", "low", "high", "n"]], pd.DataFrame(columns))


def _readable(board: pd.DataFrame) -> pd.DataFrame:
    columns = {"place": [_place(row) for row in board.itertuples()], "model": board["model"], "method": board["method"]}
    columns["labels"] = ["" if pd.isna(fraction) else f"{100 * fraction:g} %" for fraction in board["fraction"]]
    for name in _SHOWN:
        cells = board[[name, f"{name}_low", f"{name}_high"]].to_numpy(float)
        title = _headed(_LEADERBOARD[name].title, board[f"{name}_n"])
        columns[title] = [_with_interval(*cell, _LEADERBOARD[name].decimals) for cell in cells]
    columns["first in resamples"] = ["" if pd.isna(share) else f"{100 * share:.0f} %" for share in board["first_share"]]
    return pd.DataFrame(columns)


def _readable_comparisons(comparisons: pd.DataFrame) -> pd.DataFrame:
    differences = comparisons[["difference", "low", "high"]].to_numpy(float)
    return pd.DataFrame(
        {
            "model": comparisons["model"],
            "other": comparisons["other"],
            _headed("difference", comparisons["n"]): [_with_interval(*cell, 1) for cell in differences],
            "p": [_p_value(p) for p in comparisons["p"]],
            "p, Holm": [_p_value(p) for p in comparisons["p_holm"]],
        }
    )


def _place(row: tuple) -> str:
    if pd.isna(row.place):
        return ""
    return (
        f"{row.place:.0f}" if pd.isna(row.place_low) else f"{row.place:.0f} [{row.place_low:.0f}, {row.place_high:.0f}]"
    )


def _p_value(p: float) -> str:
    if pd.isna(p):
        return "undefined"
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def _headed(title: str, n: pd.Series) -> str:
    """The title with the number of test images, which is the same for all models."""
    return title if n.isna().all() else f"{title} (n = {n.max():.0f})"


def _with_interval(value: float, low: float, high: float, decimals: int) -> str:
    if pd.isna(value):
        return "undefined"
    bounds = "unbounded" if pd.isna(low) else f"{low:.{decimals}f}, {high:.{decimals}f}"
    return f"{value:.{decimals}f} [{bounds}]"


def _seeds(board: pd.DataFrame) -> str:
    """What intervals say of the spread over trainings."""
    tuned = board[board["seeds"] > 0]
    if tuned.empty:
        return ""
    several = " and over the seeds of the models trained with several" if (tuned["seeds"] > 1).any() else ""
    single = (
        "; it does not contain the spread over trainings of models with one seed" if (tuned["seeds"] == 1).any() else ""
    )
    return several + single


def published_table(published: Mapping[str, Any]) -> Table:
    """Figures that others published: ``source``, ``baseline``, and ``models``, a mapping of name to its figures."""
    rows = [{"model": name, **figures} for name, figures in published["models"].items()]
    caption = f"Published, not measured here: {published['source']}; its {published['baseline']} is 100"
    return Table(caption, pd.DataFrame(rows), pd.DataFrame(rows))


def undefined(metrics: pd.DataFrame, baseline: str) -> list[str]:
    """A line for each metric that is undefined on some data set, with where."""
    own = metrics[(metrics["model"] == baseline) & (metrics["data_set"] != ALL) & metrics["seed"].isna()]
    own = own[own["value"].isna() & (own["corruption"] != ALL)]
    lines = []
    for metric, rows in own.groupby("metric"):
        places = [
            f"{data_set} ({', '.join(dict.fromkeys(group['corruption']))})"
            for data_set, group in rows.groupby("data_set")
        ]
        lines.append(f"{metric}: {'; '.join(places)}")
    return lines


def few_shot_counts(few_shots: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Training images of each data set and in total, a row per entry of `few_shots`."""
    counts = [
        shots[shots["role"] == "training"].groupby("data_set").size().rename(cell) for cell, shots in few_shots.items()
    ]
    wide = pd.concat(counts, axis=1).T
    wide.insert(0, "total", wide.sum(axis=1))
    return wide.rename_axis("labels").reset_index()
