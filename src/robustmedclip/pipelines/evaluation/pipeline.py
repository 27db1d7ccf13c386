"""Connects the evaluation nodes."""

from itertools import product

from kedro.pipeline import Node, Pipeline

from robustmedclip.pipelines.bind import bind
from robustmedclip.pipelines.evaluation.nodes import evaluate
from robustmedclip.plan import DataSet, EvaluatedModel, Plan


def create_pipeline(plan: Plan) -> Pipeline:
    """One node per model or adapter, and data set."""
    return Pipeline([_evaluation(*cell) for cell in product(plan.evaluated_models, plan.data_sets)])


def _evaluation(model: EvaluatedModel, data_set: DataSet) -> Node:
    adapter = [f"adapter-{model.cell}"] if model.adaptation else []
    return Node(
        bind(evaluate, name=model.name, attributes=model.attributes, templates=data_set.templates),
        inputs=[f"model-{model.base}", f"corrupted-{data_set.name}", *adapter],
        outputs=f"logits-{model.cell}-{data_set.name}",
        name="evaluate",
        namespace=f"evaluation.{model.cell}.{data_set.name}",
    )
