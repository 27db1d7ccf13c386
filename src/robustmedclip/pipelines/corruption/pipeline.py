"""Connects the corruption nodes."""


from kedro.pipeline import Node, Pipeline

from robustmedclip.pipelines.bind import bind
from robustmedclip.pipelines.corruption.nodes import corrupt_test_set
from robustmedclip.plan import Plan


def create_pipeline(plan: Plan) -> Pipeline:
    """One node per data set."""
    return Pipeline(
        [
            Node(
                bind(
                    corrupt_test_set,
                    suite=data_set.suite,
                    dataset=data_set.suite_dataset,
                    grey=data_set.grey,
                    storage=data_set.storage,
                    conditions=data_set.conditions,
                ),
                inputs=[f"test-{data_set.name}", "params:corruption"],
                outputs=f"corrupted-{data_set.name}",
                name="corrupt",
                namespace=f"corruption.{data_set.name}",
            )
            for data_set in plan.data_sets
        ]
    )
