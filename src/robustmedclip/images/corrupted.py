"""A test set under every condition."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from robustmedclip.images.conditions import Condition
from robustmedclip.images.pixels import Images
from robustmedclip.images.sets import ImageSet


@dataclass(frozen=True)
class CorruptedSet:
    """A test set under every condition; the images of a condition come batch by batch.

    Attributes
    ----------
    clean : ImageSet
        The uncorrupted test set.
    suite : str
        Corruption suite.
    conditions : tuple of Condition
        The first is clean.
    storage : str
        ``materialised``: the corrupted images are stored; or ``on_the_fly``: they are made, or read from their
        release, when they are used.
    provenance : mapping
        What made the images: the settings of :func:`robustmedclip.corruptions.corrupt`, or ``released``, the
        folder that they were released in.
    read : callable
        ``read(condition, batch_size)`` yields uint8 ``(<=batch_size, H, W, C)`` in the order of ``clean``.
    """

    clean: ImageSet
    suite: str
    conditions: tuple[Condition, ...]
    storage: str
    provenance: Mapping[str, Any]
    read: Callable[[Condition, int], Iterator[np.ndarray]]


@dataclass(frozen=True)
class ReleasedSet:
    """Corrupted images that somebody else made, as their files have them.

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
