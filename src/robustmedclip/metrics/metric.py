"""What a metric is: what it says of itself, and its value for each image."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from robustmedclip.errors import InputError
from robustmedclip.images.findings import UNKNOWN, differing

#: ``(logits, labels, clean logits)`` to a value per image, see :class:`Metric`.
Values = Callable[..., np.ndarray]

_NAME = re.compile(r"[a-z][a-z0-9_]*")


@dataclass(frozen=True)
class Metric:
    """A metric of one model on one set of images, under any number of conditions.

    Attributes
    ----------
    name : str
        What it is called in tables for programs: lower-case letters, digits and underscores.
    title : str
        What it is called in tables for people.
    unit : {"%", ""}
        With ``%``, values are fractions, and tables show 100 times the fraction.
    higher_is_better : bool or None
        Its direction; None where 0 is best.
    bounds : tuple of float
        The lowest and the highest value that it can have, before the unit is applied: mostly 0 and 1 of a percentage.
        Bounds of intervals are kept within.
    decimals : int
        Digits after the point that are shown.
    source : str
        Where it is defined.
    values : callable
        ``(logits, labels, clean)`` to float64 ``(..., N)``, a value per image whose mean over images is the metric; NaN
        where it is undefined. `logits` are ``(..., N, classes)``, `labels` int ``(N,)``, and `clean` ``(N, classes)``
        are the logits of the same images without corruption. The bootstrap draws these values. For a metric that is no
        mean over images, the value of an image is the metric plus the image's influence on it (Hampel 1974,
        doi:10.1080/01621459.1974.10482962), which makes a resample right to first order in its weights (Efron &
        Tibshirani 1993, *An Introduction to the Bootstrap*, ch. 21).
    leaderboard : tuple of {"clean", "corrupted"}
        Of which images the mean is a column of ``leaderboard.csv``.
    table : str, optional
        The table of the report that it stands in; without one, it stands in the leaderboard that people read.
    by_severity : bool
        Whether it has a table of its own, too, of the means over corruptions at each severity.
    by_patient : bool
        Whether `values` also take ``patients``, whose each image is, ``(N,)``, or None.

    Raises
    ------
    InputError
        If the name is none, or the lower bound isn't below the upper one.
    """

    name: str
    title: str
    unit: Literal["%", ""]
    higher_is_better: bool | None
    bounds: tuple[float, float]
    decimals: int
    source: str
    values: Values = field(repr=False, compare=False)  # a copy sent to another process is the same metric
    leaderboard: tuple[Literal["clean", "corrupted"], ...] = ("clean", "corrupted")
    table: str | None = "further_metrics"
    by_severity: bool = False
    by_patient: bool = False

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise InputError(
                f"A metric can't be called '{self.name}': a name has lower-case letters, digits and underscores"
            )
        if not self.bounds[0] < self.bounds[1]:
            raise InputError(f"The bounds of the metric '{self.name}' are {self.bounds}: the first has to be lower")

    @property
    def scale(self) -> int:
        """What values are multiplied by in tables: 100 for a percentage, else 1."""
        return 100 if self.unit else 1

    @property
    def loss_title(self) -> str:
        """What :meth:`loss` is called in tables for people: ``1 - AUROC``."""
        return f"{self.bounds[1]:g} - {self.title}" if self.higher_is_better else self.title

    def loss(self, values: np.ndarray) -> np.ndarray:
        """What values lack of the best one: themselves where lower is better, else the upper bound minus them."""
        return self.bounds[1] - values if self.higher_is_better else values


def image_values(
    metrics: Sequence[Metric],
    logits: np.ndarray,
    labels: np.ndarray,
    clean: np.ndarray,
    patients: np.ndarray | None = None,
) -> np.ndarray:
    """Values of every metric for every image, float64 ``(metrics, ..., N)``; of findings, the mean over them.

    Parameters
    ----------
    metrics : sequence of Metric
        At least one.
    logits, labels, clean : ndarray
        As of ``Metric.values``; or of findings, as of :func:`values_of_finding`.
    patients : ndarray, optional
        Whose each image is, ``(N,)``.

    Raises
    ------
    InputError
        If a metric gives values of another shape.
    """
    if labels.ndim == 1:
        return np.stack([_values(metric, logits, labels, clean, patients) for metric in metrics])
    values, places = np.zeros((len(metrics), *logits.shape[:-1])), differing(labels)
    for place in places:
        values += values_of_finding(metrics, logits, labels, clean, place, patients)
    return values / len(places) if places else np.full_like(values, np.nan)


def values_of_finding(
    metrics: Sequence[Metric],
    logits: np.ndarray,
    labels: np.ndarray,
    clean: np.ndarray,
    place: int,
    patients: np.ndarray | None = None,
) -> np.ndarray:
    """Values of every metric for every image, of one finding as a task of two classes, float64 ``(metrics, ..., N)``.

    Their mean over all images is the metric of the images of which the finding is known. Those of which it isn't have
    that mean, and the others lie as much further from it as they are fewer: the mean plus the influence of an image on
    it, as ``Metric.values`` describes.

    Parameters
    ----------
    metrics : sequence of Metric
        At least one.
    logits : ndarray
        Log-odds of each finding, ``(..., N, findings)``.
    labels : ndarray
        int ``(N, findings)``, as of :func:`robustmedclip.images.findings.members`.
    clean : ndarray
        Those of clean images, ``(N, findings)``.
    place : int
        The finding.
    patients : ndarray, optional
        Whose each image is, ``(N,)``.

    Raises
    ------
    InputError
        As :func:`image_values`.
    """
    known = labels[:, place] != UNKNOWN
    pairs, clean_pairs = two_classes(logits[..., known, place]), two_classes(clean[known, place])
    whose = None if patients is None else patients[known]
    of_known = image_values(metrics, pairs, labels[known, place], clean_pairs, whose)
    means = of_known.mean(-1, keepdims=True)
    values = np.repeat(means, len(labels), axis=-1)
    values[..., known] += (of_known - means) * (len(labels) / known.sum())
    return values


def two_classes(log_odds: np.ndarray) -> np.ndarray:
    """Logits of absent and present, ``(..., 2)``, from log-odds ``(...)`` of present."""
    return np.stack([np.zeros_like(log_odds), log_odds], axis=-1)


def _values(
    metric: Metric, logits: np.ndarray, labels: np.ndarray, clean: np.ndarray, patients: np.ndarray | None
) -> np.ndarray:
    known = {"patients": patients} if metric.by_patient else {}
    values = np.asarray(metric.values(logits, labels, clean, **known), dtype=np.float64)
    if values.shape != logits.shape[:-1]:
        raise InputError(
            f"The metric '{metric.name}' gives values of the shape {values.shape} for logits {logits.shape}: "
            f"expected one per image, {logits.shape[:-1]}"
        )
    return values
