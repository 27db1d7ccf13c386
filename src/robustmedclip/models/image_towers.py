"""Image towers that timm doesn't know, registered with it under names of their own."""

from typing import Any

import timm
import torch
from timm.models import register_model
from torch import nn

#: The Swin-T of CXR-CLIP.
FIRST_PATCH_SWIN = "swin_tiny_patch4_window7_224_first_patch"


class FirstPatch(nn.Module):
    """The features of the patch at the top left, in place of the mean over patches."""

    #: As timm names what it pools by.
    pool_type = "avg"

    def feat_mult(self) -> int:
        """How many features there are for each of a patch."""
        return 1

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Features ``(N, D)`` of patches ``(N, rows, columns, D)``."""
        return x[:, 0, 0]


@register_model
def swin_tiny_patch4_window7_224_first_patch(pretrained: bool = False, **settings: Any) -> nn.Module:
    """timm's Swin-T, whose features are those of its first patch; without weights."""
    network: nn.Module = timm.create_model("swin_tiny_patch4_window7_224", pretrained=False, **settings)
    network.get_submodule("head").global_pool = FirstPatch()
    return network
