"""Images that a model gets right when clean and wrong when corrupted, and those that another wins back."""

from collections.abc import Iterable, Mapping, Sequence
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


class ShownImage(NamedTuple):
    """A flip with its pixels, uint8 ``(H, W, C)``, and the models that are right and wrong on the corrupted image."""

    flip: Flip
    clean: np.ndarray
    corrupted: np.ndarray
    right: list[str]
    wrong: list[str]


def shown_images(flips: Iterable[Flip], logits: Sequence[Logits], sets: Mapping[str, CorruptedSet]) -> list[ShownImage]:
    """Flips with their pixels; `logits` are of all models on all data sets, `sets` the corrupted test sets by name."""
    shown = []
    for flip in flips:
        images = sets[flip.data_set]
        clean, corrupted = image_of(images, CLEAN, flip.index), image_of(images, flip.condition, flip.index)
        shown.append(ShownImage(flip, clean, corrupted, *models_by_outcome(flip, logits)))
    return shown


def models_by_outcome(flip: Flip, logits: Sequence[Logits]) -> tuple[list[str], list[str]]:
    """The models that are right on the corrupted image of a flip, each with all of its seeds; and the others."""
    outcomes: dict[str, bool] = {}
    for run in logits:
        if run.data_set == flip.data_set:
            right = run.logits[run.conditions.index(flip.condition), flip.index].argmax() == run.labels[flip.index]
            outcomes[run.model] = outcomes.get(run.model, True) and bool(right)
    return [model for model, right in outcomes.items() if right], [m for m, right in outcomes.items() if not right]


def flips_of(model: str, logits: Sequence[Logits], count: int) -> list[Flip]:
    """The worst flips of a model, `count` at most of each data set, from the `logits` of all models."""
    return [flip for run in _first_seeds(model, logits) for flip in worst_flips(run, count)]


def won_back(model: str, base: str, logits: Sequence[Logits], count: int) -> list[Flip]:
    """The worst flips of `base` that `model` gets right, `count` at most of each data set."""
    adapted = {run.data_set: run for run in _first_seeds(model, logits)}
    return [
        flip
        for run in _first_seeds(base, logits)
        for flip in worst_flips(run, count, right=adapted[run.data_set].logits.argmax(-1) == run.labels)
    ]


def _first_seeds(model: str, logits: Sequence[Logits]) -> list[Logits]:
    """The logits of a model, of each data set those of its first seed."""
    runs: dict[str, Logits] = {}
    for run in logits:
        if run.model == model:
            runs.setdefault(run.data_set, run)
    return list(runs.values())


def worst_flips(logits: Logits, count: int, right: np.ndarray | None = None) -> list[Flip]:
    """The flips at the mildest severity, of these the most confident; one per corruption at most.

    `logits` are of one model on one data set; `count` is how many are wanted at most. With `right`, bool
    ``(conditions, N)``, they are among those.
    """
    probabilities = softmax(logits.logits)
    predicted, confidence = probabilities.argmax(-1), probabilities.max(-1)
    flipped = (predicted != logits.labels) & (predicted[0] == logits.labels)
    if right is not None:
        flipped &= right
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
