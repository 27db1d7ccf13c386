"""From logits to one tidy table of metrics."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from robustmedclip.metrics.bootstrap import interval, resample_counts
from robustmedclip.metrics.robustness import (
    corruption_error,
    error_ratio,
    mce,
    mce_ratio_of_means,
    mean_of_defined,
    relative_corruption_error,
    relative_mce,
)
from robustmedclip.metrics.scores import auroc, balanced_accuracy, expected_calibration_error, is_correct
from robustmedclip.types import CLEAN, Condition, Logits

ALL = "all"
RESAMPLES = 1000
SEVERITIES = (1, 2, 3, 4, 5)
COLUMNS = {
    "model": "str",
    "base": "str",
    "method": "str",
    "rank": "Int64",
    "fraction": "float64",
    "seed": "Int64",
    "data_set": "str",
    "modality": "str",
    "corruption": "str",
    "severity": "Int64",
    "metric": "str",
    "value": "float64",
    "low": "float64",
    "high": "float64",
    "n": "int64",
}

_SCORES = {"balanced_accuracy": balanced_accuracy, "auroc": auroc, "ece": expected_calibration_error}
_SCALES = {"error": 100, "clean_error": 100, "balanced_accuracy": 100, "ece": 100}


class _Grid(NamedTuple):
    """A score of one model, averaged over its seeds: the estimate, then one row per resample.

    `clean` is ``(1 + resamples, data sets)`` and `corrupted` is ``(1 + resamples, data sets,
    corruptions, severities)``, NaN where a data set lacks a corruption.
    """

    clean: np.ndarray
    corrupted: np.ndarray

    def of(self, data_sets: Sequence[int]) -> "_Grid":
        return _Grid(self.clean[:, data_sets], self.corrupted[:, data_sets])


def metrics_table(
    logits: Sequence[Logits], baseline: str, resamples: int = RESAMPLES, seed: int = 0
) -> pd.DataFrame:
    """Every metric of every model, as one tidy table.

    Rows come in three levels, and (model, data_set, modality, corruption, severity, seed, metric) is unique.

    ============================  ======================  ===============================================
    Level                         Conditions              Metrics
    ============================  ======================  ===============================================
    model, data set, seed         each one                error, balanced_accuracy, auroc, ece
    model, data set               clean                   clean_error, clean_error_ratio
    ..                            a corruption            ce, relative_ce
    ..                            corruption ``all``      mce, relative_mce, error, balanced_accuracy,
                                                          auroc, ece
    model, data set ``all``       clean                   clean_error, clean_error_ratio,
                                                          balanced_accuracy, auroc, ece
    ..                            corruption, severity    error
    ..                            a corruption            ce, relative_ce
    ..                            corruption ``all``      as for one data set, and mce_ratio_of_means
    ============================  ======================  ===============================================

    - Above the first level, errors are averaged over seeds before any ratio is formed; `seed` is missing.
    - Data set ``all`` is the unweighted mean over data sets of their values: of all (modality ``all``),
      and of those of each modality. Only ``mce_ratio_of_means`` averages errors first.
    - Corruption ``all`` is the mean over corruptions and severities, corruption without a severity the
      mean over severities.
    - error, clean_error, balanced_accuracy and ece are in percent, auroc in [0, 1]; in clean_error_ratio,
      ce, mce and their relatives the baseline is 100. See :mod:`robustmedclip.metrics.robustness` for
      ratios that are undefined, NaN.
    - `low` and `high` bound a 95 % percentile interval over resampled test images, shared by all models
      of a data set (see :mod:`robustmedclip.metrics.bootstrap`); it holds for these trained models and says
      nothing of the spread over trainings. Missing for balanced_accuracy, auroc and ece.
    - `n` is the number of different test images behind the row.

    The order of rows is that of models, then data sets, both by name, whatever the order of `logits`.
    Written with ``to_csv(index=False, float_format="%.6g")`` equal logits give equal bytes.

    Parameters
    ----------
    logits : sequence of Logits
        One per (model, seed, data set).
    baseline : str
        The model whose errors count as 100.
    resamples : int
        Number of bootstrap resamples; 0 for no intervals.
    seed : int
        Seed of the resamples, 0 or more.

    Returns
    -------
    DataFrame
        With the columns of `COLUMNS`; `rank`, `fraction` and `seed` are missing for zero-shot models.

    Raises
    ------
    ValueError
        If the baseline, a (model, seed), a severity or another condition of a data set is missing or given
        twice, if models were scored on different images or classes of a data set, if a logit is not finite, or
        if a name is ``all``.
    """
    runs = _arranged(logits, baseline)
    models = sorted({model for model, _ in runs})
    data_sets = sorted({data_set for _, data_set in runs})
    corruptions = sorted({c.corruption for run in logits for c in run.conditions} - {CLEAN.corruption})
    counts = {
        data_set: _counts(seed, data_set, resamples, len(runs[baseline, data_set][0].labels))
        for data_set in data_sets
    }
    modalities = [runs[baseline, data_set][0].modality for data_set in data_sets]
    sizes = np.array([len(runs[baseline, data_set][0].labels) for data_set in data_sets])

    rows: dict[str, list[tuple]] = {}
    grids: dict[str, dict[str, _Grid]] = {}
    for model in models:
        scored = [
            [_score(run, counts[data_set]) for run in runs[model, data_set]] for data_set in data_sets
        ]
        rows[model] = [row for data_set in scored for run in data_set for row in run.rows()]
        grids[model] = _grids(scored, corruptions)

    groups = [(ALL, [*range(len(data_sets))])] + [
        (name, [i for i, modality in enumerate(modalities) if modality == name]) for name in sorted({*modalities})
    ]
    for model in models:
        attributes = _attributes(runs[model, data_sets[0]][0]) | {"seed": None}
        for i, data_set in enumerate(data_sets):
            summary = _data_set_summary(grids[model], grids[baseline], [i], corruptions)
            rows[model] += _rows(attributes, data_set, modalities[i], sizes[i], summary)
        for name, members in groups:
            summary = _group_summary(grids[model], grids[baseline], members, corruptions)
            rows[model] += _rows(attributes, ALL, name, sizes[members].sum(), summary)
    return pd.DataFrame([row for model in models for row in rows[model]], columns=list(COLUMNS)).astype(COLUMNS)


class _Scored(NamedTuple):
    """One run with its errors, float64 ``(1 + resamples, conditions)``: the estimate first."""

    run: Logits
    errors: np.ndarray
    scores: Mapping[str, np.ndarray]

    def rows(self) -> Iterator[tuple]:
        """One row per condition and score."""
        run, values = self.run, {"error": self.errors, **self.scores}
        for metric, table in values.items():
            for condition, column in zip(run.conditions, table.T, strict=True):
                yield _row(
                    _attributes(run),
                    run.data_set,
                    run.modality,
                    condition.corruption,
                    condition.severity or None,
                    metric,
                    column,
                    len(run.labels),
                )


def _arranged(logits: Sequence[Logits], baseline: str) -> dict[tuple[str, str], list[Logits]]:
    """The runs of each (model, data set), by seed, after checking that they can be compared."""
    runs: dict[tuple[str, str], list[Logits]] = defaultdict(list)
    for run in logits:
        if not np.isfinite(run.logits).all():
            raise ValueError(f"The logits of '{run.model}' on '{run.data_set}' are not all finite")
        runs[run.model, run.data_set].append(run)
    models, data_sets = {model for model, _ in runs}, {data_set for _, data_set in runs}
    if baseline not in models:
        raise ValueError(f"There are no logits of the baseline '{baseline}'; found {', '.join(sorted(models))}")
    if missing := [pair for pair in product(sorted(models), sorted(data_sets)) if pair not in runs]:
        pairs = ", ".join(f"'{model}' on '{data_set}'" for model, data_set in missing)
        raise ValueError(f"There are no logits of {pairs}")
    for data_set in sorted(data_sets):
        _check_names(runs[baseline, data_set][0])
    for model in models:
        seeds = {data_set: [run.attributes.get("seed") for run in runs[model, data_set]] for data_set in data_sets}
        for data_set, found in seeds.items():
            if len(set(found)) != len(found) or set(found) != set(seeds[min(data_sets)]):
                raise ValueError(
                    f"The seeds of '{model}' on '{data_set}' are {found}, on '{min(data_sets)}' {seeds[min(data_sets)]}"
                )
    for (_, data_set), group in runs.items():
        for run in group:
            _check_comparable(run, runs[baseline, data_set][0])
        group.sort(key=lambda run: run.attributes.get("seed") or 0)
    return runs


def _check_comparable(run: Logits, reference: Logits) -> None:
    pair = f"'{run.model}' and '{reference.model}'"
    if len(set(run.conditions)) != len(run.conditions) or set(run.conditions) != set(reference.conditions):
        raise ValueError(f"{pair} have other conditions on '{run.data_set}'")
    if (run.class_names, run.modality) != (reference.class_names, reference.modality):
        raise ValueError(f"{pair} have other classes or modalities on '{run.data_set}'")
    if not np.array_equal(run.sample_ids, reference.sample_ids) or not np.array_equal(run.labels, reference.labels):
        raise ValueError(f"{pair} were scored on other images of '{run.data_set}'")


def _check_names(run: Logits) -> None:
    names = {run.data_set, run.modality, *(condition.corruption for condition in run.conditions)}
    if ALL in names:
        raise ValueError(f"'{ALL}' is the name of averages: no data set, modality or corruption may be called so")
    if CLEAN not in run.conditions:
        raise ValueError(f"'{run.model}' has no clean condition on '{run.data_set}'")
    for corruption in {condition.corruption for condition in run.conditions} - {CLEAN.corruption}:
        if missing := [s for s in SEVERITIES if Condition(corruption, s) not in run.conditions]:
            raise ValueError(f"'{run.model}' lacks severities {missing} of '{corruption}' on '{run.data_set}'")


def _counts(seed: int, data_set: str, resamples: int, images: int) -> np.ndarray:
    """Weight of each image in the estimate (first row) and in each resample, ``(1 + resamples, images)``."""
    return np.concatenate(
        [np.ones((1, images), np.float32), resample_counts(seed, data_set, resamples, images)]
    )


def _score(run: Logits, counts: np.ndarray) -> _Scored:
    wrong = ~is_correct(run.logits, run.labels)
    errors = (counts @ wrong.T.astype(np.float32)).astype(np.float64) / len(run.labels)
    scores = {
        name: np.array([[score(logits, run.labels) for logits in run.logits]]) for name, score in _SCORES.items()
    }
    return _Scored(run, errors, scores)


def _grids(scored: Sequence[Sequence[_Scored]], corruptions: Sequence[str]) -> dict[str, _Grid]:
    """The grid of each score of one model, from its runs on each data set."""
    return {
        name: _grid(
            [
                (
                    data_set[0].run.conditions,
                    np.mean([_aligned(one, data_set[0].run.conditions, name) for one in data_set], axis=0),
                )
                for data_set in scored
            ],
            corruptions,
        )
        for name in ("error", *_SCORES)
    }


def _aligned(scored: _Scored, conditions: Sequence[Condition], name: str) -> np.ndarray:
    table = scored.errors if name == "error" else scored.scores[name]
    return table[:, [scored.run.conditions.index(condition) for condition in conditions]]


def _grid(tables: Sequence[tuple[Sequence[Condition], np.ndarray]], corruptions: Sequence[str]) -> _Grid:
    rows = len(tables[0][1])
    clean = np.stack([table[:, conditions.index(CLEAN)] for conditions, table in tables], axis=1)
    corrupted = np.full((rows, len(tables), len(corruptions), len(SEVERITIES)), np.nan)
    for i, (conditions, table) in enumerate(tables):
        for position, condition in enumerate(conditions):
            if condition != CLEAN:
                corrupted[:, i, corruptions.index(condition.corruption), condition.severity - 1] = table[:, position]
    return _Grid(clean, corrupted)


_Summary = Iterator[tuple[str, int | None, str, np.ndarray]]


def _data_set_summary(
    grids: Mapping[str, _Grid], baseline: Mapping[str, _Grid], members: Sequence[int], corruptions: Sequence[str]
) -> _Summary:
    """(corruption, severity, metric, values) of the mean over the data sets `members` of their values."""
    error, base = grids["error"].of(members), baseline["error"].of(members)

    def mean(values: np.ndarray) -> np.ndarray:
        return mean_of_defined(values, axis=1)

    yield CLEAN.corruption, None, "clean_error", mean(error.clean)
    yield CLEAN.corruption, None, "clean_error_ratio", mean(error_ratio(error.clean, base.clean))
    ce = mean(corruption_error(error.corrupted, base.corrupted))
    relative = mean(
        relative_corruption_error(error.corrupted, error.clean[..., None], base.corrupted, base.clean[..., None])
    )
    for position, corruption in enumerate(corruptions):
        if not np.isnan(error.corrupted[0, :, position]).all():
            yield corruption, None, "ce", ce[:, position]
            yield corruption, None, "relative_ce", relative[:, position]
    if corruptions:
        yield ALL, None, "mce", mean(mce(error.corrupted, base.corrupted))
        yield ALL, None, "relative_mce", mean(relative_mce(error.corrupted, error.clean, base.corrupted, base.clean))
        for name, grid in grids.items():
            yield ALL, None, name, mean(mean_of_defined(grid.of(members).corrupted, axis=(2, 3)))


def _group_summary(
    grids: Mapping[str, _Grid], baseline: Mapping[str, _Grid], members: Sequence[int], corruptions: Sequence[str]
) -> _Summary:
    """As for one data set, with what only a group has."""
    yield from _data_set_summary(grids, baseline, members, corruptions)
    for name in _SCORES:
        yield CLEAN.corruption, None, name, mean_of_defined(grids[name].of(members).clean, axis=1)
    error, base = grids["error"].of(members), baseline["error"].of(members)
    for (k, corruption), (s, severity) in product(enumerate(corruptions), enumerate(SEVERITIES)):
        if not np.isnan(error.corrupted[0, :, k]).all():
            yield corruption, severity, "error", mean_of_defined(error.corrupted[:, :, k, s], axis=1)
    if corruptions:
        yield ALL, None, "mce_ratio_of_means", mce_ratio_of_means(error.corrupted, base.corrupted)


def _rows(attributes: Mapping[str, Any], data_set: str, modality: str, n: int, summary: _Summary) -> list[tuple]:
    return [
        _row(attributes, data_set, modality, corruption, severity, metric, values, n)
        for corruption, severity, metric, values in summary
    ]


def _row(
    attributes: Mapping[str, Any],
    data_set: str,
    modality: str,
    corruption: str,
    severity: int | None,
    metric: str,
    values: np.ndarray,
    n: int,
) -> tuple:
    scaled = values * _SCALES.get(metric, 1)
    low, high = interval(scaled[1:])
    return (*attributes.values(), data_set, modality, corruption, severity, metric, scaled[0], low, high, int(n))


def _attributes(run: Logits) -> dict[str, Any]:
    known = {name: run.attributes.get(name) for name in ("base", "method", "rank", "fraction", "seed")}
    return {"model": run.model, **known}
