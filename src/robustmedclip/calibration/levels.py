"""Levels: a corruption at a severity on a data set, how like the original it leaves images, and its band."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from robustmedclip.calibration.likeness import psnr, ssim
from robustmedclip.calibration.ratings import Verdict
from robustmedclip.corruptions import Suite, corrupt
from robustmedclip.corruptions.draws import Draws
from robustmedclip.images.conditions import CLEAN, Condition
from robustmedclip.images.sets import ImageSet

#: Columns of :func:`likeness_table`.
LIKENESS = ("data_set", "corruption", "severity", "ssim", "ssim_low", "ssim_high", "psnr", "shift", "n")


def drawn_images(images: ImageSet, count: int, seed: int) -> ImageSet:
    """Some of the images of a set, drawn by their ids alone; all, if there are no more."""
    keys = [int(Draws("calibration", seed, sample_id).bits32((1,))[0]) for sample_id in images.sample_ids]
    return images.subset(np.argsort(keys, kind="stable")[:count])


def likeness_table(
    images: ImageSet, conditions: Sequence[Condition], encode: Any, settings: Mapping[str, Any]
) -> pd.DataFrame:
    """How like their originals images stay under each condition.

    Parameters
    ----------
    images : ImageSet
        The images that are corrupted.
    conditions : sequence of Condition
        Clean ones are passed over.
    encode : callable
        Images uint8 ``(N, H, W, C)`` to unit features float32 ``(N, D)``.
    settings : mapping
        Of :func:`robustmedclip.corruptions.corrupt`.

    Returns
    -------
    DataFrame
        A row per condition with the columns :data:`LIKENESS`: mean SSIM and its 10th and 90th percentiles over the `n`
        images, mean PSNR in dB, and the mean shift of the features, 1 - cosine similarity to those of the original.
    """
    originals = np.asarray(images.images)
    features, rows = encode(originals), []
    for condition in conditions:
        if condition == CLEAN:
            continue
        corrupted = corrupt(originals, *condition, sample_ids=list(map(str, images.sample_ids)), **settings)
        similarity = [ssim(original, other) for original, other in zip(originals, corrupted, strict=True)]
        noise = [psnr(original, other) for original, other in zip(originals, corrupted, strict=True)]
        shift = 1 - np.sum(features * encode(corrupted), axis=1)
        spread = np.quantile(similarity, (0.1, 0.9))
        rows.append(
            (images.name, *condition, np.mean(similarity), *spread, np.mean(noise), shift.mean(), len(originals))
        )
    return pd.DataFrame(rows, columns=list(LIKENESS))


def judged_levels(
    likeness: pd.DataFrame,
    suites: Mapping[str, tuple[Suite, str | None]],
    verdicts: Mapping[tuple[str, Condition], Verdict],
) -> pd.DataFrame:
    """Likeness and band of every level.

    Parameters
    ----------
    likeness : DataFrame
        :func:`likeness_table` of some data sets, one after the other.
    suites : mapping
        Data set to its suite, and to the data set whose list is used.
    verdicts : mapping
        What clinicians say: it comes before what the suite says.

    Returns
    -------
    DataFrame
        `likeness`, with ``value`` and ``source`` of the level's constant, its ``band``, who says so in ``band_source``,
        and ``outside``: whether the band follows from SSIM, and the images of this data set are on its other side.
    """
    rows = []
    for row in likeness.itertuples():
        suite, of = suites[row.data_set]
        corruption, condition = suite.corruption(row.corruption, of), Condition(row.corruption, row.severity)
        band, source, outside = corruption.band(row.severity), corruption.realistic_source, False
        if verdict := verdicts.get((row.data_set, condition)):
            band, source = verdict.band, f"clinicians: {verdict.accepted} of {verdict.answers} answers accept"
        elif band and source is None and suite.realistic_ssim is not None:
            source = f"ours: SSIM of {suite.realistic_ssim:.2f} and above"
            outside = (row.ssim >= suite.realistic_ssim) != (band == "realistic")
        value = corruption.values[row.severity - 1]
        rows.append((_spoken(value), corruption.source or suite.source, band, source, outside))
    judged = pd.DataFrame(rows, columns=["value", "source", "band", "band_source", "outside"], index=likeness.index)
    return pd.concat([likeness, judged], axis=1)


def extreme_conditions(levels: pd.DataFrame) -> dict[str, set[Condition]]:
    """Data set to its levels that no scanner makes."""
    extreme: dict[str, set[Condition]] = {}
    for row in levels[levels["band"] == "extreme"].itertuples():
        extreme.setdefault(row.data_set, set()).add(Condition(row.corruption, row.severity))
    return extreme


def _spoken(value: Any) -> str:
    numbers: Iterable[Any] = value if isinstance(value, tuple) else (value,)
    return ", ".join(f"{number:.4g}" for number in numbers)
