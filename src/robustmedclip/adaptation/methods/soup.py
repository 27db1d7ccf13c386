"""The mean of the weights of several trainings: a model soup."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from robustmedclip.adaptation.artefacts import Adapter, Head
from robustmedclip.adaptation.checkpoint import Checkpoint
from robustmedclip.adaptation.methods.full import FullFineTuning
from robustmedclip.adaptation.methods.settings import Count
from robustmedclip.adaptation.seeds import derived_seed
from robustmedclip.adaptation.task import Task

if TYPE_CHECKING:
    import torch

    from robustmedclip.models.interface import VisionLanguageModel


class Soup(FullFineTuning):
    """Uniform soup (Wortsman et al. 2022, arXiv:2203.05482): the mean of weights tuned with several seeds.

    The mean is that of the authors' code (main.py at 1843982).

    Attributes
    ----------
    members : int
        Trainings, which differ by their seed.
    """

    members: Count = 3

    def fit(
        self,
        model: VisionLanguageModel,
        tasks: Sequence[Task],
        *,
        seed: int,
        precision: torch.dtype,
        checkpoint: Checkpoint,
    ) -> tuple[Adapter, list[dict[str, Any]]]:
        """The mean encoder of all trainings, and the mean of their curves; see :meth:`Method.fit`."""
        adapters, curves = zip(
            *(
                super(Soup, self).fit(
                    model,
                    tasks,
                    seed=derived_seed(seed, "soup", member),
                    precision=precision,
                    checkpoint=checkpoint,
                )
                for member in range(self.members)
            ),
            strict=True,
        )
        weights = {name: _mean([adapter.weights[name] for adapter in adapters]) for name in adapters[0].weights}
        chosen = {key: float(np.mean([adapter.metadata[key] for adapter in adapters])) for key in ("epoch", "scale")}
        metadata = {**adapters[0].metadata, **chosen, "seed": seed, "members": self.members}
        head = _mean_head([adapter.head for adapter in adapters])
        return Adapter({}, weights, metadata, head), [_mean_row(rows) for rows in zip(*curves, strict=True)]


def _mean(arrays: Sequence[np.ndarray]) -> np.ndarray:
    """Their mean, as the type that they have; counts of batches, which are whole numbers, are the first one's."""
    if not np.issubdtype(arrays[0].dtype, np.floating):
        return arrays[0]
    return np.asarray(np.mean(np.stack(arrays), axis=0, dtype=np.float64), arrays[0].dtype)


def _mean_head(heads: Sequence[Head | None]) -> Head | None:
    """The mean of the classifiers that the members were trained with, if they were trained with such."""
    trained = [head for head in heads if head is not None]
    if not trained:
        return None
    classifiers = {
        data_set: {name: _mean([head.classifiers[data_set][name] for head in trained]) for name in arrays}
        for data_set, arrays in trained[0].classifiers.items()
    }
    return Head(classifiers, trained[0].metadata)


def _mean_row(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The row of an epoch: the mean of every column."""
    means = {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}
    return {**means, "epoch": rows[0]["epoch"]}
