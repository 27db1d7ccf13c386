"""Nodes of the ingestion."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from robustmedclip.errors import InputError
from robustmedclip.images.levels import checked_levels
from robustmedclip.images.pixels import concatenated
from robustmedclip.images.sets import PATIENT, POOL_SPLITS, ImageSet
from robustmedclip.reporting.card import data_card

logger = logging.getLogger(__name__)


def ingest(splits: dict[str, ImageSet], pool_splits: Sequence[str] = POOL_SPLITS) -> tuple[ImageSet, ImageSet]:
    """Validate a source and separate the training pool, of `pool_splits` as far as it has them, from the test split.

    Pixels are not read here, but when the sets are saved; the log then warns of odd levels.

    Raises
    ------
    InputError
        If a split is missing, breaks a rule of :class:`~robustmedclip.images.sets.ImageSet`, or shares a
        sample with the other.
    """
    test, parts = splits.get("test"), [splits[name] for name in pool_splits if name in splits]
    if test is None or not parts:
        name = next(iter(splits.values())).name if splits else "?"
        missing = "test" if test is None else " or ".join(pool_splits)
        raise InputError(f"Data set '{name}' has no {missing} split; it has {', '.join(splits) or 'none'}.")
    try:
        pooled = concatenated([part.images for part in parts])
    except InputError as error:
        raise InputError(f"Data set '{test.name}', training pool: {error.message}.") from error
    fields = {
        "split": "pool",
        "images": pooled,
        "labels": np.concatenate([part.labels for part in parts]),
        "sample_ids": np.concatenate([part.sample_ids for part in parts]),
        "columns": {
            name: np.concatenate([part.columns[name] for part in parts])
            for name in parts[0].columns
            if all(name in part.columns for part in parts)
        },
    }
    pool = ImageSet.validated(**vars(test) | fields)
    if shared := sorted(set(pool.sample_ids) & set(test.sample_ids)):
        raise InputError(
            f"Data set '{test.name}': {len(shared)} samples are in the training pool and in the test "
            f"split, among them {', '.join(shared[:5])}."
        )
    if absent := ImageSet.validated(**vars(test)).absent_classes():
        logger.warning(
            "Data set '%s': the test split has no image of %s: how well they are recognised is not measured",
            test.name,
            ", ".join(map(repr, absent)),
        )
    if pool.images.shape[1:] != test.images.shape[1:]:
        logger.warning(
            "Data set '%s': the images to train on have %d x %d px and %d channels, those to test on %d x %d px and %d "
            "channels: they differ in sharpness or colour, whatever they show. Save them alike",
            test.name,
            *pool.images.shape[1:],
            *test.images.shape[1:],
        )
    return checked_levels(pool), checked_levels(test)


def ingest_and_describe(
    splits: dict[str, ImageSet], *, pool_splits: Sequence[str] = POOL_SPLITS
) -> tuple[ImageSet, ImageSet, dict[str, Any]]:
    """The training pool, the test split, and the data card; raises as :func:`ingest`.

    Of what is known of images beside their class, the patient is kept: other subgroups make no image again.
    """
    pool, test = ingest(splits, pool_splits)
    return _with_patients(pool), _with_patients(test), data_card(splits)


def groups_of_test_images(splits: dict[str, ImageSet], *, subgroup: Sequence[str]) -> pd.DataFrame:
    """``sample_id`` of each test image, and the group that it belongs to by each `subgroup`: a column of texts each."""
    test = splits["test"]
    return pd.DataFrame({"sample_id": test.sample_ids, **{name: test.columns[name] for name in subgroup}})


def _with_patients(images: ImageSet) -> ImageSet:
    return replace(images, columns={} if images.patients is None else {PATIENT: images.patients})
