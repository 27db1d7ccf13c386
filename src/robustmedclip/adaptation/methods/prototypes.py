"""The nearest mean of the labelled images of a class."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from robustmedclip.adaptation.artefacts import Classifier
from robustmedclip.adaptation.heads import LabelledFeatures, all_logits, head_scores, require_images
from robustmedclip.adaptation.methods.head import HeadMethod
from robustmedclip.adaptation.methods.temperature import fit_temperature
from robustmedclip.adaptation.task import Task

if TYPE_CHECKING:
    from robustmedclip.models.interface import VisionLanguageModel


class Prototypes(HeadMethod):
    """The nearest class mean of unit features (Snell et al. 2017, arXiv:1703.05175, eq. 2), without any prompt.

    Validation images choose the temperature of the squared distances, which changes no decision.
    """

    needs_text: ClassVar[bool] = False
    handles_findings: ClassVar[bool] = True

    def fit_classifier(
        self, model: VisionLanguageModel, task: Task, training: LabelledFeatures, validation: LabelledFeatures
    ) -> tuple[Classifier, list[dict[str, Any]]]:
        require_images(training, validation, task.class_names)
        distances = nearest_mean(*training, len(task.class_names))
        logits = all_logits(distances, validation[0])
        temperature = fit_temperature(logits, validation[1])
        search = [{"temperature": temperature} | head_scores(logits / temperature, validation[1])]
        return {name: array / temperature for name, array in distances.items()}, search


def nearest_mean(features: np.ndarray, labels: np.ndarray, classes: int) -> dict[str, np.ndarray]:
    """The classifier whose logits are ``2 f m_c - m_c^2``: minus the squared distance of f to the mean m_c, plus f^2.

    Parameters
    ----------
    features, labels : ndarray
        ``(N, D)``, and ``(N,)`` in ``[0, classes)``, each class at least once.
    classes : int
        How many classes there are.
    """
    one_hot = np.eye(classes)[labels]
    means = one_hot.T @ features / one_hot.sum(0)[:, None]
    return {"weight": 2 * means, "bias": -(means**2).sum(1)}
