"""What a training reports while it runs, and what it goes on from after it was interrupted."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class TrainingState:
    """A training after an epoch.

    Attributes
    ----------
    history : sequence of mapping
        The curves so far, a row per epoch.
    kept : int
        The epoch with the lowest validation loss so far.
    arrays : mapping
        Name to array: parameters, the state of the optimiser, and the parameters of the kept epoch.
    """

    history: Sequence[Mapping[str, float]]
    kept: int
    arrays: Mapping[str, np.ndarray]


class Checkpoint:
    """Where the state of a training is kept. This one keeps nothing; those that do derive from it."""

    def open(self, key: str) -> None:
        """Begin; `key` is a hash of everything that the training depends on."""

    def last(self) -> TrainingState | None:
        """The last state kept of a training with the same key."""

    def record(self, row: Mapping[str, float], state: Callable[[], TrainingState] | None = None) -> None:
        """Record a finished epoch: its row of the curves, and a function that gives the state after it."""
