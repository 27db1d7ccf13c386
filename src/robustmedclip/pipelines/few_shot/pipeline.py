"""Connects the few-shot nodes."""

from itertools import product

from kedro.pipeline import Node, Pipeline

from robustmedclip.pipelines.bind import bind
from robustmedclip.pipelines.few_shot.leakage import find_duplicates, hash_images
from robustmedclip.pipelines.few_shot.nodes import draw_few_shots
from robustmedclip.plan import names
from robustmedclip.plan.plan import Plan, fraction_label


def create_pipeline(plan: Plan) -> Pipeline:
    """One node per data set that hashes its images, one that finds duplicates, and one per fraction and seed."""
    return Pipeline(
        [
            *(
                Node(
                    hash_images,
                    inputs=[names.pool(data_set.name), names.test(data_set.name)],
                    outputs=names.hashes(data_set.name),
                    name="hash_images",
                    namespace=f"few_shot.{data_set.name}",
                )
                for data_set in plan.data_sets
            ),
            Node(
                find_duplicates,
                inputs=[names.hashes(data_set.name) for data_set in plan.data_sets],
                outputs="duplicates",
                name="find_duplicates",
                namespace="few_shot",
            ),
            *(
                Node(
                    bind(draw_few_shots, fraction=fraction, seed=seed, validated=plan.validates(fraction)),
                    inputs=["duplicates", *(names.pool(data_set.name) for data_set in plan.data_sets)],
                    outputs=names.few_shots(f"{fraction_label(fraction)}_s{seed}"),
                    name="draw_few_shots",
                    namespace=f"few_shot.{fraction_label(fraction)}_s{seed}",
                )
                for fraction, seed in product(plan.fractions, plan.seeds)
            ),
        ]
    )
