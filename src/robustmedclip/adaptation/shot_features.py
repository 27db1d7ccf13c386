"""Image features of few-shot images and of their corrupted copies: what all heads of a model are fitted to."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from robustmedclip.adaptation.guard import Guard, fit_guard, with_guard
from robustmedclip.adaptation.heads import LabelledFeatures, few_shot_features, joined, views
from robustmedclip.adaptation.task import Task
from robustmedclip.corruptions import RandomCorruption
from robustmedclip.images.pixels import batches

if TYPE_CHECKING:
    import torch

    from robustmedclip.models.interface import VisionLanguageModel

#: Images that are read at a time.
_BATCH = 64


@dataclass(frozen=True)
class ShotView:
    """How few-shot images are looked at before they are encoded; heads that look alike share the features.

    Attributes
    ----------
    guard, corruptions
        Of :class:`~robustmedclip.adaptation.methods.augmented.AugmentedMethod`.
    copies : int
        Corrupted copies of each training image; 0 without corruptions.
    validated : bool
        Whether the validation images are encoded, too.
    roles : tuple of str
        Few-shot images that are learnt from, which the task has for training.
    """

    guard: float | None
    corruptions: RandomCorruption | None
    copies: int
    validated: bool
    roles: tuple[str, ...]

    @property
    def key(self) -> str:
        """A hash of it."""
        return hashlib.blake2b(repr(self).encode(), digest_size=4).hexdigest()


@dataclass(frozen=True)
class ShotFeatures:
    """Features of the few-shot images of one data set.

    Attributes
    ----------
    training : (ndarray, ndarray)
        Unit features, float32 ``(n, D)``, and labels, int64 ``(n,)``, in the order of the sample ids; of the images,
        and then of each of their corrupted copies.
    validation : (ndarray, ndarray)
        The same of the validation images; none, where those are not looked at.
    guard : Guard, optional
        That the images passed.
    """

    training: LabelledFeatures
    validation: LabelledFeatures
    guard: Guard | None


def shot_features(
    model: VisionLanguageModel, tasks: Sequence[Task], view: ShotView, seed: int, precision: torch.dtype
) -> Mapping[str, ShotFeatures]:
    """Encode the few-shot images of every task: name of the data set to their features.

    Parameters
    ----------
    model : VisionLanguageModel
        Is left as it was.
    tasks : sequence of Task
        One per data set.
    view : ShotView
        How the images are looked at.
    seed : int
        Of the corruptions.
    precision : dtype
        That images are encoded in.
    """
    return {task.name: _of_task(model, task, view, seed, precision) for task in tasks}


def _of_task(model: VisionLanguageModel, task: Task, view: ShotView, seed: int, precision: torch.dtype) -> ShotFeatures:
    guard = None if view.guard is None else fit_guard(batches(task.training.images, _BATCH), view.guard)
    guarded = with_guard(model, guard)
    looks = views(task.training, view.corruptions, view.copies, seed)
    training = joined(few_shot_features(guarded, images, precision) for images in looks)
    validation = training[0][:0], training[1][:0]
    if view.validated:
        validation = few_shot_features(guarded, task.validation, precision)
    return ShotFeatures(training, validation, guard)
