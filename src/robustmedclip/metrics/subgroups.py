"""Errors of subgroups of the test images, and the gap between them, clean and under corruption.

The gap is the error of the group with the most errors minus that of the group with the fewest. Which two these are is
read from the same images, so its interval is corrected for all pairs that it could have been, and over corruptions also
for their number (Bonferroni; Dunn 1961, doi:10.1080/01621459.1961.10482090): it holds the difference of the two with a
probability of 95 % at least.
"""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np
import pandas as pd

from robustmedclip.images.conditions import CLEAN, Condition
from robustmedclip.images.sets import PATIENT, ImageSet
from robustmedclip.metrics.bootstrap import LEVEL, interval, resampled_means, seed_weights
from robustmedclip.metrics.classification import error_values
from robustmedclip.metrics.logits import Logits
from robustmedclip.metrics.runs import ALL
from robustmedclip.metrics.table import RESAMPLES

#: Groups of fewer images are named and not compared.
FEWEST_IMAGES = 20
#: The group of a row that is about the gap between two.
GAP = "gap"
COLUMNS = {
    "model": "str",
    "data_set": "str",
    "subgroup": "str",
    "group": "str",
    "worst": "str",
    "best": "str",
    "corruption": "str",
    "value": "float64",
    "low": "float64",
    "high": "float64",
    "n": "int64",
    "patients": "Int64",
    "frequent_class": "str",
    "frequency": "float64",
}


def subgroup_errors(
    logits: Sequence[Logits],
    tests: Mapping[str, ImageSet],
    resamples: int = RESAMPLES,
    seed: int = 0,
    extreme: Mapping[str, Collection[Condition]] | None = None,
) -> pd.DataFrame:
    """Errors of every group, and the gap between the best and the worst.

    Parameters
    ----------
    logits : sequence of Logits
        One per (model, seed, data set); seeds are averaged.
    tests : mapping
        Data set to its test images, in the order of its logits; their columns are the subgroups.
    resamples, seed, extreme
        As of :func:`robustmedclip.metrics.score_benchmark`.

    Returns
    -------
    DataFrame
        A row per model, data set, subgroup, group (or ``gap``, of two named in ``worst`` and ``best``) and corruption:
        ``clean``, ``all`` for the mean over corruptions and severities, or one for the mean over its severities.
        ``value`` with its interval ``low`` to ``high``, in percent, missing for groups of fewer than
        :data:`FEWEST_IMAGES` images; ``n`` images of ``patients``; of groups, the ``frequent_class`` of most images,
        and its ``frequency`` in percent.
    """
    runs: dict[tuple[str, str], list[Logits]] = defaultdict(list)
    for run in logits:
        runs[run.model, run.data_set].append(run)
    rows: list[tuple[object, ...]] = []
    for (model, data_set), of_seeds in runs.items():
        names, errors = _errors(of_seeds, (extreme or {}).get(data_set, ()))
        for subgroup, groups in tests[data_set].columns.items():
            if subgroup != PATIENT:
                drawn = _Groups.resampled(errors, groups, tests[data_set].patients, of_seeds, resamples, seed)
                rows += [(model, data_set, subgroup, *row) for row in _rows(names, drawn)]
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype(COLUMNS)


class _Groups(NamedTuple):
    """Groups: their names, images and patients, and their errors in percent, ``(1 + resamples, groups, columns)``."""

    names: list[str]
    images: list[int]
    patients: list[frozenset[str] | None]
    classes: list[tuple[str, float]]
    means: np.ndarray

    @classmethod
    def resampled(
        cls,
        errors: np.ndarray,
        groups: np.ndarray,
        patients: np.ndarray | None,
        runs: Sequence[Logits],
        resamples: int,
        seed: int,
    ) -> "_Groups":
        """From ``(seeds, columns, N)``: resamples of the whole test set, of which each group is a part."""
        names, images = np.unique(groups, return_counts=True)
        members = (groups == names[:, None]).astype(np.float64)
        weights = seed_weights(seed, [run.attributes.get("seed") for run in runs], resamples)
        drawn = resampled_means(members, seed, runs[0].data_set, resamples, patients)[..., None]
        means = np.zeros((1 + resamples, len(names), errors.shape[1]))
        for of_seed, weight in zip(errors, weights.T, strict=True):
            parts = members[:, None] * of_seed
            sums = resampled_means(parts, seed, runs[0].data_set, resamples, patients)
            means += weight[:, None, None] * np.divide(sums, drawn, out=np.full_like(sums, np.nan), where=drawn > 0)
        chosen = [groups == name for name in names]
        whose = [None if patients is None else frozenset(patients[of_group].tolist()) for of_group in chosen]
        classes = [_most_frequent(runs[0].labels[of_group], runs[0].class_names) for of_group in chosen]
        return cls(names.tolist(), images.tolist(), whose, classes, 100 * means)


def _most_frequent(labels: np.ndarray, class_names: Sequence[str]) -> tuple[str, float]:
    """The class of most images, the first of equals, and of how many it is, in percent."""
    counts = np.bincount(labels, minlength=len(class_names))
    return class_names[int(counts.argmax())], 100 * float(counts.max() / counts.sum())


def _errors(runs: Sequence[Logits], extreme: Collection[Condition]) -> tuple[list[str], np.ndarray]:
    """``clean``, ``all`` and corruptions, and the errors of images, averaged: float64 ``(seeds, columns, N)``."""
    conditions = [condition for condition in runs[0].conditions if condition not in extreme]
    corrupted = [condition != CLEAN for condition in conditions]
    names = sorted({condition.corruption for condition in conditions} - {CLEAN.corruption})
    errors = []
    for run in runs:
        values = error_values(run.logits[[run.conditions.index(condition) for condition in conditions]], run.labels)
        of = {
            name: values[[condition.corruption == name for condition in conditions]].mean(0)
            for name in [CLEAN.corruption, *names]
        }
        overall = values[corrupted].mean(0) if names else of[CLEAN.corruption]
        errors.append(np.stack([of[CLEAN.corruption], overall, *(of[name] for name in names)]))
    return [CLEAN.corruption, ALL, *names], np.stack(errors)


def _rows(names: Sequence[str], groups: _Groups) -> Iterator[tuple[object, ...]]:
    """Rows of the table without model, data set and subgroup."""
    low, high = interval(groups.means)
    for place, (group, images) in enumerate(zip(groups.names, groups.images, strict=True)):
        known, counts = images >= FEWEST_IMAGES, (images, _count(groups.patients[place]))
        for column, name in enumerate(names):
            numbers = (groups.means[0, place, column], low[place, column], high[place, column])
            yield group, "", "", name, *(numbers if known else 3 * (np.nan,)), *counts, *groups.classes[place]
    compared = [place for place, images in enumerate(groups.images) if images >= FEWEST_IMAGES]
    if len(compared) < 2:
        return
    pairs = len(list(combinations(compared, 2)))
    for column, name in enumerate(names):
        best, *_, worst = sorted(compared, key=lambda place: groups.means[0, place, column])
        tests = pairs * (1 if name in (CLEAN.corruption, ALL) else len(names) - 2)
        gap = groups.means[:, worst, column] - groups.means[:, best, column]
        bounds = interval(gap, 1 - (1 - LEVEL) / tests)
        whose = [groups.patients[place] for place in (worst, best)]
        counts = groups.images[worst] + groups.images[best], _count(_of_both(*whose))
        named = groups.names[worst], groups.names[best]
        yield GAP, *named, name, gap[0], *map(float, bounds), *counts, "", np.nan


def _of_both(first: frozenset[str] | None, second: frozenset[str] | None) -> frozenset[str] | None:
    """The patients of two groups; some may be in both."""
    return None if first is None or second is None else first | second


def _count(patients: frozenset[str] | None) -> int | None:
    return None if patients is None else len(patients)
