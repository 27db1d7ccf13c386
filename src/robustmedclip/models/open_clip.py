"""Models of open_clip: CLIP and its medical descendants."""

import copy
import json
import logging
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import open_clip
import torch
from open_clip.factory import convert_state_dict, convert_to_custom_text_state_dict
from open_clip.hf_model import HFTextEncoder
from open_clip.pretrained import download_pretrained, download_pretrained_from_hf, get_pretrained_cfg
from open_clip.tokenizer import HFTokenizer
from safetensors.torch import save_file

from robustmedclip.errors import InputError
from robustmedclip.models.attention import (
    UnfusedAttention,
    UnfusedProjection,
    fuse_attention,
    unfuse_attention,
)
from robustmedclip.models.checkpoints import HUB, load_strictly, local_path, read_weights
from robustmedclip.models.interface import VisionLanguageModel
from robustmedclip.models.layouts import LAYOUTS
from robustmedclip.models.preprocessing import CLIP_MEAN, CLIP_STD, Preprocessing
from robustmedclip.models.text_towers import text_tower_config

logger = logging.getLogger(__name__)

CONFIG = "open_clip_config.json"

#: What is needed of a model on the hub beside its weights.
_SMALL_FILES = ("*.json", "text/*.json", "*.txt", "*.model")

#: Names of weights in a folder, in open_clip's order of preference.
_WEIGHTS = (
    "open_clip_model.safetensors",
    "open_clip_pytorch_model.safetensors",
    "open_clip_pytorch_model.bin",
    "open_clip_pytorch_model.pth",
    "model.safetensors",
    "pytorch_model.bin",
    "pytorch_model.pth",
)

_LORA_TARGETS = {
    UnfusedAttention: r"visual\..+\.attn\.(q|k|v)_proj",
    UnfusedProjection: r"visual\..+\.qkv\.(q|k|v)_proj",
}
_RESNET_LORA_TARGETS = r"visual\.(trunk\.)?layer\d\.\d+\.conv\d"


def load_open_clip(model: str, pretrained: str | None = None, name: str | None = None) -> VisionLanguageModel:
    """Load a model of open_clip, ready to be evaluated or adapted.

    Parameters
    ----------
    model : str
        ``local-dir:<folder>``, ``hf-hub:<repository>`` or a model name of open_clip.
    pretrained : str, optional
        open_clip's tag of the weights, or a weights file, for a model name.
    name : str, optional
        What to call it.

    Returns
    -------
    VisionLanguageModel
        In evaluation mode, its parameters frozen.

    Raises
    ------
    InputError
        If the weights are missing, damaged, not finite, or don't fit the architecture.
    """
    if model.startswith("local-dir:"):
        folder = Path(model.removeprefix("local-dir:"))
        weights = _weights_in(folder)
        if weights is None:
            raise InputError(f"The model in {folder} can't be loaded: it has none of {', '.join(_WEIGHTS)}")
        return _from_folder(folder, weights, model, name or folder.name)
    if model.startswith(HUB):
        folder = local_path(model, _SMALL_FILES)
        weights = _weights_in(folder) or _downloaded(model)
        tokenizer = f"local-dir:{folder}" if _has_tokenizer(folder) else model
        return _from_folder(folder, weights, tokenizer, name or model.removeprefix(HUB))
    config = open_clip.get_model_config(model)
    if config is None:
        raise InputError(f"open_clip has no model {model!r}; it has {', '.join(open_clip.list_models())}")
    weights, settings = _named_weights(model, pretrained)
    return _assembled(config, weights, settings, tokenizer=model, folder=None, name=name or f"{model} ({pretrained})")


def load_checkpoint(layout: str, weights: str, text: str | None = None, name: str | None = None) -> VisionLanguageModel:
    """Load a checkpoint that was published in a layout of its own.

    Parameters
    ----------
    layout : str
        ``unimedclip``, ``medclip`` or ``pmcclip``.
    weights : str
        The file or the folder, or ``hf-hub:`` and a repository, with or without a file.
    text : str, optional
        Folder, or name on the hub, of the text tower's tokenizer (and ``config.json``, if it is an unusual one); by
        default the folder of the weights, if it has a tokenizer, else the hub.
    name : str, optional
        What to call it.

    Returns
    -------
    VisionLanguageModel
        In evaluation mode, its parameters frozen.

    Raises
    ------
    InputError
        If files are missing, damaged, not finite, or belong to another model.
    """
    if layout not in LAYOUTS:
        raise InputError(f"There is no layout {layout!r}; known are {', '.join(LAYOUTS)}")
    path = local_path(weights, (*_SMALL_FILES, *(s for p in LAYOUTS[layout].files for s in p.split("|"))))
    converted = LAYOUTS[layout].read(path)
    folder = path if path.is_dir() else path.parent
    if text is not None or not _has_tokenizer(folder):
        source = text or converted.config["text_cfg"]["hf_tokenizer_name"]
        folder = Path(source) if Path(source).is_dir() else local_path(f"{HUB}{source}", _SMALL_FILES)
    return _assembled(
        converted.config,
        converted.weights,
        converted.preprocessing,
        tokenizer=str(folder),
        folder=folder,
        name=name or f"{layout} ({path.name})",
        text_tower=converted.text_tower,
    )


def _from_folder(folder: Path, weights: Path, tokenizer: str, name: str) -> VisionLanguageModel:
    file = folder / CONFIG
    try:
        content = json.loads(file.read_text())
        config, settings = content["model_cfg"], content.get("preprocess_cfg", {})
    except (OSError, json.JSONDecodeError, KeyError, TypeError) as error:
        raise InputError(
            f"The model in {folder} can't be loaded: {file} is not a configuration of open_clip ({error})"
        ) from error
    return _assembled(config, read_weights(weights), settings, tokenizer=tokenizer, folder=folder, name=name)


def _weights_in(folder: Path) -> Path | None:
    return next((folder / name for name in _WEIGHTS if (folder / name).is_file()), None)


def _named_weights(model: str, pretrained: str | None) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Weights, and what is known of the preprocessing, of a model that open_clip knows by name."""
    if pretrained is None:
        raise InputError(f"{model!r} needs weights: give 'pretrained', a file or one of {_tags(model)}")
    if Path(pretrained).is_file():
        return read_weights(Path(pretrained)), _settings_of(model)
    settings = get_pretrained_cfg(model, pretrained)
    if not settings:
        raise InputError(f"{model!r} has no weights {pretrained!r}: it is no file, and not one of {_tags(model)}")
    trained_with, has = (bool(c.get("quick_gelu")) for c in (settings, open_clip.get_model_config(model)))
    if trained_with != has:
        other = f"{model}-quickgelu" if trained_with else model.removesuffix("-quickgelu")
        raise InputError(f"The weights {pretrained!r} of {model!r} were trained with another activation: use {other!r}")
    try:
        return read_weights(Path(download_pretrained(settings))), settings
    except (OSError, RuntimeError) as error:
        raise _unreachable(f"the weights {pretrained!r} of {model!r}", error) from error


def _settings_of(model: str) -> dict[str, Any]:
    """The preprocessing of all weights that open_clip knows of a model; where they differ, or it knows none, CLIP's."""
    known = [get_pretrained_cfg(model, tag) for tag in open_clip.list_pretrained_tags_by_model(model)]
    keys = ("mean", "std", "interpolation", "resize_mode")
    settings = [{key: config.get(key) for key in keys} for config in known]
    if settings and all(one == settings[0] for one in settings):
        return settings[0]
    logger.warning(
        "The weights are a file, which doesn't say how %s wants its images: they are prepared as CLIP's. If it was trained "
        "otherwise, give a folder with %s in place of the file",
        model,
        CONFIG,
    )
    return {}


def _downloaded(model: str) -> Path:
    """The weights of a repository on the hub: safetensors, or else what ``torch.save`` wrote."""
    try:
        return Path(download_pretrained_from_hf(model.removeprefix(HUB)))
    except OSError as error:
        raise _unreachable(f"the weights of {model}", error) from error


def _unreachable(what: str, error: Exception) -> InputError:
    return InputError(
        f"Can't get {what}: they are not in the cache, and the download failed ({error}). Check the name and the "
        "network, or download them elsewhere and give the path"
    )


def _tags(model: str) -> str:
    return ", ".join(open_clip.list_pretrained_tags_by_model(model)) or "none"


def _has_tokenizer(folder: Path) -> bool:
    return any((folder / file).is_file() for file in ("tokenizer.json", "vocab.txt", "tokenizer_config.json"))


def _assembled(
    config: dict[str, Any],
    weights: dict[str, torch.Tensor],
    settings: Mapping[str, Any] | Preprocessing,
    *,
    tokenizer: str,
    folder: Path | None,
    name: str,
    text_tower: Mapping[str, Any] | None = None,
) -> VisionLanguageModel:
    """Build the network, give it exactly these weights, and wrap it.

    `settings` is open_clip's ``preprocess_cfg``, or the preprocessing itself; `tokenizer` is what
    ``open_clip.get_tokenizer`` takes, or where a tokenizer of transformers lies; `text_tower` is added to the text
    tower's configuration, which is looked for in `folder`.
    """
    try:
        network = _network(config, folder, text_tower or {})
        tokenize = _tokenizer(tokenizer, config)
    except (OSError, ValueError, TypeError, RuntimeError, KeyError, ImportError) as error:
        raise InputError(
            f"The model {name} can't be loaded: {error}. Its text tower and tokenizer come from "
            f"{folder or tokenizer}; without a network, put the tokenizer's files beside the weights, and the text "
            "tower's config.json into the folder 'text' there"
        ) from error
    load_strictly(network, _adjusted(network, weights), name)
    network.visual = unfuse_attention(network.visual).to(memory_format=torch.channels_last)
    return VisionLanguageModel(
        name=name,
        network=network.requires_grad_(False).eval(),
        tokenize=_Trimmed(tokenize, network.text.config.pad_token_id) if _is_masked(network) else tokenize,
        preprocess=settings if isinstance(settings, Preprocessing) else _preprocessing(settings, network, name),
        logit_scale=float(network.logit_scale.detach().exp()),
        lora_targets=_lora_targets(network.visual),
        config=config,
    )


def _network(config: dict[str, Any], folder: Path | None, text_tower: Mapping[str, Any]) -> torch.nn.Module:
    config = copy.deepcopy(config)
    text, vision = config["text_cfg"], config["vision_cfg"]
    custom = config.pop("custom_text", False) or bool(text.get("hf_model_name"))
    build = open_clip.CustomTextCLIP if custom else open_clip.CLIP
    if "timm_model_name" in vision:
        vision["timm_model_pretrained"] = False
    if not text.get("hf_model_name"):
        return build(**config)
    text["hf_model_pretrained"] = False
    known = text_tower_config(text["hf_model_name"], folder)
    if known is None:
        return build(**config)
    with tempfile.TemporaryDirectory() as local:
        (Path(local) / "config.json").write_text(json.dumps({**known, **text_tower}))
        text["hf_model_name"] = local
        return build(**config)


@dataclass(frozen=True)
class _Trimmed:
    """A tokenizer without the padding that all texts have, for a text tower that pays no attention to it."""

    tokenizer: Any
    padding: int

    def __call__(self, texts: list[str]) -> torch.Tensor:
        tokens = self.tokenizer(texts)
        return tokens[:, : 1 + int((tokens != self.padding).any(0).nonzero().max())]


def _is_masked(network: torch.nn.Module) -> bool:
    return isinstance(getattr(network, "text", None), HFTextEncoder)


def _tokenizer(source: str, config: dict[str, Any]) -> Any:
    if source.startswith("local-dir:") or source in open_clip.list_models():
        return open_clip.get_tokenizer(source)
    return HFTokenizer(source, context_length=config["text_cfg"]["context_length"])


def _adjusted(network: torch.nn.Module, weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Weights of the layouts that open_clip itself knows, as the network has them."""
    weights = convert_state_dict(network, weights)
    if "positional_embedding" in weights and not hasattr(network, "positional_embedding"):
        weights = convert_to_custom_text_state_dict(weights)
    # Sizes that older checkpoints of OpenAI's layout carry beside the weights.
    weights = {k: v for k, v in weights.items() if k not in ("input_resolution", "context_length", "vocab_size")}
    for scalar in ("logit_scale", "logit_bias"):
        if scalar in weights and getattr(network, scalar) is not None:
            weights[scalar] = weights[scalar].reshape(getattr(network, scalar).shape)
    return weights


def _preprocessing(settings: Mapping[str, Any], network: torch.nn.Module, name: str) -> Preprocessing:
    size = network.visual.image_size
    try:
        return Preprocessing(
            size=(size, size) if isinstance(size, int) else tuple(size),
            mean=tuple(settings.get("mean") or CLIP_MEAN),
            std=tuple(settings.get("std") or CLIP_STD),
            interpolation=settings.get("interpolation") or "bicubic",
            resize_mode=settings.get("resize_mode") or "shortest",
            mode=settings.get("mode") or "RGB",
            fill_color=settings.get("fill_color") or 0,
        )
    except ValueError as error:
        raise InputError(f"The model {name} can't be loaded: of its preprocessing, {error}") from error


def _lora_targets(visual: torch.nn.Module) -> str:
    kinds = {type(module) for module in visual.modules()}
    return next((targets for kind, targets in _LORA_TARGETS.items() if kind in kinds), _RESNET_LORA_TARGETS)


def new_open_clip(model_config: dict) -> torch.nn.Module:
    """An untrained network of open_clip's ``model_cfg``; its weights are drawn from torch's generator."""
    return open_clip.model.CLIP(**model_config)


def save_open_clip(folder: Path, network: torch.nn.Module, model_config: dict, preprocessing: Preprocessing) -> None:
    """Write weights and configuration as a folder that ``local-dir:`` loads.

    Parameters
    ----------
    folder : Path
        Existing folder.
    network : nn.Module
        Built by open_clip from `model_config`; unfused attention is fused again in what is written.
    model_config : dict
        open_clip's ``model_cfg``.
    preprocessing : Preprocessing
        How the model wants its images.
    """
    size = preprocessing.size
    settings = {**asdict(preprocessing), "size": size[0] if size[0] == size[1] else size}
    config = {"model_cfg": model_config, "preprocess_cfg": settings}
    (folder / CONFIG).write_text(json.dumps(config, indent=2) + "\n")
    shared = {id(tensor): tensor for tensor in (*network.parameters(), *network.buffers())}
    weights = fuse_attention(copy.deepcopy(network, shared)).state_dict()
    weights = {name: tensor.contiguous() for name, tensor in weights.items()}
    save_file(weights, folder / "open_clip_model.safetensors", metadata={"format": "pt"})
