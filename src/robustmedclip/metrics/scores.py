"""Scores of one model on one set of images, from its logits."""

import numpy as np

BINS = 15


def is_correct(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Whether the class of the highest logit is the label; among equal logits the first class counts.

    Parameters
    ----------
    logits : ndarray
        float ``(..., N, classes)``.
    labels : ndarray
        int ``(N,)``.

    Returns
    -------
    ndarray
        bool ``(..., N)``.
    """
    return logits.argmax(-1) == labels


def accuracy(logits: np.ndarray, labels: np.ndarray) -> float:
    """Top-1 accuracy in [0, 1]; the top-1 error is one minus it.

    `logits` are float ``(N, classes)``, `labels` int ``(N,)``.
    """
    return float(is_correct(logits, labels).mean())


def balanced_accuracy(logits: np.ndarray, labels: np.ndarray) -> float:
    """Mean recall over the classes that occur in `labels`, in [0, 1].

    `logits` are float ``(N, classes)``, `labels` int ``(N,)``.
    """
    images = np.bincount(labels)
    hits = np.bincount(labels[is_correct(logits, labels)], minlength=len(images))
    return float(np.mean(hits[images > 0] / images[images > 0]))


def auroc(logits: np.ndarray, labels: np.ndarray) -> float:
    """Area under the ROC curve, one class against the rest, unweighted mean over classes, in [0, 1].

    The area of a class is the Mann-Whitney statistic: the probability that an image of the class
    gets a higher softmax probability than an image of another, equal scores counting a half
    (Hanley & McNeil 1982, doi:10.1148/radiology.143.1.7063747). Images are ranked by the log-odds
    of that probability, which order them alike and don't saturate.

    Parameters
    ----------
    logits : ndarray
        float ``(N, classes)``.
    labels : ndarray
        int ``(N,)``.

    Returns
    -------
    float
        Mean over the classes that have both members and non-members in `labels`; NaN if none has.
    """
    odds = _log_odds(logits)
    areas = [
        _area(odds[:, label], labels == label) for label in np.unique(labels) if not np.all(labels == label)
    ]
    return float(np.mean(areas)) if areas else float("nan")


def expected_calibration_error(logits: np.ndarray, labels: np.ndarray, bins: int = BINS) -> float:
    """Mean gap between confidence and accuracy, in [0, 1].

    Images are binned by confidence, the highest softmax probability, into `bins` bins of equal width
    that include their upper edge; the gaps of the bins are weighted by their number of images
    (Guo et al. 2017, arXiv:1706.04599, eq. 3, which also uses 15 bins).

    `logits` are float ``(N, classes)``, `labels` int ``(N,)``.
    """
    confidence = softmax(logits).max(-1)
    index = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    surplus = np.bincount(index, weights=confidence - is_correct(logits, labels), minlength=bins)
    return float(np.abs(surplus).sum() / len(labels))


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities, float64 of the shape of `logits`, that sum to 1 over the last axis."""
    powers = np.exp(_shifted(logits))
    return powers / powers.sum(-1, keepdims=True)


def _shifted(logits: np.ndarray) -> np.ndarray:
    logits = np.asarray(logits, dtype=np.float64)
    return logits - logits.max(-1, keepdims=True)


def _log_odds(logits: np.ndarray) -> np.ndarray:
    shifted = _shifted(logits)
    powers = np.exp(shifted)
    others = powers.sum(-1, keepdims=True) - powers
    highest = shifted.argmax(-1)[..., None]
    np.put_along_axis(powers, highest, 0, axis=-1)
    np.put_along_axis(others, highest, powers.sum(-1, keepdims=True), axis=-1)
    with np.errstate(divide="ignore"):
        return shifted - np.log(others)


def _area(scores: np.ndarray, members: np.ndarray) -> float:
    _, place, count = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(count) - (count - 1) / 2)[place]
    inside = int(members.sum())
    outside = len(members) - inside
    return (ranks[members].sum() - inside * (inside + 1) / 2) / (inside * outside)
