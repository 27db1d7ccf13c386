"""Classifiers on the image features of the untuned model, of which each data set has one."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from robustmedclip.adaptation.artefacts import Adapter, Classifier, Head
from robustmedclip.adaptation.checkpoint import Checkpoint
from robustmedclip.adaptation.guard import as_guard, with_guard
from robustmedclip.adaptation.heads import LabelledFeatures, head_logits, of_finding_alone
from robustmedclip.adaptation.methods.augmented import AugmentedMethod
from robustmedclip.adaptation.methods.settings import Count
from robustmedclip.adaptation.shot_features import ShotFeatures, ShotView
from robustmedclip.adaptation.task import Task
from robustmedclip.errors import InputError

if TYPE_CHECKING:
    import torch

    from robustmedclip.models.interface import VisionLanguageModel


class HeadMethod(AugmentedMethod):
    """A classifier on the image features of the untuned model; each data set has one of its own.

    A method of one's own says in :meth:`fit_classifier` how one is fitted. With ``handles_findings``, a finding is
    fitted as a task of two classes, by a binary loss on the images where it is known; classifiers have to be of
    ``weight`` and ``bias``.

    Attributes
    ----------
    copies : int
        Corrupted copies of each training image that are learnt from beside it, where there are corruptions.
    """

    copies: Count = 4

    needs_labels: ClassVar[bool] = True
    artefact_kind: ClassVar[Literal["adapter", "head"] | None] = "head"

    @property
    def view(self) -> ShotView:
        """How it looks at few-shot images."""
        copies = self.copies if self.corruptions else 0
        return ShotView(self.guard, self.corruptions, copies, self.needs_validation, self.learnt_roles)

    @property
    def scores_features(self) -> bool:
        """Stored features are of images that passed no guard."""
        return self.guard is None

    @abstractmethod
    def fit_classifier(
        self, model: VisionLanguageModel, task: Task, training: LabelledFeatures, validation: LabelledFeatures
    ) -> tuple[Classifier, list[dict[str, Any]]]:
        """Fit the classifier of a data set.

        Parameters
        ----------
        model : VisionLanguageModel
            The model that the features are of.
        task : Task
            The data set.
        training, validation : (ndarray, ndarray)
            Unit features, float32 ``(n, D)``, and labels, int64 ``(n,)``, in the order of the sample ids; in training,
            of the images and then of each of their corrupted copies. No validation, where that is not needed.

        Returns
        -------
        classifier : mapping
            Name to array, as :meth:`logits` reads them.
        search : list of dict
            What was compared, a row each; may be empty.

        Raises
        ------
        InputError
            If the images don't allow it.
        """

    def logits(self, classifier: Classifier, features: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Logits of a stream of unit features, float32 ``(n, D)``, in parts float32 ``(n, C)``.

        Those of :func:`robustmedclip.adaptation.heads.head_logits`, if a method doesn't say otherwise.
        """
        return head_logits(classifier, features)

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
        """A classifier for each data set, and what the search of each compared; see :meth:`Method.fit_to`."""
        classifiers: dict[str, Mapping[str, np.ndarray]] = {}
        search: list[dict[str, Any]] = []
        for task in tasks:
            shots = features[task.name]
            try:
                classifier, rows = self.classifier_of(model, task, shots.training, shots.validation)
            except InputError as error:
                raise InputError(f"Data set '{task.name}': {error.message}") from error
            classifiers[task.name] = {name: np.asarray(array, np.float32) for name, array in classifier.items()}
            search += [{"data_set": task.name, **row} for row in rows or [{}]]
        guards = {name: asdict(shots.guard) for name, shots in features.items() if shots.guard}
        metadata = {
            "base_model_hash": model.content_hash(),
            "class_names": {task.name: list(task.class_names) for task in tasks},
            "seed": seed,
            "training_images": sum(len(task.training) for task in tasks),
            **({"guards": guards} if guards else {}),
        }
        return Head(classifiers, metadata), search

    def classifier_of(
        self, model: VisionLanguageModel, task: Task, training: LabelledFeatures, validation: LabelledFeatures
    ) -> tuple[Classifier, list[dict[str, Any]]]:
        """What :meth:`fit_classifier` gives; of findings, a classifier of the log-odds of each, each fitted alone."""
        if task.scoring is None:
            return self.fit_classifier(model, task, training, validation)
        classifiers, search = [], list[dict[str, Any]]()
        for place, of_finding in enumerate(task.of_findings()):
            parts = (of_finding_alone(part, place) for part in (training, validation))
            classifier, rows = self.fit_classifier(model, of_finding, *parts)
            classifiers.append(classifier)
            search += [{"finding": task.class_names[place], **row} for row in rows]
        pairs = {name: np.stack([of[name] for of in classifiers]) for name in ("weight", "bias")}
        return {name: values[:, 1] - values[:, 0] for name, values in pairs.items()}, search

    def adapted(self, model: VisionLanguageModel, artefact: Adapter | Head, data_set: str) -> VisionLanguageModel:
        """The model behind the input guard of a data set."""
        guard = artefact.metadata.get("guards", {}).get(data_set)
        return with_guard(model, as_guard(guard) if guard else None)
