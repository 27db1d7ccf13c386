"""Small images for the tests of the datasets."""

import numpy as np
import pytest

from robustmedclip.images.sets import ImageSet


@pytest.fixture(params=[1, 3], ids=["grey", "colour"])
def image_set(request) -> ImageSet:
    rng = np.random.default_rng(0)
    return ImageSet.validated(
        name="cells",
        split="test",
        modality="microscopy",
        class_names=("a", "b"),
        images=rng.integers(0, 256, (150, 32, 28, request.param), np.uint8),
        labels=np.arange(150, dtype=np.int64) % 2,
        sample_ids=np.array([f"image {i}" for i in range(150)]),
    )
