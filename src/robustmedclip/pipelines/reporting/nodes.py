"""Nodes of the reporting."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from robustmedclip.metrics import compare_models, rank_stability, score_benchmark
from robustmedclip.pipelines.reporting import figures, tables
from robustmedclip.types import CorruptedSet, Logits

VERSION = 2


def compute_metrics(
    *logits: Logits, baseline: str, collections: Mapping[str, str], medmnist_c: Sequence[str]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Every metric of every model, in one tidy table; and the mCE of every model in every resample."""
    return score_benchmark(logits, baseline, collections=collections, medmnist_c=medmnist_c)


def rank_models(metrics: pd.DataFrame, mce_resamples: pd.DataFrame) -> pd.DataFrame:
    """The leaderboard."""
    return tables.leaderboard(metrics, rank_stability(mce_resamples))


def compare_pairs(leaderboard: pd.DataFrame, mce_resamples: pd.DataFrame) -> pd.DataFrame:
    """Every pair of models, the one with the lower mCE first, compared on the same resamples."""
    return compare_models(mce_resamples[leaderboard["model"]]).assign(n=leaderboard["mce_n"].iloc[0])


def write_tables(
    metrics: pd.DataFrame, leaderboard: pd.DataFrame, comparisons: pd.DataFrame, *, baseline: str
) -> dict[str, bytes]:
    """Every table as CSV, Markdown and LaTeX."""
    made = tables.report_tables(metrics, leaderboard, comparisons, baseline)
    return {file: content for name, table in made.items() for file, content in table.files(name).items()}


def draw_severity_curves(metrics: pd.DataFrame) -> Figure:
    """Error against severity."""
    return figures.severity_curves(metrics)


def draw_heat_map(metrics: pd.DataFrame) -> Figure:
    """Corruption error of every model under every corruption."""
    return figures.corruption_heat_map(metrics)


def draw_few_shot_curves(metrics: pd.DataFrame) -> Figure:
    """Accuracy against few-shot fraction."""
    return figures.few_shot_curves(metrics)


def draw_montage(*corrupted: CorruptedSet) -> Figure:
    """One image of every data set under every corruption at every severity."""
    return figures.corruption_montage(corrupted)


def write_report(
    metrics: pd.DataFrame,
    leaderboard: pd.DataFrame,
    comparisons: pd.DataFrame,
    *few_shots: pd.DataFrame,
    baseline: str,
    suites: Sequence[str],
    synthetic: Sequence[str],
) -> str:
    """The report, as Markdown."""
    made = tables.report_tables(metrics, leaderboard, comparisons, baseline)
    return tables.report(metrics, made, few_shots, baseline=baseline, suites=suites, synthetic=synthetic)


def write_page(
    metrics: pd.DataFrame,
    leaderboard: pd.DataFrame,
    comparisons: pd.DataFrame,
    parameters: Mapping[str, Any],
    *sets_and_logits: CorruptedSet | Logits,
    baseline: str,
    synthetic: Sequence[str],
) -> str:
    """The report, as one HTML file; `sets_and_logits` are all corrupted sets and the logits of all models."""
    from robustmedclip.pipelines.reporting import charts
    from robustmedclip.pipelines.reporting.examples import worst_flips
    from robustmedclip.pipelines.reporting.page import data_card, page

    sets = {one.clean.name: one for one in sets_and_logits if isinstance(one, CorruptedSet)}
    models = leaderboard["model"].tolist()
    leader = {one.data_set: one for one in sets_and_logits if isinstance(one, Logits) and one.model == models[0]}
    flips = [(flip, sets[name]) for name, logits in leader.items() for flip in worst_flips(logits, 2)]
    made = tables.report_tables(metrics, leaderboard, comparisons, baseline)
    return page(
        leaderboard=made.pop("leaderboard").text,
        tables={table.caption: table.text for table in made.values()},
        charts=[
            (
                "Clean error and mCE",
                "Clean error against mCE of every model, with 95 % intervals; labels say the few-shot fraction. "
                "The best models are at the lower left.",
                charts.error_against_mce(leaderboard),
            ),
            (
                "Corruptions",
                "CE of every model under every corruption, the lowest mCE on top; the baseline is 100.",
                charts.heat_map(metrics, models, "corruption"),
            ),
            (
                "Modalities",
                "mCE of every model on every modality; the baseline is 100.",
                charts.heat_map(metrics, models, "modality"),
            ),
            (
                "Severity",
                "Error against severity, averaged over data sets. The menu chooses the corruption; dashed lines are "
                "zero-shot models.",
                charts.severity_curves(metrics, models),
            ),
            (
                "Labelled images",
                "Accuracy against the share of the training pool that tuning sees; 0 is zero-shot. Solid lines "
                "are clean images, dotted ones the mean over all corruptions and severities.",
                charts.few_shot_curves(metrics),
            ),
        ],
        montage=figures.corruption_montage(list(sets.values())),
        flips=flips,
        flipped_model=models[0],
        cards=[data_card(one) for one in sets.values()],
        synthetic=synthetic,
        baseline=baseline,
        settings={name: value for name, value in parameters.items() if name != "pretraining"},
    )
