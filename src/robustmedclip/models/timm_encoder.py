"""Image encoders of timm: in its folders, on the hub, or checkpoints of others in its layout."""

import copy
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import timm
import torch
from safetensors.torch import save_file
from timm.models import get_pretrained_cfg
from torch import nn

from robustmedclip.errors import InputError
from robustmedclip.models.attention import fuse_attention
from robustmedclip.models.checkpoints import check_fit, load_strictly, local_path, read_weights
from robustmedclip.models.formats.model_format import HUB
from robustmedclip.models.formats.timm import Timm
from robustmedclip.models.image_encoder import image_encoder
from robustmedclip.models.interface import VisionLanguageModel
from robustmedclip.models.preprocessing import Preprocessing
from robustmedclip.models.tokenizers import read_json
from robustmedclip.models.undrawn import WithoutDraws

_FILES = ("config.json", "model.safetensors", "pytorch_model.bin")

#: What masked pretraining holds beside the encoder (MAE's decoder, the token of what is masked): it has no part in
#: the features.
_PRETRAINING = ("decoder_", "mask_token")
#: What makes tokens of patches, in timm's ViTs.
_PATCHES = "patch_embed.proj.weight"


def load_timm(model: str, weights: str | None = None, name: str | None = None) -> VisionLanguageModel:
    """Load an image encoder of timm, ready to be probed or adapted.

    Images are shown whole: what timm crops of their border in its own evaluation stays, for findings may lie there.

    Parameters
    ----------
    model : str
        Folder, ``hf-hub:`` and a repository, or a name of timm.
    weights : str, optional
        Weights file, for a name of timm.
    name : str, optional
        What to call it.

    Returns
    -------
    VisionLanguageModel
        Without text. Its features are those that timm gives the classifier, which is left out.

    Raises
    ------
    InputError
        If the weights are missing, damaged, not finite, or don't fit the architecture, or there is no such.
    """
    name = name or model
    if model.startswith(HUB) or Path(model).is_dir():
        folder = local_path(model, _FILES)
        config, file = (
            read_json(folder / "config.json"),
            next((folder / file for file in _FILES[1:] if (folder / file).is_file()), None),
        )
        if file is None:
            raise InputError(f"The model in {folder} can't be loaded: it has none of {', '.join(_FILES[1:])}")
    else:
        config, file = _named(model), Path(weights or "")
    settings = config.get("pretrained_cfg") or {}
    try:
        preprocess = Preprocessing(
            size=tuple(settings["input_size"][1:]),
            mean=settings["mean"],
            std=settings["std"],
            interpolation=settings["interpolation"],
        )
        with torch.device("meta"):
            shapes = _network(config)
    except InputError:
        raise
    except Exception as error:  # a changed config.json fails wherever its values are used
        raise InputError(f"The model {name} can't be loaded: its configuration can't be followed: {error!r}") from error
    state = _encoder_weights(read_weights(file), settings, shapes, name)
    check_fit(shapes, state, name)
    with WithoutDraws():
        network = _network(config)
    load_strictly(network, state, name)
    return image_encoder(network, preprocess, name, Timm, config)


def _named(model: str) -> dict[str, Any]:
    """The configuration of a name of timm, as ``config.json`` has it."""
    settings = get_pretrained_cfg(model) if timm.is_model(model) else None
    if settings is None:
        close = timm.list_models(f"*{model.partition('.')[0]}*", pretrained=True)[:5]
        raise InputError(
            f"timm has no model {model!r} whose preprocessing is known"
            + (f"; did you mean {', '.join(close)}?" if close else ": timm.list_models(pretrained=True) names them")
        )
    kept = ("input_size", "mean", "std", "interpolation", "classifier", "license")
    return {
        "architecture": settings.architecture,
        "pretrained_cfg": {key: getattr(settings, key) for key in kept},
    }


def _network(config: Mapping[str, Any]) -> nn.Module:
    """The untrained network without its classifier; it pools as the configuration says, or as the architecture does."""
    architecture = config["architecture"]
    if not timm.is_model(architecture):
        raise InputError(f"timm {timm.__version__} has no architecture {architecture!r}: is it newer?")
    pool = {"global_pool": config["global_pool"]} if config.get("global_pool") else {}
    network: nn.Module = timm.create_model(
        architecture, pretrained=False, num_classes=0, **pool, **config.get("model_args", {})
    )
    return network


def _encoder_weights(
    weights: Mapping[str, torch.Tensor], settings: Mapping[str, Any], network: nn.Module, name: str
) -> dict[str, torch.Tensor]:
    """Weights of the encoder in timm's names, of a checkpoint that may hold a classifier, or a decoder."""
    classifier = settings.get("classifier") or ()
    heads = tuple(f"{head}." for head in ([classifier] if isinstance(classifier, str) else classifier))
    kept = {key: tensor for key, tensor in weights.items() if not key.startswith((*heads, "decoder_"))}
    convert = getattr(sys.modules[type(network).__module__], "checkpoint_filter_fn", None)
    if convert is not None:
        theirs = kept.get(_PATCHES)
        kept = convert(kept, network)
        if theirs is not None and theirs.ndim == 4 and theirs.shape != (ours := kept[_PATCHES].shape):
            raise InputError(  # timm has scaled them
                f"The model {name} can't be loaded: its weights are of patches of {theirs.shape[2]} x "
                f"{theirs.shape[3]} px, and its own have {ours[2]} x {ours[3]}: name the architecture of the weights"
            )
    return {key: tensor for key, tensor in kept.items() if not key.startswith(_PRETRAINING)}


def save_timm(folder: Path, model: VisionLanguageModel) -> None:
    """Write a model that :func:`load_timm` has loaded as a folder that it, and timm, load without a network.

    Parameters
    ----------
    folder : Path
        Existing folder.
    model : VisionLanguageModel
        An adapter, if it has one, is merged.
    """
    settings = {**model.config.get("pretrained_cfg", {}), "classifier": None, "num_classes": 0}
    config = {**model.config, "num_classes": 0, "pretrained_cfg": settings}
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    visual: Any = model.network.visual
    shared = {id(tensor): tensor for tensor in (*visual.parameters(), *visual.buffers())}
    weights = fuse_attention(copy.deepcopy(visual, shared)).state_dict()
    weights = {name: tensor.contiguous() for name, tensor in weights.items()}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
