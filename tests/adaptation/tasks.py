"""A small task, and settings to tune on it."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

import robustmedclip.models
from robustmedclip.adaptation.settings import LoraSettings
from robustmedclip.images.sets import ImageSet
from robustmedclip.models.interface import VisionLanguageModel, zero_shot_classifier
from robustmedclip.models.open_clip import load_open_clip
from robustmedclip.phantoms import ANATOMIES, DOMAINS, draw_phantoms

SHIPPED = Path(robustmedclip.models.__file__).parent
SETTINGS = LoraSettings(
    rank=4,
    alpha=None,
    dropout=0.1,
    targets=None,
    batch_norm="frozen",
    features="unit",
    learning_rate=2e-3,
    weight_decay=1e-4,
    schedule="constant",
    epochs=3,
    batch_size=16,
    sampling="natural",
    min_crop_area=0.8,
    flip=True,
    guard=None,
    corruptions=None,
    consistency=0,
    label_space="joint",
    selection="epoch",
)


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
