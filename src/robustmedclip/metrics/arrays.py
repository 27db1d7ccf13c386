"""Array operations that the scores share."""

from collections.abc import Callable

import numpy as np


def checked(logits: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """`logits` and `labels` as arrays.

    Raises
    ------
    ValueError
        If their shapes don't fit, there is no image, a label is not one of the classes, or a logit not finite.
    """
    logits, labels = np.asarray(logits), np.asarray(labels)
    if logits.ndim < 2 or labels.shape != logits.shape[-2:-1] or not labels.size:
        raise ValueError(f"Logits {logits.shape} and labels {labels.shape} are not (..., N, classes) and (N,), N > 0")
    if not np.issubdtype(labels.dtype, np.integer) or labels.min() < 0 or labels.max() >= logits.shape[-1]:
        raise ValueError(f"Labels must be integers from 0 to {logits.shape[-1] - 1}")
    if not np.isfinite(logits).all():
        raise ValueError("Logits must be finite")
    return logits, labels


def over_conditions(
    function: Callable[[np.ndarray, np.ndarray], np.ndarray], logits: np.ndarray, labels: np.ndarray
) -> np.ndarray:
    """`function` of ``(conditions, N, classes)``, some conditions at a time so that memory stays bounded."""
    step = max(1, 2**20 // logits[0].size)
    return np.concatenate([function(logits[i : i + step], labels) for i in range(0, len(logits), step)])


def log_odds(logits: np.ndarray) -> np.ndarray:
    """Log-odds of the softmax probabilities, float64 of the shape of `logits`."""
    logits = np.asarray(logits, dtype=np.float64)
    shifted = logits - logits.max(-1, keepdims=True)
    powers = np.exp(shifted)
    others = powers.sum(-1, keepdims=True) - powers
    highest = shifted.argmax(-1)[..., None]
    np.put_along_axis(powers, highest, 0, axis=-1)
    np.put_along_axis(others, highest, powers.sum(-1, keepdims=True), axis=-1)
    with np.errstate(divide="ignore"):
        return shifted - np.log(others)


def mid_ranks(scores: np.ndarray) -> np.ndarray:
    """Ranks from 1 along the last axis; equal scores share the mean of their ranks."""
    order = np.argsort(scores, axis=-1)
    first, last = _ties(np.take_along_axis(scores, order, -1))
    ranks = np.empty(scores.shape)
    np.put_along_axis(ranks, order, (first + last) / 2 + 1, -1)
    return ranks


def tied_means(values: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Each value replaced by the mean over its run of equal neighbouring `scores`, along the last axis."""
    first, last = _ties(scores)
    sums = np.concatenate([np.zeros((*values.shape[:-1], 1)), np.cumsum(values, -1)], -1)
    totals = np.take_along_axis(sums, last + 1, -1) - np.take_along_axis(sums, first, -1)
    return totals / (last - first + 1)


def _ties(ordered: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Index of the first and of the last of the run of equal values that each value belongs to."""
    position = np.arange(ordered.shape[-1])
    change = ordered[..., 1:] != ordered[..., :-1]
    edge = np.ones((*ordered.shape[:-1], 1), bool)
    starts, ends = np.concatenate([edge, change], -1), np.concatenate([change, edge], -1)
    first = np.maximum.accumulate(np.where(starts, position, 0), -1)
    last = np.minimum.accumulate(np.where(ends, position, position[-1])[..., ::-1], -1)[..., ::-1]
    return first, last
