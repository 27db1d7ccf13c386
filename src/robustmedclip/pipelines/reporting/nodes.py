"""Nodes of the reporting."""

from collections.abc import Sequence

import pandas as pd
from matplotlib.figure import Figure

from robustmedclip.metrics import metrics_table
from robustmedclip.pipelines.reporting import figures, tables
from robustmedclip.types import CorruptedSet, Logits

VERSION = 1


def compute_metrics(*logits: Logits, baseline: str) -> pd.DataFrame:
    """Every metric of every model, in one tidy table."""
    return metrics_table(logits, baseline)


def rank_models(metrics: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """The leaderboard, as a table of numbers and as Markdown."""
    leaderboard = tables.leaderboard(metrics)
    return leaderboard, tables.to_markdown(tables.readable_leaderboard(leaderboard))


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
    *few_shots: pd.DataFrame,
    baseline: str,
    suites: Sequence[str],
    seeds: Sequence[int],
    synthetic: Sequence[str],
) -> str:
    """The report, as Markdown."""
    return tables.report(
        metrics, leaderboard, few_shots, baseline=baseline, suites=suites, seeds=seeds, synthetic=synthetic
    )
