"""Connects the reporting nodes."""

from collections.abc import Callable, Collection, Iterable, Mapping
from functools import partial
from itertools import product, starmap
from typing import Any

from kedro.pipeline import Node, Pipeline

from robustmedclip.corruptions import suite
from robustmedclip.metrics import compare_pairs
from robustmedclip.pipelines.bind import bind, without
from robustmedclip.pipelines.reporting.nodes import (
    collect_precisions,
    compare_findings,
    compare_sites,
    compare_subgroups,
    compute_metrics,
    draw_figures,
    draw_montage,
    rank_models,
    rescale_confidence,
    write_page,
    write_provenance,
    write_report,
    write_tables,
)
from robustmedclip.plan import names
from robustmedclip.plan.amounts import fraction_label, shots_label
from robustmedclip.plan.few_shots import validation_shots
from robustmedclip.plan.plan import DataSet, Plan
from robustmedclip.reporting.results import Setting

_node = partial(Node, namespace="reporting")


def create_pipeline(plan: Plan) -> Pipeline:
    """From all logits to the tables, the figures and the report."""
    return Pipeline([*_measuring(plan), *_comparing_parts(plan), *_telling(plan)])


def _measuring(plan: Plan) -> list[Node]:
    """The metrics and what is made of them alone."""
    levels = ["levels"] if plan.has_bands else []
    # Every seed draws as many images: those of the first one stand for all.
    cells = {model.name: f"{model.amount}_s{model.seed}" for model in plan.tuned_models if model.seed == plan.seeds[0]}
    roles = {adaptation.name: adaptation.method.labelled_roles for adaptation in plan.adaptations}
    return [
        _node(
            bind(compute_metrics, **_scoring(plan)),
            _by_name([*levels, *_of_data_sets(plan, names.card), *_of_data_sets(plan, names.test), *_logits(plan)]),
            ["metrics", "mce_resamples", "seed_metrics", "missing_cells"],
            name="compute_metrics",
            tags=without("logits"),
        ),
        _node(compare_pairs, ["metrics", "mce_resamples"], "comparisons", name="compare_pairs"),
        _node(
            bind(rank_models, scores=plan.metrics, cells=cells, roles=roles),
            _by_name(["metrics", "mce_resamples", "comparisons", *map(names.few_shots, _few_shot_labels(plan))]),
            "leaderboard",
            name="rank_models",
        ),
    ]


def _comparing_parts(plan: Plan) -> list[Node]:
    """Confidence where labelled images tell a temperature; sites, subgroups, findings and precisions, if there are."""

    def node(function: Callable[..., Any], data_sets: Collection[str], output: str, *further: str) -> Node:
        scored = [entry for entry in _logits(plan) if names.parts(entry)[1].rpartition("-")[2] in data_sets]
        inputs = _by_name([*scored, *map(names.test, sorted(data_sets)), *further])
        return _node(function, inputs, output, name=function.__name__, tags=without("logits"))

    sites = {*plan.shifts, *plan.shifts.values()}
    scaled = [model for model in plan.evaluated_models if validation_shots(plan, model)]
    temperatures = [names.temperatures(model.cell) for model in scaled]
    recalibration = _node(
        bind(rescale_confidence, baseline=plan.baseline, homes=plan.shifts),
        _by_name([*_logits(plan), *temperatures, *_of_data_sets(plan, names.test)]),
        "recalibration",
        name="rescale_confidence",
        tags=without("logits", "temperatures"),
    )
    precisions = _node(
        collect_precisions,
        _by_name(starmap(names.precision, _cells(plan))),
        "precisions",
        name="collect_precisions",
        tags=without("precision"),
    )
    of_sites = bind(compare_sites, baseline=plan.baseline, homes=plan.shifts)
    of_findings = bind(compare_findings, baseline=plan.baseline, mce_on=plan.mce_on)
    groups, levels = map(names.groups, plan.divided), ["levels"] if plan.has_bands else []
    return [
        *([recalibration] if scaled else []),
        *([node(of_sites, sites, "shifts", *levels)] if sites else []),
        *([node(compare_subgroups, plan.divided, "subgroups", *groups, *levels)] if plan.divided else []),
        *([node(of_findings, plan.with_findings, "findings", *levels)] if plan.with_findings else []),
        *([precisions] if plan.compares_precisions else []),
    ]


def _telling(plan: Plan) -> list[Node]:
    """Tables, figures and reports."""
    corrupted, logits, labels, setting = (
        _of_data_sets(plan, names.corrupted),
        _logits(plan),
        _few_shot_labels(plan),
        _setting(plan),
    )
    tables = ["metrics", "leaderboard", "comparisons", "missing_cells"]
    parts = [node.outputs[0] for node in _comparing_parts(plan)]
    levels, few_shots = ["levels"] if plan.has_bands else [], map(names.few_shots, labels)
    cards = _of_data_sets(plan, names.card)
    told = [*tables, *levels, *parts, "duplicates", "parameters", *few_shots, *cards]
    figures = ["severity_curves", "corruption_heat_map", "few_shot_curves", "figures"]
    return [
        _node(
            bind(write_tables, setting=setting),
            _by_name([*tables, *parts]),
            "tables",
            name="write_tables",
        ),
        _node(
            draw_montage,
            corrupted,
            ["corruption_montage", "montage"],
            name="draw_montage",
            tags=without("corrupted"),
        ),
        _node(
            draw_figures,
            ["metrics", "leaderboard", "montage", *corrupted],
            figures,
            name="draw_figures",
            tags=without("corrupted"),
        ),
        _node(
            bind(write_page, setting=setting, few_shot_labels=labels),
            _by_name([*told, "montage", *corrupted, *logits]),
            "report_page",
            name="write_report_page",
            tags=without("corrupted", "logits"),
        ),
        _node(
            bind(write_provenance, setting=setting),
            _by_name(["parameters", *corrupted, *_of_data_sets(plan, names.test), *logits]),
            "provenance",
            name="write_provenance",
            tags=without("corrupted", "logits"),
        ),
        _node(
            bind(write_report, setting=setting, few_shot_labels=labels), _by_name(told), "report", name="write_report"
        ),
    ]


def _logits(plan: Plan) -> list[str]:
    """The logits of all models on all data sets."""
    return list(starmap(names.logits, _cells(plan)))


def _cells(plan: Plan) -> list[tuple[str, str]]:
    """Every model, and seed of it, with every data set."""
    return [(model.cell, of.name) for model, of in product(plan.evaluated_models, plan.data_sets)]


def _of_data_sets(plan: Plan, entry: Callable[[str], str]) -> list[str]:
    """An entry of each data set."""
    return [entry(data_set.name) for data_set in plan.data_sets]


def _few_shot_labels(plan: Plan) -> dict[str, str]:
    """Few-shot images of the first seed to what they are called."""
    return {
        **{f"{fraction_label(fraction)}_s{plan.seeds[0]}": f"{100 * fraction:g} %" for fraction in plan.fractions},
        **{f"{shots_label(shots)}_s{plan.seeds[0]}": f"{shots} of each class" for shots in plan.shots},
    }


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
        mce_on=plan.mce_on,
        scorings={data_set.name: data_set.scoring for data_set in plan.data_sets if data_set.scoring},
    )


def _scoring(plan: Plan) -> dict[str, Any]:
    """What :func:`compute_metrics` has to know of the plan."""
    return {
        "baseline": plan.baseline,
        "metrics": plan.metrics,
        "mce_on": plan.mce_on,
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
