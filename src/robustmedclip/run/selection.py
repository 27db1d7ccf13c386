"""Which nodes a run is asked for, and which of them it executes."""

from collections.abc import Mapping
from typing import Any

from kedro.io import DataCatalog
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node


def nodes_to_run(run_params: Mapping[str, Any], pipeline: Pipeline, catalog: DataCatalog) -> list[Node]:
    """The nodes that a run executes: all of a pipeline, or those of which an output does not exist."""
    if not run_params["only_missing_outputs"]:
        return pipeline.nodes
    return [node for node in pipeline.nodes if not all(map(catalog.exists, node.outputs))]


def stage_of(node: Node) -> str:
    """The stage of a node: the first part of its namespace."""
    return (node.namespace or node.name).partition(".")[0]
