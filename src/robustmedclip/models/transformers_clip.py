"""Models of transformers: CLIP (PubMedCLIP), SigLIP (MedSigLIP) and SigLIP 2."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import nn

from robustmedclip.errors import InputError
from robustmedclip.models.checkpoints import HUB, load_strictly, local_path, read_weights
from robustmedclip.models.interface import VisionLanguageModel
from robustmedclip.models.preprocessing import Preprocessing

#: Model types of transformers with ``get_image_features`` and ``get_text_features`` over plain pixels.
MODEL_TYPES = ("clip", "siglip")

_FILES = ("*.json", "*.txt", "*.model", "model*.safetensors")

#: Pillow's numbers of the interpolations, which ``preprocessor_config.json`` has.
_RESAMPLE = {2: "bilinear", 3: "bicubic"}

_LORA_TARGETS = r"model\.vision_model\..+\.self_attn\.(q|k|v)_proj"


class Towers(nn.Module):
    """Both towers behind open_clip's method names."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    @property
    def visual(self) -> nn.Module:
        return self.model.vision_model

    def encode_image(self, pixels: torch.Tensor) -> torch.Tensor:
        return _pooled(self.model.get_image_features(pixel_values=pixels))

    def encode_text(self, tokens: torch.Tensor) -> torch.Tensor:
        return _pooled(self.model.get_text_features(input_ids=tokens))


def _pooled(features: Any) -> torch.Tensor:
    """transformers 5 returns the features inside of an output object, 4 alone."""
    return features if isinstance(features, torch.Tensor) else features.pooler_output


def load_transformers(model: str, weights: str | None = None, name: str | None = None) -> VisionLanguageModel:
    """Load a CLIP or SigLIP of transformers, ready to be evaluated or adapted.

    Parameters
    ----------
    model : str
        Folder, or name on the hub, with configuration, tokenizer and preprocessing.
    weights : str, optional
        Weights file, if not the folder's own.
    name : str, optional
        What to call it.

    Returns
    -------
    VisionLanguageModel
        In evaluation mode, its parameters frozen.

    Raises
    ------
    InputError
        If the weights are missing, damaged, not finite, or don't fit the architecture, or it is another kind of model.
    """
    folder = Path(model) if Path(model).is_dir() else local_path(f"{HUB}{model}", _FILES)
    name = name or model
    config = _json(folder / "config.json")
    if config.get("model_type") not in MODEL_TYPES:
        raise InputError(
            f"{name} is a model of type {config.get('model_type')!r}; those of transformers that can be evaluated are "
            f"{', '.join(MODEL_TYPES)} (SigLIP 2 of a fixed resolution is of type siglip)"
        )
    try:
        network = transformers.AutoModel.from_config(transformers.AutoConfig.from_pretrained(folder))
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    except (OSError, ValueError, KeyError, TypeError, ImportError) as error:
        raise InputError(f"The model {name} can't be loaded: {error}") from error
    state = {}
    for file in [Path(weights)] if weights else _weight_files(folder, model):
        state |= read_weights(file)
    load_strictly(network, state, name)
    return VisionLanguageModel(
        name=name,
        network=Towers(network).requires_grad_(False).eval().to(memory_format=torch.channels_last),
        tokenize=_Tokenize(tokenizer, network.config.text_config.max_position_embeddings),
        preprocess=_preprocessing(_json(folder / "preprocessor_config.json"), name),
        logit_scale=float(network.logit_scale.detach().exp()),
        lora_targets=_LORA_TARGETS,
    )


def _json(file: Path) -> dict[str, Any]:
    try:
        return json.loads(file.read_text())
    except (OSError, json.JSONDecodeError) as error:
        raise InputError(f"The model in {file.parent} can't be loaded: {error}") from error


def _weight_files(folder: Path, model: str) -> list[Path]:
    """The weights' files: one, or the parts of a large model; safetensors where there are any."""
    if files := sorted(folder.glob("model*.safetensors")):
        return files
    if str(folder) != model:
        local_path(f"{HUB}{model}", ("pytorch_model.bin",))
    if (folder / "pytorch_model.bin").is_file():
        return [folder / "pytorch_model.bin"]
    raise InputError(f"The model in {folder} can't be loaded: it has no model.safetensors and no pytorch_model.bin")


@dataclass(frozen=True)
class _Tokenize:
    """Padded to the full length, as CLIP and SigLIP were trained, without a mask."""

    tokenizer: Any
    length: int

    def __call__(self, texts: list[str]) -> torch.Tensor:
        encoded = self.tokenizer(
            texts, padding="max_length", truncation=True, max_length=self.length, return_tensors="pt"
        )
        return encoded.input_ids


def _preprocessing(settings: dict[str, Any], name: str) -> Preprocessing:
    """transformers' ``preprocessor_config.json``: scale the shortest side and crop (CLIP), or squash (SigLIP)."""
    size, crop = settings.get("size", {}), settings.get("crop_size")
    try:
        if settings.get("do_center_crop"):
            shortest = size if isinstance(size, int) else size["shortest_edge"]
            target = (crop, crop) if isinstance(crop, int) else (crop["height"], crop["width"])
            if target != (shortest, shortest):
                raise ValueError(f"it scales to {shortest} and crops to {target}")
            mode = "shortest"
        else:
            target, mode = (size["height"], size["width"]), "squash"
        return Preprocessing(
            size=target,
            mean=tuple(settings["image_mean"]),
            std=tuple(settings["image_std"]),
            interpolation=_RESAMPLE[settings["resample"]],
            resize_mode=mode,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"The model {name} can't be loaded: its preprocessor_config.json is not supported: {error!r}"
        ) from error


def save_transformers(folder: Path, model: VisionLanguageModel) -> None:
    """Write a model that :func:`load_transformers` has loaded as a folder that it loads without a network.

    Parameters
    ----------
    folder : Path
        Existing folder.
    model : VisionLanguageModel
        Its attention is that of transformers: nothing has to be fused.
    """
    model.network.model.save_pretrained(folder)
    model.tokenize.tokenizer.save_pretrained(folder)
    preprocess = model.preprocess
    height, width = preprocess.size
    cropped = preprocess.resize_mode == "shortest"
    sides = {"height": height, "width": width}
    settings = {
        "do_center_crop": cropped,
        "size": {"shortest_edge": height} if cropped else sides,
        **({"crop_size": sides} if cropped else {}),
        "image_mean": preprocess.mean,
        "image_std": preprocess.std,
        "resample": next(number for number, name in _RESAMPLE.items() if name == preprocess.interpolation),
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(settings, indent=2) + "\n")
