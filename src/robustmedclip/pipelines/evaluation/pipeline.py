"""Connects the evaluation nodes."""

from functools import partial
from itertools import product, starmap

from kedro.pipeline import Node, Pipeline

from robustmedclip.adaptation.settings import HeadSettings, PromptSettings, TrainingSettings
from robustmedclip.pipelines.bind import bind
from robustmedclip.pipelines.evaluation.nodes import encode, encode_together, evaluate, score, score_head
from robustmedclip.plan.plan import DataSet, EvaluatedModel, Plan


def create_pipeline(plan: Plan) -> Pipeline:
    """For each data set, a node per model that scores, and one per zero-shot model, or for all, that encodes its images.

    Other prompts and heads are scored on the features of their base: they encode no image again.
    """
    together = tuple(filter(plan.reads_with_others, plan.models))
    apart = [model for model in plan.models if model not in together]
    encoding = [_encoding_together(together, data_set) for data_set in plan.data_sets if together]
    encoding += starmap(_encoding, product(apart, plan.data_sets))
    return Pipeline([*encoding, *starmap(_scoring, product(plan.evaluated_models, plan.data_sets))])


def _encoding(model: str, data_set: DataSet) -> Node:
    return Node(
        bind(encode, name=model),
        inputs=[f"model-{model}", f"corrupted-{data_set.name}", "params:evaluation"],
        outputs=f"features-{model}-{data_set.name}",
        name="encode",
        namespace=f"evaluation.{model}.{data_set.name}",
    )


def _encoding_together(models: tuple[str, ...], data_set: DataSet) -> Node:
    """Its namespace is that of a model ``all``, a name that no model has."""
    return Node(
        bind(encode_together, names=models),
        inputs=[f"corrupted-{data_set.name}", "params:evaluation", *(f"model-{model}" for model in models)],
        outputs=[f"features-{model}-{data_set.name}" for model in models],
        name="encode",
        namespace=f"evaluation.all.{data_set.name}",
    )


def _scoring(model: EvaluatedModel, data_set: DataSet) -> Node:
    base, features = f"model-{model.base}", f"features-{model.base}-{data_set.name}"
    logits = f"logits-{model.cell}-{data_set.name}"
    node = partial(Node, outputs=logits, namespace=f"evaluation.{model.cell}.{data_set.name}")
    facts, settings = {"name": model.name, "attributes": model.attributes}, model.settings
    templates = settings.templates if isinstance(settings, PromptSettings) else data_set.templates
    prompts = {"templates": templates, "synonyms": data_set.synonyms}
    if isinstance(settings, TrainingSettings):
        inputs = [base, f"corrupted-{data_set.name}", model.product, "params:evaluation"]
        return node(bind(evaluate, **facts, **prompts), inputs, name="evaluate")
    if isinstance(settings, HeadSettings):
        return node(bind(score_head, **facts), [features, model.product], name="score")
    return node(bind(score, **facts, **prompts), [base, features], name="score")
