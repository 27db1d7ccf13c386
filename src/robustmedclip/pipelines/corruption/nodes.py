"""Nodes of the corruption stage."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from robustmedclip import corruptions
from robustmedclip.corruptions import corrupted_batches
from robustmedclip.types import CLEAN, Condition, CorruptedSet, ImageSet, batches

VERSION = corruptions.VERSION


def corrupt_test_set(
    test: ImageSet,
    parameters: dict[str, Any],
    *,
    suite: str,
    dataset: str | None,
    grey: str,
    storage: str,
    conditions: Sequence[Condition],
) -> CorruptedSet:
    """The test set under every condition; images are corrupted when they are read.

    `dataset` is the MedMNIST data set whose list of corruptions is used, if the suite has one for each.
    """
    settings = {"suite": suite, "dataset": dataset or test.name, "grey": grey, "seed": parameters["seed"]}

    def read(condition: Condition, batch_size: int) -> Iterator[np.ndarray]:
        if condition == CLEAN:
            return batches(test.images, batch_size)
        return corrupted_batches(test.images, test.sample_ids, batch_size, *condition, **settings)

    return CorruptedSet(
        clean=test,
        suite=suite,
        conditions=tuple(conditions),
        storage=storage,
        provenance=settings,
        read=read,
    )
