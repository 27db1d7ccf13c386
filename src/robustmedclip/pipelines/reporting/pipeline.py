"""Connects the reporting nodes."""

from functools import partial
from itertools import product
from typing import Any

from kedro.pipeline import Node, Pipeline

from robustmedclip.metrics.alexnet import ALEXNET
from robustmedclip.pipelines.bind import bind
from robustmedclip.pipelines.reporting.nodes import (
    compare_pairs,
    compute_metrics,
    draw_figures,
    rank_models,
    write_page,
    write_report,
    write_tables,
)
from robustmedclip.plan.plan import Plan, fraction_label


def create_pipeline(plan: Plan) -> Pipeline:
    """From all logits to the tables, the figures and the report."""
    logits = [
        f"logits-{model.cell}-{data_set.name}" for model, data_set in product(plan.evaluated_models, plan.data_sets)
    ]
    # Every seed draws as many images: those of the first one stand for all.
    few_shots = [f"few_shots-{fraction_label(fraction)}_s{plan.seeds[0]}" for fraction in plan.fractions]
    corrupted = [f"corrupted-{data_set.name}" for data_set in plan.data_sets]
    cards = [f"card-{data_set.name}" for data_set in plan.data_sets]
    facts = {
        "baseline": plan.baseline,
        "synthetic": [data_set.name for data_set in plan.data_sets if data_set.synthetic],
        "seen": plan.seen_corruptions,
        "protocol": plan.protocol_summary,
        "few_shot_cells": [f"{100 * fraction:g} %" for fraction in plan.fractions],
    }
    stage_node = partial(Node, namespace="reporting")
    return Pipeline(
        [
            stage_node(
                bind(compute_metrics, **scoring(plan)),
                logits,
                ["metrics", "mce_resamples", "seed_metrics"],
                name="compute_metrics",
            ),
            stage_node(rank_models, ["metrics", "mce_resamples"], "leaderboard", name="rank_models"),
            stage_node(compare_pairs, ["leaderboard", "mce_resamples"], "comparisons", name="compare_pairs"),
            stage_node(
                bind(write_tables, baseline=plan.baseline),
                ["metrics", "leaderboard", "comparisons"],
                "tables",
                name="write_tables",
            ),
            stage_node(
                draw_figures,
                ["metrics", *corrupted],
                ["severity_curves", "corruption_heat_map", "few_shot_curves", "corruption_montage", "figures"],
                name="draw_figures",
            ),
            stage_node(
                bind(write_page, **facts),
                [
                    "metrics",
                    "leaderboard",
                    "comparisons",
                    "parameters",
                    "figures",
                    *cards,
                    *corrupted,
                    *logits,
                    *few_shots,
                ],
                "report_page",
                name="write_report_page",
            ),
            stage_node(
                bind(write_report, **facts, suites=sorted({data_set.suite for data_set in plan.data_sets})),
                ["metrics", "leaderboard", "comparisons", "parameters", "duplicates", *few_shots],
                "report",
                name="write_report",
            ),
        ]
    )


def scoring(plan: Plan) -> dict[str, Any]:
    """What :func:`robustmedclip.metrics.score_benchmark` has to know of the plan."""
    return {
        "baseline": plan.baseline,
        "collections": {one.name: one.collection for one in plan.data_sets if one.collection is not None},
        "metrics": plan.metrics,
        "references": {
            one.name: ALEXNET[one.name] for one in plan.data_sets if one.suite_dataset == one.name and not one.synthetic
        },
        "seen": plan.seen_corruptions,
    }
