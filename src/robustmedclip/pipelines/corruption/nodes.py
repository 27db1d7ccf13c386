"""Nodes of the corruption stage."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from robustmedclip import corruptions
from robustmedclip.types import CLEAN, Condition, CorruptedSet, ImageSet

VERSION = corruptions.VERSION


def corrupt_test_set(
    test: ImageSet, parameters: dict[str, Any], suite: str, conditions: Sequence[Condition]
) -> CorruptedSet:
    """The test set under every condition; images are corrupted when they are read."""

    def read(condition: Condition, batch_size: int) -> Iterator[np.ndarray]:
        for start in range(0, len(test), batch_size):
            part = slice(start, start + batch_size)
            images = np.ascontiguousarray(test.images[part])
            if condition == CLEAN:
                yield images
            else:
                yield corruptions.corrupt(
                    images,
                    condition.corruption,
                    condition.severity,
                    suite=suite,
                    dataset=test.name,
                    seed=parameters["seed"],
                    sample_ids=test.sample_ids[part],
                )

    return CorruptedSet(
        clean=test,
        suite=suite,
        conditions=tuple(conditions),
        provenance={"seed": parameters["seed"], "version": VERSION},
        read=read,
    )
