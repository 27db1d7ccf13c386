"""The one interface that everything downstream uses of a model."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F


@dataclass(frozen=True)
class Preprocessing:
    """How a model wants its images.

    Attributes
    ----------
    size : (int, int)
        Height and width in pixels.
    mean, std : tuple of float
        Of the red, green and blue channel, on the scale [0, 1].
    interpolation : str
        ``bicubic`` or ``bilinear``, antialiased.
    resize_mode : str
        ``shortest``: scale the shortest side, then crop the centre; ``squash``: scale both sides.
    """

    size: tuple[int, int]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    interpolation: str = "bicubic"
    resize_mode: str = "shortest"

    def __call__(self, images: np.ndarray, device: torch.device | str = "cpu") -> torch.Tensor:
        """Turn uint8 images ``(N, H, W, 1 or 3)`` into model input, float32 ``(N, 3, *size)``, channels last."""
        batch = torch.from_numpy(np.array(images, copy=True)).to(device).permute(0, 3, 1, 2)
        batch = self._resized(batch).to(torch.float32).div_(255)
        mean, std = (torch.tensor(v, device=device).view(1, 3, 1, 1) for v in (self.mean, self.std))
        return batch.expand(-1, 3, -1, -1).sub(mean).div_(std).contiguous(memory_format=torch.channels_last)

    def _resized(self, batch: torch.Tensor) -> torch.Tensor:
        height, width = batch.shape[-2:]
        target = self.size
        if self.resize_mode == "shortest":
            scale = max(self.size[0] / height, self.size[1] / width)
            target = (max(self.size[0], round(height * scale)), max(self.size[1], round(width * scale)))
        if (height, width) != target:
            batch = F.interpolate(
                batch.contiguous(), target, mode=self.interpolation, antialias=True, align_corners=False
            )
        top, left = (target[0] - self.size[0]) // 2, (target[1] - self.size[1]) // 2
        return batch[..., top : top + self.size[0], left : left + self.size[1]]


@dataclass
class VisionLanguageModel:
    """A contrastive image-text model.

    Attributes
    ----------
    network : nn.Module
        Has ``visual``, ``encode_image`` and ``encode_text``; attention unfused.
    tokenize : callable
        List of strings to token ids.
    preprocess : Preprocessing
        uint8 images to model input.
    logit_scale : float
        Factor of the cosine similarity.
    lora_targets : str
        Regular expression of the layers of the visual encoder that LoRA adapts.
    """

    network: nn.Module
    tokenize: Callable[[list[str]], torch.Tensor]
    preprocess: Preprocessing
    logit_scale: float
    lora_targets: str

    def encode_image(self, pixels: torch.Tensor) -> torch.Tensor:
        """Unit image features, float32 ``(N, D)``, of model input."""
        return F.normalize(self.network.encode_image(pixels).float(), dim=-1)

    @torch.inference_mode()
    def encode_text(self, texts: Sequence[str]) -> torch.Tensor:
        """Unit text features, float32 ``(N, D)``; each text is encoded by itself."""
        device = next(self.network.parameters()).device
        features = [self.network.encode_text(self.tokenize([text]).to(device)) for text in texts]
        return F.normalize(torch.cat(features).float(), dim=-1)

    def content_hash(self) -> str:
        """Hash of all weights and buffers."""
        digest = hashlib.blake2b(digest_size=16)
        for name, tensor in sorted(self.network.state_dict().items()):
            digest.update(f"{name}|{tensor.dtype}|{tuple(tensor.shape)}".encode())
            digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()


def zero_shot_classifier(
    model: VisionLanguageModel, class_names: Sequence[str], templates: Sequence[str], modality: str
) -> torch.Tensor:
    """Unit class vectors from prompts.

    The vector of a class is the normalised mean of its prompts' unit features, one per template
    (Radford et al. 2021, arXiv:2103.00020, section 3.1.4).

    Parameters
    ----------
    model : VisionLanguageModel
        The model.
    class_names, templates : sequence of str
        Each template contains ``{class_name}`` and may contain ``{modality}``.
    modality : str
        Imaging modality.

    Returns
    -------
    Tensor
        float32 ``(classes, D)``.
    """
    prompts = [
        template.format(class_name=name, modality=modality) for name in class_names for template in templates
    ]
    features = model.encode_text(prompts).view(len(class_names), len(templates), -1)
    return F.normalize(features.mean(1), dim=-1)
