"""The benchmark in six nodes, one per stage: what Kedro-Viz shows first. It is to be looked at, not to be run."""

from collections.abc import Callable
from typing import NoReturn

from kedro.pipeline import Node, Pipeline

from robustmedclip.errors import InputError

NOT_TO_RUN = "overview is for Kedro-Viz alone; to run the benchmark: kedro run --pipeline benchmark"
_STAGES = {
    "ingestion": (["raw images"], ["images"]),
    "corruption": (["images"], ["corrupted images"]),
    "few_shot": (["images"], ["few labelled images"]),
    "tuning": (["few labelled images", "models"], ["adapters"]),
    "evaluation": (["corrupted images", "models", "adapters"], ["logits"]),
    "reporting": (["logits"], ["leaderboard", "corruption_heat_map", "corruption_montage", "report"]),
}


def create_pipeline() -> Pipeline:
    """A node per stage; the outputs of the last are the results themselves, with their previews."""
    return Pipeline(
        [Node(_shown(stage), inputs, outputs, name=stage, tags=stage) for stage, (inputs, outputs) in _STAGES.items()]
    )


def _shown(stage: str) -> Callable[..., NoReturn]:
    def run(*inputs: object) -> NoReturn:
        raise InputError(NOT_TO_RUN)

    run.__name__ = stage
    return run
