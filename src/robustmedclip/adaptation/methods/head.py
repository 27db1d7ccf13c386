"""Classifiers on the image features of the untuned model, of which each data set has one."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from robustmedclip.adaptation.artefacts import Classifier, Head
from robustmedclip.adaptation.checkpoint import Checkpoint
from robustmedclip.adaptation.heads import LabelledFeatures, few_shot_features, head_logits
from robustmedclip.adaptation.methods.method import Method
from robustmedclip.adaptation.task import Task
from robustmedclip.errors import InputError

if TYPE_CHECKING:
    import torch

    from robustmedclip.models.interface import VisionLanguageModel


class HeadMethod(Method):
    """A classifier on the image features of the untuned model; each data set has one of its own.

    A method of one's own says in :meth:`fit_classifier` how one is fitted.
    """

    needs_labels: ClassVar[bool] = True
    artefact_kind: ClassVar[Literal["adapter", "head"] | None] = "head"

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
            Unit features, float32 ``(n, D)``, and labels, int64 ``(n,)``, in the order of the sample ids.

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

    def fit(
        self,
        model: VisionLanguageModel,
        tasks: Sequence[Task],
        *,
        seed: int,
        precision: torch.dtype,
        checkpoint: Checkpoint,
    ) -> tuple[Head, list[dict[str, Any]]]:
        """A classifier for each data set, and what the search of each compared; see :meth:`Method.fit`."""
        classifiers: dict[str, Mapping[str, np.ndarray]] = {}
        search: list[dict[str, Any]] = []
        training_images = 0
        for task in tasks:
            training, validation = (
                few_shot_features(model, images, precision) for images in (task.training, task.validation)
            )
            try:
                classifier, rows = self.fit_classifier(model, task, training, validation)
            except InputError as error:
                raise InputError(f"Data set '{task.name}': {error.message}") from error
            classifiers[task.name] = {name: np.asarray(array, np.float32) for name, array in classifier.items()}
            search += [{"data_set": task.name, **row} for row in rows or [{}]]
            training_images += len(training[1])
        metadata = {
            "base_model_hash": model.content_hash(),
            "class_names": {task.name: list(task.class_names) for task in tasks},
            "seed": seed,
            "training_images": training_images,
        }
        return Head(classifiers, metadata), search
