"""Scores of one model on one set of images, under any number of conditions.

Logits are ``(..., N, classes)``, labels int ``(N,)``, and results keep the leading axes, for instance
conditions. Every score is the mean over images of one value per image, the score plus the image's
influence on it (Hampel 1974, doi:10.1080/01621459.1974.10482962). For errors and Brier scores these are the
plain values of the images; for the others they make a bootstrap resample a weighted mean too, right to
first order in the weights (Efron & Tibshirani 1993, *An Introduction to the Bootstrap*, ch. 21).
`VALUES` holds the values of all scores by name.

All raise ValueError where shapes or labels don't fit or a logit is not finite.
"""

from collections.abc import Callable, Mapping

import numpy as np

from robustmedclip.metrics.arrays import checked, log_odds, mid_ranks, over_conditions, tied_means
from robustmedclip.metrics.calibration import brier_values, calibration_values, scaled_logits, softmax

Values = Callable[[np.ndarray, np.ndarray], np.ndarray]


def is_correct(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Whether the class of the highest logit is the label, bool ``(..., N)``; the first of equal logits counts."""
    logits, labels = checked(logits, labels)
    return logits.argmax(-1) == labels


def accuracy(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Top-1 accuracy in [0, 1], float64 ``(...)``; the top-1 error is one minus it."""
    return is_correct(logits, labels).mean(-1)


def balanced_accuracy(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Mean recall over the classes that occur in `labels`, in [0, 1], float64 ``(...)``.

    Brodersen et al. 2010, doi:10.1109/ICPR.2010.764; for more than two classes as in scikit-learn.
    """
    return balanced_accuracy_values(logits, labels).mean(-1)


def auroc(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Area under the ROC curve, one class against the rest, unweighted mean over classes, in [0, 1].

    The area of a class is the Mann-Whitney statistic: the probability that an image of the class
    gets a higher softmax probability than an image of another, equal scores counting a half
    (Hanley & McNeil 1982, doi:10.1148/radiology.143.1.7063747). Images are ranked by the log-odds
    of that probability, which order them alike and don't saturate.

    Returns
    -------
    ndarray
        float64 ``(...)``, mean over the classes that occur in `labels`; NaN if there is only one.
    """
    return auroc_values(logits, labels).mean(-1)


def aurc(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Area under the risk-coverage curve, in [0, 1], float64 ``(...)``; lower is better.

    The mean over k of the error of the k images of the highest confidence, the softmax probability of the
    predicted class (Geifman et al. 2019, arXiv:1805.08206). Images of equal confidence come in
    random order, of which the expectation is taken.
    """
    return aurc_values(logits, labels).mean(-1)


def expected_calibration_error(logits: np.ndarray, labels: np.ndarray, bins: int = 15) -> np.ndarray:
    """Mean gap between confidence and accuracy, in [0, 1], float64 ``(...)``.

    Images are binned by confidence, the highest softmax probability, into `bins` bins of equal width
    that include their upper edge; the gaps of the bins are weighted by their number of images
    (Guo et al. 2017, arXiv:1706.04599, eq. 3, which also uses 15 bins). With few images it exceeds the error
    of calibration in truth: a perfectly calibrated model does not reach 0. Where it is small, the spread of the
    images' values is larger than its own.
    """
    return calibration_values(logits, labels, bins).mean(-1)


def brier_score(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Mean squared distance of the probabilities from the one-hot label, in [0, 2], float64 ``(...)``.

    Summed over all classes, as in Brier 1950, doi:10.1175/1520-0493(1950)078<0001:VOFEIT>2.0.CO;2.
    """
    return brier_values(logits, labels).mean(-1)


def error_values(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """1 where the prediction is wrong, else 0: float64 ``(..., N)``."""
    return 1.0 - is_correct(logits, labels)


def balanced_accuracy_values(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Values of the images, float64 ``(..., N)``, of which :func:`balanced_accuracy` is the mean."""
    correct, (_, members, sizes) = is_correct(logits, labels), _classes(labels)
    recalls = correct @ members / sizes
    own = members.argmax(1)
    surplus = (correct - recalls[..., own]) * (len(labels) / (len(sizes) * sizes[own]))
    return recalls.mean(-1, keepdims=True) + surplus


def auroc_values(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Values of the images, float64 ``(..., N)``, of which :func:`auroc` is the mean.

    An image's influence on the area of a class is the share of the images on the other side that it is
    on the right side of (DeLong et al. 1988, doi:10.2307/2531595).
    """
    logits, labels = checked(logits, labels)
    present, members, sizes = _classes(labels)
    if len(present) == 1:
        return np.full(logits.shape[:-1], np.nan)
    odds, total = log_odds(logits), np.zeros(logits.shape[:-1])
    for label, inside, size in zip(present, members.T.astype(bool), sizes, strict=True):
        scores, others = odds[..., label], len(labels) - size
        above = mid_ranks(scores)
        placements = np.empty_like(scores)
        placements[..., inside] = (above[..., inside] - mid_ranks(scores[..., inside])) / others
        placements[..., ~inside] = 1 - (above[..., ~inside] - mid_ranks(scores[..., ~inside])) / size
        area = placements[..., inside].mean(-1, keepdims=True)
        total += area + (placements - area) * len(labels) / np.where(inside, size, others)
    return total / len(present)


def aurc_values(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Values of the images, float64 ``(..., N)``, of which :func:`aurc` is the mean."""
    wrong, confidence = error_values(logits, labels), softmax(logits).max(-1)
    order = np.argsort(-confidence, axis=-1, kind="stable")
    errors = tied_means(np.take_along_axis(wrong, order, -1), np.take_along_axis(confidence, order, -1))
    covered = np.arange(1, wrong.shape[-1] + 1)
    risk = np.cumsum(errors, -1) / covered
    later = np.cumsum((1 / covered)[::-1])[::-1]
    influence = errors * later - np.cumsum((risk / covered)[..., ::-1], -1)[..., ::-1]
    values = np.empty_like(errors)
    np.put_along_axis(values, order, risk + influence, -1)
    return values


def score_values(logits: np.ndarray, clean: np.ndarray, labels: np.ndarray) -> dict[str, np.ndarray]:
    """Values of the images for every score.

    Parameters
    ----------
    logits : ndarray
        ``(conditions, N, classes)``.
    clean : ndarray
        ``(N, classes)``, logits of the same images without corruption.
    labels : ndarray
        int ``(N,)``.

    Returns
    -------
    dict of str to ndarray
        float64 ``(conditions, N)`` for each of `VALUES`, and ``scaled_ece``, the expected calibration error
        after temperature scaling on the clean images, see
        :func:`robustmedclip.metrics.calibration.scaled_logits`.
    """
    values = {name: over_conditions(score, logits, labels) for name, score in VALUES.items()}
    scaled = scaled_logits(logits, clean, labels)
    return values | {"scaled_ece": over_conditions(calibration_values, scaled, labels)}


VALUES: Mapping[str, Values] = {
    "error": error_values,
    "balanced_accuracy": balanced_accuracy_values,
    "auroc": auroc_values,
    "aurc": aurc_values,
    "brier": brier_values,
    "ece": calibration_values,
}


def _classes(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The classes that occur, their members as 0 and 1 ``(N, classes)``, and their sizes."""
    present, own = np.unique(labels, return_inverse=True)
    members = np.eye(len(present))[own]
    return present, members, members.sum(0)
