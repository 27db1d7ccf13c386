"""The tensors that a training changes: what is trained, the best of it so far, and how it is stored."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch


@dataclass(frozen=True)
class Trainable:
    """What a training changes of a network.

    Attributes
    ----------
    parameters : sequence of Parameter
        Learnt by gradient descent.
    scaled : sequence of Parameter
        Those of them that scale the update: half way back to their untuned values is half of the update.
    statistics : sequence of (buffer, value)
        Statistics of batch normalisation, and the values that they have from the first epoch on.
    """

    parameters: Sequence[torch.nn.Parameter]
    scaled: Sequence[torch.nn.Parameter]
    statistics: Sequence[tuple[torch.Tensor, torch.Tensor]] = ()

    def and_head(self, head: torch.nn.Linear | None) -> "Trainable":
        """What is changed where a head, if there is one, is trained beside the network."""
        added = [] if head is None else list(head.parameters())
        return replace(self, parameters=[*self.parameters, *added], scaled=[*self.scaled, *added])

    def set_statistics(self) -> None:
        """Set the statistics to the values that they are to have."""
        for buffer, value in self.statistics:
            buffer.copy_(value)


class TrainedTensors:
    """Parameters and statistics of a network under training, with their untuned and their best values.

    Parameters
    ----------
    trainable : Trainable
        What the training changes.
    optimiser : Optimizer
        Of its parameters.
    """

    def __init__(self, trainable: Trainable, optimiser: torch.optim.Optimizer):
        self._parameters, self._optimiser = trainable.parameters, optimiser
        self._buffers = [buffer for buffer, _ in trainable.statistics]
        self._untuned = copies([*self._parameters, *self._buffers])
        self._best = self._untuned
        #: The epoch whose values are the best so far; 0 is the untuned network.
        self.kept = 0

    def keep(self, epoch: int) -> None:
        """Take the values after an epoch for the best."""
        self._best, self.kept = copies([*self._parameters, *self._buffers]), epoch

    def set_best(self) -> None:
        """Set the network to its best values."""
        assign([*self._parameters, *self._buffers], self._best)

    def set_untuned(self) -> None:
        """Set the network to its untuned values."""
        assign([*self._parameters, *self._buffers], self._untuned)

    def arrays(self) -> dict[str, np.ndarray]:
        """Name to array: all that :meth:`restore` goes on from."""
        tensors: dict[str, torch.Tensor] = {f"parameter.{i}": value for i, value in enumerate(self._parameters)}
        tensors |= {f"buffer.{i}": value for i, value in enumerate(self._buffers)}
        for i, moments in self._optimiser.state_dict()["state"].items():
            tensors |= {f"optimiser.{i}.{name}": value for name, value in moments.items()}
        if self.kept:
            tensors |= {f"best.{i}": value for i, value in enumerate(self._best)}
        return {name: np.array(tensor.detach().cpu(), order="C") for name, tensor in tensors.items()}

    def restore(self, arrays: Mapping[str, np.ndarray], kept: int) -> None:
        """Put the network, the optimiser and the best values into a stored state, whose best epoch is `kept`."""
        tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
        assign(self._parameters, (tensors[f"parameter.{i}"] for i in range(len(self._parameters))))
        assign(self._buffers, (tensors[f"buffer.{i}"] for i in range(len(self._buffers))))
        moments: dict[int, dict[str, torch.Tensor]] = {}
        for name, value in tensors.items():
            if name.startswith("optimiser."):
                _, position, moment = name.split(".")
                like = self._parameters[int(position)]
                # With the memory format that the parameter has: rounding depends on it.
                same = value.shape == like.shape
                formatted = torch.empty_like(like, requires_grad=False).copy_(value) if same else value
                moments.setdefault(int(position), {})[moment] = formatted
        self._optimiser.load_state_dict({**self._optimiser.state_dict(), "state": moments})
        self._best = [tensors.get(f"best.{i}", value) for i, value in enumerate(self._untuned)]
        self.kept = kept


def copies(tensors: Iterable[torch.Tensor]) -> list[torch.Tensor]:
    """Copies of the values of tensors."""
    return [tensor.detach().clone() for tensor in tensors]


@torch.no_grad()
def assign(tensors: Iterable[torch.Tensor], values: Iterable[torch.Tensor]) -> None:
    """Set tensors to values in place."""
    for tensor, value in zip(tensors, values, strict=True):
        tensor.copy_(value)
