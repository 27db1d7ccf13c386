"""Connects the ingestion nodes."""

from kedro.pipeline import Node, Pipeline

from robustmedclip.pipelines.bind import bind
from robustmedclip.pipelines.ingestion.nodes import groups_of_test_images, ingest_and_describe
from robustmedclip.plan import names
from robustmedclip.plan.plan import DataSet, Plan
from robustmedclip.reporting.card import draw_examples


def create_pipeline(plan: Plan) -> Pipeline:
    """Two nodes per data set: one reads it, one draws an example of each class; and one that reads subgroups."""
    nodes = [node for data_set in plan.data_sets for node in _nodes(data_set.name, plan.pool)]
    return Pipeline(nodes + [_grouping(data_set) for data_set in plan.data_sets if data_set.subgroup])


def _grouping(data_set: DataSet) -> Node:
    return Node(
        bind(groups_of_test_images, subgroup=data_set.subgroup),
        inputs=names.raw(data_set.name),
        outputs=names.groups(data_set.name),
        name="read_subgroups",
        namespace=f"ingestion.{data_set.name}",
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
