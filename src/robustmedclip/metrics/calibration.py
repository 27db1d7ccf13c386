"""How far confidence can be trusted, before and after temperature scaling.

Logits are ``(..., N, classes)``, labels int ``(N,)``, and results keep the leading axes, for instance conditions.
All raise ValueError where shapes or labels don't fit or a logit is not finite.
"""

from functools import partial

import numpy as np
from scipy import special

from robustmedclip.metrics.arrays import checked, in_parts, mean_over_images
from robustmedclip.metrics.metric import Metric

BINS = 15
FOLDS = 5
TEMPERATURES = (0.01, 100.0)


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities, float64 of the shape of `logits`, that sum to 1 over the last axis."""
    probabilities: np.ndarray = special.softmax(np.asarray(logits, dtype=np.float64), axis=-1)
    return probabilities


def expected_calibration_error(logits: np.ndarray, labels: np.ndarray, bins: int = BINS) -> np.ndarray:
    """Mean gap between confidence and accuracy, in [0, 1], float64 ``(...)``.

    Images are binned by confidence, the highest softmax probability, into `bins` bins of equal width
    that include their upper edge; the gaps of the bins are weighted by their number of images
    (Guo et al. 2017, arXiv:1706.04599, eq. 3, which also uses 15 bins). With few images it exceeds the error
    of calibration in truth: a perfectly calibrated model does not reach 0. Where it is small, the spread of the
    images' values is larger than its own.
    """
    return mean_over_images(calibration_values(logits, labels, bins))


def brier_score(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Mean squared distance of the probabilities from the one-hot label, in [0, 2], float64 ``(...)``.

    Summed over all classes, as in Brier 1950, doi:10.1175/1520-0493(1950)078<0001:VOFEIT>2.0.CO;2.
    """
    return mean_over_images(brier_values(logits, labels))


def calibration_values(logits: np.ndarray, labels: np.ndarray, bins: int = BINS) -> np.ndarray:
    """Values of the images, float64 ``(..., N)``, of which the expected calibration error is the mean.

    An image of a bin that is overconfident counts with the surplus of its confidence, one of an
    underconfident bin with the deficit.
    """
    logits, labels = checked(logits, labels)
    confidence = softmax(logits).max(-1)
    surplus = confidence - (logits.argmax(-1) == labels)
    index = _bin_of(confidence, bins)
    row = np.arange(confidence[..., 0].size).reshape(*confidence.shape[:-1], 1) * bins + index
    sign = np.sign(np.bincount(row.ravel(), surplus.ravel()))
    values: np.ndarray = sign[row] * surplus
    return values


def reliability(logits: np.ndarray, labels: np.ndarray, bins: int = BINS) -> np.ndarray:
    """What a reliability diagram shows, summed over images, so that data sets and conditions can be added up.

    The diagram (DeGroot & Fienberg 1983, doi:10.2307/2987588) plots the fraction of right predictions against the mean
    confidence of each bin; the expected calibration error is ``abs(right - confidence).sum() / images.sum()``.

    Parameters
    ----------
    logits : ndarray
        ``(..., N, classes)``.
    labels : ndarray
        int ``(N,)``.
    bins : int
        Bins of equal width; bin i holds confidences in (i / bins, (i + 1) / bins].

    Returns
    -------
    ndarray
        float64 ``(3, bins)``: number of images, sum of their confidences, number of right predictions.
    """
    logits, labels = checked(logits, labels)
    confidence = softmax(logits).max(-1)
    right = logits.argmax(-1) == labels
    index = _bin_of(confidence, bins).ravel()
    weights = (np.ones_like(confidence), confidence, right)
    return np.stack([np.bincount(index, weight.ravel(), minlength=bins) for weight in weights])


def _bin_of(confidence: np.ndarray, bins: int) -> np.ndarray:
    return np.asarray(np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1))


def brier_values(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Squared distance of the probabilities of each image from its one-hot label, float64 ``(..., N)``."""
    logits, labels = checked(logits, labels)
    distances: np.ndarray = np.square(softmax(logits) - np.eye(logits.shape[-1])[labels]).sum(-1)
    return distances


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """The temperature T that minimises the negative log-likelihood of softmax(logits / T).

    Guo et al. 2017, arXiv:1706.04599, sec. 4.2. The likelihood is concave in 1 / T, and the minimum is found
    by bisection to a relative precision of 1e-10, within [0.01, 100]. Where all predictions are right, ever lower
    temperatures would fit ever better: it is 1.

    `logits` are ``(N, classes)``, `labels` int ``(N,)``.
    """
    logits, labels = checked(logits, labels)
    if (logits.argmax(-1) == labels).all():
        return 1.0
    logits = logits.astype(np.float64)
    target = np.take_along_axis(logits, labels[:, None], -1).mean()
    low, high = (np.log(1 / t) for t in reversed(TEMPERATURES))
    while high - low > 1e-10:
        middle = (low + high) / 2
        expected = (softmax(np.exp(middle) * logits) * logits).sum(-1).mean()
        low, high = (middle, high) if expected < target else (low, middle)
    return float(np.exp(-(low + high) / 2))


def scaled_logits(
    logits: np.ndarray, clean: np.ndarray, labels: np.ndarray, patients: np.ndarray | None = None
) -> np.ndarray:
    """Logits divided by a temperature that was fitted on clean images, never on the image itself.

    As in practice, where a model is calibrated on images of its clinic before it meets corrupted ones, the
    temperature comes from the clean condition and is used under every condition (Ovadia et al. 2019,
    arXiv:1906.02530). The clean images are cross-fitted: five folds, stratified by class in the order
    given, each scaled by the temperature of the other four. Of a patient, all images are in one fold.

    Parameters
    ----------
    logits : ndarray
        ``(..., N, classes)``.
    clean : ndarray
        ``(N, classes)``, logits of the same images without corruption.
    labels : ndarray
        int ``(N,)``.
    patients : ndarray, optional
        Whose each image is, ``(N,)``; without it, each is by itself.

    Returns
    -------
    ndarray
        float64 of the shape of `logits`; unscaled where there are too few images, or patients, for two folds, and
        where all predictions of the other folds are right.
    """
    clean, labels = checked(clean, labels)
    fold = _folds(labels, np.arange(len(labels)) if patients is None else patients)
    temperatures = np.ones((len(labels), 1))
    if fold.any():
        for left_out in np.unique(fold):
            others = fold != left_out
            temperatures[~others] = fit_temperature(clean[others], labels[others])
    return logits / temperatures


def _folds(labels: np.ndarray, patients: np.ndarray) -> np.ndarray:
    """The fold of each image, int ``(N,)``; patients are dealt by the class of their first image, then by name."""
    names, first, whose = np.unique(patients, return_index=True, return_inverse=True)
    place = np.empty(len(names), int)
    place[np.argsort(labels[first], kind="stable")] = np.arange(len(names))
    return np.asarray((place % min(FOLDS, len(names)))[whose])


def scaled_calibration_values(
    logits: np.ndarray, labels: np.ndarray, clean: np.ndarray, patients: np.ndarray | None = None
) -> np.ndarray:
    """:func:`calibration_values` after temperature scaling, see :func:`scaled_logits`."""
    return in_parts(calibration_values, scaled_logits(logits, clean, labels, patients), labels)


def surplus_values(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Confidence of each image, the highest softmax probability, minus 1 where its prediction is right.

    Float64 ``(..., N)``. The mean is the mean confidence minus the accuracy, the signed form of the error of
    calibration with one bin (Guo et al. 2017, arXiv:1706.04599, eq. 2).
    """
    logits, labels = checked(logits, labels)
    values: np.ndarray = softmax(logits).max(-1) - (logits.argmax(-1) == labels)
    return values


def _shift_values(logits: np.ndarray, labels: np.ndarray, clean: np.ndarray) -> np.ndarray:
    return np.asarray(in_parts(surplus_values, logits, labels) - surplus_values(clean, labels))


BRIER = Metric(
    name="brier",
    title="Brier",
    unit="",
    higher_is_better=False,
    bounds=(0, 2),
    decimals=3,
    source="Brier 1950, doi:10.1175/1520-0493(1950)078<0001:VOFEIT>2.0.CO;2",
    values=partial(in_parts, brier_values),
    leaderboard=(),
    table="calibration",
)

ECE = Metric(
    name="ece",
    title="ECE",
    unit="%",
    higher_is_better=False,
    bounds=(0, 1),
    decimals=1,
    source="Guo et al. 2017, arXiv:1706.04599",
    values=partial(in_parts, calibration_values),
    leaderboard=("clean",),
    table="calibration",
)

SCALED_ECE = Metric(
    name="scaled_ece",
    title="ECE after temperature scaling",
    unit="%",
    higher_is_better=False,
    bounds=(0, 1),
    decimals=1,
    source="Guo et al. 2017, arXiv:1706.04599, sec. 4.2; under shift as Ovadia et al. 2019, arXiv:1906.02530; the "
    "temperature is of the clean test images, in five folds",
    values=scaled_calibration_values,
    leaderboard=(),
    table="calibration",
    by_patient=True,
)

OVERCONFIDENCE = Metric(
    name="overconfidence",
    title="Overconfidence",
    unit="%",
    higher_is_better=None,
    bounds=(-1, 1),
    decimals=1,
    source="Mean confidence minus accuracy; Guo et al. 2017, arXiv:1706.04599, eq. 2, signed and in one bin",
    values=partial(in_parts, surplus_values),
    leaderboard=(),
    table="calibration",
    by_severity=True,
)

CALIBRATION_SHIFT = Metric(
    name="calibration_shift",
    title="Calibration shift",
    unit="%",
    higher_is_better=None,
    bounds=(-2, 2),
    decimals=1,
    source="Overconfidence minus that on the same images without corruption: by how much less confidence falls",
    values=_shift_values,
    leaderboard=(),
    table=None,
    by_severity=True,
)
