"""Nodes of the evaluation."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from robustmedclip.errors import InputError
from robustmedclip.progress import track
from robustmedclip.types import Adapter, CorruptedSet, Features, Logits

VERSION = 4


def encode(model: Any, corrupted: CorruptedSet, parameters: Mapping[str, Any], *, name: str) -> Features:
    """Image features of one model on one data set under every condition, computed while they are stored."""
    from robustmedclip.models import BATCH_SIZE, image_features

    clean, precision = corrupted.clean, _on_device(model, parameters)

    def images() -> Iterator[np.ndarray]:
        for condition in track(corrupted.conditions, f"{name} on {clean.name}"):
            yield from corrupted.read(condition, BATCH_SIZE)

    features = image_features(model, images(), precision)
    first = next(features)
    return Features(
        data_set=clean.name,
        modality=clean.modality,
        class_names=clean.class_names,
        conditions=corrupted.conditions,
        labels=clean.labels,
        sample_ids=clean.sample_ids,
        width=first.shape[1],
        read=lambda: itertools.chain([first], features),
    )


def speed(model: Any, parameters: Mapping[str, Any]) -> float:
    """Images per second that :func:`encode` encodes with a model."""
    from robustmedclip.models import encoding_speed

    return encoding_speed(model, _on_device(model, parameters))


def _on_device(model: Any, parameters: Mapping[str, Any]) -> Any:
    """Move a model to where it runs; the precision that it runs in."""
    import torch

    from robustmedclip.models import best_device, fast_precision

    model.network.to(device := best_device())
    return torch.float32 if parameters["precision"] == "float32" else fast_precision(device)


def score(
    model: Any,
    features: Features,
    *,
    name: str,
    attributes: Mapping[str, Any],
    templates: Sequence[str],
    synonyms: Mapping[str, Sequence[str]],
) -> Logits:
    """Logits of features, with the class vectors that the model makes of the prompts.

    Raises
    ------
    InputError
        If a logit is not finite.
    """
    from robustmedclip.models import best_device, class_logits, zero_shot_classifier

    model.network.to(best_device())
    classifier = zero_shot_classifier(
        model,
        features.class_names,
        templates,
        features.modality,
        data_set=features.data_set,
        synonyms=synonyms,
    )
    flat = np.concatenate(list(class_logits(features.read(), classifier, model.logit_scale)))
    logits = flat.reshape(len(features.conditions), len(features.labels), -1)
    _check_finite(logits, features, name)
    return Logits(
        model=name,
        attributes={**attributes, "weights": model.content_hash()},
        data_set=features.data_set,
        modality=features.modality,
        class_names=features.class_names,
        conditions=features.conditions,
        logits=logits,
        labels=features.labels,
        sample_ids=features.sample_ids,
    )


def _check_finite(logits: np.ndarray, features: Features, name: str) -> None:
    for condition, row in zip(features.conditions, logits, strict=True):
        if len(bad := features.sample_ids[~np.isfinite(row).all(1)]):
            raise InputError(
                f"The logits of '{name}' on '{features.data_set}' under {condition} are not finite for {len(bad)} of "
                f"{len(row)} images, the first of them {bad[0]}: the weights or the preprocessing of the model are "
                "broken, or its numbers overflow. Nothing of this cell was kept."
            )


def evaluate(
    model: Any, corrupted: CorruptedSet, adapter: Adapter, parameters: Mapping[str, Any], **settings: Any
) -> Logits:
    """Logits of one model with its adapter on one data set under every condition.

    Its features are not kept: other prompts would have led to another adapter.
    """
    from robustmedclip.adaptation import guarded, merge_adapter

    tuned = replace(guarded(merge_adapter(model, adapter), adapter, corrupted.clean.name), unit_text=True)
    return score(tuned, encode(tuned, corrupted, parameters, name=settings["name"]), **settings)
