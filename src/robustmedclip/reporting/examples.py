"""Images that a model gets right when clean and wrong when corrupted."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

import numpy as np

from robustmedclip.images.conditions import CLEAN, Condition
from robustmedclip.images.corrupted import CorruptedSet
from robustmedclip.metrics import softmax
from robustmedclip.metrics.logits import Logits


@dataclass(frozen=True)
class Flip:
    """One image that flips from right to wrong.

    Attributes
    ----------
    data_set, sample_id : str
        The image.
    index : int
        Its place in the test set.
    condition : Condition
        The corruption under which it is wrong.
    label, predicted : str
        Names of its class and of the class that the model takes it for.
    confidence_clean, confidence : float
        Softmax probability of the predicted class, clean and corrupted, in [0, 1].
    """

    data_set: str
    sample_id: str
    index: int
    condition: Condition
    label: str
    predicted: str
    confidence_clean: float
    confidence: float


class FlippedImage(NamedTuple):
    """A flip with its pixels: uint8 ``(H, W, C)``, clean and corrupted."""

    flip: Flip
    clean: np.ndarray
    corrupted: np.ndarray


def flipped_images(logits: Sequence[Logits], sets: Mapping[str, CorruptedSet], count: int) -> list[FlippedImage]:
    """The worst flips of one model with their pixels, `count` at most of each data set.

    `logits` are of the model on each data set, `sets` the corrupted test sets by name.
    """
    return [
        FlippedImage(
            flip,
            image_of(sets[run.data_set], CLEAN, flip.index),
            image_of(sets[run.data_set], flip.condition, flip.index),
        )
        for run in logits
        for flip in worst_flips(run, count)
    ]


def worst_flips(logits: Logits, count: int) -> list[Flip]:
    """The flips at the mildest severity, of these the most confident; one per corruption at most.

    `logits` are of one model on one data set; `count` is how many are wanted at most.
    """
    probabilities = softmax(logits.logits)
    predicted, confidence = probabilities.argmax(-1), probabilities.max(-1)
    flipped = (predicted != logits.labels) & (predicted[0] == logits.labels)
    best: dict[str, tuple[int, float, int, int]] = {}
    for row, condition in enumerate(logits.conditions):
        if condition == CLEAN or not flipped[row].any():
            continue
        index = int(np.where(flipped[row], confidence[row], -1).argmax())
        candidate = (condition.severity, -float(confidence[row, index]), row, index)
        best[condition.corruption] = min(candidate, best.get(condition.corruption, candidate))
    return [
        Flip(
            data_set=logits.data_set,
            sample_id=str(logits.sample_ids[index]),
            index=index,
            condition=logits.conditions[row],
            label=logits.class_names[logits.labels[index]],
            predicted=logits.class_names[predicted[row, index]],
            confidence_clean=float(confidence[0, index]),
            confidence=float(confidence[row, index]),
        )
        for _, _, row, index in sorted(best.values())[:count]
    ]


def image_of(corrupted: CorruptedSet, condition: Condition, index: int, batch_size: int = 64) -> np.ndarray:
    """One image of a corrupted set, uint8 ``(H, W, C)``."""
    batch = next(islice(corrupted.read(condition, batch_size), index // batch_size, None))
    return np.array(batch[index % batch_size])
