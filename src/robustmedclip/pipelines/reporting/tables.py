"""From the table of metrics to what people read."""

from collections.abc import Sequence

import pandas as pd

from robustmedclip.metrics.table import ALL

#: Column of the leaderboard: (metric, corruption, does it have an interval).
_COLUMNS = {
    "clean_error": ("clean_error", "clean", True),
    "clean_error_ratio": ("clean_error_ratio", "clean", True),
    "corrupted_error": ("error", ALL, True),
    "mce": ("mce", ALL, True),
    "relative_mce": ("relative_mce", ALL, True),
    "mce_ratio_of_means": ("mce_ratio_of_means", ALL, True),
    "balanced_accuracy": ("balanced_accuracy", "clean", False),
    "auroc": ("auroc", "clean", False),
    "ece": ("ece", "clean", False),
}
_TITLES = {
    "model": "model",
    "method": "method",
    "fraction": "labels",
    "clean_error": "clean error, %",
    "clean_error_ratio": "clean error ratio",
    "corrupted_error": "corrupted error, %",
    "mce": "mCE",
    "relative_mce": "relative mCE",
}


def leaderboard(metrics: pd.DataFrame) -> pd.DataFrame:
    """One row per model, the lowest mCE first, with averages over all data sets.

    Returns
    -------
    DataFrame
        ``model``, ``base``, ``method``, ``rank``, ``fraction``, ``seeds`` (how many), then the metrics, with
        their 95 % interval in ``<metric>_low`` and ``<metric>_high``, and ``n``, the number of test images.
    """
    seeds = metrics.groupby("model")["seed"].nunique()
    overall = metrics[(metrics["data_set"] == ALL) & (metrics["modality"] == ALL) & metrics["severity"].isna()]
    rows = []
    for model, group in overall.groupby("model"):
        values = group.set_index(["metric", "corruption"])
        row = {**group.iloc[0][["model", "base", "method", "rank", "fraction"]], "seeds": seeds[model]}
        for column, (metric, corruption, has_interval) in _COLUMNS.items():
            found = values.loc[(metric, corruption)]
            row[column] = found["value"]
            if has_interval:
                row |= {f"{column}_low": found["low"], f"{column}_high": found["high"]}
        rows.append(row | {"n": group.iloc[0]["n"]})
    table = pd.DataFrame(rows).astype({"rank": "Int64", "fraction": "float64"})
    return table.sort_values(["mce", "model"], kind="stable", ignore_index=True)


def readable_leaderboard(table: pd.DataFrame) -> pd.DataFrame:
    """The leaderboard for people: rounded, each value with its interval."""
    columns = {}
    for column, title in _TITLES.items():
        if column == "fraction":
            columns[title] = ["" if pd.isna(f) else f"{100 * f:g} %" for f in table[column]]
        elif column in _COLUMNS:
            columns[title] = [
                _with_interval(*row) for row in table[[column, f"{column}_low", f"{column}_high"]].to_numpy()
            ]
        else:
            columns[title] = table[column]
    return pd.DataFrame(columns)


def pivot(metrics: pd.DataFrame, metric: str, models: Sequence[str], columns: str) -> pd.DataFrame:
    """Values with intervals of one metric: a row per model, a column per ``data_set`` or ``corruption``."""
    chosen = metrics[(metrics["metric"] == metric) & metrics["severity"].isna() & metrics["seed"].isna()]
    if columns == "data_set":
        chosen = chosen[chosen["data_set"] != ALL]
    else:
        chosen = chosen[(chosen["data_set"] == ALL) & (chosen["modality"] == ALL)]
    cells = {
        (row.model, getattr(row, columns)): _with_interval(row.value, row.low, row.high)
        for row in chosen.itertuples()
    }
    names = sorted({name for _, name in cells})
    rows = [[model, *(cells.get((model, name), "") for name in names)] for model in models]
    return pd.DataFrame(rows, columns=["model", *names])


def report(
    metrics: pd.DataFrame,
    table: pd.DataFrame,
    few_shots: Sequence[pd.DataFrame],
    *,
    baseline: str,
    suites: Sequence[str],
    seeds: Sequence[int],
    synthetic: Sequence[str],
) -> str:
    """The report as Markdown: what was run, and the tables."""
    models = table["model"].tolist()
    sizes = metrics[metrics["data_set"] != ALL].groupby(["data_set", "modality"])["n"].first().reset_index()
    lines = ["# Robustness report", ""]
    if synthetic:
        lines += [
            f"**Synthetic phantoms, not patients:** the images of {', '.join(synthetic)} are drawn by a program.",
            "Figures on them show how the benchmark works; they are not clinical findings.",
            "",
        ]
    lines += [
        f"Models: {len(models)}; data sets: {len(sizes)}. Errors are of clean images and under the corruptions of "
        f"{', '.join(suites)} at severities 1 to 5. In ratios, CE and mCE the baseline `{baseline}` is 100; "
        "lower is better. Averages over data sets weigh each data set alike. In brackets: 95 % bootstrap "
        "interval over test images, all conditions of an image kept together. It does not contain the "
        f"spread over trainings (seeds: {', '.join(map(str, seeds))}).",
        "",
        "## Leaderboard",
        "",
        to_markdown(readable_leaderboard(table)),
        "",
        "## Clean error by data set, %",
        "",
        to_markdown(pivot(metrics, "clean_error", models, "data_set")),
        "",
        "## mCE by data set",
        "",
        to_markdown(pivot(metrics, "mce", models, "data_set")),
        "",
        "## CE by corruption",
        "",
        to_markdown(pivot(metrics, "ce", models, "corruption")),
        "",
        "## Data",
        "",
        to_markdown(sizes.rename(columns={"data_set": "data set", "n": "test images"})),
        "",
    ]
    if few_shots:
        lines += ["Few-shot images of each cell (as many more choose the epoch):", ""]
        lines += [to_markdown(_few_shot_counts(few_shots)), ""]
    return "\n".join(lines)


def to_markdown(table: pd.DataFrame) -> str:
    """A table in Markdown."""
    return table.to_markdown(index=False, disable_numparse=True)


def _few_shot_counts(few_shots: Sequence[pd.DataFrame]) -> pd.DataFrame:
    counts = [
        shots[shots["role"] == "training"].groupby("data_set").size().rename(position)
        for position, shots in enumerate(few_shots)
    ]
    wide = pd.concat(counts, axis=1).T
    wide.insert(0, "total", wide.sum(axis=1))
    return wide.drop_duplicates().reset_index(drop=True)


def _with_interval(value: float, low: float, high: float) -> str:
    if pd.isna(value):
        return "undefined"
    return f"{value:.1f}" if pd.isna(low) else f"{value:.1f} [{low:.1f}, {high:.1f}]"
