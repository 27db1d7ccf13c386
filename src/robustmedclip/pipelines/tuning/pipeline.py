"""Connects the tuning nodes."""

from kedro.pipeline import Node, Pipeline

from robustmedclip.pipelines.bind import RUNS_NETWORK, bind
from robustmedclip.pipelines.tuning.nodes import fit
from robustmedclip.plan import names
from robustmedclip.plan.plan import EvaluatedModel, Plan


def create_pipeline(plan: Plan) -> Pipeline:
    """One node per (model, adaptation, fraction, seed)."""
    return Pipeline([_fitting(plan, model) for model in plan.tuned_models])


def _fitting(plan: Plan, model: EvaluatedModel) -> Node:
    assert model.method and model.artefact and model.amount  # as every tuned model has
    function = bind(
        fit,
        method=model.method,
        seed=model.seed,
        templates={data_set.name: data_set.templates for data_set in plan.data_sets},
        synonyms={data_set.name: data_set.synonyms for data_set in plan.data_sets},
    )
    data_sets = [data_set.name for data_set in plan.data_sets]
    inputs = [
        names.model(model.base),
        names.checkpoint(model.cell),
        model.few_shots,
        "params:evaluation",
        *map(names.pool, data_sets),
        *(map(names.test, data_sets) if model.method.needs_test_images else ()),
    ]
    outputs = [model.artefact, names.history(model.cell)]
    return Node(function, inputs, outputs, name="fit", namespace=f"tuning.{model.cell}", tags=RUNS_NETWORK)
