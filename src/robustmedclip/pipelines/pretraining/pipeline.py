"""Connects the pretraining nodes."""

from collections.abc import Iterable

from kedro.pipeline import Node, Pipeline

from robustmedclip.phantoms import ANATOMIES
from robustmedclip.pipelines.bind import RUNS_NETWORK, bind
from robustmedclip.pipelines.pretraining.nodes import draw_corpus, pretrain_model
from robustmedclip.plan import names


def create_pipeline(models: Iterable[str]) -> Pipeline:
    """One corpus per anatomy, one node per model of ``params:pretraining``."""
    corpora = [
        Node(
            bind(draw_corpus, anatomy=anatomy),
            inputs="params:pretraining",
            outputs=names.corpus(anatomy),
            name=f"draw_corpus_{anatomy}",
            namespace="pretraining",
        )
        for anatomy in ANATOMIES
    ]
    trainings = [
        Node(
            bind(pretrain_model, name=model),
            inputs=["params:pretraining", *map(names.corpus, ANATOMIES)],
            outputs=names.pretrained(model),
            name=f"pretrain_{model}",
            namespace="pretraining",
            tags=RUNS_NETWORK,
        )
        for model in models
    ]
    return Pipeline([*corpora, *trainings])
