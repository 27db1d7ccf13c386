"""The logits of a benchmark, arranged by model and data set, and whether they can be compared."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import product

import numpy as np

from robustmedclip.errors import InputError
from robustmedclip.images.conditions import CLEAN, Condition
from robustmedclip.metrics.logits import Logits

ALL = "all"
SEVERITIES = (1, 2, 3, 4, 5)

#: The runs of each (model, data set), a run per seed.
Runs = Mapping[tuple[str, str], Sequence[Logits]]


def arranged(logits: Sequence[Logits], baseline: str) -> Runs:
    """The runs of each (model, data set), by seed, after checking that they can be compared.

    Raises
    ------
    InputError
        As :func:`robustmedclip.metrics.score_benchmark`.
    """
    runs: dict[tuple[str, str], list[Logits]] = defaultdict(list)
    for run in logits:
        _check_finite(run)
        runs[run.model, run.data_set].append(run)
    _check_complete(runs, baseline)
    for data_set in sorted({data_set for _, data_set in runs}):
        _check_names(runs[baseline, data_set][0])
    _check_seeds(runs)
    for (_, data_set), of_seeds in runs.items():
        for run in of_seeds:
            _check_comparable(run, runs[baseline, data_set][0])
        of_seeds.sort(key=lambda run: run.attributes.get("seed") or 0)
    return runs


def _check_finite(run: Logits) -> None:
    wrong = ~np.isfinite(run.logits).all(-1)
    if wrong.any():
        condition = run.conditions[wrong.any(1).argmax()]
        raise InputError(
            f"The logits of '{run.model}' on '{run.data_set}' are not all finite: {wrong.any(0).sum()} of "
            f"{len(run.labels)} images, first under '{condition}'. Mend or exclude the model, and evaluate it again"
        )


def _check_complete(runs: Runs, baseline: str) -> None:
    models, data_sets = sorted({model for model, _ in runs}), sorted({data_set for _, data_set in runs})
    if baseline not in models:
        raise InputError(f"There are no logits of the baseline '{baseline}'; found {', '.join(models)}")
    if missing := [pair for pair in product(models, data_sets) if pair not in runs]:
        pairs = ", ".join(f"'{model}' on '{data_set}'" for model, data_set in missing)
        raise InputError(f"There are no logits of {pairs}")


def _check_names(run: Logits) -> None:
    names = {run.data_set, run.modality, *(condition.corruption for condition in run.conditions)}
    if ALL in names:
        raise InputError(f"'{ALL}' is the name of averages: no data set, modality or corruption may be called so")
    if CLEAN not in run.conditions:
        raise InputError(f"'{run.model}' has no clean condition on '{run.data_set}'")
    for corruption in {condition.corruption for condition in run.conditions} - {CLEAN.corruption}:
        if missing := [s for s in SEVERITIES if Condition(corruption, s) not in run.conditions]:
            raise InputError(f"'{run.model}' lacks severities {missing} of '{corruption}' on '{run.data_set}'")


def _check_seeds(runs: Runs) -> None:
    """Every model has the same seeds, each once, on all data sets."""
    first = min(data_set for _, data_set in runs)
    for (model, data_set), of_seeds in runs.items():
        seeds = [run.attributes.get("seed") for run in of_seeds]
        expected = [run.attributes.get("seed") for run in runs[model, first]]
        if len(set(seeds)) != len(seeds) or set(seeds) != set(expected):
            raise InputError(f"The seeds of '{model}' on '{data_set}' are {seeds}, on '{first}' {expected}")


def _check_comparable(run: Logits, reference: Logits) -> None:
    pair = f"'{run.model}' and '{reference.model}'"
    if len(set(run.conditions)) != len(run.conditions) or set(run.conditions) != set(reference.conditions):
        raise InputError(f"{pair} have other conditions on '{run.data_set}'")
    if (run.class_names, run.modality) != (reference.class_names, reference.modality):
        raise InputError(f"{pair} have other classes or modalities on '{run.data_set}'")
    if not np.array_equal(run.sample_ids, reference.sample_ids) or not np.array_equal(run.labels, reference.labels):
        raise InputError(f"{pair} were scored on other images of '{run.data_set}'")
