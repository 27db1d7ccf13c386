"""The project's pipelines, built from the plan of the environment in use."""

from collections.abc import Iterable, Set

from kedro.framework.project import settings
from kedro.pipeline import Node, Pipeline

from robustmedclip.pipelines import (
    calibration,
    corruption,
    evaluation,
    few_shot,
    ingestion,
    overview,
    pretraining,
    reporting,
    tuning,
)
from robustmedclip.plan.plan import Plan
from robustmedclip.run.config import BenchmarkConfigLoader, project_folder

STAGES = {
    "ingestion": ingestion,
    "corruption": corruption,
    "few_shot": few_shot,
    "tuning": tuning,
    "evaluation": evaluation,
    "reporting": reporting,
}


def pipelines_of(plan: Plan, pretrained_models: Iterable[str]) -> dict[str, Pipeline]:
    """``overview``, the six stages, ``calibration``, ``benchmark`` (all stages) and ``pretraining``.

    ``overview`` is the benchmark in six nodes, on which Kedro-Viz opens, for it is the first and there is no
    ``__default__``; ``pretraining`` makes the models that ship.

    ``corruption`` and ``calibration`` include ingestion, so that they begin with the sources. The benchmark includes
    the calibration where some suite says which levels are realistic. Every node of a stage has its name as a tag, and
    those of the data set and of the base model that it is about.
    """
    stages = {name: _tagged(stage.create_pipeline(plan), plan) for name, stage in STAGES.items()}
    levels = _tagged(calibration.create_pipeline(plan), plan)
    nodes = [node for stage in stages.values() for node in stage.nodes]
    benchmark = Pipeline([*nodes, *(levels.nodes if plan.has_bands else ())])
    return {
        "overview": overview.create_pipeline(),
        **stages,
        "calibration": Pipeline([*stages["ingestion"].nodes, *levels.nodes]),
        "corruption": Pipeline([*stages["ingestion"].nodes, *stages["corruption"].nodes]),
        "benchmark": benchmark,
        "pretraining": pretraining.create_pipeline(pretrained_models),
    }


def _tagged(stage: Pipeline, plan: Plan) -> Pipeline:
    about = {*plan.models, *(data_set.name for data_set in plan.data_sets)}
    return Pipeline([node.tag(_tags(node, about)) for node in stage.nodes])


def _tags(node: Node, about: Set[str]) -> set[str]:
    stage, *parts = str(node.namespace).split(".")
    return {stage, *(about & set(parts))}


def register_pipelines() -> dict[str, Pipeline]:
    """The pipelines without a session, as for ``kedro registry list``: those of the default environment."""
    folder = project_folder(settings.CONF_SOURCE)
    config = BenchmarkConfigLoader(str(folder / settings.CONF_SOURCE), **settings.CONFIG_LOADER_ARGS)
    return pipelines_of(config.plan, config["parameters"]["pretraining"]["models"])
