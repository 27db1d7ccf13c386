"""Nodes of the evaluation."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from robustmedclip.errors import InputError
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
    """Logits of one model, with its adapter if it has one, on one data set under every condition.

    Raises
    ------
    InputError
        If a logit is not finite.
    """
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
        if not np.isfinite(row).all():
            bad = clean.sample_ids[~np.isfinite(row).all(1)]
            raise InputError(
                f"The logits of '{name}' on '{clean.name}' under {condition} are not finite for {len(bad)} of "
                f"{len(clean)} images, the first of them {bad[0]}: the weights or the preprocessing of the model are "
                "broken, or its numbers overflow. Nothing of this cell was kept."
            )
    return Logits(
        model=name,
        attributes={**attributes, "weights": model.content_hash()},
        data_set=clean.name,
        modality=clean.modality,
        class_names=clean.class_names,
        conditions=corrupted.conditions,
        logits=logits,
        labels=clean.labels,
        sample_ids=clean.sample_ids,
    )
