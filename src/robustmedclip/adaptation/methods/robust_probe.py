"""A linear probe that starts from the prompts, on clean and corrupted shots, and is zero-shot where that is better."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from robustmedclip.adaptation.artefacts import Classifier, Head
from robustmedclip.adaptation.checkpoint import Checkpoint
from robustmedclip.adaptation.heads import LabelledFeatures, head_scores
from robustmedclip.adaptation.methods.augmented import AugmentedMethod
from robustmedclip.adaptation.methods.head import HeadMethod
from robustmedclip.adaptation.methods.settings import Count, PositiveGrid
from robustmedclip.adaptation.probes import folds, probes
from robustmedclip.adaptation.shot_features import ShotFeatures
from robustmedclip.adaptation.task import Task, class_vectors

if TYPE_CHECKING:
    import torch

    from robustmedclip.models.interface import VisionLanguageModel


class LearnsFromAllLabels(AugmentedMethod):
    """A method that chooses nothing by validation images, and so may learn from these, too.

    Attributes
    ----------
    validation : str
        What becomes of the labelled images that are drawn for validation, where there are any: they are ``learnt`` as
        those for training are; or ``unused``.
    """

    validation: Literal["learnt", "unused"] = "learnt"

    uses_validation: ClassVar[bool] = False

    @property
    def learnt_roles(self) -> tuple[str, ...]:
        return ("training", "validation") if self.validation == "learnt" else ("training",)


class RobustProbe(LearnsFromAllLabels, HeadMethod):
    """A linear probe drawn to zero-shot, whose strength the labelled images choose by cross-validation.

    It needs no validation images, and learns from them as from the others. Each image is left out of a fit, with all of
    its corrupted copies; the strength with the lowest loss on the clean images that were left out is taken. Where that
    probe makes more errors on them than the zero-shot model, or loses more, it is the zero-shot model; without a guard,
    if a class has a single image: see :func:`stays_zero_shot`.

    Attributes
    ----------
    strengths : tuple of float
        Strengths of the penalty, above 0, to choose from (:func:`robustmedclip.adaptation.probes.probes`).
    parts : int
        Parts that the images are left out in; of so many images or fewer, each is left out by itself.
    """

    strengths: PositiveGrid = (0.1, 0.01, 0.003, 0.001, 0.0003, 0.0001, 0.00003)
    parts: Count = 5

    handles_findings: ClassVar[bool] = True

    def fit_classifier(
        self, model: VisionLanguageModel, task: Task, training: LabelledFeatures, validation: LabelledFeatures
    ) -> tuple[Classifier, list[dict[str, Any]]]:
        zero_shot = (model.logit_scale * class_vectors(model, task)).cpu().numpy()
        return fit_robust_probe(training, len(task.training), zero_shot, self.strengths, self.parts)

    def fit_to(
        self,
        features: Mapping[str, ShotFeatures],
        model: VisionLanguageModel,
        tasks: Sequence[Task],
        *,
        seed: int,
        precision: torch.dtype,
        checkpoint: Checkpoint,
    ) -> tuple[Head, list[dict[str, Any]]]:
        head, search = super().fit_to(features, model, tasks, seed=seed, precision=precision, checkpoint=checkpoint)
        untouched = {task.name for task in tasks if stays_zero_shot(task, head.classifiers[task.name])}
        return replace(head, metadata=without_guards(head.metadata, untouched)), search


def stays_zero_shot(task: Task, classifier: Classifier) -> bool:
    """Whether nothing speaks for anything but zero-shot: a robust probe is that, and a class has a single image.

    An image that is left out is then the only one of its class, and tells nothing of what others would say of it: of
    such images alone, a guard and an update harm as often as they help. A probe that is zero-shot has no bias.
    """
    return not classifier["bias"].any() and bool(task.training.class_counts().min() < 2)


def without_guards(metadata: Mapping[str, Any], data_sets: Collection[str]) -> dict[str, Any]:
    """An artefact's metadata without the input guards of some data sets."""
    guards = {name: guard for name, guard in metadata.get("guards", {}).items() if name not in data_sets}
    return {**metadata, "guards": guards} if "guards" in metadata else dict(metadata)


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
