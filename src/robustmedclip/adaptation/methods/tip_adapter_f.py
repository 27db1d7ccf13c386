"""Tip-Adapter whose cache is fine-tuned: Tip-Adapter-F."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from robustmedclip.adaptation.artefacts import Classifier
from robustmedclip.adaptation.heads import LabelledFeatures
from robustmedclip.adaptation.methods.cache import CacheAdapter, fit_cache
from robustmedclip.adaptation.methods.settings import Count, NotNegative
from robustmedclip.adaptation.task import Task, class_vectors

if TYPE_CHECKING:
    from robustmedclip.models.interface import VisionLanguageModel

#: Weight and sharpness of the similarity while the keys are trained.
_ALPHA, _BETA = 1.0, 5.5


class TipAdapterF(CacheAdapter):
    """Tip-Adapter-F (Zhang et al. 2021, arXiv:2111.03930, section 3.2): keys of the cache trained, then searched.

    Attributes
    ----------
    epochs : int
        Passes over the images, all in a step, in AdamW with half a cosine down to a rate of 0.
    learning_rate : float
        The highest.
    """

    epochs: Count = 20
    learning_rate: NotNegative = 1e-3

    def fit_classifier(
        self, model: VisionLanguageModel, task: Task, training: LabelledFeatures, validation: LabelledFeatures
    ) -> tuple[Classifier, list[dict[str, Any]]]:
        zero_shot = (model.logit_scale * class_vectors(model, task)).cpu().numpy()
        keys = trained_keys(*training, zero_shot, self.epochs, self.learning_rate)
        return fit_cache(
            training, validation, task.class_names, self.alphas, self.betas, zero_shot=zero_shot, keys=keys
        )


def trained_keys(
    features: np.ndarray, labels: np.ndarray, zero_shot: np.ndarray, epochs: int, learning_rate: float
) -> np.ndarray:
    """Keys, ``(N, D)``, lowering the loss of ``f W + alpha exp(-beta (1 - f K^T)) L`` (eq. 5), from the features on."""
    import torch

    inputs, targets = torch.from_numpy(features).float(), torch.from_numpy(labels)
    values = torch.nn.functional.one_hot(targets, len(zero_shot)).float()
    plain = inputs @ torch.from_numpy(zero_shot).float().T
    keys = inputs.clone().requires_grad_(True)
    optimiser = torch.optim.AdamW([keys], lr=learning_rate, eps=1e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, epochs)
    for _ in range(epochs):
        similarity = torch.exp(-_BETA * (1 - inputs @ keys.T)) @ values
        loss = torch.nn.functional.cross_entropy(plain + _ALPHA * similarity, targets)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()
    return keys.detach().numpy()
