"""Linear probes that start from the prompts, with a penalty for each class: ZS-LP and CLAP."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from scipy.special import log_softmax, softmax

from robustmedclip.adaptation.artefacts import Classifier
from robustmedclip.adaptation.heads import LabelledFeatures
from robustmedclip.adaptation.methods.head import HeadMethod
from robustmedclip.adaptation.methods.settings import Count, NotNegative
from robustmedclip.adaptation.task import Task, class_vectors

if TYPE_CHECKING:
    from robustmedclip.models.interface import VisionLanguageModel


class Clap(HeadMethod):
    """CLAP (Silva-Rodriguez et al. 2024, arXiv:2312.12730): a probe on cosines from the class vectors on, held to them.

    Attributes
    ----------
    constraint : float
        Factor of the penalty; 0 leaves it out (ZS-LP).
    iterations : int
        Of L-BFGS over all images; the authors take 300 epochs of stochastic descent.
    """

    constraint: NotNegative = 1.0
    iterations: Count = 300

    uses_validation: ClassVar[bool] = False
    handles_findings: ClassVar[bool] = True

    def fit_classifier(
        self, model: VisionLanguageModel, task: Task, training: LabelledFeatures, validation: LabelledFeatures
    ) -> tuple[Classifier, list[dict[str, Any]]]:
        from scipy.optimize import minimize  # slow to import, and the plan imports this module

        text = class_vectors(model, task).cpu().numpy().astype(np.float64)
        penalties = self.constraint * class_penalties(*training, text, model.logit_scale)
        start = text.ravel()
        result = minimize(
            clap_loss,
            start,
            args=(*training, text, model.logit_scale, penalties),
            jac=True,
            method="L-BFGS-B",
            options={"maxiter": self.iterations},
        )
        weights = result.x.reshape(text.shape)
        weight = model.logit_scale * weights / np.linalg.norm(weights, axis=1, keepdims=True)
        return {"weight": weight, "bias": np.zeros(len(text))}, []


def class_penalties(features: np.ndarray, labels: np.ndarray, text: np.ndarray, scale: float) -> np.ndarray:
    """lambda_c: mean zero-shot probability of class c over its images, ``(C,)``; without images, the others' mean."""
    probabilities = softmax(scale * features @ text.T, axis=1)
    of_class = np.eye(len(text))[labels]
    with np.errstate(invalid="ignore"):
        means = (probabilities * of_class).sum(0) / of_class.sum(0)
    return np.asarray(np.where(np.isnan(means), np.nanmean(means), means))


def clap_loss(
    values: np.ndarray,
    features: np.ndarray,
    labels: np.ndarray,
    text: np.ndarray,
    scale: float,
    penalties: np.ndarray,
) -> tuple[float, np.ndarray]:
    """``mean CE(scale cos(x, w_c)) + mean_c lambda_c ||w_c - t_c||^2``, as the authors' code, and its gradient."""
    weights, classes = values.reshape(text.shape), len(text)
    lengths = np.linalg.norm(weights, axis=1, keepdims=True)
    unit, one_hot = weights / lengths, np.eye(classes)[labels]
    log_probabilities = log_softmax(scale * features @ unit.T, axis=1)
    deviation = weights - text
    loss = -(log_probabilities * one_hot).sum() / len(labels) + (penalties * (deviation**2).sum(1)).mean()
    slope = scale * ((np.exp(log_probabilities) - one_hot) / len(labels)).T @ features
    along = (slope - (slope * unit).sum(1, keepdims=True) * unit) / lengths
    return float(loss), (along + 2 / classes * penalties[:, None] * deviation).ravel()
