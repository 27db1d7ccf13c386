"""Connects the ingestion nodes."""

from kedro.pipeline import Node, Pipeline

from robustmedclip.pipelines.bind import bind
from robustmedclip.pipelines.ingestion.nodes import groups_of_test_images, ingest_and_describe
from robustmedclip.plan import names
from robustmedclip.plan.plan import Plan
from robustmedclip.reporting.card import draw_examples


def create_pipeline(plan: Plan) -> Pipeline:
    """Two nodes per data set: one reads it, one draws an example of each class; and one that reads subgroups."""
    nodes = [node for data_set in plan.data_sets for node in _nodes(data_set.name, plan.pool)]
    return Pipeline(nodes + [_grouping(name) for name in plan.divided])


def _grouping(name: str) -> Node:
    return Node(
        groups_of_test_images,
        inputs=names.raw_subgroups(name),
        outputs=names.groups(name),
        name="read_subgroups",
        namespace=f"ingestion.{name}",
    )


def _nodes(name: str, pool_splits: tuple[str, ...]) -> list[Node]:
    namespace = f"ingestion.{name}"
    return [
        Node(
            bind(ingest_and_describe, pool_splits=pool_splits),
            inputs=names.raw(name),
            outputs=[names.pool(name), names.test(name), names.card(name)],
            name="ingest",
            namespace=namespace,
        ),
        Node(
            draw_examples,
            inputs=names.test(name),
            outputs=names.examples(name),
            name="draw_examples",
            namespace=namespace,
        ),
    ]
