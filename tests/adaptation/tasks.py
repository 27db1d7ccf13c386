"""A small task, and settings to tune on it."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

import robustmedclip.models
from robustmedclip.adaptation.methods.encoder import EncoderMethod
from robustmedclip.adaptation.methods.lora import Lora
from robustmedclip.images.sets import ImageSet
from robustmedclip.models.interface import VisionLanguageModel, zero_shot_classifier
from robustmedclip.models.open_clip import load_open_clip
from robustmedclip.phantoms import ANATOMIES, DOMAINS, draw_phantoms

SHIPPED = Path(robustmedclip.models.__file__).parent
LORA = Lora(rank=4, dropout=0.1, learning_rate=2e-3, epochs=3, batch_size=16)


def changed(method: EncoderMethod, **settings: Any) -> EncoderMethod:
    """The method with other settings, which are validated."""
    return type(method)(**{**method.model_dump(), **settings})


@cache
def phantoms(anatomy: str, seed: int, count: int = 32) -> ImageSet:
    module = ANATOMIES[anatomy]
    labels = np.arange(count) % len(module.CLASSES)
    ids = np.array([f"{i}" for i in range(count)])
    images = draw_phantoms(anatomy, ids, labels, size=64, seed=seed, domain=DOMAINS["hospital"])
    return ImageSet.validated(
        name=anatomy,
        split="pool",
        modality=module.MODALITY,
        class_names=tuple(module.CLASSES),
        images=images,
        labels=labels,
        sample_ids=ids,
    )


def shipped(name: str) -> VisionLanguageModel:
    return load_open_clip(f"local-dir:{SHIPPED / name}")


def classifier_of(model: VisionLanguageModel, sets: Sequence[ImageSet]) -> torch.Tensor:
    return torch.cat([zero_shot_classifier(model, s.class_names, ["{class_name}"], s.modality) for s in sets])
