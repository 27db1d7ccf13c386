"""Nodes of the evaluation."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from robustmedclip.progress import track
from robustmedclip.types import Adapter, CorruptedSet, Logits

VERSION = 2


def evaluate(
    model: Any,
    corrupted: CorruptedSet,
    adapter: Adapter | None = None,
    *,
    name: str,
    attributes: Mapping[str, Any],
    templates: Sequence[str],
) -> Logits:
    """Logits of one model, with its adapter if it has one, on one data set under every condition."""
    from robustmedclip.adaptation import merge_adapter
    from robustmedclip.models import BATCH_SIZE, image_logits, zero_shot_classifier

    clean = corrupted.clean
    classifier = zero_shot_classifier(model, clean.class_names, templates, clean.modality)
    if adapter is not None:
        model = merge_adapter(model, adapter)
    logits = np.empty((len(corrupted.conditions), len(clean), len(clean.class_names)), np.float32)
    for row, condition in zip(logits, track(corrupted.conditions, f"{name} on {clean.name}"), strict=True):
        start = 0
        for part in image_logits(model, classifier, corrupted.read(condition, BATCH_SIZE)):
            row[start : start + len(part)] = part
            start += len(part)
    return Logits(
        model=name,
        attributes=attributes,
        data_set=clean.name,
        modality=clean.modality,
        class_names=clean.class_names,
        conditions=corrupted.conditions,
        logits=logits,
        labels=clean.labels,
        sample_ids=clean.sample_ids,
    )
