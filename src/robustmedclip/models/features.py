"""Image features of one model on one data set."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from robustmedclip.images.conditions import Condition


@dataclass(frozen=True)
class Features:
    """Image features of one model on one data set under every condition.

    Attributes
    ----------
    data_set, modality : str
        The data set the images come from.
    class_names : tuple of str
        Its classes.
    conditions : tuple of Condition
        The first is clean.
    labels : ndarray
        int64 ``(N,)``.
    sample_ids : ndarray
        str ``(N,)``.
    width : int
        Dimensions of a feature, D.
    weights : str
        Content hash of the model.
    read : callable
        ``read()`` yields float32 ``(n, D)``, unit features of the N images under the first condition, then the next;
        while they are being computed, once only.
    """

    data_set: str
    modality: str
    class_names: tuple[str, ...]
    conditions: tuple[Condition, ...]
    labels: np.ndarray
    sample_ids: np.ndarray
    width: int
    weights: str
    read: Callable[[], Iterator[np.ndarray]]
