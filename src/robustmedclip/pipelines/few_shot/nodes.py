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
    sample ids alone. Where it is known whose they are, the images of one half of the patients, chosen by the seed, come
    first in all classes, and no image for validation is of a patient who has one in training. The first ``fraction`` of
    them, rounded, at least one, or the first ``shots``, all if there are fewer, are for training: what is smaller is
    contained in what is larger. Equally many from the end of the order are for validation, as far as there are.

    Of findings, those who have each and those who don't are drawn from as classes are; an image that several draw is
    drawn once.

    Returns
    -------
    DataFrame
        A row per image: ``data_set``, ``role`` (``training`` or ``validation``), ``class_name``, which it is drawn for
        (of a finding, or ``no <finding>``), and ``sample_id``.

    Raises
    ------
    InputError
        If a pool has no image left of a class, or for validation, where that is `validated`.
    """
    rows, scarce = [], []
    for pool in pools:
        ordered, counts = _ordered(pool, duplicates, seed), {}
        for class_name, ids in ordered.items():
            wanted = shots if shots is not None else (fraction or 0) * len(ids)
            counts[class_name] = min(max(1, round(wanted)), len(ids))
            if abs(counts[class_name] - wanted) > 0.5:
                scarce.append(f"{class_name} of {pool.name} ({len(ids)} images)")
        whose = _patients(pool)
        seen = {whose[sample_id] for class_name, ids in ordered.items() for sample_id in ids[: counts[class_name]]}
        for class_name, ids in ordered.items():
            unseen = [sample_id for sample_id in ids if whose[sample_id] not in seen]
            held_out = min(counts[class_name], len(unseen))
            rows += [(pool.name, "training", class_name, sample_id) for sample_id in ids[: counts[class_name]]]
            rows += [(pool.name, "validation", class_name, sample_id) for sample_id in unseen[len(unseen) - held_out :]]
        if validated and not any(row[:2] == (pool.name, "validation") for row in rows):
            raise InputError(
                f"Data set '{pool.name}': with {f'{shots} shots' if shots else f'a few-shot fraction of {fraction:g}'} "
                f"no image{'' if pool.patients is None else ' of another patient'} of the training pool is left for "
                "validation; choose a smaller one."
            )
    if scarce and shots is not None:
        logger.warning("There are fewer than %d images of %s: all of them are drawn", shots, first_ten(scarce))
    elif scarce:
        message = "A fraction of %g is less than half an image of %s: one image of each is drawn"
        logger.warning(message, fraction, first_ten(scarce))
    table = pd.DataFrame(rows, columns=["data_set", "role", "class_name", "sample_id"])
    return table.drop_duplicates(["data_set", "role", "sample_id"], ignore_index=True)


def chosen(pool: ImageSet, few_shots: pd.DataFrame, *roles: str) -> ImageSet:
    """The images of `pool` that `few_shots` lists in some roles."""
    sample_ids = few_shots[(few_shots["data_set"] == pool.name) & few_shots["role"].isin(roles)]["sample_id"]
    return pool.subset(np.flatnonzero(np.isin(pool.sample_ids, sample_ids.to_numpy(np.str_))))


def _ordered(pool: ImageSet, duplicates: pd.DataFrame, seed: int) -> dict[str, list[str]]:
    """The ids of the images of each class that are in no test split, in the order that they are drawn in."""
    leaked = set(duplicates["pool_sample"][duplicates["pool_set"] == pool.name])
    whose, late = _patients(pool), set[str]()
    if pool.patients is not None:
        names = sorted(set(whose.values()), key=lambda name: _rank(seed, pool.name, f"patient\0{name}"))
        late = set(names[(len(names) + 1) // 2 :])
    ordered = {}
    for class_name, images in pool.members().items():
        ordered[class_name] = sorted(
            set(pool.sample_ids[images].tolist()) - leaked,
            key=lambda sample_id: (whose[sample_id] in late, _rank(seed, pool.name, sample_id)),
        )
        if not ordered[class_name]:
            raise InputError(
                f"Data set '{pool.name}': every image of {class_name!r} in the training pool is also in a test "
                f"split{'' if pool.patients is None else ', or its patient is'}; the table 'duplicates' lists them. "
                "Repair the splits, or leave one of the data sets out of the plan."
            )
    return ordered


def _patients(pool: ImageSet) -> dict[str, str]:
    """Sample id to patient; an image is its own where that is not known."""
    names = pool.sample_ids if pool.patients is None else pool.patients
    return dict(zip(pool.sample_ids.tolist(), names.tolist(), strict=True))


def _rank(seed: int, data_set: str, sample_id: str) -> bytes:
    return hashlib.blake2b(f"{seed}\0{data_set}\0{sample_id}".encode(), digest_size=16).digest()
