"""Connects the evaluation nodes."""

from functools import partial
from itertools import product

from kedro.pipeline import Node, Pipeline

from robustmedclip.adaptation.settings import HeadSettings, PromptSettings, TrainingSettings
from robustmedclip.pipelines.bind import bind
from robustmedclip.pipelines.evaluation.nodes import encode, evaluate, score, score_head
from robustmedclip.plan import DataSet, EvaluatedModel, Plan


def create_pipeline(plan: Plan) -> Pipeline:
    """For each data set, two nodes per zero-shot model, of which the first encodes its images, and one per other model.

    Other prompts and heads are scored on the features of their base: they encode no image again.
    """
    cells = product(plan.evaluated_models, plan.data_sets)
    return Pipeline([node for cell in cells for node in _evaluation(*cell)])


def _evaluation(model: EvaluatedModel, data_set: DataSet) -> list[Node]:
    base, corrupted = f"model-{model.base}", f"corrupted-{data_set.name}"
    features, logits = f"features-{model.base}-{data_set.name}", f"logits-{model.cell}-{data_set.name}"
    node = partial(Node, outputs=logits, namespace=f"evaluation.{model.cell}.{data_set.name}")
    facts, settings = {"name": model.name, "attributes": model.attributes}, model.settings
    templates = settings.templates if isinstance(settings, PromptSettings) else data_set.templates
    prompts = {"templates": templates, "synonyms": data_set.synonyms}
    if isinstance(settings, TrainingSettings):
        inputs = [base, corrupted, model.product, "params:evaluation"]
        return [node(bind(evaluate, **facts, **prompts), inputs, name="evaluate")]
    if isinstance(settings, HeadSettings):
        return [node(bind(score_head, **facts), [features, model.product], name="score")]
    scoring = node(bind(score, **facts, **prompts), [base, features], name="score")
    if settings:
        return [scoring]
    inputs = [base, corrupted, "params:evaluation"]
    return [node(bind(encode, name=model.name), inputs, outputs=features, name="encode"), scoring]
