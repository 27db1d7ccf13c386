"""Classifiers on the image features of the untuned model: the cheap controls beside the tuning of an encoder.

The classifier of a data set is a mapping of arrays: ``weight`` ``(C, D)`` and ``bias`` ``(C,)`` for C classes and D
dimensions, and with a cache of N labelled images also ``keys`` ``(N, D)``, ``values`` ``(N, C)``, ``alpha`` and
``beta``; all float32. With a unit feature f, its logits are::

    weight f + bias + alpha values^T exp(-beta (1 - keys f))
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import log_softmax

from robustmedclip.adaptation.artefacts import Classifier
from robustmedclip.adaptation.augmentation import corrupted
from robustmedclip.corruptions import RandomCorruption
from robustmedclip.errors import InputError
from robustmedclip.images.findings import UNKNOWN
from robustmedclip.images.pixels import batches
from robustmedclip.images.sets import ImageSet

if TYPE_CHECKING:
    import torch

    from robustmedclip.models.interface import VisionLanguageModel

#: Unit features, float32 ``(n, D)``, and labels, int64 ``(n,)`` or ``(n, findings)``.
LabelledFeatures = tuple[np.ndarray, np.ndarray]


def head_logits(classifier: Classifier, features: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Logits of a stream of features, computed in float64.

    Parameters
    ----------
    classifier : mapping
        Of one data set.
    features : iterable of ndarray
        float32 ``(n, D)``: unit features.

    Yields
    ------
    ndarray
        float32 ``(<=BATCH_SIZE, C)``.
    """
    from robustmedclip.models.inference import in_full_batches

    arrays = {name: array.astype(np.float64) for name, array in classifier.items()}

    def logits(batch: np.ndarray) -> np.ndarray:
        wide = batch.astype(np.float64)
        result = wide @ arrays["weight"].T + arrays["bias"]
        if "keys" in arrays:
            distances = 1 - wide @ arrays["keys"].T
            result += arrays["alpha"] * np.exp(-arrays["beta"] * distances) @ arrays["values"]
        return result.astype(np.float32)

    return in_full_batches(features, logits)


def all_logits(classifier: Classifier, features: np.ndarray) -> np.ndarray:
    """Logits of features, float32 ``(n, D)``, as one array, float32 ``(n, C)``."""
    return np.concatenate(list(head_logits(classifier, [features])))


def head_scores(logits: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Mean cross-entropy in nats, and accuracy in [0, 1], of validation images."""
    log_probabilities = log_softmax(logits.astype(np.float64), axis=1)
    return {
        "validation_loss": float(-log_probabilities[np.arange(len(labels)), labels].mean()),
        "validation_accuracy": float(np.mean(logits.argmax(axis=1) == labels)),
    }


def lowest_loss(search: Sequence[Mapping[str, float]]) -> int:
    """Position of the row with the lowest validation loss, the first of equals."""
    return int(np.argmin([row["validation_loss"] for row in search]))


def require_images(training: LabelledFeatures, validation: LabelledFeatures, class_names: Sequence[str]) -> None:
    """Check that each class has a training image, and that there is a validation image.

    Raises
    ------
    InputError
        If not.
    """
    present = set(training[1].tolist())
    if empty := [name for label, name in enumerate(class_names) if label not in present]:
        raise InputError(f"there is no training image of class {', '.join(map(repr, empty))}: choose a larger fraction")
    if not len(validation[1]):
        raise InputError("there is no image to choose the settings of the classifier by: choose a smaller fraction")


def few_shot_features(model: VisionLanguageModel, images: ImageSet, precision: torch.dtype) -> LabelledFeatures:
    """Features and labels of few-shot images in the order of their sample ids.

    A model with ``batch_statistics`` has those of these images.
    """
    from robustmedclip.models.batch_norm import statistics_rows, with_statistics_of
    from robustmedclip.models.batch_size import BATCH_SIZE
    from robustmedclip.models.inference import image_features

    images = images.subset(np.argsort(images.sample_ids))
    if model.batch_statistics:
        model = with_statistics_of(model, images.images[statistics_rows(len(images))])
    features = list(image_features(model, batches(images.images, BATCH_SIZE), precision))
    return np.concatenate(features), images.labels


def of_finding_alone(shots: LabelledFeatures, place: int) -> LabelledFeatures:
    """Features of the images of which a finding is known, and its labels, int64 ``(n,)``."""
    features, labels = shots
    known = labels[:, place] != UNKNOWN
    return features[known], labels[known, place]


def views(images: ImageSet, corruptions: RandomCorruption | None, copies: int, seed: int) -> list[ImageSet]:
    """The images, and if there are corruptions, so many copies of them, corrupted at random."""
    if corruptions is None:
        return [images]
    pixels = np.asarray(images.images)
    return [images] + [
        replace(images, images=corrupted(pixels, corruptions, images.sample_ids, seed, "copy", copy))
        for copy in range(copies)
    ]


def joined(parts: Iterable[LabelledFeatures]) -> LabelledFeatures:
    """Features and labels of several sets of images, one after the other."""
    features, labels = zip(*parts, strict=True)
    return np.concatenate(features), np.concatenate(labels)
