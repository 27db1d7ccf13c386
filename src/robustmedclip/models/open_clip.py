"""Models of open_clip: CLIP and its medical descendants."""

import json
from pathlib import Path

import open_clip
import torch
from safetensors import SafetensorError

from robustmedclip.errors import InputError
from robustmedclip.models.attention import unfuse_attention
from robustmedclip.models.interface import Preprocessing, VisionLanguageModel

_LORA_TARGETS = {
    "open_clip ViT": r"visual\.transformer\.resblocks\.\d+\.attn\.(q|k|v)_proj",
    "open_clip ResNet": r"visual\.layer\d\.\d+\.conv\d",
    "timm ViT": r"visual\.trunk\.blocks\.\d+\.attn\.qkv\.(q|k|v)_proj",
    "timm ResNet": r"visual\.trunk\.layer\d\.\d+\.conv\d",
}


def load_open_clip(model: str, pretrained: str | None = None) -> VisionLanguageModel:
    """Load a model through open_clip, ready to be evaluated or adapted.

    Parameters
    ----------
    model : str
        ``local-dir:<folder>``, ``hf-hub:<repository>`` or a model name of open_clip.
    pretrained : str, optional
        open_clip's tag of the weights, or a weights file, for a model name.

    Returns
    -------
    VisionLanguageModel
        In evaluation mode, its parameters frozen.

    Raises
    ------
    InputError
        If the weights are missing, damaged, not finite, or don't fit the architecture.
    """
    try:
        network = open_clip.create_model(model, pretrained, require_pretrained=True)
        tokenizer = open_clip.get_tokenizer(model)
    except (RuntimeError, OSError, KeyError, ValueError, json.JSONDecodeError, SafetensorError) as error:
        raise InputError(f"The model {model!r} can't be loaded: {error}") from error
    bad = [name for name, tensor in network.state_dict().items() if not torch.isfinite(tensor).all()]
    if bad:
        raise InputError(f"The weights of {model!r} are not finite: {', '.join(bad[:5])}")
    settings = network.visual.preprocess_cfg
    size = settings["size"]
    network.visual = unfuse_attention(network.visual).to(memory_format=torch.channels_last)
    return VisionLanguageModel(
        network=network.requires_grad_(False).eval(),
        tokenize=tokenizer,
        preprocess=Preprocessing(
            size=(size, size) if isinstance(size, int) else tuple(size),
            mean=tuple(settings["mean"]),
            std=tuple(settings["std"]),
            interpolation=settings["interpolation"],
            resize_mode=settings["resize_mode"],
        ),
        logit_scale=float(network.logit_scale.detach().exp()),
        lora_targets=_lora_targets(network),
    )


def _lora_targets(network: torch.nn.Module) -> str:
    visual = network.visual
    if hasattr(visual, "trunk"):
        return _LORA_TARGETS["timm ViT" if hasattr(visual.trunk, "blocks") else "timm ResNet"]
    return _LORA_TARGETS["open_clip ViT" if hasattr(visual, "transformer") else "open_clip ResNet"]


def new_open_clip(model_config: dict) -> torch.nn.Module:
    """An untrained network of open_clip's ``model_cfg``; its weights are drawn from torch's generator."""
    return open_clip.model.CLIP(**model_config)


def save_open_clip(
    folder: Path, network: torch.nn.Module, model_config: dict, preprocessing: Preprocessing
) -> None:
    """Write weights and configuration as a folder that ``local-dir:`` loads.

    Parameters
    ----------
    folder : Path
        Existing folder.
    network : nn.Module
        Built by open_clip from `model_config`, its attention as open_clip made it.
    model_config : dict
        open_clip's ``model_cfg``.
    preprocessing : Preprocessing
        How the model wants its images.
    """
    from safetensors.torch import save_file

    size = preprocessing.size
    config = {
        "model_cfg": model_config,
        "preprocess_cfg": {
            "size": size[0] if size[0] == size[1] else list(size),
            "mean": list(preprocessing.mean),
            "std": list(preprocessing.std),
            "interpolation": preprocessing.interpolation,
            "resize_mode": preprocessing.resize_mode,
        },
    }
    (folder / "open_clip_config.json").write_text(json.dumps(config, indent=2) + "\n")
    weights = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
    save_file(weights, folder / "open_clip_model.safetensors", metadata={"format": "pt"})
