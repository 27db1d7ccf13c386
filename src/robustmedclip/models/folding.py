"""Batch normalisation in the weights of the convolutions before it, which is faster where nothing is trained."""

import copy
from collections.abc import Iterator
from itertools import chain
from typing import Any

import torch
from open_clip.modified_resnet import Bottleneck, ModifiedResNet
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from robustmedclip.models.interface import VisionLanguageModel


@torch.no_grad()
def with_folded_batch_norm(model: VisionLanguageModel) -> VisionLanguageModel:
    """The model for the encoding of images: open_clip's ResNet without layers of batch normalisation, others as is.

    The features are the same but for rounding, in four fifths of the time.

    Parameters
    ----------
    model : VisionLanguageModel
        In evaluation mode; is left as it was, and shares its other weights with the result.
    """
    if not isinstance(model.network.get_submodule("visual"), ModifiedResNet):
        return model
    shared = {id(tensor): tensor for tensor in chain(model.network.parameters(), model.network.buffers())}
    network = copy.deepcopy(model.network, shared)
    for parent, convolution, normalisation in _pairs(network.get_submodule("visual")):
        before, after = (parent.get_submodule(name) for name in (convolution, normalisation))
        if type(before) is nn.Conv2d and type(after) is nn.BatchNorm2d:
            setattr(parent, convolution, fuse_conv_bn_eval(before, after))
            setattr(parent, normalisation, nn.Identity())
    return model.with_network(network)


def _pairs(visual: nn.Module) -> Iterator[tuple[Any, str, str]]:
    """Modules of a ResNet, with the names of a convolution in them and of the batch normalisation after it."""
    for module in visual.modules():
        if isinstance(module, ModifiedResNet | Bottleneck):
            yield from ((module, f"conv{number}", f"bn{number}") for number in (1, 2, 3))
        if isinstance(module, Bottleneck) and module.downsample is not None:
            yield module.downsample, "0", "1"
