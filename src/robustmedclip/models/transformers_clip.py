"""Models of transformers: CLIP (PubMedCLIP), SigLIP (MedSigLIP) and SigLIP 2."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import nn

from robustmedclip.errors import InputError
from robustmedclip.models.checkpoints import check_fit, load_strictly, local_path, read_weights
from robustmedclip.models.formats.model_format import HUB
from robustmedclip.models.formats.transformers import MODEL_TYPES, Transformers
from robustmedclip.models.image_processor import preprocessing_in, save_preprocessing
from robustmedclip.models.interface import VisionLanguageModel
from robustmedclip.models.tokenizers import (
    CheckedTokenizer,
    checked_tokenizer,
    read_json,
    refuse_missing,
    save_tokenizer,
    tokenizer_files,
)
from robustmedclip.models.undrawn import WithoutDraws

FILES = ("*.json", "*.txt", "*.model", "model*.safetensors")

_LORA_TARGETS = r"model\.vision_model\..+\.self_attn\.(q|k|v)_proj"


class Towers(nn.Module):
    """Both towers behind open_clip's method names."""

    model: Any

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    @property
    def visual(self) -> Any:
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
        In evaluation mode, in float32 whatever the weights were saved in, its parameters frozen.

    Raises
    ------
    InputError
        If the weights are missing, damaged, not finite, or don't fit the architecture, it is another kind of model, or
        its tokenizer or preprocessing can't be read or not be followed.
    """
    folder = Path(model) if Path(model).is_dir() else local_path(f"{HUB}{model}", FILES)
    name = name or model
    config = read_json(folder / "config.json")
    if config.get("model_type") not in MODEL_TYPES:
        raise InputError(
            f"{name} is a model of type {config.get('model_type')!r}; those of transformers that can be evaluated are "
            f"{', '.join(MODEL_TYPES)} (SigLIP 2 of a fixed resolution is of type siglip)"
        )
    state: dict[str, torch.Tensor] = {}
    for file in [Path(weights)] if weights else weight_files(folder, model):
        state |= read_weights(file)
    network = untrained_network(folder, name, state)
    text, vision = network.config.text_config, network.config.vision_config
    tokenize = _tokenizer(folder, text.max_position_embeddings, text.vocab_size, config["model_type"])
    preprocess = preprocessing_in(folder, config["model_type"], vision.image_size)
    load_strictly(network, state, name)
    towers: Any = Towers(network).requires_grad_(False).eval()
    return VisionLanguageModel(
        name=name,
        network=towers.to(memory_format=torch.channels_last),
        tokenize=tokenize,
        preprocess=preprocess,
        logit_scale=float(network.logit_scale.detach().exp()),
        lora_targets=_LORA_TARGETS,
        format=Transformers,
    )


def untrained_network(folder: Path, name: str, weights: Mapping[str, torch.Tensor]) -> Any:
    """A network to be given weights, in float32; refused, before memory is spent on it, if they don't fit."""
    try:
        config = transformers.AutoConfig.from_pretrained(folder, trust_remote_code=False)
        towers = [getattr(config, tower) for tower in ("text_config", "vision_config") if hasattr(config, tower)]
        for tower in towers or [config]:
            if tower.num_hidden_layers > len(weights):
                raise ValueError(f"it asks for {tower.num_hidden_layers} layers, and there are {len(weights)} weights")
        build: Any = transformers.AutoModel.from_config
        with torch.device("meta"):
            check_fit(build(config), weights, name)
        with WithoutDraws():
            return build(config).float()
    except InputError:
        raise
    except Exception as error:  # a changed config.json fails wherever its values are used
        raise InputError(f"The model {name} can't be loaded: {folder / 'config.json'}: {error}") from error


def weight_files(folder: Path, model: str) -> list[Path]:
    """The weights' files: one, or the parts of a large model; safetensors where there are any."""
    if (folder / "model.safetensors").is_file():
        return [folder / "model.safetensors"]
    if files := sorted(folder.glob("model-*-of-*.safetensors")):
        return files
    if str(folder) != model:
        local_path(f"{HUB}{model}", ("pytorch_model.bin",))
    if (folder / "pytorch_model.bin").is_file():
        return [folder / "pytorch_model.bin"]
    raise InputError(f"The model in {folder} can't be loaded: it has no model.safetensors and no pytorch_model.bin")


@dataclass(frozen=True)
class _Padded:
    """Padded to the full length, as CLIP and SigLIP were trained, without a mask; in lower case, as SigLIP 2 was."""

    tokenizer: Any
    length: int
    lower: bool

    def __call__(self, texts: list[str]) -> torch.Tensor:
        texts = [text.lower() for text in texts] if self.lower else texts
        encoded = self.tokenizer(
            texts, padding="max_length", truncation=True, max_length=self.length, return_tensors="pt"
        )
        tokens: torch.Tensor = encoded.input_ids
        return tokens


def _tokenizer(folder: Path, length: int, vocabulary: int, model_type: str) -> CheckedTokenizer:
    def build() -> _Padded:
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
        return _Padded(tokenizer, length, model_type == "siglip" and _is_of_gemma(folder))

    if not tokenizer_files(folder):  # for which transformers makes one that knows no word
        refuse_missing(folder)
    return checked_tokenizer(build, vocabulary, folder)


def _is_of_gemma(folder: Path) -> bool:
    """Whether a tokenizer is Gemma's: a model of type siglip that has it is SigLIP 2, which was trained on lower case
    (github.com/google-research/big_vision, issue 166); SigLIP's own tokenizer does as its configuration says."""
    file = folder / "tokenizer_config.json"
    return file.is_file() and str(read_json(file).get("tokenizer_class")).startswith(("Gemma", "Siglip2"))


def save_transformers(folder: Path, model: VisionLanguageModel) -> None:
    """Write a model that :func:`load_transformers` has loaded as a folder that it loads without a network.

    Parameters
    ----------
    folder : Path
        Existing folder.
    model : VisionLanguageModel
        Its attention is that of transformers: nothing has to be fused.
    """
    network: Any = model.network
    network.model.save_pretrained(folder)
    save_tokenizer(model.tokenize, folder)
    save_preprocessing(folder, model.preprocess)
