"""Connects the tuning nodes."""

from collections.abc import Callable
from typing import Any

from kedro.pipeline import Node, Pipeline

from robustmedclip.adaptation.shot_features import ShotView
from robustmedclip.pipelines.bind import RUNS_NETWORK, bind
from robustmedclip.pipelines.tuning.nodes import encode_shots, fit, fit_head, fit_with_features
from robustmedclip.plan import names
from robustmedclip.plan.plan import EvaluatedModel, Plan


def create_pipeline(plan: Plan) -> Pipeline:
    """One node per (model, adaptation, fraction, seed), and one per few-shot images that heads look at alike."""
    views = [_view(model) for model in plan.tuned_models]
    encoded = {entry: (model, view) for model, (entry, view) in zip(plan.tuned_models, views, strict=True) if view}
    encoding = [_encoding(plan, model, view, entry) for entry, (model, view) in encoded.items()]
    fitting = [_fitting(plan, model, entry) for model, (entry, _) in zip(plan.tuned_models, views, strict=True)]
    return Pipeline(encoding + fitting)


def _view(model: EvaluatedModel) -> tuple[str, ShotView | None]:
    """The entry of the features that a model's head is fitted to, and how it looks at images; or neither."""
    view = model.method.view if model.method else None
    return names.shot_features(_shots(model), view.key) if view else "", view


def _shots(model: EvaluatedModel) -> str:
    return f"{model.base}_{model.amount}_s{model.seed}"


def _encoding(plan: Plan, model: EvaluatedModel, view: ShotView, entry: str) -> Node:
    return Node(
        bind(encode_shots, view=view, seed=model.seed, **prompts(plan)),
        inputs=[names.model(model.base), model.few_shots, "params:evaluation", *pools(plan)],
        outputs=entry,
        name=f"encode_shots_{view.key}",
        namespace=f"tuning.{model.base}.{model.amount}_s{model.seed}",
        tags=RUNS_NETWORK,
    )


def _fitting(plan: Plan, model: EvaluatedModel, features: str) -> Node:
    assert model.method and model.artefact and model.amount  # as every tuned model has
    base, of_pools = names.model(model.base), pools(plan)
    training = [base, names.checkpoint(model.cell), model.few_shots, "params:evaluation", *of_pools]
    tests = [names.test(data_set.name) for data_set in plan.training_sets] if model.method.needs_test_images else []
    function: Callable[..., Any]
    if not features:
        function, inputs = fit, [*training, *tests]
    elif model.method.has_training_curves:
        function, inputs = fit_with_features, [features, *training]
    else:
        function, inputs = fit_head, [features, base, model.few_shots, *of_pools]
    return Node(
        bind(function, method=model.method, seed=model.seed, **prompts(plan)),
        inputs=inputs,
        outputs=[model.artefact, names.history(model.cell)],
        name="fit",
        namespace=f"tuning.{model.namespace}",
        tags=None if function is fit_head else RUNS_NETWORK,  # a head is fitted to features on the CPU
    )


def pools(plan: Plan) -> list[str]:
    """The training pools, by entry of the catalog."""
    return [names.pool(data_set.name) for data_set in plan.training_sets]


def prompts(plan: Plan) -> dict[str, Any]:
    """The prompts of the data sets that models are tuned on."""
    scorings = {data_set.name: data_set.scoring for data_set in plan.training_sets if data_set.scoring}
    return {
        "templates": {data_set.name: data_set.templates for data_set in plan.training_sets},
        "synonyms": {data_set.name: data_set.synonyms for data_set in plan.training_sets},
        **({"scorings": scorings} if scorings else {}),
    }
