"""Zero-shot with a temperature that is fitted to labelled images."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from robustmedclip.adaptation.artefacts import Classifier
from robustmedclip.adaptation.heads import LabelledFeatures, head_scores
from robustmedclip.adaptation.methods.head import HeadMethod
from robustmedclip.adaptation.task import Task, class_vectors

if TYPE_CHECKING:
    from robustmedclip.models.interface import VisionLanguageModel


class TemperatureScaling(HeadMethod):
    """Temperature scaling (Guo et al. 2017, arXiv:1706.04599, eq. 9): it changes no decision, but how sure they are."""

    uses_validation: ClassVar[bool] = False
    handles_findings: ClassVar[bool] = True

    def fit_classifier(
        self, model: VisionLanguageModel, task: Task, training: LabelledFeatures, validation: LabelledFeatures
    ) -> tuple[Classifier, list[dict[str, Any]]]:
        zero_shot = (model.logit_scale * class_vectors(model, task)).cpu().numpy()
        logits = training[0] @ zero_shot.T
        temperature = fit_temperature(logits, training[1])
        search = [{"temperature": temperature} | head_scores(logits / temperature, training[1])]
        return {"weight": zero_shot / temperature, "bias": np.zeros(len(zero_shot))}, search


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """The temperature, between 0.01 and 1000, with the lowest mean cross-entropy of logits ``(n, C)`` and labels."""
    from scipy.optimize import minimize_scalar  # slow to import, and the plan imports this module

    def loss(logarithm: float) -> float:
        return head_scores(logits / np.exp(logarithm), labels)["validation_loss"]

    return float(np.exp(minimize_scalar(loss, bounds=(np.log(0.01), np.log(1000)), method="bounded").x))
