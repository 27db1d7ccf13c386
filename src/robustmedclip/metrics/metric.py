"""What a metric is: what it says of itself, and its value for each image."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from robustmedclip.errors import InputError

#: ``(logits, labels, clean logits)`` to a value per image, see :class:`Metric`.
Values = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]

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


def image_values(metrics: Sequence[Metric], logits: np.ndarray, labels: np.ndarray, clean: np.ndarray) -> np.ndarray:
    """Values of every metric for every image, float64 ``(metrics, ..., N)``.

    Parameters
    ----------
    metrics : sequence of Metric
        At least one.
    logits, labels, clean : ndarray
        As of ``Metric.values``.

    Raises
    ------
    InputError
        If a metric gives values of another shape.
    """
    values = []
    for metric in metrics:
        of_images = np.asarray(metric.values(logits, labels, clean), dtype=np.float64)
        if of_images.shape != logits.shape[:-1]:
            raise InputError(
                f"The metric '{metric.name}' gives values of the shape {of_images.shape} for logits {logits.shape}: "
                f"expected one per image, {logits.shape[:-1]}"
            )
        values.append(of_images)
    return np.stack(values)
