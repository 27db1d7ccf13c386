"""Connects the evaluation nodes."""

from collections.abc import Callable
from itertools import product, starmap

from kedro.pipeline import Node, Pipeline

from robustmedclip.adaptation.methods import Method
from robustmedclip.metrics.logits import Logits
from robustmedclip.pipelines.bind import bind
from robustmedclip.pipelines.evaluation.nodes import encode, encode_and_score, encode_with_each, score
from robustmedclip.plan import names
from robustmedclip.plan.plan import DataSet, EvaluatedModel, Plan

#: How a model is scored as it is.
ZERO_SHOT = Method()


def create_pipeline(plan: Plan) -> Pipeline:
    """For each data set, a node per model that scores, and one per zero-shot model, or for all, that encodes.

    Other prompts and heads are scored on the features of their base: they encode no image again.
    """
    side_by_side = tuple(filter(plan.reads_with_others, plan.models))
    apart = [model for model in plan.models if model not in side_by_side]
    encoding = [_encoding_with_each(side_by_side, data_set) for data_set in plan.data_sets if side_by_side]
    encoding += starmap(_encoding, product(apart, plan.data_sets))
    return Pipeline([*encoding, *starmap(_scoring, product(plan.evaluated_models, plan.data_sets))])


def _encoding(model: str, data_set: DataSet) -> Node:
    return Node(
        bind(encode, name=model),
        inputs=[names.model(model), names.corrupted(data_set.name), "params:evaluation"],
        outputs=names.features(model, data_set.name),
        name="encode",
        namespace=f"evaluation.{model}.{data_set.name}",
    )


def _encoding_with_each(models: tuple[str, ...], data_set: DataSet) -> Node:
    """Its namespace is that of a model ``all``, a name that no model has."""
    return Node(
        bind(encode_with_each, names=models),
        inputs=[names.corrupted(data_set.name), "params:evaluation", *map(names.model, models)],
        outputs=[names.features(model, data_set.name) for model in models],
        name="encode",
        namespace=f"evaluation.all.{data_set.name}",
    )


def _scoring(model: EvaluatedModel, data_set: DataSet) -> Node:
    method, base = model.method or ZERO_SHOT, names.model(model.base)
    function: Callable[..., Logits]
    if not method.scores_features:
        function = encode_and_score
        inputs = {"model": base, "corrupted": names.corrupted(data_set.name), "parameters": "params:evaluation"}
    else:
        function = score
        inputs = {"features": names.features(model.base, data_set.name)}
        inputs |= {} if method.artefact_kind == "head" else {"model": base}
    if model.artefact and method.artefact_kind:
        inputs[method.artefact_kind] = model.artefact
    facts = {"name": model.name, "attributes": model.attributes}
    return Node(
        bind(function, method=method, **facts, templates=data_set.templates, synonyms=data_set.synonyms),
        inputs,
        outputs=names.logits(model.cell, data_set.name),
        name="score",
        namespace=f"evaluation.{model.cell}.{data_set.name}",
    )
