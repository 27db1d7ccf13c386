"""Low-rank adaptation of the visual encoder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np

from robustmedclip.adaptation.methods.encoder import EncoderMethod
from robustmedclip.adaptation.methods.settings import Count, Expression, PositiveOrNone, expected, is_number

if TYPE_CHECKING:
    import torch

    from robustmedclip.adaptation.training_state import Trainable
    from robustmedclip.models.interface import VisionLanguageModel


Dropout = Annotated[
    float, expected("a number of 0 or more and below 1", lambda value: is_number(value) and 0 <= value < 1)
]


class Lora(EncoderMethod):
    """Low-rank updates of layers (LoRA; Hu et al. 2021, arXiv:2106.09685), with peft; as it stands, the study's recipe.

    Attributes
    ----------
    rank : int
        Rank r of the update B A of each adapted layer.
    alpha : float or None
        The update is scaled by alpha / r; None means alpha = r, a scale of 1.
    dropout : float
        Fraction of the layer's inputs that the update does not see, in [0, 1).
    targets : str or None
        Regular expression of the layers to adapt; None means the model's own ``lora_targets``, ``all`` every linear and
        convolutional layer of the visual encoder, its first layers included, but for convolutions in groups. A shift of
        the input, such as other devices, is best met in the first layers (Lee et al. 2023, arXiv:2210.11466).
    """

    rank: Count = 8
    alpha: PositiveOrNone = None
    dropout: Dropout = 0.0
    targets: Expression = None

    def check(self, model: VisionLanguageModel) -> list[str]:
        from robustmedclip.adaptation.lora import target_problems

        return [*super().check(model), *target_problems(model, self)]

    def prepared(
        self, model: VisionLanguageModel, statistics: Mapping[str, torch.Tensor]
    ) -> tuple[VisionLanguageModel, Trainable]:
        from robustmedclip.adaptation.lora import with_lora

        return with_lora(model, self, statistics)

    def state(self, network: torch.nn.Module) -> tuple[Mapping[str, Any], Mapping[str, np.ndarray]]:
        from robustmedclip.adaptation.lora import lora_state

        return lora_state(network)
