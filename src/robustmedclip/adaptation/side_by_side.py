"""Two encoders as one, whose features stand one after the other."""

from collections.abc import Sequence
from typing import Any

import torch
from torch.nn import functional as F

from robustmedclip.models.interface import VisionLanguageModel


class Encoders(torch.nn.Module):
    """Networks whose image features, each of unit length, stand one after the other."""

    def __init__(self, networks: Sequence[torch.nn.Module]):
        super().__init__()
        self.visual = torch.nn.ModuleList(networks)

    def encode_image(self, pixels: torch.Tensor) -> torch.Tensor:
        """``(N, D_1 + D_2 + ...)``."""
        encoders: list[Any] = list(self.visual)
        return torch.cat([F.normalize(encoder.encode_image(pixels).float(), dim=-1) for encoder in encoders], dim=-1)


def side_by_side(first: VisionLanguageModel, second: VisionLanguageModel) -> VisionLanguageModel:
    """The second model, whose image features are both models' unit features, divided by the root of 2."""
    return second.with_network(Encoders([first.network, second.network]))
