"""Fine-tuning of all weights of the visual encoder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from robustmedclip.adaptation.methods.encoder import PartialUpdate
from robustmedclip.adaptation.methods.settings import NotNegative

if TYPE_CHECKING:
    import torch

    from robustmedclip.adaptation.training_state import Trainable
    from robustmedclip.models.interface import VisionLanguageModel


class FullFineTuning(PartialUpdate):
    """All weights of the visual encoder are trained; the last epoch's update is scaled by what validation chooses."""

    learning_rate: NotNegative = 3e-4

    def prepared(
        self, model: VisionLanguageModel, statistics: Mapping[str, torch.Tensor]
    ) -> tuple[VisionLanguageModel, Trainable]:
        from robustmedclip.adaptation.tuning import with_all_weights

        return with_all_weights(model, statistics)

    def state(self, network: torch.nn.Module) -> tuple[Mapping[str, Any], Mapping[str, np.ndarray]]:
        from robustmedclip.adaptation.tuning import encoder_state

        return {}, encoder_state(network)
