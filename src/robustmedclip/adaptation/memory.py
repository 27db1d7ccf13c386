"""Memory of a training on a GPU."""

from functools import partial
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint
from transformers.modeling_layers import GradientCheckpointingLayer

from robustmedclip.models.interface import VisionLanguageModel

#: Fraction of the free memory that activations may take; the rest is for gradients, the optimiser and workspaces.
_FRACTION = 0.7


def activation_bytes(model: VisionLanguageModel, images: int, precision: torch.dtype = torch.float32) -> int:
    """Bytes that the forward pass of a batch keeps for the backward pass, from those of one image and of two.

    What doesn't grow with the images are copies of weights in another precision.
    """
    one, two = (_kept_bytes(model, count, precision) for count in (1, 2))
    return one + (images - 1) * (two - one)


def _kept_bytes(model: VisionLanguageModel, images: int, precision: torch.dtype) -> int:
    kept: dict[int, int] = {}
    weights = {parameter.data_ptr() for parameter in model.network.parameters()}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if tensor.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    pixels = torch.zeros(images, 3, *model.preprocess.size, device=model.device)
    with (
        torch.enable_grad(),
        torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor),
        torch.autocast(model.device.type, precision, enabled=precision != torch.float32),
    ):
        features = model.encode_image(pixels)  # noqa: F841 - held, so that no storage is used twice
    return sum(kept.values())


def fit_into_memory(model: VisionLanguageModel, batch_size: int, precision: torch.dtype) -> bool:
    """Compute activations of a transformer anew in the backward pass if a batch's don't fit into its GPU's free memory.

    On a CPU nothing changes. Returns whether it was done.
    """
    if model.device.type != "cuda":
        return False
    needed = activation_bytes(model, batch_size, precision)
    torch.cuda.empty_cache()  # what torch keeps for later is free, too
    free, _ = torch.cuda.mem_get_info(model.device)
    if needed <= _FRACTION * free:
        return False
    checkpoint_activations(model.network.get_submodule("visual"))
    return True


def checkpoint_activations(visual: nn.Module) -> None:
    """Keep the inputs of a transformer's blocks alone, and compute the rest anew (Chen et al. 2016, arXiv:1604.06174).

    Results stay the same. An encoder that is no transformer of open_clip, timm or transformers is left as it is.
    """
    if enable := getattr(visual, "set_grad_checkpointing", None):
        enable(True)
        return
    layers: list[Any] = [layer for layer in visual.modules() if isinstance(layer, GradientCheckpointingLayer)]
    for layer in layers:
        # The layers inside, dropout among them, stay in evaluation.
        layer.gradient_checkpointing = layer.training = True
        layer._gradient_checkpointing_func = partial(checkpoint, use_reentrant=False)
