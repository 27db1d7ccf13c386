"""Prototypes of labelled images and prompts, without training."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from robustmedclip.adaptation.artefacts import Classifier
from robustmedclip.adaptation.heads import LabelledFeatures
from robustmedclip.adaptation.methods.head import HeadMethod
from robustmedclip.adaptation.methods.settings import Flag
from robustmedclip.adaptation.task import Task, class_vectors

if TYPE_CHECKING:
    from robustmedclip.models.interface import VisionLanguageModel


class SSText(HeadMethod):
    """SS-Text (Silva-Rodriguez et al. 2025, arXiv:2506.17500): the class vector plus the images' mean, in closed form.

    Attributes
    ----------
    weight : str
        Weight 1 / lambda_c of the images of a class: ``all``, lambda_c = 1 / N of N images (SS-Text); or ``class``,
        lambda_c = 1 / N_c of the N_c images of the class (SS-Text+).
    repel : bool
        Whether prototypes are pushed apart (SS-Text+).
    """

    weight: Literal["all", "class"] = "all"
    repel: Flag = False

    uses_validation: ClassVar[bool] = False
    handles_findings: ClassVar[bool] = True

    def fit_classifier(
        self, model: VisionLanguageModel, task: Task, training: LabelledFeatures, validation: LabelledFeatures
    ) -> tuple[Classifier, list[dict[str, Any]]]:
        text = class_vectors(model, task).cpu().numpy()
        prototypes = ss_text_prototypes(*training, text, model.logit_scale, self.weight, self.repel)
        weight = model.logit_scale * prototypes / np.linalg.norm(prototypes, axis=1, keepdims=True)
        return {"weight": weight, "bias": np.zeros(len(text))}, []


def ss_text_prototypes(
    features: np.ndarray, labels: np.ndarray, text: np.ndarray, scale: float, weight: str, repel: bool
) -> np.ndarray:
    """Prototypes ``(C, D)``: ``1/N 1/lambda_c sum_(i of c) x_i / tau + t_c``, tau = 1 / scale, as the authors' code.

    With `repel`, ``delta_c``, the unit vector of ``2 w_c - mean(w)``, is then taken from each.

    Parameters
    ----------
    features, labels : ndarray
        Unit features, ``(N, D)``, and labels, ``(N,)`` in ``[0, C)``.
    text : ndarray
        Unit class vectors, ``(C, D)``.
    scale : float
        The logit scale.
    weight, repel
        Of :class:`SSText`.
    """
    count, one_hot = len(labels), np.eye(len(text))[labels]
    of_class = one_hot.sum(0) if weight == "class" else np.full(len(text), count)
    strength = 1 / np.maximum(1 / np.maximum(of_class, 1e-9), 1e-3)
    prototypes = strength[:, None] * (scale * one_hot.T @ features) / count + text
    if repel:
        delta = 2 * prototypes - prototypes.mean(0)
        prototypes = prototypes - delta / np.linalg.norm(delta, axis=1, keepdims=True)
    return np.asarray(prototypes)
