"""The charts of the page: what they are called, and what is said of each view of them."""

from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType

import numpy as np
import pandas as pd

from robustmedclip.metrics.logits import Logits
from robustmedclip.metrics.runs import ALL
from robustmedclip.reporting.drawing import REFERENCE, Chart, View, chart_with_views, finished, lines_with_views
from robustmedclip.reporting.interactive import (
    dumbbell_chart,
    error_against_mce,
    few_shot_curves,
    heat_map,
    reliability_diagrams,
    severity_curves,
)
from robustmedclip.reporting.recalibration import confidence_panels

_MARKED = " * Some adaptation was trained on relatives of this corruption."


def page_charts(
    metrics: pd.DataFrame,
    leaderboard: pd.DataFrame,
    logits: Sequence[Logits],
    chances: Mapping[str, float],
    *,
    related: Collection[str] = (),
    recalibration: pd.DataFrame | None = None,
    patients: Mapping[str, np.ndarray | None] = MappingProxyType({}),
) -> list[Chart]:
    """The charts of the page.

    Parameters
    ----------
    metrics, leaderboard, recalibration : DataFrame
        As of :func:`robustmedclip.metrics.score_benchmark`, :func:`robustmedclip.reporting.leaderboard.leaderboard` and
        :func:`robustmedclip.metrics.recalibration.recalibration`.
    logits : sequence of Logits
        Of all models on all data sets.
    chances : mapping
        As of :func:`robustmedclip.reporting.figure_data.chance_errors`.
    related : collection of str
        Corruptions of whose family some adaptation saw one in training: they are marked.
    patients : mapping
        Data set to whose each of its images is, where that is known.
    """
    models = leaderboard["model"].tolist()
    chance = chances[ALL]
    return [
        Chart(
            "From clean to corrupted",
            "Error of every model on clean images (filled) and its mean over corruptions and severities (open), "
            "with 95 % intervals, as in brackets; dashed lines are models that saw no labels.",
            dumbbell_chart(leaderboard, metrics, chance),
        ),
        Chart(
            "Clean error and mCE",
            "Clean error against mCE of every model, with 95 % intervals; larger points have seen more labelled "
            "images. The best models are at the lower left; the dotted line is a guess.",
            error_against_mce(leaderboard, metrics, chance),
        ),
        *_heat_maps(metrics, models, related),
        _severity_chart(metrics, models, chances, related),
        Chart(
            "Labelled images",
            "Error against the labelled images that tuning sees, those to validate included; level lines are models "
            "that saw no labels. Solid lines are clean images, dotted ones the mean over corruptions and "
            "severities; the dotted grey one is a guess.",
            few_shot_curves(metrics, leaderboard, chances),
        ),
        _calibration_chart(logits, models, patients),
        *_confidence_charts(recalibration, models),
    ]


def _calibration_chart(
    logits: Sequence[Logits], models: Sequence[str], patients: Mapping[str, np.ndarray | None]
) -> Chart:
    return chart_with_views(
        "Calibration",
        reliability_diagrams(logits, models, patients),
        lambda model: (
            f"Fraction of right predictions of {model} against its confidence in bins, each image of all data sets "
            "counted alike; larger points hold more predictions. On the diagonal, confidence can be trusted; ECE "
            "is the mean distance from it. Scaled: after temperature scaling, fitted on clean images other than "
            "the one that is scaled."
        ),
    )


def _confidence_charts(recalibration: pd.DataFrame | None, models: Sequence[str]) -> list[Chart]:
    """Confidence by severity, if there are temperatures."""
    panels = {} if recalibration is None else confidence_panels(recalibration, models)
    if not panels:
        return []
    figure = lines_with_views(panels, hovertemplate="severity %{x}<br>%{y:.1f} %")
    figure.add_hline(y=0, line=REFERENCE)
    return [
        chart_with_views(
            "Confidence by severity",
            finished(figure, "severity (0: clean)", "%", entries=max(map(len, panels.values()))),
            lambda model: (
                f"Overconfidence of {model}, its mean confidence minus its accuracy, and its ECE, means over data sets "
                "and corruptions with 95 % intervals; above 0 it is surer than it is right. Dotted: with a temperature "
                "that was fitted to clean validation images, none of them a test image."
            ),
        )
    ]


def _heat_maps(metrics: pd.DataFrame, models: list[str], related: Collection[str]) -> list[Chart]:
    """Of corruptions and of modalities."""
    mark = _MARKED if related else ""
    of_corruptions = {
        "CE": "CE of every model, in the order of the leaderboard, under every corruption: its errors relative to the "
        f"baseline's, which is 100 and white; lower is better.{mark}",
        "points lost": "Error under the corruption minus that of clean images, in percentage points; lower is better."
        f"{mark}",
    }
    of_modalities = {
        "mCE": "mCE of every model on every modality; the baseline is 100 and white, lower is better.",
        "points lost": "Error under corruption minus that of clean images, in percentage points, on every modality; "
        "lower is better.",
    }
    return [
        chart_with_views(
            "Corruptions", heat_map(metrics, models, "corruption", related), of_corruptions.__getitem__, wide=True
        ),
        chart_with_views("Modalities", heat_map(metrics, models, "modality"), of_modalities.__getitem__, wide=True),
    ]


def _severity_chart(
    metrics: pd.DataFrame, models: list[str], chances: Mapping[str, float], related: Collection[str]
) -> Chart:
    """Panels of the models with the most labels, or of all."""
    figure = severity_curves(metrics, models, chances, related)
    first = [trace.visible is not False for trace in figure.data]
    shown = {"the models with the most labels": first, "all models": [True] * len(first)}
    if all(first):
        del shown["the models with the most labels"]
    views = tuple(
        View(
            label,
            traces,
            f"Error against severity (0: clean) of {label}, with 95 % intervals: the mean over corruptions, then each "
            "corruption, averaged over the data sets that have it; dashed lines are models that saw no labels, and the "
            f"dotted one is a guess.{_MARKED if related else ''}",
        )
        for label, traces in shown.items()
    )
    return Chart("Severity", views[0].description, figure, views=views)
