"""Nodes of the reporting."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from robustmedclip.images.corrupted import CorruptedSet
from robustmedclip.metrics import Metric, Scores, compare_models, rank_stability, score_benchmark
from robustmedclip.metrics.logits import Logits
from robustmedclip.plan.plan import ORIGIN
from robustmedclip.reporting import figures, tables

VERSION = 5


def compute_metrics(
    *logits: Logits,
    baseline: str,
    metrics: Sequence[Metric],
    collections: Mapping[str, str],
    references: Mapping[str, Mapping[str, float]],
    seen: Sequence[str],
) -> Scores:
    """Every metric of every model, in one tidy table; the mCE of every model in every resample; every seed alone."""
    return score_benchmark(logits, baseline, metrics=metrics, collections=collections, references=references, seen=seen)


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


def draw_figures(
    metrics: pd.DataFrame, *corrupted: CorruptedSet
) -> tuple[Figure, Figure, Figure, Figure, dict[str, bytes]]:
    """Error against severity, CE of every model, accuracy against labels, corrupted images; and all as SVG and PDF."""
    drawn = {
        "severity_curves": figures.severity_curves(metrics),
        "corruption_heat_map": figures.corruption_heat_map(metrics),
        "few_shot_curves": figures.few_shot_curves(metrics),
        "corruption_montage": figures.corruption_montage(corrupted),
    }
    vectors = [figures.vector_files(figure, name) for name, figure in drawn.items()]
    return *drawn.values(), {file: content for files in vectors for file, content in files.items()}


def write_report(
    metrics: pd.DataFrame,
    leaderboard: pd.DataFrame,
    comparisons: pd.DataFrame,
    parameters: Mapping[str, Any],
    duplicates: pd.DataFrame,
    *few_shots: pd.DataFrame,
    baseline: str,
    suites: Sequence[str],
    synthetic: Sequence[str],
    seen: Sequence[str],
    protocol: str,
    few_shot_cells: Sequence[str],
) -> str:
    """The report, as Markdown; `few_shot_cells` are the names of the `few_shots`."""
    made = tables.report_tables(metrics, leaderboard, comparisons, baseline)
    return tables.report(
        metrics,
        made,
        duplicates,
        dict(zip(few_shot_cells, few_shots, strict=True)),
        baseline=baseline,
        suites=suites,
        synthetic=synthetic,
        seen=seen,
        protocol=protocol,
        published=_published(parameters),
    )


def write_page(
    metrics: pd.DataFrame,
    leaderboard: pd.DataFrame,
    comparisons: pd.DataFrame,
    parameters: Mapping[str, Any],
    drawn: Mapping[str, bytes],
    *results: CorruptedSet | Logits | pd.DataFrame | dict[str, Any],
    baseline: str,
    synthetic: Sequence[str],
    seen: Sequence[str],
    protocol: str,
    few_shot_cells: Sequence[str],
) -> str:
    """The report, as one HTML file.

    `drawn` are the figures, `results` the data cards and corrupted sets of all data sets, the logits of all models, and the few-shot tables
    named by `few_shot_cells`.
    """
    from robustmedclip.reporting import charts
    from robustmedclip.reporting.examples import worst_flips
    from robustmedclip.reporting.page import data_card, page

    sets = {one.clean.name: one for one in results if isinstance(one, CorruptedSet)}
    cards = {one["name"]: one for one in results if isinstance(one, dict)}
    logits = [one for one in results if isinstance(one, Logits)]
    few_shots = [one for one in results if isinstance(one, pd.DataFrame)]
    models = leaderboard["model"].tolist()
    leader = {one.data_set: one for one in logits if one.model == models[0]}
    flips = [(flip, sets[name]) for name, own in leader.items() for flip in worst_flips(own, 2)]
    made, of_plan = tables.report_tables(metrics, leaderboard, comparisons, baseline), parameters["data_sets"]
    return page(
        leaderboard=made.pop("leaderboard").text,
        tables={table.caption: table.text for table in made.values()},
        charts=[
            (
                "Clean error and mCE",
                "Clean error against mCE of every model, with 95 % intervals; larger points have seen more labelled "
                "images. The best models are at the lower left.",
                charts.error_against_mce(leaderboard, metrics),
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
                "Error against severity, averaged over the data sets that have the corruption. The menu chooses the "
                "corruption; dashed lines are models that saw no labels.",
                charts.severity_curves(metrics, models),
            ),
            (
                "Labelled images",
                "Accuracy against the share of the training pool that tuning sees; level lines are models that saw no "
                "labels. Solid lines are clean images, dotted ones the mean over all corruptions and severities.",
                charts.few_shot_curves(metrics),
            ),
            (
                "Calibration",
                "Share of right predictions against the model's confidence in bins, each image of all data sets counted "
                "alike; on the diagonal, confidence can be trusted. Scaled: after temperature scaling, fitted "
                "on clean images other than the one that is scaled. The menu chooses the model.",
                charts.reliability_diagrams(logits, models),
            ),
        ],
        published=_published(parameters),
        undefined=tables.undefined(metrics, baseline),
        few_shots=tables.few_shot_counts(dict(zip(few_shot_cells, few_shots, strict=True))) if few_shots else None,
        weights=_weights(logits, parameters["models"]),
        montage=drawn["corruption_montage.svg"],
        flips=flips,
        flipped_model=models[0],
        cards=[data_card(one, cards[name], of_plan.get(name, {}).get("origin", {})) for name, one in sets.items()],
        synthetic=synthetic,
        seen=seen,
        protocol=protocol,
        baseline=baseline,
        settings={name: value for name, value in parameters.items() if name not in ("pretraining", "published")},
    )


def _published(parameters: Mapping[str, Any]) -> tables.Table | None:
    return tables.published_table(parameters["published"]) if "published" in parameters else None


def _weights(logits: Sequence[Logits], models: Mapping[str, Any]) -> pd.DataFrame:
    """The content hash of every scored model, and of every seed of it; and where its base is from, as the plan says."""
    rows = [
        {
            "model": one.model,
            "seed": one.attributes["seed"],
            "content hash of the weights": one.attributes.get("weights"),
            "source": "; ".join(origin[key] for key in ORIGIN if key in origin),
        }
        for one in logits
        for origin in [models[one.attributes["base"]].get("origin", {})]
    ]
    return pd.DataFrame(rows, dtype=object).drop_duplicates().fillna("")
