"""Small images for the tests of the datasets, and files of them in the released layouts."""

import numpy as np
import pytest
from medmnist import INFO

from robustmedclip.types import ImageSet


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


def medmnist_arrays(flag: str, counts: tuple[int, int, int] = (40, 15, 20), size: int = 28) -> dict[str, np.ndarray]:
    """The six arrays of a collection of MedMNIST, with fewer images."""
    info, rng = INFO[flag], np.random.default_rng(0)
    shape = (size, size, 3) if info["n_channels"] == 3 else (size, size)
    columns = len(info["label"]) if "multi-label" in info["task"] else 1
    arrays = {}
    for split, count in zip(("train", "val", "test"), counts, strict=True):
        arrays[f"{split}_images"] = rng.integers(0, 256, (count, *shape), np.uint8)
        labels = np.arange(count)[:, None] % (2 if columns > 1 else len(info["label"]))
        arrays[f"{split}_labels"] = np.repeat(labels, columns, axis=1).astype(np.uint8)
    return arrays
