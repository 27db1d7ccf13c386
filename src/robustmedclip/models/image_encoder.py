"""Image encoders without text, behind the interface of all models."""

from typing import Any

import torch
from torch import nn

from robustmedclip.models.attention import lora_targets, unfuse_attention
from robustmedclip.models.formats.model_format import ModelFormat
from robustmedclip.models.interface import VisionLanguageModel
from robustmedclip.models.preprocessing import Preprocessing


class ImageEncoder(nn.Module):
    """A network whose output are the features of images.

    Parameters
    ----------
    visual : nn.Module
        Model input, float32 ``(N, 3, H, W)``, to features ``(N, D)``.
    """

    def __init__(self, visual: nn.Module):
        super().__init__()
        self.visual = visual

    def encode_image(self, pixels: torch.Tensor) -> torch.Tensor:
        features: torch.Tensor = self.visual(pixels)
        return features


def image_encoder(
    visual: nn.Module,
    preprocess: Preprocessing,
    name: str,
    kind: type[ModelFormat],
    config: dict[str, Any],
    targets: str | None = None,
) -> VisionLanguageModel:
    """A network with its weights as a model without text, in evaluation mode, its parameters frozen.

    Parameters
    ----------
    visual : nn.Module
        As :class:`ImageEncoder` takes it; its attention is unfused.
    preprocess : Preprocessing
        How it wants its images.
    name : str
        What to call it.
    kind : type
        The format that it is written in.
    config : dict
        What the format needs to write it.
    targets : str, optional
        Regular expression of the layers that LoRA adapts; by default :func:`lora_targets`.
    """
    network: Any = ImageEncoder(unfuse_attention(visual)).requires_grad_(False).eval()
    return VisionLanguageModel(
        name=name,
        network=network.to(memory_format=torch.channels_last),
        tokenize=None,
        preprocess=preprocess,
        logit_scale=1.0,
        lora_targets=targets or lora_targets(network.visual),
        format=kind,
        config=config,
    )
