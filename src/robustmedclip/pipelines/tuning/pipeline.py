"""Connects the tuning nodes."""

from kedro.pipeline import Node, Pipeline

from robustmedclip.adaptation.settings import CacheSettings, LinearProbeSettings
from robustmedclip.pipelines.bind import bind
from robustmedclip.pipelines.tuning.heads import fit_cache, fit_linear_probe
from robustmedclip.pipelines.tuning.nodes import tune
from robustmedclip.plan.plan import EvaluatedModel, Plan, fraction_label


def create_pipeline(plan: Plan) -> Pipeline:
    """One node per (model, adaptation, fraction, seed)."""
    return Pipeline([_tuning(plan, model) for model in plan.tuned_models])


def _tuning(plan: Plan, model: EvaluatedModel) -> Node:
    own = {"settings": model.settings, "seed": model.seed}
    prompts = {
        "templates": {data_set.name: data_set.templates for data_set in plan.data_sets},
        "synonyms": {data_set.name: data_set.synonyms for data_set in plan.data_sets},
    }
    base, few_shots = f"model-{model.base}", f"few_shots-{fraction_label(model.fraction)}_s{model.seed}"
    pools = [f"pool-{data_set.name}" for data_set in plan.data_sets]
    match model.settings:
        case LinearProbeSettings():
            function, inputs = bind(fit_linear_probe, **own), [base, few_shots, "params:evaluation", *pools]
        case CacheSettings():
            function, inputs = bind(fit_cache, **own, **prompts), [base, few_shots, "params:evaluation", *pools]
        case _:
            tests = [f"test-{one.name}" for one in plan.data_sets if model.settings.selection == "test"]
            function = bind(tune, **own, **prompts)
            inputs = [base, f"journal-{model.cell}", few_shots, *pools, *tests]
    outputs = [model.product, f"history-{model.cell}"]
    return Node(function, inputs, outputs, name=function.__name__, namespace=f"tuning.{model.cell}")
