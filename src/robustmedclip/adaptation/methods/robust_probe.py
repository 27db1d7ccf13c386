"""A linear probe that starts from the prompts, on clean and corrupted shots, and is zero-shot where that is better."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from robustmedclip.adaptation.artefacts import Classifier
from robustmedclip.adaptation.heads import LabelledFeatures, head_scores
from robustmedclip.adaptation.methods.head import HeadMethod
from robustmedclip.adaptation.methods.settings import Count, PositiveGrid
from robustmedclip.adaptation.probes import folds, probes
from robustmedclip.adaptation.task import Task, class_vectors

if TYPE_CHECKING:
    from robustmedclip.models.interface import VisionLanguageModel


class RobustProbe(HeadMethod):
    """A linear probe drawn to zero-shot, whose strength the labelled images choose by cross-validation.

    It needs no validation images. Each image is left out of a fit, with all of its corrupted copies; the strength with
    the lowest loss on the clean images that were left out is taken. Where that probe makes more errors on them than the
    zero-shot model, or loses more, it is the zero-shot model.

    Attributes
    ----------
    strengths : tuple of float
        Strengths of the penalty, above 0, to choose from (:func:`robustmedclip.adaptation.probes.probes`).
    parts : int
        Parts that the images are left out in; of so many images or fewer, each is left out by itself.
    """

    strengths: PositiveGrid = (0.1, 0.01, 0.003, 0.001, 0.0003, 0.0001, 0.00003)
    parts: Count = 5

    uses_validation: ClassVar[bool] = False
    handles_findings: ClassVar[bool] = True

    def fit_classifier(
        self, model: VisionLanguageModel, task: Task, training: LabelledFeatures, validation: LabelledFeatures
    ) -> tuple[Classifier, list[dict[str, Any]]]:
        zero_shot = (model.logit_scale * class_vectors(model, task)).cpu().numpy()
        return fit_robust_probe(training, len(task.training), zero_shot, self.strengths, self.parts)


def fit_robust_probe(
    training: LabelledFeatures, images: int, zero_shot: np.ndarray, strengths: PositiveGrid, parts: int
) -> tuple[Classifier, list[dict[str, Any]]]:
    """The probe, or the zero-shot classifier, that does best on images that it was not fitted to.

    Parameters
    ----------
    training : (ndarray, ndarray)
        Unit features, ``(n, D)``, and labels, ``(n,)``: of the images, then of each of their corrupted copies.
    images : int
        How many images there are, without copies.
    zero_shot : ndarray
        ``(C, D)``: the unit class vectors times the logit scale.
    strengths, parts
        Of :class:`RobustProbe`.

    Returns
    -------
    classifier : mapping
        ``weight`` and ``bias``.
    search : list of dict
        One per strength, the highest first, after that of zero-shot, which is infinite: ``strength``,
        ``validation_loss``, ``validation_accuracy``, both of images that were left out.
    """
    features, labels = training
    strengths = tuple(sorted(strengths, reverse=True))
    part_of_image = folds(labels[:images], parts)
    parts_of_rows = np.resize(part_of_image, len(labels))
    logits = np.empty((1 + len(strengths), images, len(zero_shot)))
    logits[0] = features[:images] @ zero_shot.T
    for part in np.unique(part_of_image):
        inside, left_out = parts_of_rows != part, np.flatnonzero(part_of_image == part)
        for row, probe in enumerate(probes(features[inside], labels[inside], zero_shot, strengths), 1):
            logits[row, left_out] = features[left_out] @ probe["weight"].T + probe["bias"]
    search = [
        {"strength": strength} | head_scores(of_strength, labels[:images])
        for strength, of_strength in zip((np.inf, *strengths), logits, strict=True)
    ]
    best = min(range(len(search)), key=lambda row: search[row]["validation_loss"])
    if best == 0 or search[best]["validation_accuracy"] < search[0]["validation_accuracy"]:
        return {"weight": zero_shot, "bias": np.zeros(len(zero_shot))}, search
    *_, probe = probes(features, labels, zero_shot, strengths[:best])
    return probe, search
