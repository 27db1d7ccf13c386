"""Connects the evaluation nodes."""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import chain, product, starmap
from typing import Any

from kedro.pipeline import Node, Pipeline

from robustmedclip.adaptation.methods import Method
from robustmedclip.metrics.logits import Logits
from robustmedclip.models.features import Features
from robustmedclip.pipelines.bind import RUNS_NETWORK, bind
from robustmedclip.pipelines.evaluation.nodes import (
    encode,
    encode_and_score,
    encode_with_each,
    join_features,
    join_logits,
    score,
)
from robustmedclip.pipelines.evaluation.precisions import compare_precisions, encode_and_compare, encode_in_float32
from robustmedclip.pipelines.evaluation.temperatures import fit_temperatures
from robustmedclip.pipelines.tuning.pipeline import pools, prompts
from robustmedclip.plan import names
from robustmedclip.plan.few_shots import validation_shots
from robustmedclip.plan.plan import DataSet, EvaluatedModel, Plan

#: How a model is scored as it is.
ZERO_SHOT = Method()


def create_pipeline(plan: Plan) -> Pipeline:
    """For each data set, a node per model that scores, and one per zero-shot model, or for all, that encodes.

    Other prompts and heads are scored on the features of their base: they encode no image again. A node that encodes
    is split into the shards of its data set, and one that joins what they make. Where the plan leaves the precision to
    the device, each model is compared with itself in float32.
    """
    scored = {model.base for model in plan.evaluated_models if (model.method or ZERO_SHOT).scores_features}
    models = [model for model in plan.models if model in scored]
    side_by_side = tuple(filter(plan.reads_with_others, models))
    apart = [model for model in models if model not in side_by_side]
    encoding = [_encoding_with_each(side_by_side, data_set) for data_set in plan.data_sets if side_by_side]
    encoding += starmap(_encoding, product(apart, plan.data_sets))
    scoring = starmap(_scoring, product(plan.evaluated_models, plan.data_sets))
    shots = {model: validation_shots(plan, model) for model in plan.evaluated_models}
    scaling = [_scaling(plan, model, entry) for model, entry in shots.items() if entry]
    comparing = _comparing_precisions(plan, models) if plan.compares_precisions else []
    return Pipeline([*chain(*encoding), *chain(*scoring), *scaling, *comparing])


def _encoding(model: str, data_set: DataSet) -> list[Node]:
    def node(number: str = "", output: Callable[[str], str] = str, **shard: slice) -> Node:
        return Node(
            bind(encode, name=model, **shard),
            inputs=[names.model(model), names.corrupted(data_set.name), "params:evaluation"],
            outputs=output(names.features(model, data_set.name)),
            name=f"encode{number}",
            namespace=f"evaluation.{EvaluatedModel(model).namespace}.{data_set.name}",
            tags=RUNS_NETWORK,
        )

    return _in_shards(node, data_set, join_features)


def _encoding_with_each(models: tuple[str, ...], data_set: DataSet) -> list[Node]:
    """Its namespace is that of a model ``all``, a name that no model has."""

    def node(number: str = "", output: Callable[[str], str] = str, **shard: slice) -> Node:
        return Node(
            bind(encode_with_each, names=models, **shard),
            inputs=[names.corrupted(data_set.name), "params:evaluation", *map(names.model, models)],
            outputs=[output(names.features(model, data_set.name)) for model in models],
            name=f"encode{number}",
            namespace=f"evaluation.all.{data_set.name}",
            tags={RUNS_NETWORK, *models},
        )

    return _in_shards(node, data_set, join_features)


def _scoring(model: EvaluatedModel, data_set: DataSet) -> list[Node]:
    method = model.method or ZERO_SHOT
    function: Callable[..., Logits] = score if method.scores_features else encode_and_score
    inputs = _scored(model, data_set)

    def node(number: str = "", output: Callable[[str], str] = str, **shard: slice) -> Node:
        return Node(
            bind(function, **_facts(model, data_set), **shard),
            inputs,
            outputs=output(names.logits(model.cell, data_set.name)),
            name=f"score{number}",
            namespace=f"evaluation.{model.namespace}.{data_set.name}",
            tags=RUNS_NETWORK if "model" in inputs else None,  # also of text, for class vectors
        )

    return [node()] if method.scores_features else _in_shards(node, data_set, join_logits)


def _scored(model: EvaluatedModel, data_set: DataSet) -> dict[str, str]:
    """What the logits of a model on a data set are made of: argument to entry."""
    method, base = model.method or ZERO_SHOT, names.model(model.base)
    if not method.scores_features:
        inputs = {"model": base, "corrupted": names.corrupted(data_set.name), "parameters": "params:evaluation"}
    else:
        inputs = {"features": names.features(model.base, data_set.name)}
        inputs |= {} if method.artefact_kind == "head" else {"model": base}
    if model.artefact and method.artefact_kind:
        inputs["head" if method.scores_features else "artefact"] = model.artefact
    return inputs


def _facts(model: EvaluatedModel, data_set: DataSet) -> dict[str, Any]:
    """What :func:`score` has to know of a model and a data set."""
    facts: dict[str, Any] = {"method": model.method or ZERO_SHOT, "name": model.name, "attributes": model.attributes}
    facts |= {"tuned_on": data_set.tuned_on} if data_set.tuned_on else {}
    facts |= {"scoring": data_set.scoring} if data_set.scoring else {}
    return facts | {"templates": data_set.templates, "synonyms": data_set.synonyms}


def _comparing_precisions(plan: Plan, models: Sequence[str]) -> list[Node]:
    """For each data set, a node per model that encodes some images in float32, and one per scored model."""

    def encoding(model: str, data_set: DataSet) -> Node:
        scope = "all" if plan.reads_with_others(model) else EvaluatedModel(model).namespace
        return Node(
            bind(encode_in_float32, name=model),
            {
                "features": names.features(model, data_set.name),
                "model": names.model(model),
                "corrupted": names.corrupted(data_set.name),
            },
            names.float32_features(model, data_set.name),
            name=f"encode_in_float32-{model}",
            namespace=f"evaluation.{scope}.{data_set.name}",
            tags={RUNS_NETWORK, model},
        )

    def comparing(model: EvaluatedModel, data_set: DataSet) -> Node:
        inputs = _scored(model, data_set)
        if "features" in inputs:
            inputs["float32_features"] = names.float32_features(model.base, data_set.name)
        return Node(
            bind(compare_precisions if "features" in inputs else encode_and_compare, **_facts(model, data_set)),
            inputs,
            names.precision(model.cell, data_set.name),
            name="compare_precisions",
            namespace=f"evaluation.{model.namespace}.{data_set.name}",
            tags=RUNS_NETWORK if "model" in inputs else None,
        )

    return [
        *starmap(encoding, product(models, plan.data_sets)),
        *starmap(comparing, product(plan.evaluated_models, plan.data_sets)),
    ]


def _scaling(plan: Plan, model: EvaluatedModel, shots: str) -> Node:
    """The node that fits a model's temperatures to the few-shot images that validate."""
    inputs = {pool: pool for pool in pools(plan)} | ({"artefact": model.artefact} if model.artefact else {})
    inputs |= {"model": names.model(model.base), "few_shots": shots, "parameters": "params:evaluation"}
    return Node(
        bind(fit_temperatures, method=model.method or ZERO_SHOT, name=model.name, **prompts(plan)),
        inputs,
        names.temperatures(model.cell),
        name="fit_temperatures",
        namespace=f"evaluation.{model.namespace}",
        tags=RUNS_NETWORK,
    )


def _in_shards(node: Callable[..., Node], data_set: DataSet, join: Callable[..., Features | Logits]) -> list[Node]:
    """The node; or one like it per shard, whose number is in its name and in those of its outputs, and the joining."""
    whole = node()
    if data_set.shards == 1:
        return [whole]
    numbers = range(1, data_set.shards + 1)
    shards = [
        node(f"_{number}", partial(names.shard, number=number), shard=conditions)
        for number, conditions in zip(numbers, data_set.slices, strict=True)
    ]
    joins = [
        Node(
            join,
            inputs=[names.shard(output, number) for number in numbers],
            outputs=output,
            name=f"join-{output}",
            namespace=whole.namespace,
        )
        for output in whole.outputs
    ]
    return shards + joins
