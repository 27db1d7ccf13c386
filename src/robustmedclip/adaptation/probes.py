"""Linear probes on image features that are drawn to a prior, such as the vectors of the classes' prompts."""

from collections.abc import Iterator, Sequence

import numpy as np
from scipy.special import log_softmax

from robustmedclip.adaptation.artefacts import Classifier

#: Most iterations of L-BFGS, and the largest slope that is taken for none.
_ITERATIONS, _SLOPE = 200, 1e-5
#: The feature whose weight is the bias: the smaller, the more the penalty holds the bias back.
_CONSTANT = 0.25


def probes(
    features: np.ndarray, labels: np.ndarray, prior: np.ndarray, strengths: Sequence[float]
) -> Iterator[Classifier]:
    """For each strength of the penalty, the probe with the lowest penalised loss.

    Minimises the mean cross-entropy plus ``strength / 2 (||weight - prior||^2 + ||bias / c||^2)``, c = 0.25; each
    strength starts from where the one before it ended.

    Parameters
    ----------
    features : ndarray
        Unit features, ``(n, D)``.
    labels : ndarray
        int64 ``(n,)`` in ``[0, C)``.
    prior : ndarray
        Weights that the probe is drawn to, ``(C, D)``: the class vectors times the logit scale.
    strengths : sequence of float
        Above 0.

    Yields
    ------
    mapping
        ``weight`` ``(C, D)`` and ``bias`` ``(C,)``, float64.
    """
    from scipy.optimize import minimize  # slow to import, and the plan imports this module

    count, classes = len(labels), len(prior)
    inputs = np.concatenate([features.astype(np.float64), np.full((count, 1), _CONSTANT)], axis=1)
    target = np.concatenate([prior.astype(np.float64), np.zeros((classes, 1))], axis=1)
    one_hot = np.eye(classes)[labels]
    weights = target

    def loss(values: np.ndarray, strength: float) -> tuple[float, np.ndarray]:
        deviation = values.reshape(target.shape) - target
        log_probabilities = log_softmax(inputs @ values.reshape(target.shape).T, axis=1)
        residual = (np.exp(log_probabilities) - one_hot) / count
        value = -(log_probabilities * one_hot).sum() / count + strength / 2 * (deviation**2).sum()
        return value, (residual.T @ inputs + strength * deviation).ravel()

    for strength in strengths:
        result = minimize(
            loss,
            weights.ravel(),
            args=(strength,),
            jac=True,
            method="L-BFGS-B",
            options={"maxiter": _ITERATIONS, "gtol": _SLOPE, "ftol": 1e-9},
        )
        weights = result.x.reshape(target.shape)
        yield {"weight": weights[:, :-1], "bias": _CONSTANT * weights[:, -1]}


def folds(labels: np.ndarray, most: int) -> np.ndarray:
    """Parts that images are left out in, each with as many of a class as any other, int64 ``(n,)`` in ``[0, most)``.

    Of up to `most` images, every image is a part: leave one out.
    """
    parts = np.empty(len(labels), np.int64)
    parts[np.argsort(labels, kind="stable")] = np.arange(len(labels)) % most
    return parts
