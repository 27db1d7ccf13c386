"""Classifiers on the image features of the untuned model: the cheap controls beside the tuning of an encoder.

The classifier of a data set is a mapping of arrays: ``weight`` ``(C, D)`` and ``bias`` ``(C,)`` for C classes and D
dimensions, and with a cache of N labelled images also ``keys`` ``(N, D)``, ``values`` ``(N, C)``, ``alpha`` and
``beta``; all float32. With a unit feature f, its logits are::

    weight f + bias + alpha values^T exp(-beta (1 - keys f))
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
import torch
from torch.nn import functional as F

from robustmedclip.adaptation.settings import CacheSettings, LinearProbeSettings
from robustmedclip.errors import InputError
from robustmedclip.models.inference import cores_divided, in_full_batches

Classifier = Mapping[str, np.ndarray]
#: Unit features, float32 ``(n, D)``, and labels, int64 ``(n,)``.
Labelled = tuple[np.ndarray, np.ndarray]

#: Iterations of L-BFGS at most, as of Radford et al. 2021, and the largest slope of the mean loss that is taken for none.
_ITERATIONS, _SLOPE = 1000, 1e-6


def head_logits(classifier: Classifier, features: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Logits of a stream of features, computed in float64.

    Parameters
    ----------
    classifier : mapping
        Of one data set.
    features : iterable of ndarray
        float32 ``(n, D)``: unit features.

    Yields
    ------
    ndarray
        float32 ``(<=BATCH_SIZE, C)``.
    """
    arrays = {name: array.astype(np.float64) for name, array in classifier.items()}

    def logits(batch: np.ndarray) -> np.ndarray:
        wide = batch.astype(np.float64)
        made = wide @ arrays["weight"].T + arrays["bias"]
        if "keys" in arrays:
            distances = 1 - wide @ arrays["keys"].T
            made += arrays["alpha"] * np.exp(-arrays["beta"] * distances) @ arrays["values"]
        return made.astype(np.float32)

    return in_full_batches(features, logits)


def fit_linear_probe(
    training: Labelled, validation: Labelled, class_names: Sequence[str], settings: LinearProbeSettings
) -> tuple[Classifier, list[dict[str, float]]]:
    """Multinomial logistic regression with an L2 penalty (Radford et al. 2021, arXiv:2103.00020, appendix A.3).

    Minimises the summed cross-entropy plus ``l2 / 2 ||weight||^2`` by L-BFGS, each strength from where the next higher
    one ended. The strength with the lowest validation loss is chosen, the highest of equals; the study went by accuracy,
    which ties on few images.

    Parameters
    ----------
    training, validation : (ndarray, ndarray)
        Unit features, float32 ``(n, D)``, and labels, int64 ``(n,)`` in ``[0, C)``.
    class_names : sequence of str
        The C classes.
    settings : LinearProbeSettings
        The strengths to choose from.

    Returns
    -------
    classifier : mapping
        ``weight`` and ``bias``.
    search : list of dict
        One per strength, the highest first: ``l2``, ``validation_loss``, ``validation_accuracy``.

    Raises
    ------
    InputError
        If a class has no training image, or there is no validation image.
    """
    _check(training, validation, class_names)
    features, labels = torch.from_numpy(training[0]).double(), torch.from_numpy(training[1])
    centre = features.mean(0)  # which the bias takes up: about it, the minimum is found in far fewer steps
    weight = torch.zeros(len(class_names), features.shape[1], dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(len(class_names), dtype=torch.float64, requires_grad=True)
    search, fitted = [], []
    for strength in sorted(settings.l2_strengths, reverse=True):
        with cores_divided(torch.get_num_threads()):  # threads wait for each other longer than such products take
            _minimise(features - centre, labels, weight, bias, strength)
        arrays = {"weight": weight.detach(), "bias": (bias - weight @ centre).detach()}
        fitted.append({name: array.float().numpy() for name, array in arrays.items()})
        search.append({"l2": strength} | _scores(_all_logits(fitted[-1], validation[0]), validation[1]))
    return fitted[_lowest(search)], search


def _minimise(
    features: torch.Tensor, labels: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, strength: float
) -> None:
    """Move `weight` and `bias` to the minimum of the penalised loss."""
    optimiser = torch.optim.LBFGS(
        [weight, bias], max_iter=_ITERATIONS, tolerance_grad=_SLOPE, tolerance_change=0, line_search_fn="strong_wolfe"
    )

    def loss() -> torch.Tensor:
        optimiser.zero_grad()
        penalty = strength / (2 * len(labels)) * weight.square().sum()
        value = F.cross_entropy(features @ weight.T + bias, labels) + penalty
        value.backward()
        return value

    optimiser.step(loss)


def fit_cache(
    training: Labelled,
    validation: Labelled,
    class_names: Sequence[str],
    settings: CacheSettings,
    *,
    zero_shot: np.ndarray,
) -> tuple[Classifier, list[dict[str, float]]]:
    """Tip-Adapter without training (Zhang et al. 2021, arXiv:2111.03930, eq. 3 to 5): a cache of the labelled images.

    The pair of alpha and beta with the lowest validation loss is chosen, the smallest of equals; the authors' code
    goes by accuracy, which ties on few images. An alpha of 0 is the zero-shot model.

    Parameters
    ----------
    training, validation : (ndarray, ndarray)
        Unit features, float32 ``(n, D)``, and labels, int64 ``(n,)`` in ``[0, C)``.
    class_names : sequence of str
        The C classes.
    settings : CacheSettings
        The alphas and betas to choose from.
    zero_shot : ndarray
        float32 ``(C, D)``: the unit class vectors times the logit scale.

    Returns
    -------
    classifier : mapping
        Its ``keys`` are the features of the training images, and its ``values`` their one-hot labels.
    search : list of dict
        One per pair, by alpha and then by beta: ``alpha``, ``beta``, ``validation_loss``, ``validation_accuracy``.

    Raises
    ------
    InputError
        If a class has no training image, or there is no validation image.
    """
    _check(training, validation, class_names)
    linear = {"weight": zero_shot, "bias": np.zeros(len(class_names), np.float32)}
    cache = {"keys": training[0], "values": np.eye(len(class_names), dtype=np.float32)[training[1]]}
    alone = {name: np.zeros_like(array) for name, array in linear.items()} | cache | {"alpha": np.float32(1)}
    plain = _all_logits(linear, validation[0])
    of_beta = {beta: _all_logits({**alone, "beta": np.float32(beta)}, validation[0]) for beta in settings.betas}
    search = [
        {"alpha": alpha, "beta": beta} | _scores(plain + alpha * of_beta[beta], validation[1])
        for alpha in sorted(settings.alphas)
        for beta in sorted(settings.betas)
    ]
    best = search[_lowest(search)]
    return linear | cache | {name: np.array(best[name], np.float32) for name in ("alpha", "beta")}, search


def _all_logits(classifier: Classifier, features: np.ndarray) -> np.ndarray:
    return np.concatenate(list(head_logits(classifier, [features])))


def _lowest(search: Sequence[Mapping[str, float]]) -> int:
    return int(np.argmin([row["validation_loss"] for row in search]))


def _scores(logits: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Mean cross-entropy, and accuracy."""
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    losses = np.log(np.exp(shifted).sum(axis=1)) - shifted[np.arange(len(labels)), labels]
    return {
        "validation_loss": float(losses.mean()),
        "validation_accuracy": float(np.mean(logits.argmax(axis=1) == labels)),
    }


def _check(training: Labelled, validation: Labelled, class_names: Sequence[str]) -> None:
    present = set(training[1].tolist())
    if empty := [name for label, name in enumerate(class_names) if label not in present]:
        raise InputError(f"there is no training image of class {', '.join(map(repr, empty))}: choose a larger fraction")
    if not len(validation[1]):
        raise InputError("there is no image to choose the settings of the classifier by: choose a smaller fraction")
