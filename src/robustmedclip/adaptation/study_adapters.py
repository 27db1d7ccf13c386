"""The adapters of the study (arXiv:2505.15425), as its code saves them, imported into peft's format.

Its code (github.com/BioMedIA-MBZUAI/RobustMedCLIP, utils.py) writes two files. ``model.pth`` is the whole network:
base, text tower and low-rank matrices. ``lora_weights.safetensors`` holds the matrices alone, and not all of them:
those of the keys of the ViT are missing, though they were trained and don't start at zero, and so are the statistics of
the ResNet's batch normalisation, which moved in training. Only ``model.pth`` is the model that was evaluated.
"""

import json
import logging
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import peft
import torch
from torch import nn

from robustmedclip.adaptation.artefacts import Adapter
from robustmedclip.errors import InputError
from robustmedclip.models.checkpoints import local_path, read_weights
from robustmedclip.models.interface import VisionLanguageModel

logger = logging.getLogger(__name__)

Weights = dict[str, torch.Tensor]
#: Target layer to its matrices A ``(rank, in)`` and B ``(out, rank)``; the update is B A.
Pairs = dict[str, tuple[torch.Tensor, torch.Tensor]]

#: Where the study's names differ from those of our networks.
_VIT_NAMES = (
    (r"^lora_vit\.lora_vit\.", "visual."),
    (r"^text_encoder\.", "text."),
    (r"\.qkv\.qkv\.", ".qkv."),
)
_RESNET_NAMES = (
    (r"^lora_resnet\.lora_medclip\.model\.fc\.", "visual.head.proj."),
    (r"^lora_resnet\.lora_medclip\.model\.", "visual.trunk."),
    (r"^text_encoder\.model\.", "text.transformer."),
    (r"^text_encoder\.projection_head\.", "text.proj."),
    (r"\.conv\.weight$", ".weight"),
)

#: Weights of the two networks that ``torch.save`` keeps and ours don't have: copies, and BERT's unused pooling layer.
_SURPLUS = re.compile(r"lora_(vit|resnet)\.w_[AB]s\.|text\.transformer\.pooler\.")

_STATISTICS = re.compile(r"(.+)\.(running_mean|running_var|num_batches_tracked)$")


def import_robustmedclip(base: VisionLanguageModel, path: str) -> Adapter:
    """An adapter of the study as one of ours.

    Parameters
    ----------
    base : VisionLanguageModel
        BiomedCLIP for their ViT, MedCLIP-ResNet for their ResNet.
    path : str
        ``model.pth`` or ``lora_weights.safetensors``, or the folder that holds them, from which ``model.pth`` is taken
        if it is there; or ``hf-hub:`` and a file of a repository.

    Returns
    -------
    Adapter
        Rank and scale as trained (the scale is 1: their code ignores alpha). ``metadata["missing"]`` says what the
        file lacks; it is logged as well.

    Raises
    ------
    InputError
        If the file can't be read, or was trained on another base.
    """
    file = _file(local_path(path, ("model.pth", "lora_weights.safetensors")))
    weights = read_weights(file)
    if "w_a_000" in weights:
        pairs, buffers = _pairs_alone(base, weights, file), {}
        missing = _missing(pairs)
    else:
        pairs, rest = _split(weights, file)
        buffers, missing = _moved_statistics(base.network, rest, file), []
    for what in missing:
        logger.warning("%s lacks %s: the model differs from the one of the study. Use its model.pth", file, what)
    rank = next(iter(pairs.values()))[0].shape[0]
    config = peft.LoraConfig(
        r=rank,
        lora_alpha=rank,
        target_modules=sorted(pairs),
        modules_to_save=sorted(set(map(_layer, buffers))) or None,
    )
    return Adapter(
        config=_as_json(config),
        weights={name: tensor.float().numpy() for name, tensor in _peft_weights(base.network, pairs, buffers).items()},
        metadata={"base_model_hash": base.content_hash(), "source": file.name, "missing": missing},
    )


def _file(path: Path) -> Path:
    if path.is_file():
        return path
    for name in ("model.pth", "lora_weights.safetensors"):
        if (path / name).is_file():
            return path / name
    raise InputError(f"{path} has neither model.pth nor lora_weights.safetensors")


def _split(weights: Weights, file: Path) -> tuple[Pairs, Weights]:
    """The low-rank matrices, and everything else under the names of our networks."""
    pairs: dict[str, dict[str, torch.Tensor]] = {}
    rest: Weights = {}
    names = _VIT_NAMES if any(name.startswith("lora_vit.") for name in weights) else _RESNET_NAMES
    for published, tensor in weights.items():
        name = published
        for pattern, replacement in names:
            name = re.sub(pattern, replacement, name)
        if _SURPLUS.match(name):
            continue
        if match := re.fullmatch(r"(.+)\.linear_([ab])(?:_([qkv]))?\.weight", name):
            target = f"{match[1]}.{match[3]}_proj" if match[3] else match[1]
            pairs.setdefault(target, {})[match[2]] = tensor
        elif match := re.fullmatch(r"(visual\..+\.qkv)\.(weight|bias)", name):
            for part, value in zip("qkv", tensor.chunk(3), strict=True):
                rest[f"{match[1]}.{part}_proj.{match[2]}"] = value
        else:
            rest[name] = tensor
    if not pairs or any(len(pair) != 2 for pair in pairs.values()):
        raise InputError(f"{file} holds no adapter of RobustMedCLIP: no pairs of linear_a and linear_b")
    return {target: (pair["a"], pair["b"]) for target, pair in pairs.items()}, rest


def _pairs_alone(base: VisionLanguageModel, weights: Weights, file: Path) -> Pairs:
    """Matrices of ``lora_weights.safetensors``, which has numbers for names: in the order of the layers."""
    count = sum(name.startswith("w_a_") for name in weights)
    try:
        embed_dim, width = base.network.get_parameter("visual.head.proj.weight").shape
    except AttributeError:
        raise InputError(f"The adapter in {file} was trained on another base than {base.name}") from None
    targets = _targets(base.network, count)
    try:
        pairs = {target: (weights[f"w_a_{i:03d}"], weights[f"w_b_{i:03d}"]) for i, target in enumerate(targets)}
        projection = weights[f"fc_{width}in_{embed_dim}out"]
    except KeyError as error:
        raise InputError(f"{file} is no adapter of RobustMedCLIP: it lacks {error}") from error
    if len(pairs) != count or not all(_fits(base.network.get_submodule(t), *pair) for t, pair in pairs.items()):
        raise InputError(f"The adapter in {file} was trained on another base than {base.name}")
    _moved_statistics(base.network, {"visual.head.proj.weight": projection}, file)
    return pairs


def _targets(network: nn.Module, count: int) -> list[str]:
    """Layers that the study adapts: query and value of each block; or convolutions, in early code the 3 x 3 ones."""
    modules = dict(network.get_submodule("visual").named_modules(prefix="visual"))
    blocks = [name for name in modules if name.endswith(".attn.qkv")]
    if blocks:
        return [f"{name}.{part}_proj" for name in blocks for part in "qv"]
    convolutions = [name for name in modules if re.fullmatch(r"visual\.trunk\.(layer\d\.\d+\.)?conv\d", name)]
    inner = [name for name in convolutions if modules[name].kernel_size == (3, 3)]
    return inner if len(inner) == count else convolutions


def _fits(layer: nn.Module, a: torch.Tensor, b: torch.Tensor) -> bool:
    outputs, inputs = layer.get_parameter("weight").shape[:2]
    return a.shape[1] == inputs and b.shape[0] == outputs and a.shape[0] == b.shape[1]


def _missing(pairs: Iterable[str]) -> list[str]:
    if any(target.endswith("q_proj") for target in pairs):
        return ["the update of the keys (K)"]
    return ["the statistics of batch normalisation"]


def _moved_statistics(network: nn.Module, rest: Weights, file: Path) -> Weights:
    """Statistics of batch normalisation that the training moved; all other weights must be those of the base."""
    base = network.state_dict()
    changed = [name for name, tensor in rest.items() if name not in base or not _close(base[name], tensor)]
    if foreign := [name for name in changed if not _STATISTICS.fullmatch(name) or name not in base]:
        raise InputError(f"The adapter in {file} was trained on another base: {', '.join(foreign[:5])} differ")
    layers = set(map(_layer, changed))
    return {name: tensor for name, tensor in rest.items() if _STATISTICS.fullmatch(name) and _layer(name) in layers}


def _layer(statistic: str) -> str:
    return statistic.rpartition(".")[0]


def _close(first: torch.Tensor, second: torch.Tensor) -> bool:
    return first.shape == second.shape and torch.allclose(first.float(), second.float(), atol=1e-5)


def _peft_weights(network: nn.Module, pairs: Pairs, buffers: Weights) -> Weights:
    """The adapter under peft's names; with a moved statistic, the whole layer that it belongs to."""
    result: Weights = {}
    for target, pair in pairs.items():
        adapted = network.get_submodule(target)
        a, b = _at_the_centre(adapted, *pair) if isinstance(adapted, nn.Conv2d) else pair
        result[f"base_model.model.{target}.lora_A.weight"] = a
        result[f"base_model.model.{target}.lora_B.weight"] = b
    for layer in sorted(set(map(_layer, buffers))):
        for name, tensor in network.get_submodule(layer).state_dict().items():
            result[f"base_model.model.{layer}.{name}"] = buffers.get(f"{layer}.{name}", tensor)
    return result


def _at_the_centre(layer: nn.Conv2d, a: torch.Tensor, b: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """An update of each pixel as one of the kernel: at its centre.

    The study resizes the update of a strided convolution to the nearest pixel; on even sides that is the centre.
    """
    kernel = torch.zeros(a.shape[0], *layer.weight.shape[1:])
    kernel[:, :, layer.kernel_size[0] // 2, layer.kernel_size[1] // 2] = a
    return kernel, b[:, :, None, None]


def _as_json(config: Any) -> dict[str, Any]:
    content = {key: sorted(value) if isinstance(value, set) else value for key, value in config.to_dict().items()}
    fields: dict[str, Any] = json.loads(json.dumps(content, default=str))
    return fields
