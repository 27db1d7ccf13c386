"""From logits to one tidy table of metrics, and the resamples behind its intervals.

Rows come in three levels, and (model, data_set, modality, collection, corruption, severity, seed, metric) is
unique.

======================  ======================  ================================================================
Level                   Conditions              Metrics
======================  ======================  ================================================================
model, data set, seed   each one                each of `metrics`; the error of clean images is clean_error
model, data set         each one                the same
..                      clean                   clean_error_ratio
..                      a corruption            points_lost, points_won_back, ce, relative_ce, be, rbe
..                      ``all``, a severity     error, retained_accuracy, those of `metrics` that are by severity
..                      ``all``                 points_lost, points_won_back, mce, relative_mce, be, rbe,
..                                              retained_accuracy, each of `metrics`
model, data set         as for one data set;    as for one data set; clean_error_ratio, mce,
``all``                 of each corruption and  relative_mce, be and rbe also as
                        severity the error      clean_error_ratio_of_means, mce_ratio_of_means, ...
                        alone
======================  ======================  ================================================================

- Only tuned models have the first level. Above it, errors are averaged over seeds before any ratio is
  formed; `seed` is missing.
- points_lost is the error under corruption minus that of clean images, points_won_back the error under corruption of
  the base model as it is, zero-shot, minus that of the adapted one; both in percentage points.
- Where some corruptions of a data set were seen in tuning and others not, mce_seen and mce_held_out are its means
  over these and those.
- Where some levels are `extreme`, means over severities are of the others, and mce_extreme and error_extreme of these
  alone; ``all`` at a severity is of all levels.
- Data set ``all`` is the unweighted mean over data sets of their values: of all, of those of each modality
  (collection ``all``) and of those of each collection (modality ``all``). In ``_ratio_of_means``, errors are
  averaged before ratios are formed.
- Severity 0 of a corruption, in means over data sets, is the clean error of those data sets that have the corruption;
  that of ``all``, of those that have any. In metrics by severity, severity 0 of ``all`` is clean, too.
- Corruption ``all`` is the mean over corruptions and severities, corruption without a severity that over severities.
- Of a data set of findings, a metric is the unweighted mean over them. ce and mce are made of the metric `mce_on`.
- `metrics` with the unit % are in percent, as are clean_error and retained_accuracy; in clean_error_ratio, ce, mce
  and their relatives the baseline is 100, in be and rbe the reference model of the suite (MedMNIST-C's AlexNet) is 1.
  See :mod:`robustmedclip.metrics.robustness` for ratios that are undefined, NaN. With resamples, relative_ce is
  undefined, too, where the 95 % interval of what corruption adds to the baseline's error reaches 0, and its mean over
  data sets where fewer than half of those with the corruption have it.
- `low` and `high` bound a 95 % bootstrap interval over test images, all models of a data set on the same
  resamples, and over seeds where a model has several (see :mod:`robustmedclip.metrics.bootstrap`). For a
  model with one seed it does not contain the spread over trainings. The temperature of scaled_ece
  and the reference of be and rbe are taken as fixed. A bootstrap knows only what it has seen: an
  error of 0 has the interval [0, 0], and a class with one image adds nothing to those of class means.
- `n` is the number of different test images behind the value: of a mean over data sets, those of the data
  sets where it is defined. `patients` is of how many patients they are, missing unless it is known of all of them, and
  a column that there is only where it is known of some: intervals then come from resamples of patients.

The order of rows is that of models, then data sets, both by name, whatever the order of `logits`.
Written with ``to_csv(index=False, float_format="%.6g")`` equal logits give equal bytes.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from robustmedclip.images.conditions import CLEAN, Condition
from robustmedclip.metrics.bootstrap import seed_weights
from robustmedclip.metrics.classification import ERROR
from robustmedclip.metrics.grid import Grid, columns, means_of_seeds
from robustmedclip.metrics.logits import ZERO_SHOT, Logits
from robustmedclip.metrics.metric import Metric
from robustmedclip.metrics.registry import metrics_named
from robustmedclip.metrics.robustness import mce, mean_of_defined, reference_errors
from robustmedclip.metrics.rows import (
    Group,
    References,
    Scene,
    attributes_of,
    condition_entries,
    entries,
    groups,
    rows,
)
from robustmedclip.metrics.runs import ALL, SEVERITIES, arranged

RESAMPLES = 2000
#: Means that are equal differ by less, by the rounding of their sums.
ROUNDING = 1e-9
PATIENTS = "patients"
COLUMNS = {
    "model": "str",
    "base": "str",
    "adaptation": "str",
    "method": "str",
    "rank": "Int64",
    "fraction": "float64",
    "shots": "Int64",
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
    PATIENTS: "Int64",
}


class Scores(NamedTuple):
    """What :func:`score_benchmark` makes of logits.

    Attributes
    ----------
    metrics : DataFrame
        Every metric of every model, averaged over its seeds, with intervals; and of every seed on every data set.
    mce_resamples : DataFrame
        float64, a column per model: its mCE over all data sets, first the estimate, then a row per resample; for
        :func:`robustmedclip.metrics.compare_models` and :func:`robustmedclip.metrics.rank_stability`.
    seed_metrics : DataFrame
        What `metrics` would be if each tuned seed was a model of its own, without intervals.
    """

    metrics: pd.DataFrame
    mce_resamples: pd.DataFrame
    seed_metrics: pd.DataFrame


def metrics_table(logits: Sequence[Logits], baseline: str, **settings: Any) -> pd.DataFrame:
    """The table of metrics of :func:`score_benchmark` alone."""
    return score_benchmark(logits, baseline, **settings).metrics


def score_benchmark(
    logits: Sequence[Logits],
    baseline: str,
    *,
    metrics: Sequence[Metric] | None = None,
    collections: Mapping[str, str] | None = None,
    references: Mapping[str, Mapping[str, float]] | None = None,
    seen: Sequence[str] = (),
    extreme: Mapping[str, Collection[Condition]] | None = None,
    patients: Mapping[str, np.ndarray] | None = None,
    mce_on: Metric = ERROR,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Scores:
    """Every metric of every model, in tables as described in :mod:`robustmedclip.metrics.table`.

    Parameters
    ----------
    logits : sequence of Logits
        One per (model, seed, data set).
    baseline : str
        The model whose errors count as 100.
    metrics : sequence of Metric, optional
        As of :func:`robustmedclip.metrics.metrics_named`, with error and balanced_accuracy; without it all that ship.
    collections : mapping, optional
        Data set to its collection; others are in no mean over collections.
    references : mapping, optional
        Data set to what has be and rbe: ``clean`` or a corruption to the balanced error, a fraction, of its suite's
        reference model on these very images.
    seen, extreme
        Corruptions that some model saw in tuning; and data set to its conditions that no scanner makes, which means
        over severities leave out.
    mce_on : Metric
        One of the metrics: mCE is a mean of ratios of it, or of what it lacks of the best, as 1 - AUROC.
    patients, resamples, seed
        Data set to whose each of its images is, ``(N,)``; the number of resamples, 0 for none; and their seed.

    Returns
    -------
    Scores
        Its `metrics` have the columns of `COLUMNS`, `patients` if any are known; `rank`, `fraction` and `seed` are
        missing for zero-shot models.

    Raises
    ------
    InputError
        If the baseline, a (model, seed) or a condition is missing or given twice, if models were scored on different
        images or classes of a data set, if a logit is not finite, or if a name is ``all``.
    """
    runs = arranged(logits, baseline)
    models, data_sets = (sorted({key[axis] for key in runs}) for axis in (0, 1))
    firsts = [runs[baseline, data_set][0] for data_set in data_sets]
    whose = [(patients or {}).get(name) for name in data_sets]
    reference = [(references or {}).get(name, {}) for name in data_sets]
    scene = _scene(firsts, reference, seen, extreme or {}, whose, mce_on)
    setting = _Setting(tuple(metrics or metrics_named()), scene, whose, resamples, seed)
    runs_of = {model: [runs[model, data_set] for data_set in data_sets] for model in models}
    of_models = _score_models(runs_of, firsts, groups(firsts, collections or {}), setting)
    return Scores(
        _table(row for model in models for row in of_models[model].rows),
        pd.DataFrame({model: of_models[model].mce for model in models}),
        _table(row for model in models for row in of_models[model].seed_rows),
    )


def _scene(
    firsts: Sequence[Logits],
    references: Sequence[Mapping[str, float]],
    seen: Sequence[str],
    extreme: Mapping[str, Collection[Condition]],
    patients: Sequence[np.ndarray | None],
    mce_on: Metric,
) -> Scene:
    """Common values of all models of a benchmark; `firsts`, `references` and `patients` have an item per data set."""
    corruptions = sorted({c.corruption for run in firsts for c in run.conditions} - {CLEAN.corruption})
    return Scene(
        corruptions=corruptions,
        sizes=np.array([_size(run, whose) for run, whose in zip(firsts, patients, strict=True)]),
        reference=np.stack([reference_errors(errors, corruptions) for errors in references]),
        seen=seen,
        realistic=np.array(
            [
                [[Condition(name, s) not in extreme.get(run.data_set, ()) for s in SEVERITIES] for name in corruptions]
                for run in firsts
            ],
            bool,
        ).reshape(len(firsts), len(corruptions), len(SEVERITIES)),
        mce_on=mce_on,
    )


def _size(run: Logits, patients: np.ndarray | None) -> tuple[float, float]:
    return len(run.labels), np.nan if patients is None else len(np.unique(patients))


def operating_range(table: pd.DataFrame, points: float) -> pd.DataFrame:
    """The highest severity up to which a model holds, under each corruption.

    Parameters
    ----------
    table : DataFrame
        As of :func:`score_benchmark`.
    points : float
        By how many percentage points the error may be above that of clean images of the same data sets.

    Returns
    -------
    DataFrame
        int, a row per model, a column per corruption: 0 where severity 1 already costs more than `points`.
    """
    rows = overall(table)
    rows = rows[(rows["metric"] == ERROR.name) & rows["severity"].notna() & (rows["corruption"] != ALL)]
    errors = rows.pivot(index=["model", "corruption"], columns="severity", values="value")
    holds = errors.drop(columns=0).le(errors[0] + points + ROUNDING, axis=0)
    return holds.cumprod(axis=1).sum(axis=1).astype(int).unstack("corruption")


def _is_adapted(run: Logits) -> bool:
    return bool(attributes_of(run)["adaptation"] != ZERO_SHOT)


def overall(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of averages over all data sets."""
    return table[(table["data_set"] == ALL) & (table["modality"] == ALL) & (table["collection"] == ALL)]


def severity_curve(table: pd.DataFrame, model: str, corruption: str) -> pd.DataFrame:
    """The rows of a model's error over the data sets that have a corruption, at severities 0 (clean) to 5."""
    of_model = overall(table[(table["model"] == model) & (table["corruption"] == corruption)])
    return of_model[(of_model["metric"] == ERROR.name) & of_model["severity"].notna()].sort_values("severity")


class _Setting(NamedTuple):
    """Metrics, common values and resampling by which models are scored."""

    metrics: Sequence[Metric]
    scene: Scene
    patients: Sequence[np.ndarray | None]
    resamples: int
    seed: int


class _Scored(NamedTuple):
    """A model's mCE in every resample, and rows of the table: its own and those of each seed alone."""

    mce: np.ndarray
    rows: list[tuple[Any, ...]]
    seed_rows: list[tuple[Any, ...]]


def _score_models(
    runs_of: Mapping[str, Sequence[Sequence[Logits]]],
    firsts: Sequence[Logits],
    parts: Sequence[Group],
    setting: _Setting,
) -> dict[str, _Scored]:
    """Score every model: the baseline, whose runs are `firsts`, then base models, then those adapted from them."""
    baseline: Grid | None = None
    unadapted: dict[str, Grid] = {}
    scored: dict[str, _Scored] = {}
    for model in sorted(runs_of, key=lambda name: (name != firsts[0].model, _is_adapted(runs_of[name][0][0]))):
        first = runs_of[model][0][0]
        before = unadapted.get(str(first.attributes.get("base"))) if _is_adapted(first) else None
        scored[model], grid = _score_model(runs_of[model], firsts, baseline, before, parts, setting)
        baseline = baseline or grid.errors(setting.scene.mce_on)
        if not _is_adapted(first):
            unadapted[model] = grid.errors()
    return scored


def _score_model(
    runs: Sequence[Sequence[Logits]],
    firsts: Sequence[Logits],
    base: Grid | None,
    before: Grid | None,
    parts: Sequence[Group],
    setting: _Setting,
) -> tuple[_Scored, Grid]:
    """Score a model from its runs on each data set, a run per seed; its grid, which others are compared with, too.

    `firsts` are the baseline's runs, whose order of conditions is that of the rows; `base` are the errors of the
    baseline that mCE is made of, None for the baseline itself, and `before` those of an adapted model as it was. Of
    `parts`, the first are the data sets.
    """
    metrics, scene, patients, resamples, seed = setting
    seeds = [run.attributes.get("seed") for run in runs[0]]
    weights = seed_weights(seed, seeds, resamples)
    size = (len(runs), metrics, len(scene.corruptions))
    grid, of_seeds, table = Grid.empty(resamples, *size), [Grid.empty(0, *size) for _ in seeds], []
    for position, (of_data_set, first) in enumerate(zip(runs, firsts, strict=True)):
        places, average = columns(first.conditions, scene.corruptions), np.zeros(1)
        scored = means_of_seeds(of_data_set, first.conditions, metrics, resamples, seed, patients[position])
        for run, weight, of_seed, means in zip(of_data_set, weights.T, of_seeds, scored, strict=True):
            average = average + weight[:, None, None] * means
            of_seed.means[:, position][..., places] = means[:1]
            if run.attributes.get("seed") is not None:
                of_conditions = condition_entries(first.conditions, metrics, means, scene.sizes[position])
                table += rows(attributes_of(run), parts[position], of_conditions, metrics)
        grid.means[:, position][..., places] = average
    errors = grid.errors(scene.mce_on)
    references = References(base or errors, before)
    attributes = attributes_of(runs[0][0]) | {"seed": None}
    table += _group_rows(attributes, parts, grid, references, setting)
    seed_rows: list[tuple[Any, ...]] = []
    for run, of_seed in zip(runs[0], of_seeds, strict=True):
        if run.attributes.get("seed") is not None:
            seed_rows += _group_rows(attributes_of(run), parts, of_seed, references.beside(of_seed), setting)
    compared = [part.at(scene.realistic).corrupted() for part in (errors, references.baseline)]
    of_data_sets = mce(*compared, resampled=True)
    return _Scored(mean_of_defined(of_data_sets, axis=1, resampled=True), table, seed_rows), grid


def _group_rows(
    attributes: Mapping[str, Any], parts: Sequence[Group], grid: Grid, references: References, setting: _Setting
) -> Iterator[tuple[Any, ...]]:
    for part in parts:
        yield from rows(attributes, part, entries(part, grid, references, setting.scene), setting.metrics)


def _table(table: Iterable[tuple[Any, ...]]) -> pd.DataFrame:
    rows = pd.DataFrame(list(table), columns=list(COLUMNS)).astype(COLUMNS)
    return rows if rows[PATIENTS].notna().any() else rows.drop(columns=PATIENTS)
