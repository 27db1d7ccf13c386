"""Batch normalisation of the visual encoder: its statistics, and how to set them to those of images."""

import copy
from typing import Any

import numpy as np
import torch
from torch import nn

from robustmedclip.models.interface import VisionLanguageModel

#: Images whose statistics stand for those of more: with a ResNet-50 at 224 px their activations take 2.5 GB.
STATISTICS_IMAGES = 128


def batch_norm_layers(network: nn.Module) -> dict[str, nn.modules.batchnorm._BatchNorm]:
    """Layers of batch normalisation of the visual encoder that use running statistics, by their names in `network`."""
    return {
        f"visual.{name}": layer
        for name, layer in network.get_submodule("visual").named_modules()
        if isinstance(layer, nn.modules.batchnorm._BatchNorm) and layer.running_mean is not None
    }


def running_statistics(network: nn.Module) -> dict[str, torch.Tensor]:
    """Running statistics of the visual encoder, and counts of their batches: name in the network's state to tensor."""
    return {
        f"{name}.{statistic}": value
        for name, layer in batch_norm_layers(network).items()
        for statistic, value in layer.named_buffers()
    }


@torch.inference_mode()
def with_statistics_of(model: VisionLanguageModel, images: np.ndarray) -> VisionLanguageModel:
    """The model with the statistics of batch normalisation that it has in training mode on a batch of images.

    Parameters
    ----------
    model : VisionLanguageModel
        Is left as it was; the copy shares its text encoder.
    images : ndarray
        uint8 ``(n, H, W, C)``: one batch, whose activations have to fit into memory.
    """
    shared = {id(child): child for name, child in model.network.named_children() if name != "visual"}
    adapted = model.with_network(copy.deepcopy(model.network, shared))
    hooks = [layer.register_forward_pre_hook(_take_statistics) for layer in batch_norm_layers(adapted.network).values()]
    adapted.encode_image(adapted.preprocess(images, adapted.device))
    for hook in hooks:
        hook.remove()
    return adapted


def statistics_rows(images: int) -> np.ndarray:
    """Which of so many images :func:`with_statistics_of` looks at, ascending: all, or of more the same each time."""
    return np.sort(np.random.default_rng(0).permutation(images)[:STATISTICS_IMAGES])


def _take_statistics(layer: Any, inputs: tuple[torch.Tensor]) -> None:
    """Set a layer's statistics to those of its input, of all positions of all images, as training mode does."""
    (activations,) = inputs
    variance, mean = torch.var_mean(activations.float(), [0, *range(2, activations.ndim)], correction=0)
    layer.running_mean.copy_(mean)
    layer.running_var.copy_(variance)
