"""What another site costs beside what corruption costs: models that were tuned on one data set and scored on another.

Costs are differences of errors in percentage points. Images of two sites are drawn apart in the bootstrap, those of one
site with all their conditions; seeds are drawn together.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence

import numpy as np
import pandas as pd

from robustmedclip.errors import InputError
from robustmedclip.images.conditions import CLEAN, Condition
from robustmedclip.metrics.bootstrap import interval, seed_weights
from robustmedclip.metrics.classification import ERROR
from robustmedclip.metrics.grid import means_of_seeds
from robustmedclip.metrics.logits import Logits
from robustmedclip.metrics.table import RESAMPLES

#: The middle one, by which corruption is compared with a change of site.
MIDDLE = 3
_COSTS = ("clean_error", f"severity_{MIDDLE}", "corruption", "site", "both")
COLUMNS = {
    **dict.fromkeys(("model", "home", "away"), "str"),
    **dict.fromkeys(("n_home", "n_away", "patients_home", "patients_away"), "Int64"),
    **{f"{cost}{end}": "float64" for cost in _COSTS for end in ("", "_low", "_high")},
}


def site_shifts(
    logits: Sequence[Logits],
    homes: Mapping[str, str],
    patients: Mapping[str, np.ndarray] | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
    extreme: Mapping[str, Collection[Condition]] | None = None,
) -> pd.DataFrame:
    """What corruption, another site and both cost each model.

    Parameters
    ----------
    logits : sequence of Logits
        Of all models and seeds, on the data sets of `homes`.
    homes : mapping
        Data set of another site to the one that models were tuned on.
    patients : mapping, optional
        As of :func:`robustmedclip.metrics.score_benchmark`.
    resamples : int
        Number of bootstrap resamples.
    seed : int
        Seed of the resamples, 0 or more.
    extreme : mapping, optional
        As of :func:`robustmedclip.metrics.score_benchmark`; ``severity_3`` is of all.

    Returns
    -------
    DataFrame
        A row per model and other site, by name: ``model``, ``home``, ``away``, ``n_home`` and ``n_away`` test images,
        of ``patients_home`` and ``patients_away`` where that is known; and each of these in percent or percentage
        points, with ``_low`` and ``_high`` of its 95 % interval: ``clean_error`` at home; what is added to it by
        ``severity_3``, the mean over the corruptions at severity 3, and by ``corruption``, over severities; by the
        other ``site``, on clean images; and by ``both``.

    Raises
    ------
    InputError
        If the two data sets have other classes.
    """
    runs: dict[tuple[str, str], list[Logits]] = defaultdict(list)
    for run in logits:
        runs[run.model, run.data_set].append(run)
    rows = []
    for model in sorted({run.model for run in logits}):
        for away, home in sorted(homes.items()):
            at_home, elsewhere = runs[model, home], runs[model, away]
            if at_home and elsewhere:
                _require_same_classes(at_home[0], elsewhere[0])
                sizes: dict[str, int | None] = {"n_home": len(at_home[0].labels), "n_away": len(elsewhere[0].labels)}
                whose = [(patients or {}).get(name) for name in (home, away)]
                sizes |= {"patients_home": _count(whose[0]), "patients_away": _count(whose[1])}
                left_out = [(extreme or {}).get(name, ()) for name in (home, away)]
                costs = _costs(
                    _Errors(at_home, whose[0], left_out[0], resamples, seed),
                    _Errors(elsewhere, whose[1], left_out[1], resamples, seed),
                )
                rows.append({"model": model, "home": home, "away": away, **sizes, **_with_bounds(costs)})
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype(COLUMNS)


def _count(patients: np.ndarray | None) -> int | None:
    return None if patients is None else len(np.unique(patients))


class _Errors:
    """Errors of a model on a data set in percent, the estimate and one per resample, averaged over its seeds."""

    def __init__(
        self,
        runs: Sequence[Logits],
        patients: np.ndarray | None,
        extreme: Collection[Condition],
        resamples: int,
        seed: int,
    ):
        self._extreme = extreme
        runs = sorted(runs, key=lambda run: run.attributes.get("seed") or 0)
        self._conditions = runs[0].conditions
        weights = seed_weights(seed, [run.attributes.get("seed") for run in runs], resamples)
        means = means_of_seeds(runs, self._conditions, [ERROR], resamples, seed, patients)
        of_seeds = [weight[:, None] * mean[:, 0] for weight, mean in zip(weights.T, means, strict=True)]
        self._errors = 100 * np.sum(of_seeds, axis=0)

    @property
    def clean(self) -> np.ndarray:
        """``(1 + resamples,)``."""
        return self._mean([condition == CLEAN for condition in self._conditions])

    @property
    def corrupted(self) -> np.ndarray:
        """The mean over corruptions and severities, but the extreme ones, ``(1 + resamples,)``."""
        return self._mean([condition not in (CLEAN, *self._extreme) for condition in self._conditions])

    @property
    def middle(self) -> np.ndarray:
        """The mean over corruptions at the middle severity, ``(1 + resamples,)``."""
        return self._mean([condition.severity == MIDDLE for condition in self._conditions])

    def _mean(self, which: Sequence[bool]) -> np.ndarray:
        return np.asarray(self._errors[:, which].mean(1))


def _costs(home: _Errors, away: _Errors) -> dict[str, np.ndarray]:
    return {
        "clean_error": home.clean,
        f"severity_{MIDDLE}": home.middle - home.clean,
        "corruption": home.corrupted - home.clean,
        "site": away.clean - home.clean,
        "both": away.corrupted - home.clean,
    }


def _with_bounds(costs: Mapping[str, np.ndarray]) -> dict[str, float]:
    values: dict[str, float] = {}
    for name, samples in costs.items():
        low, high = interval(samples)
        values |= {name: float(samples[0]), f"{name}_low": float(low), f"{name}_high": float(high)}
    return values


def _require_same_classes(home: Logits, away: Logits) -> None:
    if home.class_names != away.class_names:
        raise InputError(
            f"shift: '{home.data_set}' has the classes {', '.join(home.class_names)}, and '{away.data_set}' has "
            f"{', '.join(away.class_names)}: give both the same 'classes', in the same order"
        )
