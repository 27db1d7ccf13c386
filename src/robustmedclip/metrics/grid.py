"""The metrics of one model on every data set under every condition, with their resamples."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from robustmedclip.images.conditions import CLEAN, Condition
from robustmedclip.metrics.bootstrap import resampled_means
from robustmedclip.metrics.classification import BALANCED_ACCURACY, ERROR
from robustmedclip.metrics.logits import Logits
from robustmedclip.metrics.metric import Metric, image_values
from robustmedclip.metrics.runs import SEVERITIES


class Grid(NamedTuple):
    """The metrics of one model: the estimate, then one row per resample.

    Attributes
    ----------
    means : ndarray
        float64 ``(1 + resamples, data sets, metrics, 1 + corruptions * severities)``, the first condition is clean;
        NaN where a data set lacks a corruption.
    metrics : sequence of Metric
        Those of the third axis.
    """

    means: np.ndarray
    metrics: Sequence[Metric]

    @classmethod
    def empty(cls, resamples: int, data_sets: int, metrics: Sequence[Metric], corruptions: int) -> "Grid":
        """A grid that nothing is known of."""
        shape = (1 + resamples, data_sets, len(metrics), 1 + corruptions * len(SEVERITIES))
        return cls(np.full(shape, np.nan), metrics)

    def of(self, data_sets: Sequence[int]) -> "Grid":
        """That of some of the data sets."""
        return Grid(self.means[:, data_sets], self.metrics)

    def at(self, levels: np.ndarray) -> "Grid":
        """That at some severities of each corruption, bool ``(data sets, corruptions, severities)``, and clean."""
        if levels.all():
            return self
        kept = np.concatenate([np.ones((len(levels), 1), bool), levels.reshape(len(levels), -1)], axis=1)
        return Grid(np.where(kept[:, None], self.means, np.nan), self.metrics)

    def estimates(self) -> "Grid":
        """That without resamples."""
        return Grid(self.means[:1], self.metrics)

    def beside(self, other: "Grid") -> "Grid":
        """That with as many resamples as another, which has no more."""
        return Grid(self.means[: len(other.means)], self.metrics)

    def errors(self, of: Metric = ERROR) -> "Grid":
        """That of the error alone; of another metric, of what it lacks of the best, in the error's place."""
        return Grid(of.loss(self.means[:, :, [self.metrics.index(of)]]), [ERROR])

    def clean(self, metric: Metric = ERROR) -> np.ndarray:
        """``(1 + resamples, data sets)``."""
        return self.means[:, :, self.metrics.index(metric), 0]

    def corrupted(self, metric: Metric = ERROR) -> np.ndarray:
        """``(1 + resamples, data sets, corruptions, severities)``."""
        of_metric = self.means[:, :, self.metrics.index(metric), 1:]
        return of_metric.reshape(*self.means.shape[:2], -1, len(SEVERITIES))

    def balanced_errors(self) -> tuple[np.ndarray, np.ndarray]:
        """Under corruption and clean, of the shapes of :meth:`corrupted` and :meth:`clean`."""
        return 1 - self.corrupted(BALANCED_ACCURACY), 1 - self.clean(BALANCED_ACCURACY)


def columns(conditions: Sequence[Condition], corruptions: Sequence[str]) -> list[int]:
    """Where the conditions stand in a :class:`Grid`."""
    return [0 if c == CLEAN else corruptions.index(c.corruption) * len(SEVERITIES) + c.severity for c in conditions]


def means_of_seeds(
    runs: Sequence[Logits],
    conditions: Sequence[Condition],
    metrics: Sequence[Metric],
    resamples: int,
    seed: int,
    patients: np.ndarray | None = None,
) -> Iterator[np.ndarray]:
    """For each seed of one model on one data set, float64 ``(1 + resamples, metrics, conditions)``.

    `conditions` gives the order, `seed` that of the resamples; `patients` say whose the images are, if that is known.
    """
    low, high = (np.array([[metric.bounds[side]] for metric in metrics]) for side in (0, 1))
    for run in runs:
        order = [run.conditions.index(condition) for condition in conditions]
        clean = run.logits[run.conditions.index(CLEAN)]
        values = image_values(metrics, run.logits[order], run.labels, clean, patients)
        yield np.clip(resampled_means(values, seed, run.data_set, resamples, patients), low, high)
