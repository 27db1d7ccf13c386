"""Nodes that keep images of the test splits out of the training pools."""

from itertools import product

import numpy as np
import pandas as pd

from robustmedclip.images.near_duplicates import (
    FRAMINGS,
    HASH_BYTES,
    LARGEST_DISTANCE,
    nearest,
    perceptual_hashes,
    pixel_digests,
)
from robustmedclip.images.pixels import batches
from robustmedclip.images.sets import ImageSet

_COLUMNS = ["pool_set", "pool_sample", "test_set", "test_sample", "kind", "bits"]
_BATCH = 256
#: A row of the table of duplicates.
_Row = tuple[str, str, str, str, str, int | None]


def hash_images(*sets: ImageSet) -> pd.DataFrame:
    """Hashes of all images of a training pool and a test split.

    Returns
    -------
    DataFrame
        A row per image: ``data_set``, ``split``, ``sample_id``, ``pixels`` (a digest), and its perceptual hash in each
        framing, in hexadecimal digits; empty where there is none; and ``patient``, where it is known of all.
    """
    tables = pd.concat([_hashed(images) for images in sets], ignore_index=True)
    if any(images.patients is None for images in sets):
        return tables
    return tables.assign(patient=np.concatenate([images.patients for images in sets if images.patients is not None]))


def find_duplicates(*hashes: pd.DataFrame) -> pd.DataFrame:
    """Images of the training pools that are also in a test split, of any data set, or whose patient is.

    A patient is looked for in the test split of the same data set alone. Images of different data sets are also
    compared in other framings, as :mod:`robustmedclip.images.near_duplicates` describes.

    Parameters
    ----------
    *hashes : DataFrame
        From :func:`hash_images`, one for each data set.

    Returns
    -------
    DataFrame
        A row per image of a pool and test split in which it is: ``pool_set``, ``pool_sample``, ``test_set``,
        ``test_sample`` (the closest one), ``kind`` (``exact`` for the same pixels, else ``near``) and ``bits``, the
        number of bits in which the perceptual hashes differ; and a row of the kind ``patient``, without bits, per image
        of a pool whose patient has an image in the test split, the first of which is ``test_sample``.
    """
    pools = [table[table["split"] == "pool"] for table in hashes]
    tests = [table[table["split"] == "test"] for table in hashes]
    rows = [row for pool, test in product(pools, tests) for row in _shared(pool, test)]
    rows += [row for pool, test in zip(pools, tests, strict=True) for row in _of_shared_patients(pool, test)]
    return pd.DataFrame(rows, columns=_COLUMNS).astype({"bits": "Int64"})


def _hashed(images: ImageSet) -> pd.DataFrame:
    pixels, hashes = [], []
    for batch in batches(images.images, _BATCH):
        pixels += pixel_digests(batch)
        hashes.append(perceptual_hashes(np.ascontiguousarray(batch)))
    table = {"data_set": images.name, "split": images.split, "sample_id": images.sample_ids, "pixels": pixels}
    for place, framing in enumerate(FRAMINGS):
        table[framing] = [row.tobytes().hex() if row.any() else "" for row in np.concatenate(hashes)[:, place]]
    return pd.DataFrame(table)


def _shared(pool: pd.DataFrame, test: pd.DataFrame) -> list[_Row]:
    """Rows of the table of duplicates for one pool and one test split."""
    framings = [("whole", "whole")]
    if pool["data_set"].iloc[0] != test["data_set"].iloc[0]:
        framings += [pair for framing in FRAMINGS[1:] for pair in (("whole", framing), (framing, "whole"))]
    rows, bits = np.zeros(len(pool), np.int64), np.full(len(pool), 8 * HASH_BYTES)
    for ours, theirs in framings:
        candidates, distances = nearest(_unpacked(pool[ours]), _unpacked(test[theirs]))
        closer = distances < bits
        rows[closer], bits[closer] = candidates[closer], distances[closer]
    first_with = {pixels: row for row, pixels in reversed(list(enumerate(test["pixels"])))}
    exact = pool["pixels"].map(first_with).to_numpy(np.float64)
    same = ~np.isnan(exact)
    rows[same], bits[same] = exact[same].astype(np.int64), 0
    names = (
        pool["data_set"].to_numpy(),
        pool["sample_id"].to_numpy(),
        test["data_set"].iloc[0],
        test["sample_id"].to_numpy(),
    )
    return [
        (names[0][at], names[1][at], names[2], names[3][rows[at]], "exact" if same[at] else "near", int(bits[at]))
        for at in np.flatnonzero(bits <= LARGEST_DISTANCE)
    ]


def _of_shared_patients(pool: pd.DataFrame, test: pd.DataFrame) -> list[_Row]:
    """Rows of the table of duplicates for the patients that a pool and the test split of its data set share."""
    if "patient" not in pool:
        return []
    first = test.drop_duplicates("patient").set_index("patient")["sample_id"]
    shared = pool[pool["patient"].isin(first.index)]
    return [
        (row.data_set, row.sample_id, row.data_set, first[row.patient], "patient", None) for row in shared.itertuples()
    ]


def _unpacked(column: pd.Series) -> np.ndarray:
    """The hashes of a column of hexadecimal digits, uint8 ``(N, 32)``; zero where there is none."""
    text = "".join(column.where(column != "", "00" * HASH_BYTES))
    return np.frombuffer(bytes.fromhex(text), np.uint8).reshape(-1, HASH_BYTES)
