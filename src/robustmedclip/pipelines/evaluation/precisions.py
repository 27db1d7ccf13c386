"""Nodes that compare the precision of a run with float32, on some of the test images."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from robustmedclip.adaptation.artefacts import Adapter, Head
from robustmedclip.adaptation.methods import Method
from robustmedclip.images.conditions import CLEAN
from robustmedclip.images.corrupted import CorruptedSet
from robustmedclip.metrics.precisions import no_changes, precision_changes
from robustmedclip.models.features import Features
from robustmedclip.pipelines.evaluation.nodes import encode, score, score_adapted

#: Most test images of a data set that are encoded in float32, too.
MOST_IMAGES = 500
_FLOAT32 = {"precision": "float32"}


def encode_in_float32(features: Features, model: Any, corrupted: CorruptedSet, *, name: str) -> Features:
    """Features of a sample of the test images in float32; where all are in float32, they are not encoded again."""
    sample = _sample(corrupted, model)
    if _in_float32(features.precision):
        return _part(features, sample.conditions, sample.clean.sample_ids)
    return encode(model, sample, _FLOAT32, name=f"{name} in float32")


def compare_precisions(
    features: Features, float32_features: Features, model: Any = None, head: Head | None = None, **facts: Any
) -> pd.DataFrame:
    """How the logits of features differ from those of float32, as of :func:`precision_changes`.

    Parameters are those of :func:`score`. Where the features are in float32, there is no row.
    """
    if _in_float32(features.precision):
        return no_changes()
    part = _part(features, float32_features.conditions, float32_features.sample_ids)
    logits, float32 = (score(each, model, head, **facts) for each in (part, float32_features))
    return precision_changes(logits, float32, _cosines(part, float32_features))


def encode_and_compare(
    model: Any,
    corrupted: CorruptedSet,
    artefact: Adapter | Head,
    parameters: Mapping[str, Any],
    *,
    method: Method,
    name: str,
    tuned_on: str | None = None,
    **facts: Any,
) -> pd.DataFrame:
    """As :func:`compare_precisions`, of a model with its adapter, or with a head behind an input guard."""
    import torch

    from robustmedclip.models.inference import move_to_device

    adapted = method.adapted(model, artefact, tuned_on or corrupted.clean.name)
    if move_to_device(adapted, parameters["precision"]) == torch.float32:
        return no_changes()
    sample = _sample(corrupted, adapted)
    features, float32_features = (encode(adapted, sample, each, name=name) for each in (parameters, _FLOAT32))
    facts |= {"method": method, "name": name, "tuned_on": tuned_on}
    logits, float32 = (score_adapted(each, model, adapted, artefact, **facts) for each in (features, float32_features))
    return precision_changes(logits, float32, _cosines(features, float32_features))


def _sample(corrupted: CorruptedSet, model: Any) -> CorruptedSet:
    """The same test images each time, clean and under the condition in the middle of the list.

    They are all where the model takes the statistics of what it sees, which those of fewer would change.
    """
    conditions = tuple(dict.fromkeys((CLEAN, corrupted.conditions[len(corrupted.conditions) // 2])))
    chosen = np.random.default_rng(0).permutation(len(corrupted.clean))
    rows = np.sort(chosen if model.batch_statistics else chosen[:MOST_IMAGES])
    return replace(corrupted, conditions=conditions).subset(rows)


def _part(features: Features, conditions: tuple[Any, ...], sample_ids: np.ndarray) -> Features:
    """Features of some of the images, whose order is the same, under some of the conditions."""
    rows = np.flatnonzero(np.isin(features.sample_ids, sample_ids))
    cube = features.rows.reshape(len(features.conditions), len(features.labels), -1)
    places = [features.conditions.index(condition) for condition in conditions]
    return replace(
        features,
        conditions=conditions,
        labels=features.labels[rows],
        sample_ids=features.sample_ids[rows],
        rows=np.concatenate([cube[place][rows] for place in places]),
    )


def _cosines(features: Features, others: Features) -> np.ndarray:
    """Cosine of the unit features of each image, float64 ``(conditions, N)``."""
    products: np.ndarray = (features.rows.astype(np.float64) * others.rows).sum(-1)
    return products.reshape(len(features.conditions), -1)


def _in_float32(precision: str) -> bool:
    """Whether features are in float32, on whatever device."""
    return precision.startswith("float32")
