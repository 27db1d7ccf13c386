"""A blend of prompts and prototypes of images, both learnt: LP++."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from scipy.special import softmax

from robustmedclip.adaptation.artefacts import Classifier
from robustmedclip.adaptation.heads import LabelledFeatures
from robustmedclip.adaptation.methods.head import HeadMethod
from robustmedclip.adaptation.methods.settings import Count
from robustmedclip.adaptation.task import Task, class_vectors

if TYPE_CHECKING:
    from robustmedclip.models.interface import VisionLanguageModel

#: Of the descent of the weights, and how often the blend is learnt: every tenth epoch.
_MOMENTUM, _EVERY = 0.9, 10
#: The blend starts from so many times the mean similarity.
_START = 250


class LpPlusPlus(HeadMethod):
    """LP++ (Huang et al. 2024, arXiv:2404.02285): logits ``f (w_c + alpha_c t_c)``, steps by Lipschitz constants.

    Attributes
    ----------
    epochs : int
        Steps over all images; the last one is kept, where the authors take the best on validation images.
    """

    epochs: Count = 300

    uses_validation: ClassVar[bool] = False
    handles_findings: ClassVar[bool] = True

    def fit_classifier(
        self, model: VisionLanguageModel, task: Task, training: LabelledFeatures, validation: LabelledFeatures
    ) -> tuple[Classifier, list[dict[str, Any]]]:
        text = class_vectors(model, task).cpu().numpy().astype(np.float64)
        return fit_lp_plus_plus(*training, text, self.epochs), []


def fit_lp_plus_plus(features: np.ndarray, labels: np.ndarray, text: np.ndarray, epochs: int) -> Classifier:
    """The blend after some steps, as the authors' code takes them.

    Parameters
    ----------
    features, labels : ndarray
        Unit features, ``(N, D)``, and labels, ``(N,)`` in ``[0, C)``.
    text : ndarray
        Unit class vectors, ``(C, D)``.
    epochs : int
        Steps.

    Returns
    -------
    mapping
        ``weight`` and ``bias``.
    """
    features = features.astype(np.float64)
    count, one_hot = len(labels), np.eye(len(text))[labels]
    per_class = np.maximum(one_hot.sum(0), 1)
    similarity = features @ text.T
    weight, bias = one_hot.T @ features / per_class[:, None], np.zeros(len(text))
    alpha = np.full(len(text), _START * np.mean((one_hot * similarity).sum(0) / per_class))
    step = 4 * count / np.linalg.eigvalsh(features.T @ features)[-1]
    step_of_blend = count / (4 * (similarity**2).sum(0).max())
    pace, pace_of_bias = np.zeros_like(weight), np.zeros_like(bias)
    for epoch in range(1, epochs + 1):
        residual = (softmax(features @ weight.T + bias + alpha * similarity, axis=1) - one_hot) / count
        pace, pace_of_bias = _MOMENTUM * pace + residual.T @ features, _MOMENTUM * pace_of_bias + residual.sum(0)
        weight, bias = weight - step * pace, bias - step * pace_of_bias
        if epoch % _EVERY == 0:
            alpha = alpha - step_of_blend * (residual * similarity).sum(0)
    return {"weight": weight + alpha[:, None] * text, "bias": bias}
