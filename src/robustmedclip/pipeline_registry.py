"""The project's pipelines, built from the plan of the environment in use."""

from kedro.pipeline import Pipeline

from robustmedclip.pipelines import (
    corruption,
    evaluation,
    few_shot,
    ingestion,
    pretraining,
    reporting,
    tuning,
)
from robustmedclip.run.config import current_config

STAGES = {
    "ingestion": ingestion,
    "corruption": corruption,
    "few_shot": few_shot,
    "tuning": tuning,
    "evaluation": evaluation,
    "reporting": reporting,
}


def register_pipelines() -> dict[str, Pipeline]:
    """The six stages, ``benchmark`` (all of them) and ``pretraining`` (makes the models that ship).

    ``corruption`` includes ingestion, so that it makes corrupted sets from the sources on its own.
    """
    config = current_config()
    plan = config.plan
    stages = {name: stage.create_pipeline(plan) for name, stage in STAGES.items()}
    benchmark = Pipeline([node for stage in stages.values() for node in stage.nodes])
    return {
        **stages,
        "corruption": Pipeline([*stages["ingestion"].nodes, *stages["corruption"].nodes]),
        "benchmark": benchmark,
        "pretraining": pretraining.create_pipeline(config["parameters"]["pretraining"]["models"]),
        "__default__": benchmark,
    }
