"""The head that an encoder is tuned with, where that is not prompts."""

from collections.abc import Iterable, Sequence
from itertools import pairwise

import numpy as np
import torch

from robustmedclip.adaptation.artefacts import Classifier, Head
from robustmedclip.adaptation.guard import fit_guard, with_guard
from robustmedclip.adaptation.heads import few_shot_features
from robustmedclip.adaptation.methods.linear_probe import LinearProbe
from robustmedclip.adaptation.task import Task
from robustmedclip.errors import InputError
from robustmedclip.images.pixels import batches
from robustmedclip.models.batch_size import BATCH_SIZE
from robustmedclip.models.interface import VisionLanguageModel


def linear_probes(
    model: VisionLanguageModel, tasks: Sequence[Task], guard: float | None, precision: torch.dtype
) -> list[Classifier]:
    """The linear probe of each task on the untuned model's unit features.

    Parameters
    ----------
    model : VisionLanguageModel
        Is left as it was.
    tasks : sequence of Task
        One per data set.
    guard : float or None
        As :class:`~robustmedclip.adaptation.methods.augmented.AugmentedMethod` has it.
    precision : dtype
        That images are encoded in.

    Raises
    ------
    InputError
        If a class has no training image, or a task no validation image.
    """
    probes = []
    for task in tasks:
        fitted = None if guard is None else fit_guard(batches(task.training.images, BATCH_SIZE), guard)
        guarded, parts = with_guard(model, fitted), (task.training, task.validation)
        training, validation = (few_shot_features(guarded, part, precision) for part in parts)
        try:
            probe, _ = LinearProbe().classifier_of(model, task, training, validation)
        except InputError as error:
            raise InputError(f"Data set '{task.name}': {error.message}") from error
        probes.append(probe)
    return probes


def probing_head(probes: Iterable[Classifier], device: torch.device) -> torch.nn.Linear:
    """The probes of all tasks as one layer of their joint classes, float32."""
    arrays = list(probes)
    weight, bias = (
        torch.from_numpy(np.concatenate([probe[name] for probe in arrays]).astype(np.float32))
        for name in ("weight", "bias")
    )
    head = torch.nn.Linear(weight.shape[1], len(weight), device="meta")
    head.weight, head.bias = (torch.nn.Parameter(values.to(device)) for values in (weight, bias))
    return head


def head_of_tasks(head: torch.nn.Linear, tasks: Sequence[Task], base_model_hash: str) -> Head:
    """What :func:`probing_head` has become, as a classifier for each task."""
    ends = np.cumsum([0, *(len(task.class_names) for task in tasks)])
    arrays = {name: values.detach().cpu().numpy().copy() for name, values in head.named_parameters()}
    classifiers = {
        task.name: {name: array[start:end] for name, array in arrays.items()}
        for task, (start, end) in zip(tasks, pairwise(ends), strict=True)
    }
    names = {task.name: list(task.class_names) for task in tasks}
    return Head(classifiers, {"base_model_hash": base_model_hash, "class_names": names})
