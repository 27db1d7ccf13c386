"""What adaptations leave behind: tuned encoders, and classifiers on features."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

#: Arrays of a classifier of one data set, by name; :mod:`robustmedclip.adaptation.heads` says which.
Classifier = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Adapter:
    """What tuning made of a visual encoder.

    Attributes
    ----------
    config : mapping
        The fields of ``peft.LoraConfig``; empty where all weights were tuned.
    weights : mapping
        Name to array, as peft saves low-rank updates; or the state of the whole encoder.
    metadata : mapping
        What the adapter belongs to: content hash of the base model, data sets, few-shot fraction, seed.
    head : Head, optional
        The classifiers that the encoder was tuned with, if not the prompts.
    """

    config: Mapping[str, Any]
    weights: Mapping[str, np.ndarray]
    metadata: Mapping[str, Any]
    head: Head | None = None


@dataclass(frozen=True)
class Head:
    """Classifiers on the image features of a model, one per data set.

    Attributes
    ----------
    classifiers : mapping
        Data set to the arrays of its classifier, float32.
    metadata : mapping
        What they belong to: content hash of the base model, ``class_names`` of each data set in the order of the
        logits, seed; and, of a method with an input guard, the ``guards`` of the data sets.
    """

    classifiers: Mapping[str, Classifier]
    metadata: Mapping[str, Any]

    def content_hash(self) -> str:
        """Hash of the arrays, of the base model and of the guards."""
        digest = hashlib.blake2b(str(self.metadata["base_model_hash"]).encode(), digest_size=16)
        if guards := self.metadata.get("guards"):
            digest.update(json.dumps(guards, sort_keys=True).encode())
        for data_set, arrays in sorted(self.classifiers.items()):
            for name, array in sorted(arrays.items()):
                digest.update(f"{data_set}|{name}|{array.dtype}|{array.shape}".encode())
                digest.update(array.tobytes())
        return digest.hexdigest()
