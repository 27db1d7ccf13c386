"""Networks that open_clip builds: given exactly their weights, wrapped, and written again."""

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
from open_clip.tokenizer import DEFAULT_CONTEXT_LENGTH, HFTokenizer, SimpleTokenizer
from safetensors.torch import save_file

import robustmedclip.models.image_towers  # noqa: F401 (registers towers with timm)
from robustmedclip.errors import InputError
from robustmedclip.models.attention import fuse_attention, lora_targets, unfuse_attention
from robustmedclip.models.checkpoints import check_fit, load_strictly
from robustmedclip.models.class_token import for_class_token
from robustmedclip.models.formats.open_clip import CONFIG, PREPROCESSING_KEYS, OpenCLIP
from robustmedclip.models.interface import VisionLanguageModel
from robustmedclip.models.preprocessing import CLIP_MEAN, CLIP_STD, Preprocessing
from robustmedclip.models.text_towers import text_tower_config
from robustmedclip.models.tokenizers import CheckedTokenizer, checked_tokenizer, save_tokenizer
from robustmedclip.models.undrawn import WithoutDraws

logger = logging.getLogger(__name__)

#: Sizes in ``model_cfg`` and its towers.
_SIZES = {"embed_dim", "image_size", "patch_size", "width", "layers", "heads", "head_width"} | {
    "context_length",
    "vocab_size",
}


def assembled(
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
        _check_sizes(config, len(weights), name)
        _check_shapes(config, weights, name, folder, text_tower or {})
        with WithoutDraws():
            network = _network(config, folder, text_tower or {})
        tokenize = _checked_tokenizer(tokenizer, config, network)
    except InputError:
        raise
    except Exception as error:  # a changed configuration fails wherever its values are used
        configured = f" as {folder / CONFIG} says" if folder else ""
        raise InputError(
            f"The model {name} can't be loaded{configured}: {error}. Its text tower and tokenizer come from "
            f"{folder or tokenizer}; without a network, put the tokenizer's files beside the weights, and the text "
            "tower's config.json into the folder 'text' there"
        ) from error
    load_strictly(network, _adjusted(network, weights), name)
    visual: Any = for_class_token(unfuse_attention(network.visual))
    network.visual = visual.to(memory_format=torch.channels_last)
    return VisionLanguageModel(
        name=name,
        network=network.requires_grad_(False).eval(),
        tokenize=tokenize,
        preprocess=settings if isinstance(settings, Preprocessing) else _preprocessing(settings, network, name),
        logit_scale=float(network.logit_scale.detach().exp()),
        lora_targets=lora_targets(network.visual),
        format=OpenCLIP,
        config=config,
    )


def _check_sizes(config: Mapping[str, Any], weights: int, name: str) -> None:
    """Refuse sizes that are no whole numbers, and more layers than weights, before memory is spent on them."""
    for place, settings in {"": config, "vision_cfg.": config["vision_cfg"], "text_cfg.": config["text_cfg"]}.items():
        for key in _SIZES & settings.keys():
            sizes = settings[key] if isinstance(settings[key], list | tuple) else [settings[key]]
            if settings[key] is not None and not all(type(size) is int and size > 0 for size in sizes):
                raise InputError(
                    f"The model {name} can't be loaded: {place}{key} must be a whole number above 0, not "
                    f"{settings[key]!r}"
                )
    for tower in ("vision_cfg", "text_cfg"):
        layers = config[tower].get("layers")
        if isinstance(layers, int) and layers > weights:
            raise InputError(
                f"The model {name} can't be loaded: {tower} asks for {layers} layers, and there are {weights} weights"
            )


def _check_shapes(
    config: dict[str, Any],
    weights: dict[str, torch.Tensor],
    name: str,
    folder: Path | None,
    text_tower: Mapping[str, Any],
) -> None:
    """Refuse weights of other shapes than the configuration asks for, before memory is spent on those."""
    try:
        with torch.device("meta"):
            shapes = _network(config, folder, text_tower)
    except (NotImplementedError, RuntimeError) as error:
        if "meta tensor" not in str(error):
            raise
        return  # a tower that computes with values as it is built, which there are none of here
    check_fit(shapes, _adjusted(shapes, weights), name)


def _network(config: dict[str, Any], folder: Path | None, text_tower: Mapping[str, Any]) -> Any:
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
        tokens: torch.Tensor = self.tokenizer(texts)
        return tokens[:, : 1 + int((tokens != self.padding).any(0).nonzero().max())]


def _is_masked(network: torch.nn.Module) -> bool:
    return isinstance(getattr(network, "text", None), HFTextEncoder)


def _checked_tokenizer(source: str, config: dict[str, Any], network: Any) -> CheckedTokenizer:
    """The tokenizer at `source`, without needless padding where the text tower masks it."""

    def build() -> Any:
        tokenizer = _tokenizer(source, config)
        return _Trimmed(tokenizer, network.text.config.pad_token_id) if _is_masked(network) else tokenizer

    text = getattr(network, "text", network)
    folder = Path(source.removeprefix("local-dir:"))
    return checked_tokenizer(build, getattr(text, "config", text).vocab_size, folder if folder.is_dir() else None)


def _tokenizer(source: str, config: dict[str, Any]) -> Any:
    if source.startswith("local-dir:") or source in open_clip.list_models():
        return open_clip.get_tokenizer(source)
    text = config["text_cfg"]
    settings = {
        "context_length": text.get("context_length", DEFAULT_CONTEXT_LENGTH),
        **text.get("tokenizer_kwargs", {}),
    }
    if not text.get("hf_tokenizer_name"):
        return SimpleTokenizer(**settings)
    place = text["hf_tokenizer_name"] if source.startswith("hf-hub:") else source
    return HFTokenizer(place, tokenizer_mode=text.get("tokenizer_mode"), **settings)


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


def _preprocessing(settings: Mapping[str, Any], network: Any, name: str) -> Preprocessing:
    """open_clip's ``preprocess_cfg``, every key of it obeyed or refused; what it lacks is as CLIP has it."""
    side = network.visual.image_size
    size = (side, side) if isinstance(side, int) else tuple(side)
    settings = {key: value for key, value in settings.items() if value is not None}
    if unknown := sorted(settings.keys() - set(PREPROCESSING_KEYS)):
        raise _wrong_preprocessing(name, f"{', '.join(unknown)} are not known: {', '.join(PREPROCESSING_KEYS)} are")
    if not {"mean", "std"} <= settings.keys():
        logger.warning("The model %s doesn't say how it wants its images normalised: as CLIP's, it is assumed", name)
    wanted = settings.get("size", list(size))
    if (wanted, wanted) != size and wanted != list(size):
        raise _wrong_preprocessing(
            name, f"'size' is {wanted!r}, and the network takes images of {size[0]} x {size[1]} px"
        )
    try:
        return Preprocessing(
            size=size,
            mean=settings.get("mean", CLIP_MEAN),
            std=settings.get("std", CLIP_STD),
            **{key: settings[key] for key in settings.keys() - {"size", "mean", "std"}},
        )
    except ValueError as error:
        raise _wrong_preprocessing(name, str(error)) from error


def _wrong_preprocessing(name: str, reason: str) -> InputError:
    return InputError(f"The model {name} can't be loaded: of its preprocessing, {reason}")


def new_open_clip(model_config: dict[str, Any]) -> torch.nn.Module:
    """An untrained network of open_clip's ``model_cfg``; its weights are drawn from torch's generator."""
    network: torch.nn.Module = open_clip.model.CLIP(**model_config)
    return network


def save_open_clip(
    folder: Path, network: torch.nn.Module, model_config: dict[str, Any], preprocessing: Preprocessing
) -> None:
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
    del settings["guard"]
    if not settings["stretch"]:
        del settings["stretch"]  # open_clip doesn't know it
    config = {"model_cfg": model_config, "preprocess_cfg": settings}
    (folder / CONFIG).write_text(json.dumps(config, indent=2) + "\n")
    shared = {id(tensor): tensor for tensor in (*network.parameters(), *network.buffers())}
    weights = fuse_attention(copy.deepcopy(network, shared)).state_dict()
    weights = {name: tensor.contiguous() for name, tensor in weights.items()}
    save_file(weights, folder / "open_clip_model.safetensors", metadata={"format": "pt"})


def save_model_of_open_clip(folder: Path, model: VisionLanguageModel) -> None:
    """Write a model as a folder that loads without a network: both towers, tokenizer and preprocessing.

    Parameters
    ----------
    folder : Path
        Existing folder.
    model : VisionLanguageModel
        As loaded; an adapter, if it has one, is merged. Attention gets back the names and shapes of open_clip and timm.
    """
    save_open_clip(folder, model.network, dict(model.config), model.preprocess)
    save_tokenizer(model.tokenize, folder)
    if "hf_model_name" in model.config["text_cfg"]:
        (folder / "text").mkdir()
        network: Any = model.network
        (folder / "text" / "config.json").write_text(json.dumps(network.text.config.to_dict(), indent=2) + "\n")
