"""Connects the corruption nodes."""

from kedro.pipeline import Node, Pipeline

from robustmedclip.pipelines.bind import bind
from robustmedclip.pipelines.corruption.nodes import adopt_released_set, corrupt_test_set
from robustmedclip.plan import names
from robustmedclip.plan.plan import DataSet, Plan


def create_pipeline(plan: Plan) -> Pipeline:
    """One node per data set."""
    return Pipeline([_node(data_set) for data_set in plan.data_sets])


def _node(data_set: DataSet) -> Node:
    settings = {"suite": data_set.suite, "storage": data_set.storage, "conditions": data_set.conditions}
    if data_set.released:
        function = bind(adopt_released_set, label_map=data_set.label_map, **settings)
        source = names.released(data_set.name)
    else:
        function = bind(corrupt_test_set, dataset=data_set.suite_dataset, grey=data_set.grey, **settings)
        source = "params:corruption"
    return Node(
        function,
        inputs=[names.test(data_set.name), source],
        outputs=names.corrupted(data_set.name),
        name="corrupt",
        namespace=f"corruption.{data_set.name}",
    )
