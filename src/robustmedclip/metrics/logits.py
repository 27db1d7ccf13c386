"""Logits: the one durable result, of which every metric is derived."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from robustmedclip.images.conditions import Condition
from robustmedclip.images.findings import UNKNOWN, differing
from robustmedclip.metrics.metric import two_classes

#: The adaptation of a model that is scored as it is.
ZERO_SHOT = "zero-shot"


@dataclass(frozen=True)
class Logits:
    """Scores of one model on one data set under every condition.

    Attributes
    ----------
    model : str
        Name shared by the seeds of one model, e.g. ``phantom_vit_lora_k10``.
    attributes : mapping
        ``base``, ``adaptation`` (its name, or :data:`ZERO_SHOT`), ``method`` (``zero-shot``, ``lora``, ...), ``rank``,
        ``fraction`` and ``seed``; the last three are None where they don't apply. ``weights`` is the content hash of
        the scored model.
    data_set, modality : str
        The data set the images come from.
    class_names : tuple of str
        Column ``c`` of the logits is class ``class_names[c]``.
    conditions : tuple of Condition
        Row ``i`` of the logits is condition ``conditions[i]``; the first is clean.
    logits : ndarray
        float32 ``(conditions, N, classes)``: logit scale times cosine similarity. Of findings, the log-odds of each:
        the logit of present minus that of absent.
    labels : ndarray
        int64 ``(N,)``, or of findings ``(N, findings)``, as :class:`robustmedclip.images.sets.ImageSet` has them.
    sample_ids : ndarray
        str ``(N,)``.
    """

    model: str
    data_set: str
    modality: str
    class_names: tuple[str, ...]
    conditions: tuple[Condition, ...]
    logits: np.ndarray
    labels: np.ndarray
    sample_ids: np.ndarray
    attributes: Mapping[str, Any] = field(default_factory=dict)

    def tasks(self) -> "Iterator[Logits]":
        """Itself; or of findings, each that can be scored as a task of two classes, on the images where it is known."""
        if self.labels.ndim == 1:
            yield self
            return
        for place in differing(self.labels):
            known = self.labels[:, place] != UNKNOWN
            name = self.class_names[place]
            yield replace(
                self,
                class_names=(f"no {name}", name),
                logits=two_classes(self.logits[:, known, place]),
                labels=self.labels[known, place],
                sample_ids=self.sample_ids[known],
            )
