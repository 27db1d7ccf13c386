"""Connects the few-shot nodes."""

from collections.abc import Iterator
from itertools import product

from kedro.pipeline import Node, Pipeline

from robustmedclip.pipelines.bind import bind
from robustmedclip.pipelines.few_shot.leakage import find_duplicates, hash_images
from robustmedclip.pipelines.few_shot.nodes import draw_few_shots
from robustmedclip.plan import names
from robustmedclip.plan.amounts import fraction_label, shots_label
from robustmedclip.plan.plan import Plan


def create_pipeline(plan: Plan) -> Pipeline:
    """One node per data set that hashes its images, one that finds duplicates, and one per amount and seed."""
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
                    bind(draw_few_shots, **{kind: amount}, seed=seed, validated=plan.validates(amount)),
                    inputs=["duplicates", *(names.pool(data_set.name) for data_set in plan.training_sets)],
                    outputs=names.few_shots(f"{label}_s{seed}"),
                    name="draw_few_shots",
                    namespace=f"few_shot.{label}_s{seed}",
                )
                for (label, kind, amount), seed in product(_amounts(plan), plan.seeds)
            ),
        ]
    )


def _amounts(plan: Plan) -> Iterator[tuple[str, str, float]]:
    """Label, kind and value of every amount of labelled images that some adaptation needs."""
    for fraction in plan.fractions:
        yield fraction_label(fraction), "fraction", fraction
    for shots in plan.shots:
        yield shots_label(shots), "shots", shots
