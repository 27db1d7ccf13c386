"""Scores of each finding of the data sets whose images may have several, and of their mean.

Each finding is a task of two classes on the images of which it is known. An image, or a patient, is drawn with all of
its findings: the interval of the mean holds whether findings go together or not.
"""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from robustmedclip.images.conditions import CLEAN, Condition
from robustmedclip.images.findings import PRESENT, UNKNOWN, differing
from robustmedclip.metrics import derived
from robustmedclip.metrics.bootstrap import interval, resampled_means, seed_weights
from robustmedclip.metrics.classification import BALANCED_ACCURACY, ERROR
from robustmedclip.metrics.logits import Logits
from robustmedclip.metrics.metric import Metric, values_of_finding
from robustmedclip.metrics.ranking import AUROC
from robustmedclip.metrics.robustness import corruption_error, mean_of_defined
from robustmedclip.metrics.runs import ALL, SEVERITIES
from robustmedclip.metrics.table import RESAMPLES

BALANCED_ERROR = "balanced_error"
COLUMNS = {
    "model": "str",
    "data_set": "str",
    "finding": "str",
    "corruption": "str",
    "severity": "Int64",
    "metric": "str",
    "value": "float64",
    "low": "float64",
    "high": "float64",
    "n": "int64",
    "present": "int64",
    "patients": "Int64",
}


def finding_scores(
    logits: Sequence[Logits],
    baseline: str,
    *,
    mce_on: Metric = ERROR,
    extreme: Mapping[str, Collection[Condition]] | None = None,
    patients: Mapping[str, np.ndarray] | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> pd.DataFrame:
    """AUROC, balanced error and corruption errors of every finding, clean and corrupted.

    Parameters
    ----------
    logits : sequence of Logits
        Of data sets of findings, one per (model, seed, data set), the baseline's among them; seeds are averaged.
    baseline : str
        The model that counts as 100.
    mce_on, extreme, patients, resamples, seed
        As of :func:`robustmedclip.metrics.score_benchmark`.

    Returns
    -------
    DataFrame
        A row per model, data set, finding (``all`` for their mean), corruption, severity and metric: ``auroc``;
        ``balanced_error`` in percent; ``ce``, or ``mce`` of all corruptions, of the mean the ratio of mean errors.
        ``value`` with its interval ``low`` to ``high``; ``n`` images of which the finding is known, of ``patients``,
        and of how many it is ``present``; of the mean, of how many images any is. Corruption ``all`` is the mean over
        corruptions and severities, corruption without a severity that over severities. Findings that all test images
        have, or none, are left out.
    """
    runs: dict[tuple[str, str], list[Logits]] = defaultdict(list)
    for run in logits:
        runs[run.model, run.data_set].append(run)
    rows: list[tuple[object, ...]] = []
    for data_set in sorted({run.data_set for run in logits}):
        whose, levels = (patients or {}).get(data_set), (extreme or {}).get(data_set, ())
        base: _Scored | None = None
        for model in sorted({run.model for run in logits}, key=lambda name: (name != baseline, name)):
            scored = _Scored.of(runs[model, data_set], mce_on, levels, whose, resamples, seed)
            base = base or scored
            sizes = [*_sizes(runs[model, data_set][0], whose)]
            rows += [(model, data_set, *row) for row in _rows(scored, base, sizes)]
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype(COLUMNS).sort_values(["model", "data_set"], kind="stable")


class _Scored(NamedTuple):
    """A model on a data set: the estimate and one per resample, of each finding and then of their mean.

    `clean` are ``(1 + resamples, findings + 1)`` and `corrupted` ``(1 + resamples, findings + 1, corruptions,
    severities)``, by metric: AUROC, balanced error, and what mCE is made of; NaN at levels that are not averaged in
    `averaged`.
    """

    corruptions: Sequence[str]
    clean: Mapping[str, np.ndarray]
    corrupted: Mapping[str, np.ndarray]
    averaged: Mapping[str, np.ndarray]

    @classmethod
    def of(
        cls,
        runs: Sequence[Logits],
        mce_on: Metric,
        extreme: Collection[Condition],
        patients: np.ndarray | None,
        resamples: int,
        seed: int,
    ) -> "_Scored":
        """From the runs of all seeds."""
        corruptions = sorted({c.corruption for c in runs[0].conditions} - {CLEAN.corruption})
        levels = [Condition(name, severity) for name in corruptions for severity in SEVERITIES]
        metrics = [*dict.fromkeys((AUROC, BALANCED_ACCURACY, mce_on))]
        means = _means(runs, [CLEAN, *levels], metrics, patients, resamples, seed)
        named = {
            AUROC.name: means[:, :, 0],
            BALANCED_ERROR: BALANCED_ACCURACY.loss(means[:, :, 1]),
            derived.CE: mce_on.loss(means[:, :, metrics.index(mce_on)]),
        }
        shape = (*means.shape[:2], len(corruptions), len(SEVERITIES))
        corrupted = {name: values[..., 1:].reshape(shape) for name, values in named.items()}
        realistic = np.array([level not in extreme for level in levels], bool).reshape(shape[2:])
        averaged = {name: np.where(realistic, values, np.nan) for name, values in corrupted.items()}
        return cls(corruptions, {name: values[..., 0] for name, values in named.items()}, corrupted, averaged)


def _means(
    runs: Sequence[Logits],
    conditions: Sequence[Condition],
    metrics: Sequence[Metric],
    patients: np.ndarray | None,
    resamples: int,
    seed: int,
) -> np.ndarray:
    """Each finding, then their mean, averaged over seeds: ``(1 + resamples, findings + 1, metrics, conditions)``."""
    runs = sorted(runs, key=lambda run: run.attributes.get("seed") or 0)
    low, high = (np.array([[metric.bounds[side]] for metric in metrics]) for side in (0, 1))
    weights = seed_weights(seed, [run.attributes.get("seed") for run in runs], resamples)
    average: np.ndarray | None = None
    for run, weight in zip(runs, weights.T, strict=True):
        order = [run.conditions.index(condition) for condition in conditions]
        clean = run.logits[run.conditions.index(CLEAN)]
        values = [
            values_of_finding(metrics, run.logits[order], run.labels, clean, place, patients)
            for place in differing(run.labels)
        ]
        values.append(np.mean(values, axis=0))
        means = np.clip(resampled_means(np.stack(values), seed, run.data_set, resamples, patients), low, high)
        weighted = weight[:, None, None, None] * means
        average = weighted if average is None else average + weighted
    assert average is not None
    return average


def _sizes(run: Logits, patients: np.ndarray | None) -> Iterator[tuple[str, int, int, int | None]]:
    """Name, images, images that have it and patients of each finding that is scored, and of all together."""
    places = differing(run.labels)
    known, present = run.labels[:, places] != UNKNOWN, run.labels[:, places] == PRESENT
    for name, of_known, of_present in (
        *zip([run.class_names[place] for place in places], known.T, present.T, strict=True),
        (ALL, known.any(1), present.any(1)),
    ):
        whose = None if patients is None else len(np.unique(patients[of_known]))
        yield name, int(of_known.sum()), int(of_present.sum()), whose


def _rows(
    scored: _Scored, base: _Scored, sizes: Sequence[tuple[str, int, int, int | None]]
) -> Iterator[tuple[object, ...]]:
    """Rows of the table without model and data set."""
    entries = [*_entries(scored), *_ratios(scored, base)]
    samples = np.stack([values for *_, values in entries], axis=2)
    low, high = interval(samples)
    for finding, (name, n, present, whose) in enumerate(sizes):
        for place, (corruption, severity, metric, _) in enumerate(entries):
            numbers = (samples[0, finding, place], low[finding, place], high[finding, place])
            yield name, corruption, severity, metric, *map(float, numbers), n, present, whose


def _entries(scored: _Scored) -> Iterator[tuple[str, int | None, str, np.ndarray]]:
    """Corruption, severity, metric and values ``(1 + resamples, findings + 1)``."""
    for metric, scale in ((AUROC.name, 1), (BALANCED_ERROR, 100)):
        yield CLEAN.corruption, None, metric, scale * scored.clean[metric]
        for c, corruption in enumerate(scored.corruptions):
            for s, severity in enumerate(SEVERITIES):
                yield corruption, severity, metric, scale * scored.corrupted[metric][:, :, c, s]
            yield corruption, None, metric, scale * mean_of_defined(scored.averaged[metric][:, :, c])
        if scored.corruptions:
            yield ALL, None, metric, scale * mean_of_defined(scored.averaged[metric], axis=(2, 3))


def _ratios(scored: _Scored, base: _Scored) -> Iterator[tuple[str, int | None, str, np.ndarray]]:
    """Corruption errors, as :func:`_entries`."""
    ratios = corruption_error(scored.averaged[derived.CE], base.averaged[derived.CE], resampled=True)
    for c, corruption in enumerate(scored.corruptions):
        yield corruption, None, derived.CE, ratios[:, :, c]
    if scored.corruptions:
        yield ALL, None, derived.MCE, mean_of_defined(ratios, resampled=True)
