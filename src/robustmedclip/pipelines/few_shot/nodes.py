"""Nodes of the few-shot sampling."""

import hashlib
import logging

import numpy as np
import pandas as pd

from robustmedclip.errors import InputError, first_ten
from robustmedclip.images.sets import ImageSet

logger = logging.getLogger(__name__)


def draw_few_shots(
    duplicates: pd.DataFrame,
    *pools: ImageSet,
    seed: int,
    fraction: float | None = None,
    shots: int | None = None,
    validated: bool = True,
) -> pd.DataFrame:
    """Draw a fraction of every training pool, or some shots of each class, and as many other images for validation.

    Images that `duplicates`, from :func:`~robustmedclip.pipelines.few_shot.leakage.find_duplicates`, says are also in a
    test split are left out first. The other images of a class are put into an order that depends on the seed and their
    sample ids alone. The first ``fraction`` of them, rounded, at least one, or the first ``shots``, all if there are
    fewer, are for training: what is smaller is contained in what is larger. Equally many from the end of the order are
    for validation, as far as there are.

    Returns
    -------
    DataFrame
        A row per image: ``data_set``, ``role`` (``training`` or ``validation``), ``class_name``, ``sample_id``.

    Raises
    ------
    InputError
        If a pool has no image left of a class, or for validation, where that is `validated`.
    """
    rows, scarce = [], []
    for pool in pools:
        leaked = set(duplicates["pool_sample"][duplicates["pool_set"] == pool.name])
        for label, class_name in enumerate(pool.class_names):
            ids = sorted(
                set(pool.sample_ids[pool.labels == label].tolist()) - leaked,
                key=lambda sample_id: _rank(seed, pool.name, sample_id),
            )
            if not ids:
                raise InputError(
                    f"Data set '{pool.name}': every image of {class_name!r} in the training pool is also in a test "
                    "split; the table 'duplicates' lists them. Repair the splits, "
                    "or leave one of the data sets out of the plan."
                )
            wanted = shots if shots is not None else (fraction or 0) * len(ids)
            count = min(max(1, round(wanted)), len(ids))
            if abs(count - wanted) > 0.5:
                scarce.append(f"{class_name} of {pool.name} ({len(ids)} images)")
            held_out = min(count, len(ids) - count)
            rows += [(pool.name, "training", class_name, sample_id) for sample_id in ids[:count]]
            rows += [(pool.name, "validation", class_name, sample_id) for sample_id in ids[len(ids) - held_out :]]
        if validated and not any(row[:2] == (pool.name, "validation") for row in rows):
            raise InputError(
                f"Data set '{pool.name}': with {f'{shots} shots' if shots else f'a few-shot fraction of {fraction:g}'} "
                "no image of the training pool is left for validation; choose a smaller one."
            )
    if scarce and shots is not None:
        logger.warning("There are fewer than %d images of %s: all of them are drawn", shots, first_ten(scarce))
    elif scarce:
        message = "A fraction of %g is less than half an image of %s: one image of each is drawn"
        logger.warning(message, fraction, first_ten(scarce))
    return pd.DataFrame(rows, columns=["data_set", "role", "class_name", "sample_id"])


def chosen(pool: ImageSet, few_shots: pd.DataFrame, role: str) -> ImageSet:
    """The images of `pool` that `few_shots` lists in a role."""
    sample_ids = few_shots[(few_shots["data_set"] == pool.name) & (few_shots["role"] == role)]["sample_id"]
    return pool.subset(np.flatnonzero(np.isin(pool.sample_ids, sample_ids.to_numpy(np.str_))))


def _rank(seed: int, data_set: str, sample_id: str) -> bytes:
    return hashlib.blake2b(f"{seed}\0{data_set}\0{sample_id}".encode(), digest_size=16).digest()
