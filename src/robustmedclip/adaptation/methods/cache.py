"""Zero-shot logits, and the similarity to the labelled images of each class: Tip-Adapter without training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from robustmedclip.adaptation.artefacts import Classifier
from robustmedclip.adaptation.heads import (
    LabelledFeatures,
    all_logits,
    head_scores,
    lowest_loss,
    require_images,
)
from robustmedclip.adaptation.methods.head import HeadMethod
from robustmedclip.adaptation.methods.settings import Grid
from robustmedclip.adaptation.task import Task, class_vectors

if TYPE_CHECKING:
    from robustmedclip.models.interface import VisionLanguageModel


class CacheAdapter(HeadMethod):
    """Tip-Adapter without training (Zhang et al. 2021, arXiv:2111.03930, eq. 3 to 5): a cache of the labelled images.

    Attributes
    ----------
    alphas, betas : tuple of float
        Weights of the similarity, 0 of which is zero-shot, and its sharpnesses; of 0 or more. Validation chooses.
    """

    alphas: Grid = (0, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100)
    betas: Grid = (0.3, 1, 3, 10, 30, 100, 300, 1000)

    def fit_classifier(
        self, model: VisionLanguageModel, task: Task, training: LabelledFeatures, validation: LabelledFeatures
    ) -> tuple[Classifier, list[dict[str, Any]]]:
        zero_shot = (model.logit_scale * class_vectors(model, task)).cpu().numpy()
        return fit_cache(training, validation, task.class_names, self.alphas, self.betas, zero_shot=zero_shot)


def fit_cache(
    training: LabelledFeatures,
    validation: LabelledFeatures,
    class_names: Sequence[str],
    alphas: Sequence[float],
    betas: Sequence[float],
    *,
    zero_shot: np.ndarray,
    keys: np.ndarray | None = None,
) -> tuple[Classifier, list[dict[str, Any]]]:
    """The cache whose pair of alpha and beta has the lowest validation loss, the smallest of equals.

    The authors' code goes by accuracy, which ties on few images. An alpha of 0 is the zero-shot model.

    Parameters
    ----------
    training, validation : (ndarray, ndarray)
        Unit features, float32 ``(n, D)``, and labels, int64 ``(n,)`` in ``[0, C)``.
    class_names : sequence of str
        The C classes.
    alphas, betas : sequence of float
        Weights and sharpnesses to choose from.
    zero_shot : ndarray
        float32 ``(C, D)``: the unit class vectors times the logit scale.
    keys : ndarray, optional
        Of the training images, float32 ``(n, D)``; their features, if not given.

    Returns
    -------
    classifier : mapping
        Its ``keys`` are those of the training images, and its ``values`` their one-hot labels.
    search : list of dict
        One per pair, by alpha and then by beta: ``alpha``, ``beta``, ``validation_loss``, ``validation_accuracy``.

    Raises
    ------
    InputError
        If a class has no training image, or there is no validation image.
    """
    require_images(training, validation, class_names)
    linear = {"weight": zero_shot, "bias": np.zeros(len(class_names), np.float32)}
    cache = {
        "keys": training[0] if keys is None else keys,
        "values": np.eye(len(class_names), dtype=np.float32)[training[1]],
    }
    cache_alone = {name: np.zeros_like(array) for name, array in linear.items()} | cache | {"alpha": np.array(1.0)}
    plain = all_logits(linear, validation[0])
    by_beta = {beta: all_logits({**cache_alone, "beta": np.array(beta, np.float32)}, validation[0]) for beta in betas}
    search = [
        {"alpha": alpha, "beta": beta} | head_scores(plain + alpha * by_beta[beta], validation[1])
        for alpha in sorted(alphas)
        for beta in sorted(betas)
    ]
    best = search[lowest_loss(search)]
    return linear | cache | {name: np.array(best[name], np.float32) for name in ("alpha", "beta")}, search
