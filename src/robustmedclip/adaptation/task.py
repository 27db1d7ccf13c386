"""What methods are fitted to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

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
    """

    training: ImageSet
    validation: ImageSet
    templates: Sequence[str]
    synonyms: Mapping[str, Sequence[str]]

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


def class_vectors(model: VisionLanguageModel, task: Task) -> torch.Tensor:
    """Vectors that `model` makes of the prompts of a task's classes, float32 ``(classes, D)``.

    Raises
    ------
    InputError
        As :func:`robustmedclip.models.interface.zero_shot_classifier`.
    """
    from robustmedclip.models.interface import zero_shot_classifier

    return zero_shot_classifier(
        model, task.class_names, task.templates, task.modality, data_set=task.name, synonyms=task.synonyms
    )
