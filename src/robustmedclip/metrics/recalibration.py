"""What a temperature that was fitted to other clean images is worth under corruption.

Logits are divided by it under every condition (Guo et al. 2017, arXiv:1706.04599, sec. 4.2; under shift as Ovadia et
al. 2019, arXiv:1906.02530). It is taken as fixed: intervals are over test images, not over those that it was fitted to.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from robustmedclip.images.conditions import CLEAN
from robustmedclip.metrics.bootstrap import interval, resampled_means, seed_weights
from robustmedclip.metrics.calibration import ECE, OVERCONFIDENCE
from robustmedclip.metrics.logits import Logits
from robustmedclip.metrics.metric import image_values
from robustmedclip.metrics.robustness import mean_of_defined
from robustmedclip.metrics.runs import ALL, SEVERITIES
from robustmedclip.metrics.table import PATIENTS, RESAMPLES

METRICS = (ECE, OVERCONFIDENCE)
#: Confidence as it is, with the temperature, and the second minus the first: each a column with its interval.
FORMS = ("as_it_is", "scaled", "difference")
_LEVELS = (0, *SEVERITIES)
COLUMNS = {
    "model": "str",
    "seed": "Int64",
    "data_set": "str",
    "metric": "str",
    "severity": "int64",
    **{f"{form}{end}": "float64" for form in FORMS for end in ("", "_low", "_high")},
    "temperature": "float64",
    "validation_images": "int64",
    "n": "int64",
    PATIENTS: "Int64",
}


class Temperature(NamedTuple):
    """A temperature above 0, how many images it was fitted to, and of which data set these are."""

    value: float
    images: int
    data_set: str


def recalibration(
    runs: Sequence[tuple[Logits, Temperature]],
    patients: Mapping[str, np.ndarray] | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> pd.DataFrame:
    """ECE and overconfidence by severity, as they are and with a temperature.

    Parameters
    ----------
    runs : sequence of (Logits, Temperature)
        One per (model, seed, data set), the same data sets for all models.
    patients, resamples, seed
        As of :func:`robustmedclip.metrics.score_benchmark`.

    Returns
    -------
    DataFrame
        A row per model, seed (missing: averaged over seeds), data set (``all``: averaged over data sets), metric
        (``ece`` or ``overconfidence``) and severity (0: clean; else averaged over corruptions), in percent:
        ``as_it_is``, ``scaled`` and their ``difference`` in points, each with ``_low`` and ``_high`` of its 95 %
        interval, which single seeds lack; the ``temperature`` (the geometric mean of several), the different
        ``validation_images`` of a seed that it is of, ``n`` test images and, if they are known, their ``patients``.
    """
    by_model: dict[str, dict[str, list[tuple[Logits, Temperature]]]] = defaultdict(lambda: defaultdict(list))
    for run, temperature in sorted(runs, key=lambda pair: (*_names(pair[0]), _seed(pair[0]) or 0)):
        by_model[run.model][run.data_set].append((run, temperature))
    rows = []
    for model, by_data_set in by_model.items():
        parts = [
            _of_data_set(of_seeds, (patients or {}).get(of_seeds[0][0].data_set), resamples, seed)
            for of_seeds in by_data_set.values()
        ]
        for part in [*parts, _Part.averaged(parts)]:
            rows += [{"model": model, **row} for row in part.rows()]
    table = pd.DataFrame(rows, columns=list(COLUMNS)).astype(COLUMNS)
    return table if table[PATIENTS].notna().any() else table.drop(columns=PATIENTS)


class _Part(NamedTuple):
    """A model on a data set, or on all.

    Attributes
    ----------
    means : ndarray
        float64 ``(1 + resamples, seeds, forms, metrics, severities)``: fractions, the estimate first.
    weights : ndarray
        float64 ``(1 + resamples, seeds)``, of the seeds.
    temperatures : ndarray
        Natural logarithms, float64 ``(seeds,)``.
    images : mapping
        Data set to its images that temperatures were fitted to.
    """

    data_set: str
    seeds: list[int | None]
    means: np.ndarray
    weights: np.ndarray
    temperatures: np.ndarray
    images: Mapping[str, int]
    n: int
    patients: int | None

    @classmethod
    def averaged(cls, parts: Sequence["_Part"]) -> "_Part":
        """The unweighted mean over data sets."""
        counts = [part.patients for part in parts]
        return parts[0]._replace(
            data_set=ALL,
            means=mean_of_defined(np.stack([part.means for part in parts]), axis=0),
            temperatures=np.mean([part.temperatures for part in parts], axis=0),
            images={name: count for part in parts for name, count in part.images.items()},
            n=sum(part.n for part in parts),
            patients=None if None in counts else sum(count for count in counts if count is not None),
        )

    def rows(self) -> Iterator[dict[str, object]]:
        """Those of the mean over seeds, and of each seed."""
        average = np.einsum("rs,rsfml->rfml", self.weights, self.means)
        yield from self._rows(None, average, self.temperatures.mean())
        for place, seed in enumerate(self.seeds):
            if seed is not None:
                yield from self._rows(seed, self.means[:1, place], self.temperatures[place])

    def _rows(self, seed: int | None, means: np.ndarray, temperature: float) -> Iterator[dict[str, object]]:
        low, high = interval(means)
        facts = {"temperature": np.exp(temperature), "validation_images": sum(self.images.values()), "n": self.n}
        for m, metric in enumerate(METRICS):
            for level, severity in enumerate(_LEVELS):
                numbers: dict[str, float] = {}
                for f, form in enumerate(FORMS):
                    place = (f, m, level)
                    ends = {form: means[0][place], f"{form}_low": low[place], f"{form}_high": high[place]}
                    numbers |= {name: metric.scale * value for name, value in ends.items()}
                if not np.isnan(numbers[FORMS[0]]):
                    key = {"seed": seed, "data_set": self.data_set, "metric": metric.name, "severity": severity}
                    yield {**key, **numbers, **facts, PATIENTS: self.patients}


def _of_data_set(
    of_seeds: Sequence[tuple[Logits, Temperature]], patients: np.ndarray | None, resamples: int, seed: int
) -> _Part:
    first, seeds = of_seeds[0][0], [_seed(run) for run, _ in of_seeds]
    low, high = (np.array([[metric.bounds[end]] for metric in METRICS]) for end in (0, 1))
    means = []
    for run, temperature in of_seeds:
        values = np.stack([_by_severity(run, 1), _by_severity(run, temperature.value)])
        scored = np.clip(resampled_means(values, seed, run.data_set, resamples, patients), low, high)
        means.append(np.concatenate([scored, scored[:, 1:] - scored[:, :1]], axis=1))
    return _Part(
        data_set=first.data_set,
        seeds=seeds,
        means=np.stack(means, axis=1),
        weights=seed_weights(seed, seeds, resamples),
        temperatures=np.log([temperature.value for _, temperature in of_seeds]),
        images={of_seeds[0][1].data_set: of_seeds[0][1].images},
        n=len(first.labels),
        patients=None if patients is None else len(np.unique(patients)),
    )


def _by_severity(run: Logits, temperature: float) -> np.ndarray:
    """The metrics of each image with a temperature, averaged over corruptions: ``(metrics, severities, N)``."""
    scaled = run.logits / np.float32(temperature)
    values = image_values(METRICS, scaled, run.labels, scaled[run.conditions.index(CLEAN)])
    severities = np.array([condition.severity for condition in run.conditions])
    return np.stack([mean_of_defined(values[:, severities == level], axis=1) for level in _LEVELS], axis=1)


def _names(run: Logits) -> tuple[str, str]:
    return run.model, run.data_set


def _seed(run: Logits) -> int | None:
    seed: int | None = run.attributes.get("seed")
    return seed
