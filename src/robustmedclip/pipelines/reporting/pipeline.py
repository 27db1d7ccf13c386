"""Connects the reporting nodes."""

from collections.abc import Collection, Iterable, Mapping
from functools import partial
from itertools import product
from typing import Any

from kedro.pipeline import Node, Pipeline

from robustmedclip.corruptions import suite
from robustmedclip.metrics import compare_pairs
from robustmedclip.pipelines.bind import bind, without
from robustmedclip.pipelines.reporting.nodes import (
    compare_sites,
    compare_subgroups,
    compute_metrics,
    draw_figures,
    rank_models,
    write_page,
    write_provenance,
    write_report,
    write_tables,
)
from robustmedclip.plan import names
from robustmedclip.plan.plan import DataSet, Plan, fraction_label, shots_label
from robustmedclip.reporting.content import Setting


def create_pipeline(plan: Plan) -> Pipeline:
    """From all logits to the tables, the figures and the report."""
    data_sets = [data_set.name for data_set in plan.data_sets]
    logits = [names.logits(model.cell, name) for model, name in product(plan.evaluated_models, data_sets)]
    cards, corrupted = list(map(names.card, data_sets)), list(map(names.corrupted, data_sets))
    # Every seed draws as many images: those of the first one stand for all.
    cells = {model.name: f"{model.amount}_s{model.seed}" for model in plan.tuned_models if model.seed == plan.seeds[0]}
    labels = {
        **{f"{fraction_label(fraction)}_s{plan.seeds[0]}": f"{100 * fraction:g} %" for fraction in plan.fractions},
        **{f"{shots_label(shots)}_s{plan.seeds[0]}": f"{shots} of each class" for shots in plan.shots},
    }
    few_shots = [names.few_shots(cell) for cell in labels]
    tables = ["metrics", "leaderboard", "comparisons", "missing_cells"]
    levels = ["levels"] if plan.has_bands else []
    shifts = ["shifts"] if plan.shifts else []
    subgroups = ["subgroups"] if plan.divided else []
    told = [*tables, *levels, *shifts, *subgroups, "duplicates", "parameters", *few_shots, *cards]
    sites = {*plan.shifts, *plan.shifts.values()}

    def of_data_sets(chosen: Collection[str]) -> dict[str, str]:
        """The logits on some of the data sets, and their test sets."""
        scored = [entry for entry in logits if names.parts(entry)[1].rpartition("-")[2] in chosen]
        return _by_name([*scored, *map(names.test, sorted(chosen))])

    setting = _setting(plan)
    figures = ["severity_curves", "corruption_heat_map", "few_shot_curves", "corruption_montage", "figures"]
    stage_node = partial(Node, namespace="reporting")
    return Pipeline(
        [
            stage_node(
                bind(compute_metrics, **_scoring(plan)),
                _by_name([*levels, *cards, *map(names.test, data_sets), *logits]),
                ["metrics", "mce_resamples", "seed_metrics", "missing_cells"],
                name="compute_metrics",
                tags=without("logits"),
            ),
            stage_node(compare_pairs, ["metrics", "mce_resamples"], "comparisons", name="compare_pairs"),
            stage_node(
                bind(rank_models, scores=plan.metrics, cells=cells, validating=plan.validating),
                _by_name(["metrics", "mce_resamples", "comparisons", *few_shots]),
                "leaderboard",
                name="rank_models",
            ),
            *(
                stage_node(
                    bind(compare_sites, homes=plan.shifts),
                    of_data_sets(sites),
                    shift,
                    name="compare_sites",
                    tags=without("logits"),
                )
                for shift in shifts
            ),
            *(
                stage_node(
                    compare_subgroups,
                    of_data_sets(plan.divided),
                    subgroup,
                    name="compare_subgroups",
                    tags=without("logits"),
                )
                for subgroup in subgroups
            ),
            stage_node(
                bind(write_tables, setting=setting),
                _by_name([*tables, *shifts, *subgroups]),
                "tables",
                name="write_tables",
            ),
            stage_node(
                draw_figures,
                ["metrics", "leaderboard", *corrupted],
                figures,
                name="draw_figures",
                tags=without("corrupted"),
            ),
            stage_node(
                bind(write_page, setting=setting, few_shot_labels=labels),
                _by_name([*told, "figures", *corrupted, *logits]),
                "report_page",
                name="write_report_page",
                tags=without("corrupted", "logits"),
            ),
            stage_node(
                bind(write_provenance, setting=setting),
                _by_name(["parameters", *corrupted, *map(names.test, data_sets), *logits]),
                "provenance",
                name="write_provenance",
                tags=without("corrupted", "logits"),
            ),
            stage_node(
                bind(write_report, setting=setting, few_shot_labels=labels),
                _by_name(told),
                "report",
                name="write_report",
            ),
        ]
    )


def _setting(plan: Plan) -> Setting:
    """What the report says of the plan."""
    return Setting(
        baseline=plan.baseline,
        metrics=plan.metrics,
        suites=tuple(sorted({data_set.suite for data_set in plan.data_sets})),
        seen=plan.seen_corruptions,
        protocol=plan.protocol_summary,
        related=plan.related_corruptions,
        adaptations=_adaptations(plan),
        tolerated_points=plan.tolerated_points,
        on_the_fly=any(data_set.storage == "on_the_fly" for data_set in plan.data_sets),
        vision_only=plan.vision_only,
        text_adaptations=plan.text_adaptations,
        licences=plan.licences,
    )


def _scoring(plan: Plan) -> dict[str, Any]:
    """What :func:`compute_metrics` has to know of the plan."""
    return {
        "baseline": plan.baseline,
        "metrics": plan.metrics,
        "collections": {
            data_set.name: data_set.collection for data_set in plan.data_sets if data_set.collection is not None
        },
        "references": {data_set.name: _reference_errors(data_set) for data_set in plan.data_sets},
        "seen": plan.seen_corruptions,
    }


def _adaptations(plan: Plan) -> tuple[Mapping[str, str], ...]:
    """What the adaptations of a plan do, for people."""
    return tuple(
        {
            "adaptation": adaptation.name,
            "method": adaptation.method_name,
            "what it is": adaptation.method.title,
            "settings": ", ".join(f"{name}: {value}" for name, value in adaptation.method.changed_settings.items()),
            "corruptions in tuning": ", ".join(adaptation.method.training_corruptions),
        }
        for adaptation in plan.adaptations
    )


def _reference_errors(data_set: DataSet) -> dict[str, Mapping[str, float]]:
    """Errors of the suite's reference model on the releases whose list of corruptions the data set is under."""
    return {
        release: errors
        for release, errors in suite(data_set.suite).reference_errors.items()
        if release.rpartition("_")[0] == data_set.suite_dataset
    }


def _by_name(entries: Iterable[str]) -> dict[str, str]:
    """Inputs that a node is given by the names of their entries."""
    return {entry: entry for entry in entries}
