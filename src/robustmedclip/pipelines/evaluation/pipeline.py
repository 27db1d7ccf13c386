"""Connects the evaluation nodes."""

from itertools import product

from kedro.pipeline import Node, Pipeline

from robustmedclip.pipelines.bind import bind
from robustmedclip.pipelines.evaluation.nodes import encode, evaluate, score
from robustmedclip.plan import DataSet, EvaluatedModel, Plan


def create_pipeline(plan: Plan) -> Pipeline:
    """For each data set, two nodes per zero-shot model, so that other prompts encode no image again; one per adapter."""
    cells = product(plan.evaluated_models, plan.data_sets)
    return Pipeline([node for cell in cells for node in _evaluation(*cell)])


def _evaluation(model: EvaluatedModel, data_set: DataSet) -> list[Node]:
    base, corrupted = f"model-{model.base}", f"corrupted-{data_set.name}"
    features, logits = f"features-{model.cell}-{data_set.name}", f"logits-{model.cell}-{data_set.name}"
    namespace = f"evaluation.{model.cell}.{data_set.name}"
    settings = {
        "name": model.name,
        "attributes": model.attributes,
        "templates": data_set.templates,
        "synonyms": data_set.synonyms,
    }
    if model.adaptation:
        inputs = [base, corrupted, f"adapter-{model.cell}", "params:evaluation"]
        return [Node(bind(evaluate, **settings), inputs, logits, name="evaluate", namespace=namespace)]
    inputs = [base, corrupted, "params:evaluation"]
    return [
        Node(bind(encode, name=model.name), inputs, features, name="encode", namespace=namespace),
        Node(bind(score, **settings), [base, features], logits, name="score", namespace=namespace),
    ]
