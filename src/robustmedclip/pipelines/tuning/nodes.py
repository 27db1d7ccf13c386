"""Nodes of the tuning."""

from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import Any

import pandas as pd

from robustmedclip.adaptation.artefacts import Adapter, Head
from robustmedclip.adaptation.checkpoint import Checkpoint
from robustmedclip.adaptation.methods import Method
from robustmedclip.adaptation.shot_features import ShotFeatures, ShotView, shot_features
from robustmedclip.adaptation.task import Task
from robustmedclip.images.sets import ImageSet
from robustmedclip.parallel import in_one_thread
from robustmedclip.pipelines.few_shot.nodes import chosen


def fit(
    model: Any,
    checkpoint: Checkpoint,
    few_shots: pd.DataFrame,
    parameters: Mapping[str, Any],
    *image_sets: ImageSet,
    method: Method,
    seed: int,
    templates: Mapping[str, Sequence[str]],
    synonyms: Mapping[str, Mapping[str, Sequence[str]]],
    scorings: Mapping[str, str] | None = None,
) -> tuple[Adapter | Head, pd.DataFrame]:
    """Adapt one model to the few-shot images of all data sets; what the method leaves behind, and its history.

    Parameters
    ----------
    model : VisionLanguageModel
        Is left as it was.
    checkpoint : Checkpoint
        Keeps the state of a training that is interrupted.
    few_shots : DataFrame
        Which images of the training pools are seen.
    parameters : mapping
        The ``precision`` that images are encoded in.
    *image_sets : ImageSet
        The training pools, and after them the test sets, if the method asks for the test images.
    method : Method
        How the model is adapted.
    seed : int
        Of everything random.
    templates, synonyms, scorings : mapping
        Name of each data set to its prompts; and of those of findings, to what each finding is compared with.
    """
    from robustmedclip.models.inference import move_to_device

    precision = move_to_device(model, parameters["precision"])
    tasks = _tasks(few_shots, method.learnt_roles, image_sets, templates, synonyms, scorings)
    with in_one_thread():
        artefact, history = method.fit(model, tasks, seed=seed, precision=precision, checkpoint=checkpoint)
    return artefact, pd.DataFrame(history)


def encode_shots(
    model: Any,
    few_shots: pd.DataFrame,
    parameters: Mapping[str, Any],
    *pools: ImageSet,
    view: ShotView,
    seed: int,
    **prompts: Mapping[str, Any],
) -> Mapping[str, ShotFeatures]:
    """Features of the few-shot images of all data sets, as heads look at them; parameters are those of :func:`fit`."""
    from robustmedclip.models.inference import move_to_device

    precision = move_to_device(model, parameters["precision"])
    with in_one_thread():
        return shot_features(model, _tasks(few_shots, view.roles, pools, **prompts), view, seed, precision)


def fit_with_features(
    features: Mapping[str, ShotFeatures],
    model: Any,
    checkpoint: Checkpoint,
    few_shots: pd.DataFrame,
    parameters: Mapping[str, Any],
    *pools: ImageSet,
    method: Method,
    seed: int,
    **prompts: Mapping[str, Any],
) -> tuple[Adapter | Head, pd.DataFrame]:
    """As :func:`fit`, of a method that trains an encoder and is fitted to features of the untuned one, too."""
    from robustmedclip.models.inference import move_to_device

    precision = move_to_device(model, parameters["precision"])
    tasks = _tasks(few_shots, method.learnt_roles, pools, **prompts)
    with in_one_thread():
        artefact, history = method.fit_to(features, model, tasks, seed=seed, precision=precision, checkpoint=checkpoint)
    return artefact, pd.DataFrame(history)


def fit_head(
    features: Mapping[str, ShotFeatures],
    model: Any,
    few_shots: pd.DataFrame,
    *pools: ImageSet,
    method: Method,
    seed: int,
    **prompts: Mapping[str, Any],
) -> tuple[Adapter | Head, pd.DataFrame]:
    """As :func:`fit`, of a method that is fitted to features, which are encoded already, and encodes no image."""
    import torch

    tasks = _tasks(few_shots, method.learnt_roles, pools, **prompts)
    with in_one_thread():
        head, search = method.fit_to(
            features, model, tasks, seed=seed, precision=torch.float32, checkpoint=Checkpoint()
        )
    return head, pd.DataFrame(search)


def _tasks(
    few_shots: pd.DataFrame,
    learnt: Sequence[str],
    image_sets: Sequence[ImageSet],
    templates: Mapping[str, Sequence[str]],
    synonyms: Mapping[str, Mapping[str, Sequence[str]]],
    scorings: Mapping[str, str] | None = None,
) -> list[Task]:
    """What is adapted to: a task of each pool, with its test set for validation, if those follow the pools.

    The images of the `learnt` roles are those for training; those for validation, if they aren't among these.
    """
    left = {"validation"} - set(learnt)
    pools, tests = image_sets[: len(templates)], image_sets[len(templates) :]
    return [
        Task(
            training=chosen(pool, few_shots, *learnt),
            validation=test or chosen(pool, few_shots, *left),
            templates=templates[pool.name],
            synonyms=synonyms[pool.name],
            scoring=(scorings or {}).get(pool.name),
        )
        for pool, test in zip_longest(pools, tests)
    ]
