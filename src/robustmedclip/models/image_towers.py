"""Image towers that timm doesn't know, registered with it under names of their own."""

import math
from typing import Any

import timm
import torch
from timm.layers.conv2d_same import Conv2dSame
from timm.models import register_model
from torch import nn
from torch.nn import functional as F

#: The Swin-T of CXR-CLIP.
FIRST_PATCH_SWIN = "swin_tiny_patch4_window7_224_first_patch"
#: The EfficientNets of Mammo-CLIP, by their number of blocks.
FIXED_EFFICIENTNETS = {23: "tf_efficientnet_b2_padded_for_260", 39: "tf_efficientnet_b5_padded_for_456"}


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


class PaddedConv2d(nn.Conv2d):
    """A convolution that pads by the same number of zeros, whatever the size of the image."""

    def __init__(self, *sizes: Any, sides: tuple[int, int], **settings: Any):
        super().__init__(*sizes, **settings)
        self._sides = (*sides, *sides)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Features ``(N, C, rows, columns)`` of padded features."""
        return super().forward(F.pad(x, self._sides))


def _padded_for(name: str, size: int, **settings: Any) -> nn.Module:
    """timm's EfficientNet, padding as it does for square images of a size, as efficientnet_pytorch does."""
    network: nn.Module = timm.create_model(name, pretrained=False, **settings)
    for place, conv in [item for item in network.named_modules() if isinstance(item[1], Conv2dSame)]:
        (kernel, *_), (stride, *_), halved = conv.kernel_size, conv.stride, math.ceil(size / conv.stride[0])
        padding = max((halved - 1) * stride + kernel - size, 0)
        padded = PaddedConv2d(
            conv.in_channels,
            conv.out_channels,
            kernel,
            sides=(padding // 2, padding - padding // 2),
            stride=stride,
            groups=conv.groups,
            bias=conv.bias is not None,
        )
        network.set_submodule(place, padded)
        size = halved
    return network


@register_model
def tf_efficientnet_b2_padded_for_260(pretrained: bool = False, **settings: Any) -> nn.Module:
    """The EfficientNet-B2 of Mammo-CLIP, without weights."""
    return _padded_for("tf_efficientnet_b2", 260, **settings)


@register_model
def tf_efficientnet_b5_padded_for_456(pretrained: bool = False, **settings: Any) -> nn.Module:
    """The EfficientNet-B5 of Mammo-CLIP, without weights."""
    return _padded_for("tf_efficientnet_b5", 456, **settings)
