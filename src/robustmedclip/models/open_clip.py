"""Models of open_clip: CLIP and its medical descendants."""

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import open_clip
import torch
from open_clip.pretrained import download_pretrained, download_pretrained_from_hf, get_pretrained_cfg

from robustmedclip.errors import InputError
from robustmedclip.models.checkpoints import local_path, read_weights
from robustmedclip.models.formats.model_format import HUB
from robustmedclip.models.formats.open_clip import CONFIG
from robustmedclip.models.interface import VisionLanguageModel
from robustmedclip.models.open_clip_network import assembled
from robustmedclip.models.text_towers import SMALL_FILES, has_tokenizer
from robustmedclip.models.tokenizers import read_json

logger = logging.getLogger(__name__)

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


def load_open_clip(
    model: str,
    pretrained: str | None = None,
    name: str | None = None,
    *,
    quick_gelu: bool | None = None,
    preprocess: Mapping[str, Any] | None = None,
) -> VisionLanguageModel:
    """Load a model of open_clip, ready to be evaluated or adapted.

    Parameters
    ----------
    model : str
        ``local-dir:<folder>``, ``hf-hub:<repository>`` or a model name of open_clip.
    pretrained : str, optional
        open_clip's tag of the weights, or a weights file, for a model name.
    name : str, optional
        What to call it.
    quick_gelu : bool, optional
        Whether a weights file was trained with the activation QuickGELU; by default as the model's name says.
    preprocess : mapping, optional
        Keys of open_clip's ``preprocess_cfg`` that are otherwise than open_clip has them.

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
        file = _weights_in(folder)
        if file is None:
            raise InputError(f"The model in {folder} can't be loaded: it has none of {', '.join(_WEIGHTS)}")
        return _from_folder(folder, file, model, name or folder.name)
    if model.startswith(HUB):
        folder = local_path(model, SMALL_FILES)
        file = _weights_in(folder) or _downloaded(model)
        tokenizer = f"local-dir:{folder}" if has_tokenizer(folder) else model
        return _from_folder(folder, file, tokenizer, name or model.removeprefix(HUB))
    config = open_clip.get_model_config(model)
    if config is None:
        raise InputError(f"open_clip has no model {model!r}; it has {', '.join(open_clip.list_models())}")
    state, settings = _named_weights(model, pretrained, preprocess or {})
    if quick_gelu is not None:
        config = {**config, "quick_gelu": quick_gelu}
    return assembled(config, state, settings, tokenizer=model, folder=None, name=name or f"{model} ({pretrained})")


def load_configured(
    config: Path, weights: Path, preprocess: Mapping[str, Any], name: str | None = None
) -> VisionLanguageModel:
    """Load a weights file by a configuration in another file; what `preprocess` says replaces its ``preprocess_cfg``.

    Raises as :func:`load_open_clip`.
    """
    content = read_json(config)
    model, settings = content.get("model_cfg", content), content.get("preprocess_cfg") or {}
    if not isinstance(model, dict) or not isinstance(settings, dict) or not {"vision_cfg", "text_cfg"} <= model.keys():
        raise InputError(f"{config} is not a configuration of open_clip: it lacks vision_cfg or text_cfg")
    settings = {**settings, **preprocess}
    folder = config.parent
    return assembled(
        model, read_weights(weights), settings, tokenizer=str(folder), folder=folder, name=name or weights.name
    )


def _from_folder(folder: Path, weights: Path, tokenizer: str, name: str) -> VisionLanguageModel:
    file = folder / CONFIG
    try:
        content = json.loads(file.read_text())
        config, settings = content["model_cfg"], content.get("preprocess_cfg") or {}
        if not isinstance(config, dict) or not isinstance(settings, dict):
            raise TypeError("model_cfg or preprocess_cfg holds no settings")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"The model in {folder} can't be loaded: {file} is not a configuration of open_clip ({error})"
        ) from error
    return assembled(config, read_weights(weights), settings, tokenizer=tokenizer, folder=folder, name=name)


def _weights_in(folder: Path) -> Path | None:
    return next((folder / name for name in _WEIGHTS if (folder / name).is_file()), None)


def _named_weights(
    model: str, pretrained: str | None, preprocess: Mapping[str, Any]
) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Weights, and what is known of the preprocessing, of a model that open_clip knows by name."""
    if pretrained is None:
        raise InputError(f"{model!r} needs weights: give 'pretrained', a file or one of {_tags(model)}")
    if Path(pretrained).is_file():
        known = {} if {"mean", "std"} <= preprocess.keys() else _settings_of(model)
        return read_weights(Path(pretrained)), {**known, **preprocess}
    settings = get_pretrained_cfg(model, pretrained)
    if not settings:
        raise InputError(f"{model!r} has no weights {pretrained!r}: it is no file, and not one of {_tags(model)}")
    trained_with, has = (bool(c.get("quick_gelu")) for c in (settings, open_clip.get_model_config(model)))
    if trained_with != has:
        other = f"{model}-quickgelu" if trained_with else model.removesuffix("-quickgelu")
        raise InputError(f"The weights {pretrained!r} of {model!r} were trained with another activation: use {other!r}")
    try:
        return read_weights(Path(download_pretrained(settings))), _preprocessing_in(settings)
    except (OSError, RuntimeError) as error:
        raise _unreachable(f"the weights {pretrained!r} of {model!r}", error) from error


def _settings_of(model: str) -> dict[str, Any]:
    """The preprocessing of all weights that open_clip knows of a model; where they differ, or it knows none, CLIP's."""
    known = [get_pretrained_cfg(model, tag) for tag in open_clip.list_pretrained_tags_by_model(model)]
    settings = [_preprocessing_in(config) for config in known]
    if settings and all(other == settings[0] for other in settings):
        return settings[0]
    logger.warning(
        "The weights are a file, which doesn't say how %s wants its images: they are prepared as CLIP's. If it was "
        "trained otherwise, give a folder with %s in place of the file",
        model,
        CONFIG,
    )
    return {}


def _preprocessing_in(config: dict[str, Any]) -> dict[str, Any]:
    """What open_clip's description of some weights says of the preprocessing."""
    return {key: config[key] for key in ("mean", "std", "interpolation", "resize_mode") if key in config}


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
