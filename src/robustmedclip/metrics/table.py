"""From logits to one tidy table of metrics, and the resamples behind its intervals."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import product
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from robustmedclip.errors import InputError
from robustmedclip.images.conditions import CLEAN, Condition
from robustmedclip.metrics.bootstrap import interval, resampled_means, seed_weights
from robustmedclip.metrics.logits import Logits
from robustmedclip.metrics.robustness import (
    alexnet_errors,
    balanced_error,
    corruption_error,
    error_ratio,
    mce,
    mean_of_defined,
    pooled,
    relative_balanced_error,
    relative_corruption_error,
    resilience,
)
from robustmedclip.metrics.scores import score_values

ALL = "all"
RESAMPLES = 2000
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
    "collection": "str",
    "corruption": "str",
    "severity": "Int64",
    "metric": "str",
    "value": "float64",
    "low": "float64",
    "high": "float64",
    "n": "int64",
}
SCORES = ("error", "balanced_accuracy", "auroc", "aurc", "brier", "ece", "scaled_ece")

#: What the mean of a ratio over corruptions is called, where it has a name of its own.
_MEANS = {"ce": "mce", "relative_ce": "relative_mce"}
_HIGHEST = {"brier": 2}
_PERCENT = {"error", "clean_error", "balanced_accuracy", "aurc", "ece", "scaled_ece"}

_Alexnet = Sequence[tuple[np.ndarray, float]]


def metrics_table(logits: Sequence[Logits], baseline: str, **settings: Any) -> pd.DataFrame:
    """The table of :func:`score_benchmark` alone."""
    return score_benchmark(logits, baseline, **settings)[0]


def score_benchmark(
    logits: Sequence[Logits],
    baseline: str,
    *,
    collections: Mapping[str, str] | None = None,
    medmnist_c: Sequence[str] = (),
    seen: Sequence[str] = (),
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Every metric of every model as one tidy table, and the mCE of every model in every resample.

    Rows come in three levels, and (model, data_set, modality, collection, corruption, severity, seed, metric) is
    unique.

    ======================  ======================  =======================================================
    Level                   Conditions              Metrics
    ======================  ======================  =======================================================
    model, data set, seed   each one                clean_error or error, balanced_accuracy, auroc, aurc,
                                                    brier, ece, scaled_ece
    model, data set         each one                the same
    ..                      clean                   clean_error_ratio
    ..                      a corruption            ce, relative_ce, be, rbe
    ..                      ``all``, a severity     error, resilience
    ..                      ``all``                 mce, relative_mce, be, rbe, resilience, error,
                                                    balanced_accuracy, auroc, aurc, brier, ece, scaled_ece
    model, data set         as for one data set;    as for one data set; clean_error_ratio, mce,
    ``all``                 of each corruption and  relative_mce, be and rbe also as
                            severity the error      clean_error_ratio_of_means, mce_ratio_of_means, ...
                            alone
    ======================  ======================  =======================================================

    - Only tuned models have the first level. Above it, errors are averaged over seeds before any ratio is
      formed; `seed` is missing.
    - Where some corruptions of a data set were seen in tuning and others not, mce_seen and mce_held_out are its means
      over these and those.
    - Data set ``all`` is the unweighted mean over data sets of their values: of all, of those of each modality
      (collection ``all``) and of those of each collection (modality ``all``). In ``_ratio_of_means``, errors are
      averaged before ratios are formed.
    - Severity 0 of a corruption, in means over data sets, is the clean error of those data sets that have the corruption.
    - Corruption ``all`` is the mean over corruptions and severities, corruption without a severity the
      mean over severities.
    - error, clean_error, balanced_accuracy, aurc, ece, scaled_ece and resilience are in percent, auroc in [0, 1],
      brier in [0, 2]; in clean_error_ratio, ce, mce and their relatives the baseline is 100, in be and rbe
      MedMNIST-C's AlexNet is 1. See :mod:`robustmedclip.metrics.robustness` for ratios that are undefined, NaN.
    - `low` and `high` bound a 95 % bootstrap interval over test images, all models of a data set on the same
      resamples, and over seeds where a model has several (see :mod:`robustmedclip.metrics.bootstrap`). For a
      model with one seed it does not contain the spread over trainings. The temperature of scaled_ece
      and the reference of be and rbe are taken as fixed. A bootstrap knows only what it has seen: an
      error of 0 has the interval [0, 0], and a class with one image adds nothing to those of class means.
    - `n` is the number of different test images behind the value: of a mean over data sets, those of the data
      sets where it is defined.

    The order of rows is that of models, then data sets, both by name, whatever the order of `logits`.
    Written with ``to_csv(index=False, float_format="%.6g")`` equal logits give equal bytes.

    Parameters
    ----------
    logits : sequence of Logits
        One per (model, seed, data set).
    baseline : str
        The model whose errors count as 100.
    collections : mapping, optional
        Data set to the collection that it belongs to; data sets without one are in no mean over collections.
    medmnist_c : sequence of str
        The data sets that are MedMNIST's of that name under the suite MedMNIST-C: they have be and rbe.
    seen : sequence of str
        Corruptions that some model saw in tuning.
    resamples : int
        Number of bootstrap resamples; 0 for no intervals.
    seed : int
        Seed of the resamples, 0 or more.

    Returns
    -------
    table : DataFrame
        With the columns of `COLUMNS`; `rank`, `fraction` and `seed` are missing for zero-shot models.
    mce : DataFrame
        float64, a column per model: its mCE over all data sets, first the estimate, then a row per
        resample; for :func:`robustmedclip.metrics.compare_models` and
        :func:`robustmedclip.metrics.rank_stability`.

    Raises
    ------
    InputError
        If the baseline, a (model, seed), a severity or another condition of a data set is missing or given
        twice, if models were scored on different images or classes of a data set, if a logit is not finite, or
        if a name is ``all``.
    """
    runs = _arranged(logits, baseline)
    references = [runs[baseline, data_set][0] for data_set in sorted({data_set for _, data_set in runs})]
    corruptions = sorted({c.corruption for run in references for c in run.conditions} - {CLEAN.corruption})
    sizes = np.array([len(run.labels) for run in references])
    alexnet = [alexnet_errors(run.data_set if run.data_set in medmnist_c else "", corruptions) for run in references]
    groups = _groups(references, collections or {})
    models = sorted({model for model, _ in runs})

    rows: dict[str, list[tuple]] = {}
    resampled: dict[str, np.ndarray] = {}
    base = None
    for model in sorted(models, key=lambda name: name != baseline):
        grid, rows[model] = _empty_grid(resamples, len(references), corruptions), []
        for position, reference in enumerate(references):
            own = runs[model, reference.data_set]
            scores, of_seeds = _score(own, reference.conditions, groups[position], resamples, seed)
            grid.scores[:, position][..., _columns(reference.conditions, corruptions)] = scores
            rows[model] += of_seeds
        base = base or grid
        attributes = _attributes(runs[model, references[0].data_set][0]) | {"seed": None}
        for group in groups:
            rows[model] += _rows(attributes, group, _entries(group, grid, base, sizes, corruptions, alexnet, seen))
        resampled[model] = mean_of_defined(mce(grid.errors, base.errors), axis=1)
    table = pd.DataFrame([row for model in models for row in rows[model]], columns=list(COLUMNS)).astype(COLUMNS)
    return table, pd.DataFrame({model: resampled[model] for model in models})


def overall(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of averages over all data sets."""
    return table[(table["data_set"] == ALL) & (table["modality"] == ALL) & (table["collection"] == ALL)]


def severity_curve(table: pd.DataFrame, model: str, corruption: str) -> pd.DataFrame:
    """The rows of a model's error over the data sets that have a corruption, at severities 0 (clean) to 5."""
    own = overall(table[(table["model"] == model) & (table["corruption"] == corruption)])
    return own[(own["metric"] == "error") & own["severity"].notna()].sort_values("severity")


class _Group(NamedTuple):
    """A data set, or data sets that are averaged."""

    name: str
    modality: str
    collection: str | None
    members: list[int]


class _Entry(NamedTuple):
    """A value under a condition: the estimate, then one value per resample."""

    corruption: str
    severity: int | None
    metric: str
    values: np.ndarray
    n: int


class _Grid(NamedTuple):
    """The scores of one model, averaged over its seeds: the estimate, then one row per resample.

    `scores` are ``(1 + resamples, data sets, scores, 1 + corruptions * severities)``, the first condition
    is clean; NaN where a data set lacks a corruption.
    """

    scores: np.ndarray

    def clean(self, score: str = "error") -> np.ndarray:
        """``(1 + resamples, data sets)``."""
        return self.scores[:, :, SCORES.index(score), 0]

    def corrupted(self, score: str) -> np.ndarray:
        """``(1 + resamples, data sets, corruptions, severities)``."""
        return self.scores[:, :, SCORES.index(score), 1:].reshape(*self.scores.shape[:2], -1, len(SEVERITIES))

    @property
    def errors(self) -> np.ndarray:
        return self.corrupted("error")


def _groups(references: Sequence[Logits], collections: Mapping[str, str]) -> list[_Group]:
    """Each data set, then all, then those of each modality and of each collection."""
    modalities = [run.modality for run in references]
    of_each = [collections.get(run.data_set) for run in references]
    return [
        *(
            _Group(run.data_set, run.modality, collection, [i])
            for i, (run, collection) in enumerate(zip(references, of_each, strict=True))
        ),
        _Group(ALL, ALL, ALL, [*range(len(references))]),
        *(_Group(ALL, name, ALL, _positions(modalities, name)) for name in sorted({*modalities})),
        *(_Group(ALL, ALL, name, _positions(of_each, name)) for name in sorted({*of_each} - {None})),
    ]


def _positions(names: Sequence[str | None], name: str) -> list[int]:
    return [position for position, other in enumerate(names) if other == name]


def _empty_grid(resamples: int, data_sets: int, corruptions: Sequence[str]) -> _Grid:
    return _Grid(np.full((1 + resamples, data_sets, len(SCORES), 1 + len(corruptions) * len(SEVERITIES)), np.nan))


def _columns(conditions: Sequence[Condition], corruptions: Sequence[str]) -> list[int]:
    """Where the conditions stand in a :class:`_Grid`."""
    return [
        0 if one == CLEAN else corruptions.index(one.corruption) * len(SEVERITIES) + one.severity for one in conditions
    ]


def _score(
    runs: Sequence[Logits], conditions: Sequence[Condition], group: _Group, resamples: int, seed: int
) -> tuple[np.ndarray, list[tuple]]:
    """Scores of one model on one data set, and the rows of its seeds.

    Returns
    -------
    scores : ndarray
        ``(1 + resamples, scores, conditions)``, averaged over the seeds.
    rows : list of tuple
        The rows of each tuned run.
    """
    weights = seed_weights(seed, [run.attributes.get("seed") for run in runs], resamples)
    average, rows = 0.0, []
    for weight, run in zip(weights.T, runs, strict=True):
        order = [run.conditions.index(condition) for condition in conditions]
        values = score_values(run.logits[order], run.logits[run.conditions.index(CLEAN)], run.labels)
        means = resampled_means(np.stack([values[score] for score in SCORES]), seed, run.data_set, resamples)
        means = np.clip(means, 0, [[_HIGHEST.get(score, 1)] for score in SCORES])
        average = average + weight[:, None, None] * means
        if run.attributes.get("seed") is not None:
            rows += _rows(_attributes(run), group, _condition_entries(conditions, means, len(run.labels)))
    return average, rows


def _condition_entries(conditions: Sequence[Condition], means: np.ndarray, n: int) -> Iterator[_Entry]:
    """Every score under every condition, from ``(1 + resamples, scores, conditions)``."""
    for (i, score), (j, condition) in product(enumerate(SCORES), enumerate(conditions)):
        name = "clean_error" if condition == CLEAN and score == "error" else score
        yield _Entry(condition.corruption, condition.severity or None, name, means[:, i, j], n)


def _entries(
    group: _Group,
    grid: _Grid,
    base: _Grid,
    sizes: np.ndarray,
    corruptions: Sequence[str],
    alexnet: _Alexnet,
    seen: Sequence[str],
) -> Iterator[_Entry]:
    """Every value of one model on a data set or a group of them, averaged over seeds."""
    members, sizes, is_data_set = group.members, sizes[group.members], group.name != ALL
    grid, base = _Grid(grid.scores[:, members]), _Grid(base.scores[:, members])
    present = [c for c in range(len(corruptions)) if not np.isnan(grid.errors[0, :, c]).all()]

    def mean(corruption: str, severity: int | None, metric: str, values: np.ndarray) -> _Entry:
        average = values[:, 0] if is_data_set else mean_of_defined(values, axis=1)
        return _Entry(corruption, severity, metric, average, sizes[~np.isnan(values[0])].sum())

    for score in SCORES:
        name = "clean_error" if score == "error" else score
        yield mean(CLEAN.corruption, None, name, grid.clean(score))
    for score, c, (s, severity) in product(SCORES if is_data_set else ("error",), present, enumerate(SEVERITIES)):
        yield mean(corruptions[c], severity, score, grid.corrupted(score)[:, :, c, s])
    for c in present if not is_data_set else ():
        clean = np.where(np.isnan(grid.errors[:, :, c, 0]), np.nan, grid.clean())
        yield mean(corruptions[c], 0, "error", clean)
    yield mean(CLEAN.corruption, None, "clean_error_ratio", error_ratio(grid.clean(), base.clean()))
    if present:
        for metric, ratios in _ratios(grid, base, members, alexnet).items():
            for c in present:
                yield mean(corruptions[c], None, metric, ratios[:, :, c])
            yield mean(ALL, None, _MEANS.get(metric, metric), mean_of_defined(ratios))
            if metric == "ce":
                parts = {
                    "mce_seen": [c for c in present if corruptions[c] in seen],
                    "mce_held_out": [c for c in present if corruptions[c] not in seen],
                }
                for name, part in parts.items() if all(parts.values()) else ():
                    yield mean(ALL, None, name, mean_of_defined(ratios[:, :, part]))
        of_severities = mean_of_defined(grid.errors, axis=2)
        for s, severity in enumerate(SEVERITIES):
            yield mean(ALL, severity, "error", of_severities[:, :, s])
            yield mean(ALL, severity, "resilience", resilience(of_severities[:, :, s], grid.clean()))
        for score in SCORES:
            yield mean(ALL, None, score, mean_of_defined(grid.corrupted(score), axis=(2, 3)))
        yield mean(ALL, None, "resilience", resilience(mean_of_defined(of_severities), grid.clean()))
    if not is_data_set:
        for corruption, metric, values, included in _ratios_of_means(grid, base, members, alexnet, bool(present)):
            yield _Entry(corruption, None, f"{metric}_ratio_of_means", values, sizes[included].sum())


def _ratios(grid: _Grid, base: _Grid, members: Sequence[int], alexnet: _Alexnet) -> dict[str, np.ndarray]:
    """Ratios of each data set and corruption, ``(1 + resamples, data sets, corruptions)``."""
    ratios = {
        "ce": corruption_error(grid.errors, base.errors),
        "relative_ce": relative_corruption_error(
            grid.errors, grid.clean()[..., None], base.errors, base.clean()[..., None]
        ),
    }
    reference, reference_clean = _reference(members, alexnet)
    if not np.isnan(reference_clean).all():
        errors, clean = _balanced_errors(grid)
        ratios["be"] = balanced_error(errors, reference)
        ratios["rbe"] = relative_balanced_error(errors, clean[..., None], reference, reference_clean[:, None])
    return ratios


def _ratios_of_means(
    grid: _Grid, base: _Grid, members: Sequence[int], alexnet: _Alexnet, corrupted: bool
) -> Iterator[tuple[str, str, np.ndarray, np.ndarray]]:
    """Ratios of errors that are averaged over data sets first.

    Corruption, metric, ``(1 + resamples,)`` and which data sets take part.
    """
    ratio = error_ratio(grid.clean().mean(1), base.clean().mean(1))
    yield CLEAN.corruption, "clean_error", ratio, np.full(len(members), True)
    if not corrupted:
        return
    included = ~np.isnan(grid.errors[0]).all((1, 2))
    own, of_base = pooled(grid.errors, grid.clean()), pooled(base.errors, base.clean())
    yield ALL, "mce", mce(own[0], of_base[0]), included
    yield ALL, "relative_mce", mean_of_defined(relative_corruption_error(*own, *of_base)), included
    reference, reference_clean = _reference(members, alexnet)
    if not np.isnan(reference_clean).all():
        errors, clean = _balanced_errors(grid)
        known = np.where(np.isnan(errors[0, :, :, 0]), np.nan, reference)
        errors, clean = pooled(np.where(np.isnan(known)[..., None], np.nan, errors), clean)
        alex, alex_clean = pooled(known[..., None], reference_clean)
        included = ~np.isnan(known).all(1)
        yield ALL, "be", mean_of_defined(balanced_error(errors, alex[..., 0])), included
        rbe = relative_balanced_error(errors, clean, alex[..., 0], alex_clean)
        yield ALL, "rbe", mean_of_defined(rbe), included


def _reference(members: Sequence[int], alexnet: _Alexnet) -> tuple[np.ndarray, np.ndarray]:
    """Balanced errors of AlexNet, ``(data sets, corruptions)`` and clean ``(data sets,)``."""
    return np.stack([alexnet[i][0] for i in members]), np.array([alexnet[i][1] for i in members])


def _balanced_errors(grid: _Grid) -> tuple[np.ndarray, np.ndarray]:
    return 1 - grid.corrupted("balanced_accuracy"), 1 - grid.clean("balanced_accuracy")


def _rows(attributes: Mapping[str, Any], group: _Group, entries: Iterable[_Entry]) -> list[tuple]:
    """Rows of the table, with their intervals."""
    entries = list(entries)
    scale = np.array([100 if entry.metric in _PERCENT else 1 for entry in entries])
    samples = np.stack([entry.values for entry in entries], axis=1) * scale
    low, high = interval(samples)
    place = (group.name, group.modality, group.collection)
    return [
        (*attributes.values(), *place, one.corruption, one.severity, one.metric, *numbers, int(one.n))
        for one, *numbers in zip(entries, samples[0], low, high, strict=True)
    ]


def _attributes(run: Logits) -> dict[str, Any]:
    known = {name: run.attributes.get(name) for name in ("base", "method", "rank", "fraction", "seed")}
    return {"model": run.model, **known}


def _arranged(logits: Sequence[Logits], baseline: str) -> dict[tuple[str, str], list[Logits]]:
    """The runs of each (model, data set), by seed, after checking that they can be compared."""
    runs: dict[tuple[str, str], list[Logits]] = defaultdict(list)
    for run in logits:
        _check_finite(run)
        runs[run.model, run.data_set].append(run)
    models, data_sets = {model for model, _ in runs}, {data_set for _, data_set in runs}
    if baseline not in models:
        raise InputError(f"There are no logits of the baseline '{baseline}'; found {', '.join(sorted(models))}")
    if missing := [pair for pair in product(sorted(models), sorted(data_sets)) if pair not in runs]:
        pairs = ", ".join(f"'{model}' on '{data_set}'" for model, data_set in missing)
        raise InputError(f"There are no logits of {pairs}")
    for data_set in sorted(data_sets):
        _check_names(runs[baseline, data_set][0])
    for model in models:
        seeds = {data_set: [run.attributes.get("seed") for run in runs[model, data_set]] for data_set in data_sets}
        for data_set, found in seeds.items():
            if len(set(found)) != len(found) or set(found) != set(seeds[min(data_sets)]):
                raise InputError(
                    f"The seeds of '{model}' on '{data_set}' are {found}, on '{min(data_sets)}' {seeds[min(data_sets)]}"
                )
    for (_, data_set), group in runs.items():
        for run in group:
            _check_comparable(run, runs[baseline, data_set][0])
        group.sort(key=lambda run: run.attributes.get("seed") or 0)
    return runs


def _check_finite(run: Logits) -> None:
    wrong = ~np.isfinite(run.logits).all(-1)
    if wrong.any():
        condition = run.conditions[wrong.any(1).argmax()]
        raise InputError(
            f"The logits of '{run.model}' on '{run.data_set}' are not all finite: {wrong.any(0).sum()} of "
            f"{len(run.labels)} images, first under '{condition}'. Mend or exclude the model, and evaluate it again"
        )


def _check_comparable(run: Logits, reference: Logits) -> None:
    pair = f"'{run.model}' and '{reference.model}'"
    if len(set(run.conditions)) != len(run.conditions) or set(run.conditions) != set(reference.conditions):
        raise InputError(f"{pair} have other conditions on '{run.data_set}'")
    if (run.class_names, run.modality) != (reference.class_names, reference.modality):
        raise InputError(f"{pair} have other classes or modalities on '{run.data_set}'")
    if not np.array_equal(run.sample_ids, reference.sample_ids) or not np.array_equal(run.labels, reference.labels):
        raise InputError(f"{pair} were scored on other images of '{run.data_set}'")


def _check_names(run: Logits) -> None:
    names = {run.data_set, run.modality, *(condition.corruption for condition in run.conditions)}
    if ALL in names:
        raise InputError(f"'{ALL}' is the name of averages: no data set, modality or corruption may be called so")
    if CLEAN not in run.conditions:
        raise InputError(f"'{run.model}' has no clean condition on '{run.data_set}'")
    for corruption in {condition.corruption for condition in run.conditions} - {CLEAN.corruption}:
        if missing := [s for s in SEVERITIES if Condition(corruption, s) not in run.conditions]:
            raise InputError(f"'{run.model}' lacks severities {missing} of '{corruption}' on '{run.data_set}'")
