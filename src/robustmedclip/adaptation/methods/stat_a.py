"""Adaptation to the test images of a condition, without labels: StatA."""

from __future__ import annotations

import numpy as np
from scipy.special import log_softmax, softmax

from robustmedclip.adaptation.methods.method import Method
from robustmedclip.adaptation.methods.settings import Count, NotNegative

#: The likelihood of an image counts as much as that of so many, against its zero-shot probability.
_TEMPERATURE = 50
#: Updates of all probabilities at a time, and rows of similarities that are held at a time.
_INNER, _ROWS = 5, 1024
_SMALL = 1e-12


class StatA(Method):
    """StatA (Zanella et al. 2025, arXiv:2501.03729): a Gaussian of each class, fitted to the unlabelled test images.

    Each class's mean and diagonal covariance are drawn to those that the prompts say, the less the more images seem to
    be of the class: the statistical anchor. It sees all test images of a condition at once, which none of the other
    methods does. It is computed as the authors' code does (solvers/StatA.py at 0138fd9).

    Attributes
    ----------
    anchor : float
        Images that the anchor counts as.
    neighbours : int
        Most similar images that an image shares its probabilities with.
    iterations : int
        Updates of means and covariances.
    """

    anchor: NotNegative = 1.0
    neighbours: Count = 3
    iterations: Count = 10

    def at_test_time(self, logits: np.ndarray, features: np.ndarray, class_vectors: np.ndarray) -> np.ndarray:
        """Logarithms of the probabilities of all images of a condition, float32 ``(N, C)``."""
        wide, rows, vectors = (array.astype(np.float64) for array in (logits, features, class_vectors))
        return stat_a(wide, rows, vectors, self.anchor, self.neighbours, self.iterations).astype(np.float32)


def stat_a(
    logits: np.ndarray,
    features: np.ndarray,
    class_vectors: np.ndarray,
    anchor: float,
    neighbours: int,
    iterations: int,
) -> np.ndarray:
    """Logarithms of the probabilities of the images, ``(N, C)``.

    With zero-shot probabilities y, class vectors t and the covariance S_0 of all features about them, it repeats:
    ``z_i ~ y_i exp((log N(f_i; mu, S) + 50 / (2 k) sum_j (w_ij + w_ji) z_j) / 50)``, five times;
    ``beta_c = n_c / (anchor + n_c)`` of the n_c images that are most likely of class c;
    ``mu_c = beta_c mean_c + (1 - beta_c) t_c``, both of unit length, as mu_c is; and
    ``S_c = beta_c cov_c + (1 - beta_c) (S_0 + (t_c - mu_c)^2)``, all diagonal.

    Parameters
    ----------
    logits : ndarray
        Of the prompts, ``(N, C)``.
    features, class_vectors : ndarray
        Unit features ``(N, D)``, and unit class vectors ``(C, D)``.
    anchor, neighbours, iterations
        Of :class:`StatA`.
    """
    zero_shot, probabilities = log_softmax(logits, axis=1), softmax(logits, axis=1)
    nearest, similarity = _neighbours(features, min(neighbours, len(features) - 1))
    anchors = _deviations(features, class_vectors, probabilities).sum(0) / len(features)
    means, covariances = class_vectors, np.repeat(anchors[None], len(class_vectors), axis=0)
    for iteration in range(iterations + 1):
        inverse = 1 / covariances
        likelihood = -0.5 * (features**2 @ inverse.T - 2 * features @ (means * inverse).T + (means**2 * inverse).sum(1))
        for _ in range(_INNER):
            shared = _shared(probabilities, nearest, similarity) * _TEMPERATURE / (2 * neighbours)
            result = log_softmax(zero_shot + (likelihood + shared) / _TEMPERATURE, axis=1)
            probabilities = np.exp(result)
        if iteration == iterations:
            break
        counts = np.bincount(probabilities.argmax(1), minlength=len(means))
        beta = (counts / (anchor + counts + _SMALL))[:, None]
        weights = probabilities.sum(0)[:, None] + _SMALL
        means = _unit(beta * _unit(probabilities.T @ features / weights) + (1 - beta) * class_vectors)
        spread = _deviations(features, means, probabilities) / weights
        covariances = beta * spread + (1 - beta) * (anchors + (class_vectors - means) ** 2)
    return np.asarray(result)


def _deviations(features: np.ndarray, means: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Sum over the images of ``z_ic (f_i - mu_c)^2``, ``(C, D)``."""
    weights = probabilities.sum(0)[:, None]
    sums = probabilities.T @ features**2 - 2 * means * (probabilities.T @ features) + weights * means**2
    return np.asarray(np.maximum(sums, _SMALL))


def _neighbours(features: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The most similar other images of each, and their cosines, both ``(N, count)``."""
    nearest = np.empty((len(features), count), np.int64)
    for start in range(0, len(features), _ROWS):
        cosines = features[start : start + _ROWS] @ features.T
        cosines[np.arange(len(cosines)), np.arange(start, start + len(cosines))] = -np.inf
        nearest[start : start + _ROWS] = np.argsort(-cosines, axis=1, kind="stable")[:, :count]
    return nearest, (features[:, None] * features[nearest]).sum(2)


def _shared(probabilities: np.ndarray, nearest: np.ndarray, similarity: np.ndarray) -> np.ndarray:
    """``sum_j (w_ij + w_ji) z_j`` of each image i, w_ij being the cosine of j, if it is a neighbour of i."""
    result = (similarity[..., None] * probabilities[nearest]).sum(1)
    np.add.at(result, nearest, similarity[..., None] * probabilities[:, None])
    return np.asarray(result)


def _unit(vectors: np.ndarray) -> np.ndarray:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))
