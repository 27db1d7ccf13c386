"""Connects the ingestion nodes."""

from kedro.pipeline import Node, Pipeline

from robustmedclip.pipelines.ingestion.nodes import ingest
from robustmedclip.plan import Plan


def create_pipeline(plan: Plan) -> Pipeline:
    """One node per data set."""
    return Pipeline(
        [
            Node(
                ingest,
                inputs=f"raw-{data_set.name}",
                outputs=[f"pool-{data_set.name}", f"test-{data_set.name}"],
                name="ingest",
                namespace=f"ingestion.{data_set.name}",
            )
            for data_set in plan.data_sets
        ]
    )
