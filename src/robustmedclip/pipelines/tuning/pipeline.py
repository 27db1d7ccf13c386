"""Connects the tuning nodes."""


from kedro.pipeline import Node, Pipeline

from robustmedclip.pipelines.bind import bind
from robustmedclip.pipelines.tuning.nodes import tune
from robustmedclip.plan import EvaluatedModel, Plan, fraction_label


def create_pipeline(plan: Plan) -> Pipeline:
    """One node per (model, adaptation, fraction, seed)."""
    return Pipeline([_tuning(plan, model) for model in plan.tuned_models])


def _tuning(plan: Plan, model: EvaluatedModel) -> Node:
    templates = {data_set.name: data_set.templates for data_set in plan.data_sets}
    synonyms = {data_set.name: data_set.synonyms for data_set in plan.data_sets}
    return Node(
        bind(
            tune, settings=model.adaptation.settings, seed=model.seed, templates=templates, synonyms=synonyms
        ),
        inputs=[
            f"model-{model.base}",
            f"journal-{model.cell}",
            f"few_shots-{fraction_label(model.fraction)}_s{model.seed}",
            *(f"pool-{data_set.name}" for data_set in plan.data_sets),
            *(f"test-{data_set.name}" for data_set in plan.data_sets if model.adaptation.settings.selection == "test"),
        ],
        outputs=[f"adapter-{model.cell}", f"history-{model.cell}"],
        name="tune",
        namespace=f"tuning.{model.cell}",
    )
