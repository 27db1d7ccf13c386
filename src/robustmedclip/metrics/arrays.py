"""Array operations that the metrics share."""

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


def mean_over_images(values: np.ndarray) -> np.ndarray:
    """Means of ``(..., N)``, float64 ``(...)``."""
    means: np.ndarray = values.mean(-1)
    return means


def in_parts(
    function: Callable[[np.ndarray, np.ndarray], np.ndarray],
    logits: np.ndarray,
    labels: np.ndarray,
    clean: np.ndarray | None = None,
) -> np.ndarray:
    """`function` of `logits` ``(..., N, classes)`` and `labels`, some conditions at a time to bound memory.

    The logits of the `clean` images, which metrics are given too, play no part.
    """
    conditions = np.reshape(logits, (-1, *np.shape(logits)[-2:]))
    step = max(1, 2**20 // conditions[0].size)
    parts = [function(conditions[i : i + step], labels) for i in range(0, len(conditions), step)]
    return np.concatenate(parts).reshape(np.shape(logits)[:-1])


def log_odds(logits: np.ndarray) -> np.ndarray:
    """Log-odds of the softmax probabilities, float64 of the shape of `logits`; they don't saturate as those do."""
    logits = np.asarray(logits, dtype=np.float64)
    shifted = logits - logits.max(-1, keepdims=True)
    powers = np.exp(shifted)
    others = powers.sum(-1, keepdims=True) - powers
    highest = shifted.argmax(-1)[..., None]
    np.put_along_axis(powers, highest, 0, axis=-1)
    np.put_along_axis(others, highest, powers.sum(-1, keepdims=True), axis=-1)
    with np.errstate(divide="ignore"):
        odds: np.ndarray = shifted - np.log(others)
    return odds


def tied_means(values: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Each value replaced by the mean over its run of equal neighbouring `scores`, along the last axis."""
    position = np.arange(scores.shape[-1])
    change = scores[..., 1:] != scores[..., :-1]
    edge = np.ones((*scores.shape[:-1], 1), bool)
    starts, ends = np.concatenate([edge, change], -1), np.concatenate([change, edge], -1)
    first = np.maximum.accumulate(np.where(starts, position, 0), -1)
    last = np.minimum.accumulate(np.where(ends, position, position[-1])[..., ::-1], -1)[..., ::-1]
    sums = np.concatenate([np.zeros((*values.shape[:-1], 1)), np.cumsum(values, -1)], -1)
    totals = np.take_along_axis(sums, last + 1, -1) - np.take_along_axis(sums, first, -1)
    means: np.ndarray = totals / (last - first + 1)
    return means
