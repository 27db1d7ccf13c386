"""The rows of the table of metrics."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import product
from typing import Any, NamedTuple

import numpy as np

from robustmedclip.images.conditions import CLEAN, Condition
from robustmedclip.metrics import derived
from robustmedclip.metrics.bootstrap import interval
from robustmedclip.metrics.classification import ERROR
from robustmedclip.metrics.grid import Grid
from robustmedclip.metrics.logits import ZERO_SHOT, Logits
from robustmedclip.metrics.metric import Metric
from robustmedclip.metrics.ratios import ratios, ratios_of_means
from robustmedclip.metrics.robustness import error_ratio, mce, mean_of_defined, retained_accuracy
from robustmedclip.metrics.runs import ALL, SEVERITIES

#: What the mean of a ratio over corruptions is called, where it has a name of its own.
_MEANS = {derived.CE: derived.MCE, derived.RELATIVE_CE: derived.RELATIVE_MCE}
#: On which fraction of the data sets that have a corruption a ratio has to be defined for their mean to be.
_NEEDED_FRACTIONS = {derived.RELATIVE_CE: 0.5}
#: Derived values that are in percent, or points of it.
_PERCENT = (derived.CLEAN_ERROR, derived.ERROR_EXTREME, derived.POINTS_LOST, derived.POINTS_WON_BACK)


class Group(NamedTuple):
    """A data set, or data sets that are averaged; `members` are their places."""

    name: str
    modality: str
    collection: str | None
    members: list[int]

    @property
    def is_data_set(self) -> bool:
        """Whether it is a single data set rather than a mean."""
        return self.name != ALL


class Entry(NamedTuple):
    """A value under a condition: the estimate, then one value per resample; `n` is as in :class:`Scene`."""

    corruption: str
    severity: int | None
    metric: str
    values: np.ndarray
    n: np.ndarray


class References(NamedTuple):
    """What a model is compared with: the errors of the baseline that mCE is made of, and where it is adapted the errors
    of its base model as it was, if that is scored too."""

    baseline: Grid
    unadapted: Grid | None

    def of(self, data_sets: Sequence[int]) -> "References":
        """Those of some of the data sets."""
        return References(self.baseline.of(data_sets), self.unadapted and self.unadapted.of(data_sets))

    def beside(self, grid: Grid) -> "References":
        """Those for a grid with fewer resamples. Those of the baseline stay: they tell what is defined."""
        return References(self.baseline, self.unadapted and self.unadapted.beside(grid))


class Scene(NamedTuple):
    """Data sets, corruptions and reference errors that all models share.

    Attributes
    ----------
    corruptions : sequence of str
        In the order of the grids.
    sizes : ndarray
        float64 ``(data sets, 2)``: how many test images they have, and of how many patients; NaN where that is unknown.
    reference : ndarray
        float64 ``(data sets, 1 + corruptions)``: balanced errors of a suite's reference model, see
        :func:`robustmedclip.metrics.robustness.reference_errors`.
    seen : sequence of str
        Corruptions that some model saw in tuning.
    realistic : ndarray
        bool ``(data sets, corruptions, severities)``: the levels that are averaged; the others stand beside them.
    mce_on : Metric
        What ratios to the baseline, and so mCE, are made of: see :meth:`robustmedclip.metrics.grid.Grid.errors`.
    """

    corruptions: Sequence[str]
    sizes: np.ndarray
    reference: np.ndarray
    seen: Sequence[str]
    realistic: np.ndarray
    mce_on: Metric = ERROR


def groups(references: Sequence[Logits], collections: Mapping[str, str]) -> list[Group]:
    """Each data set, then all, then those of each modality and of each collection."""
    modalities = [run.modality for run in references]
    of_each = [collections.get(run.data_set) for run in references]
    return [
        *(
            Group(run.data_set, run.modality, collection, [i])
            for i, (run, collection) in enumerate(zip(references, of_each, strict=True))
        ),
        Group(ALL, ALL, ALL, [*range(len(references))]),
        *(Group(ALL, name, ALL, _positions(modalities, name)) for name in sorted({*modalities})),
        *(Group(ALL, ALL, name, _positions(of_each, name)) for name in sorted({c for c in of_each if c is not None})),
    ]


def _positions(names: Sequence[str | None], name: str) -> list[int]:
    return [position for position, other in enumerate(names) if other == name]


def attributes_of(run: Logits) -> dict[str, Any]:
    """Columns of the table that describe the model of a run."""
    names = ("base", "adaptation", "method", "rank", "fraction", "shots", "seed")
    known = {"model": run.model, **{name: run.attributes.get(name) for name in names}}
    return known if known["adaptation"] is not None else known | {"adaptation": ZERO_SHOT}


def rows(
    attributes: Mapping[str, Any], group: Group, entries: Iterable[Entry], metrics: Sequence[Metric]
) -> list[tuple[Any, ...]]:
    """Rows of the table, with their intervals."""
    entries = list(entries)
    scales = {metric.name: metric.scale for metric in metrics} | dict.fromkeys(_PERCENT, 100)
    scale = np.array([scales.get(entry.metric, 1) for entry in entries])
    samples = np.stack([entry.values for entry in entries], axis=1) * scale
    low, high = interval(samples)
    place = (group.name, group.modality, group.collection)
    return [
        (*attributes.values(), *place, entry.corruption, entry.severity, entry.metric, *numbers, *entry.n)
        for entry, *numbers in zip(entries, samples[0], low, high, strict=True)
    ]


def condition_entries(
    conditions: Sequence[Condition], metrics: Sequence[Metric], means: np.ndarray, n: np.ndarray
) -> Iterator[Entry]:
    """Every metric under every condition, from ``(1 + resamples, metrics, conditions)``."""
    for (i, metric), (j, condition) in product(enumerate(metrics), enumerate(conditions)):
        name = _clean_name(metric) if condition == CLEAN else metric.name
        yield Entry(condition.corruption, condition.severity or None, name, means[:, i, j], n)


def entries(group: Group, grid: Grid, references: References, scene: Scene) -> Iterator[Entry]:
    """Every value of one model on a data set or a mean over some."""
    return _Entries(group, grid.of(group.members), references.of(group.members), scene).all()


def _clean_name(metric: Metric) -> str:
    """Name of a metric on clean images: the error has one of its own there."""
    return derived.CLEAN_ERROR if metric == ERROR else metric.name


class _Entries:
    """Makes the values of one model on one group; `grid` and `references` are those of its members."""

    def __init__(self, group: Group, grid: Grid, references: References, scene: Scene):
        self._group, self._grid, self._scene = group, grid, scene
        base, self._unadapted = references
        self._sizes, self._reference = scene.sizes[group.members], scene.reference[group.members]
        self._realistic = scene.realistic[group.members]
        self._averaged, self._averaged_base = grid.at(self._realistic), base.at(self._realistic)
        self._base = base.beside(grid)
        self._losses, errors = grid.errors(scene.mce_on), grid.corrupted()[0]
        self._present = [c for c in range(len(scene.corruptions)) if not np.isnan(errors[:, c]).all()]

    def all(self) -> Iterator[Entry]:
        for metric in self._grid.metrics:
            yield self._mean(CLEAN.corruption, None, _clean_name(metric), self._grid.clean(metric))
        yield from self._of_conditions()
        clean_ratio = error_ratio(self._losses.clean(), self._base.clean(), resampled=True)
        yield self._mean(CLEAN.corruption, None, derived.CLEAN_ERROR_RATIO, clean_ratio)
        if self._present:
            yield from self._points()
            yield from self._ratios()
            yield from self._of_all_corruptions()
        if not self._group.is_data_set:
            for ratio in ratios_of_means(self._averaged, self._averaged_base, self._reference, self._scene.mce_on):
                n = self._size(ratio.included)
                yield Entry(ratio.corruption, None, ratio.metric, ratio.values, n)

    def _mean(self, corruption: str, severity: int | None, metric: str, values: np.ndarray, needed: float = 0) -> Entry:
        """The mean over the data sets of ``(1 + resamples, data sets)``, if it is defined on the fraction `needed`."""
        average = values[:, 0] if self._group.is_data_set else mean_of_defined(values, 1, resampled=True)
        defined = ~np.isnan(values[0])
        if needed and defined.sum() < needed * self._data_sets_with(corruption):
            average = np.full_like(average, np.nan)
        return Entry(corruption, severity, metric, average, self._size(defined))

    def _size(self, data_sets: np.ndarray) -> np.ndarray:
        """Test images and patients of some of the data sets."""
        return self._sizes[data_sets].sum(0) if np.any(data_sets) else np.array([0, np.nan])

    def _data_sets_with(self, corruption: str) -> int:
        """How many data sets of the group have a corruption, or any."""
        present = ~np.isnan(self._grid.corrupted()[0, :, :, 0])
        chosen = present if corruption == ALL else present[:, [self._scene.corruptions.index(corruption)]]
        return int(chosen.any(1).sum())

    def _of_conditions(self) -> Iterator[Entry]:
        """Each corruption and severity; of means over data sets the error alone, and the clean one of those with it."""
        names, grid = self._scene.corruptions, self._grid
        shown = grid.metrics if self._group.is_data_set else [ERROR]
        for metric, c, (s, severity) in product(shown, self._present, enumerate(SEVERITIES)):
            yield self._mean(names[c], severity, metric.name, grid.corrupted(metric)[:, :, c, s])
        for c in self._present if not self._group.is_data_set else ():
            clean = np.where(np.isnan(grid.corrupted()[:, :, c, 0]), np.nan, grid.clean())
            yield self._mean(names[c], 0, ERROR.name, clean)
        if self._present and not self._group.is_data_set:
            clean = np.where(np.isnan(grid.corrupted()[:, :, :, 0]).all(2), np.nan, grid.clean())
            yield self._mean(ALL, 0, ERROR.name, clean)

    def _points(self) -> Iterator[Entry]:
        """Rise of the error by each corruption and by all, and what adaptation takes from the corrupted error."""
        errors, clean = self._averaged.corrupted(), self._grid.clean()
        before = None if self._unadapted is None else self._unadapted.at(self._realistic).corrupted()
        for name, part in [*((self._scene.corruptions[c], [c]) for c in self._present), (ALL, self._present)]:
            error = mean_of_defined(errors[:, :, part], axis=(2, 3))
            yield self._mean(name, None, derived.POINTS_LOST, error - clean)
            if before is not None:
                won = mean_of_defined(before[:, :, part], axis=(2, 3)) - error
                yield self._mean(name, None, derived.POINTS_WON_BACK, won)

    def _ratios(self) -> Iterator[Entry]:
        names = self._scene.corruptions
        by_name = ratios(self._averaged, self._averaged_base, self._reference, self._scene.mce_on)
        for metric, values in by_name.items():
            needed = _NEEDED_FRACTIONS.get(metric, 0)
            for c in self._present:
                yield self._mean(names[c], None, metric, values[:, :, c], needed)
            mean = mean_of_defined(values, resampled=True)
            yield self._mean(ALL, None, _MEANS.get(metric, metric), mean, needed)
        yield from self._seen_and_held_out(by_name[derived.CE])
        if not self._realistic.all():
            parts = [grid.at(~self._realistic).corrupted() for grid in (self._losses, self._base)]
            extreme = mce(*parts, resampled=True)
            yield self._mean(ALL, None, derived.MCE_EXTREME, extreme)

    def _seen_and_held_out(self, ce: np.ndarray) -> Iterator[Entry]:
        """The mCE over the corruptions that tuning saw, and over the others, where there are both."""
        is_seen = {c: self._scene.corruptions[c] in self._scene.seen for c in self._present}
        if len(set(is_seen.values())) == 2:
            for name, wanted in ((derived.MCE_SEEN, True), (derived.MCE_HELD_OUT, False)):
                part = [c for c in self._present if is_seen[c] == wanted]
                yield self._mean(ALL, None, name, mean_of_defined(ce[:, :, part], resampled=True))

    def _of_all_corruptions(self) -> Iterator[Entry]:
        grid, averaged = self._grid, self._averaged
        of_severities = mean_of_defined(grid.corrupted(), axis=2)
        for s, severity in enumerate(SEVERITIES):
            errors = of_severities[:, :, s]
            yield self._mean(ALL, severity, ERROR.name, errors)
            retained = retained_accuracy(errors, grid.clean(), resampled=True)
            yield self._mean(ALL, severity, derived.RETAINED_ACCURACY, retained)
        for metric in (metric for metric in grid.metrics if metric.by_severity):
            values = mean_of_defined(grid.corrupted(metric), axis=2)
            yield self._mean(ALL, 0, metric.name, np.where(np.isnan(values[..., 0]), np.nan, grid.clean(metric)))
            for s, severity in enumerate(SEVERITIES):
                yield self._mean(ALL, severity, metric.name, values[..., s])
        for metric in grid.metrics:
            yield self._mean(ALL, None, metric.name, mean_of_defined(averaged.corrupted(metric), axis=(2, 3)))
        errors = mean_of_defined(averaged.corrupted(), axis=(2, 3))
        retained = retained_accuracy(errors, grid.clean(), resampled=True)
        yield self._mean(ALL, None, derived.RETAINED_ACCURACY, retained)
        if not self._realistic.all():
            extreme = mean_of_defined(grid.at(~self._realistic).corrupted(), axis=(2, 3))
            yield self._mean(ALL, None, derived.ERROR_EXTREME, extreme)
