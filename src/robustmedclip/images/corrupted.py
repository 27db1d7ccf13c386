"""A test set under every condition."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from robustmedclip.images.conditions import CLEAN, Condition
from robustmedclip.images.pixels import Images, batches, rows_of
from robustmedclip.images.sets import ImageSet


class CorruptedImages(Protocol):
    """A stream: corrupted images that come into being, or from their files, while somebody iterates over them."""

    def batches(self, condition: Condition, batch_size: int) -> Iterator[np.ndarray]:
        """The images under a condition other than clean, uint8 ``(<=batch_size, H, W, C)`` each."""
        ...

    def on(self, device: str) -> "CorruptedImages":
        """The same, corrupted on a device of torch, if they come into being; those of files are as they are."""
        return self


@dataclass(frozen=True)
class CorruptedSet:
    """A test set under every condition; the images of a condition come batch by batch.

    Attributes
    ----------
    clean : ImageSet
        The uncorrupted test set.
    suite : str
        Short name or dotted path of the corruption suite.
    conditions : tuple of Condition
        The first is clean.
    storage : str
        ``materialised``: the corrupted images are stored; or ``on_the_fly``: they are made, or read from their
        release, when they are used.
    provenance : mapping
        What made the images: the settings of :func:`robustmedclip.corruptions.corrupt`, or ``released``, the
        folder that they were released in; stored, it counts from the project.
    corrupted : CorruptedImages
        The corrupted images: :class:`robustmedclip.corruptions.CorruptedOnTheFly`, a :class:`ReleasedSet`, or stored
        files.
    """

    clean: ImageSet
    suite: str
    conditions: tuple[Condition, ...]
    storage: str
    provenance: Mapping[str, Any]
    corrupted: CorruptedImages

    def read(self, condition: Condition, batch_size: int) -> Iterator[np.ndarray]:
        """The images under a condition, uint8 ``(<=batch_size, H, W, C)`` each, in the order of `clean`."""
        if condition == CLEAN:
            return batches(self.clean.images, batch_size)
        return self.corrupted.batches(condition, batch_size)

    def on(self, device: str) -> "CorruptedSet":
        """The same set, whose images that are not stored are corrupted on a device of torch.

        On others than the CPU, some grey levels differ by one.
        """
        return replace(self, corrupted=self.corrupted.on(device))

    def subset(self, rows: np.ndarray) -> "CorruptedSet":
        """The images at `rows`, int64 ``(n,)``, ascending, under every condition."""
        return replace(self, clean=self.clean.subset(rows), corrupted=_Some(self.corrupted, rows))


@dataclass(frozen=True)
class _Some(CorruptedImages):
    """Some rows of corrupted images."""

    whole: CorruptedImages
    rows: np.ndarray

    def batches(self, condition: Condition, batch_size: int) -> Iterator[np.ndarray]:
        return rows_of(self.whole.batches(condition, batch_size), self.rows)

    def on(self, device: str) -> "_Some":
        return replace(self, whole=self.whole.on(device))


class _Nothing(CorruptedImages):
    def batches(self, condition: Condition, batch_size: int) -> Iterator[np.ndarray]:
        raise KeyError(condition)


def clean_alone(images: ImageSet) -> CorruptedSet:
    """Images as they are, under no corruption."""
    return CorruptedSet(images, "", (CLEAN,), storage="on_the_fly", provenance={}, corrupted=_Nothing())


@dataclass(frozen=True)
class ReleasedSet(CorruptedImages):
    """Corrupted images that somebody else made, as their files have them: a stream.

    Attributes
    ----------
    folder : str
        Where the files lie.
    labels : mapping
        Condition to int64 ``(N,)``, numbered as the files number the classes; without clean where the release
        lacks it.
    shapes : mapping
        Condition to the shape of its images, ``(N, H, W, C)``.
    images : callable
        Condition to its images, uint8 ``(N, H, W, C)``, left in their file until they are used.
    """

    folder: str
    labels: Mapping[Condition, np.ndarray]
    shapes: Mapping[Condition, tuple[int, int, int, int]]
    images: Callable[[Condition], Images]

    def batches(self, condition: Condition, batch_size: int) -> Iterator[np.ndarray]:
        """The images under a condition, uint8 ``(<=batch_size, H, W, C)`` each."""
        return batches(self.images(condition), batch_size)
