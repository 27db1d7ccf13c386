"""Image encoders of transformers without text: DINOv2, and Rad-DINO, which is one."""

import re
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers.models.dinov2 import modeling_dinov2

from robustmedclip.errors import InputError
from robustmedclip.models.checkpoints import load_strictly, local_path, read_weights
from robustmedclip.models.formats.model_format import HUB
from robustmedclip.models.formats.transformers import VISION_TYPES, TransformersVision
from robustmedclip.models.image_encoder import image_encoder
from robustmedclip.models.image_processor import preprocessing_in, save_preprocessing
from robustmedclip.models.interface import VisionLanguageModel
from robustmedclip.models.tokenizers import read_json
from robustmedclip.models.transformers_clip import FILES, untrained_network, weight_files

#: Names of the attention's layers as they are published, to those that transformers has since its fifth version.
_NAMES = (
    (r"\.attention\.attention\.(query|key|value)\.", lambda match: f".attention.{match[1][0]}_proj."),
    (r"\.attention\.output\.dense\.", lambda match: ".attention.o_proj."),
)


class Pooled(nn.Module):
    """A network of transformers whose output are the features of the whole image: of DINOv2, those of its first token.

    Parameters
    ----------
    model : nn.Module
        Its output has ``pooler_output``.
    """

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        features: torch.Tensor = self.model(pixel_values=pixels).pooler_output
        return features


def load_transformers_vision(model: str, weights: str | None = None, name: str | None = None) -> VisionLanguageModel:
    """Load an image encoder of transformers, ready to be probed or adapted.

    Parameters
    ----------
    model : str
        Folder, or name on the hub, with configuration and preprocessing.
    weights : str, optional
        Weights file, if not the folder's own.
    name : str, optional
        What to call it.

    Raises
    ------
    InputError
        As :func:`robustmedclip.models.transformers_clip.load_transformers`.
    """
    folder = Path(model) if Path(model).is_dir() else local_path(f"{HUB}{model}", FILES)
    name = name or model
    kind = read_json(folder / "config.json").get("model_type")
    if kind not in VISION_TYPES:
        raise InputError(
            f"{name} is a model of type {kind!r}; those of transformers without text that can be evaluated are "
            f"{', '.join(VISION_TYPES)}"
        )
    state: dict[str, torch.Tensor] = {}
    for file in [Path(weights)] if weights else weight_files(folder, model):
        state |= {_current(key): tensor for key, tensor in read_weights(file).items()}
    network = untrained_network(folder, name, state)
    preprocess = preprocessing_in(folder, kind, network.config.image_size)
    load_strictly(network, state, name)
    targets = r"visual\..+\.attention\.(q|k|v|query|key|value)(_proj)?"
    return image_encoder(Pooled(network), preprocess, name, TransformersVision, {}, targets)


def _current(key: str) -> str:
    """The name of a published weight in the transformers that is installed."""
    if hasattr(modeling_dinov2, "Dinov2SelfAttention"):  # the names that are published
        return key
    for pattern, name in _NAMES:
        key = re.sub(pattern, name, key)
    return key


def save_transformers_vision(folder: Path, model: VisionLanguageModel) -> None:
    """Write a model that :func:`load_transformers_vision` has loaded as a folder that it loads without a network.

    Parameters
    ----------
    folder : Path
        Existing folder.
    model : VisionLanguageModel
        An adapter, if it has one, is merged.
    """
    network: Any = model.network
    network.visual.model.save_pretrained(folder)
    save_preprocessing(folder, model.preprocess)
