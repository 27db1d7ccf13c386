"""What methods are fitted to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from robustmedclip.images.findings import UNKNOWN, prompted_pair
from robustmedclip.images.sets import ImageSet

if TYPE_CHECKING:
    import torch

    from robustmedclip.models.interface import VisionLanguageModel


@dataclass(frozen=True)
class Task:
    """A data set that a model is adapted to: its few-shot images, and how its classes are prompted.

    Attributes
    ----------
    training : ImageSet
        Labelled images to learn from.
    validation : ImageSet
        Labelled images to choose settings by; the test images, if the method asks for those.
    templates : sequence of str
        Prompt templates.
    synonyms : mapping
        Class name to the names that the prompts have in its place.
    scoring : str, optional
        Where the classes are findings, what each is compared with.
    """

    training: ImageSet
    validation: ImageSet
    templates: Sequence[str]
    synonyms: Mapping[str, Sequence[str]]
    scoring: str | None = None

    @property
    def name(self) -> str:
        """The data set."""
        return self.training.name

    @property
    def modality(self) -> str:
        """Imaging modality."""
        return self.training.modality

    @property
    def class_names(self) -> tuple[str, ...]:
        """Class ``i`` is called ``class_names[i]``."""
        return self.training.class_names

    def of_findings(self) -> Iterator[Task]:
        """A task of two classes, absent and present, for each finding, of the images of which it is known."""
        for place, finding in enumerate(self.class_names):
            names, synonyms = prompted_pair(finding, str(self.scoring), self.synonyms)
            training, validation = (_of_finding(images, place, names) for images in (self.training, self.validation))
            yield Task(training, validation, self.templates, synonyms)


def _of_finding(images: ImageSet, place: int, names: tuple[str, str]) -> ImageSet:
    known = np.flatnonzero(images.labels[:, place] != UNKNOWN)
    return replace(images.subset(known), labels=images.labels[known, place], class_names=names)


def class_vectors(model: VisionLanguageModel, task: Task) -> torch.Tensor:
    """Vectors that `model` makes of the prompts of a task's classes, float32 ``(classes, D)``.

    Raises
    ------
    InputError
        As :func:`robustmedclip.models.interface.zero_shot_classifier`.
    """
    from robustmedclip.models.interface import zero_shot_classifier

    return zero_shot_classifier(
        model,
        task.class_names,
        task.templates,
        task.modality,
        data_set=task.name,
        synonyms=task.synonyms,
        scoring=task.scoring,
    )
