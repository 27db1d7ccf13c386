"""Low-rank adaptation (LoRA; Hu et al. 2021, arXiv:2106.09685) of the visual encoder, with peft."""

import copy
import json
import re
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import peft
import torch
from peft.tuners.lora import LoraLayer
from safetensors.numpy import load_file
from timm.layers.conv2d_same import Conv2dSame
from torch.func import functional_call

from robustmedclip.adaptation.dropout import with_quick_dropout
from robustmedclip.adaptation.methods.lora import Lora
from robustmedclip.adaptation.training_state import Trainable
from robustmedclip.errors import InputError
from robustmedclip.models.interface import VisionLanguageModel


def with_lora(
    model: VisionLanguageModel, method: Lora, statistics: Mapping[str, torch.Tensor]
) -> tuple[VisionLanguageModel, Trainable]:
    """A copy of the model with untrained low-rank updates, and what is to be trained of it.

    Parameters
    ----------
    model : VisionLanguageModel
        Is left as it was.
    method : Lora
        Rank, scale, dropout and layers.
    statistics : mapping
        Name in the network's state to value: statistics of batch normalisation that the adapter holds.

    Raises
    ------
    InputError
        As :func:`target_problems` says.
    """
    if problems := target_problems(model, method):
        raise InputError("\n".join(problems))
    alpha: Any = method.rank if method.alpha is None else method.alpha  # peft takes any number
    config = peft.LoraConfig(
        r=method.rank,
        lora_alpha=alpha,
        lora_dropout=method.dropout,
        target_modules=_targets(model, method.targets),
        modules_to_save=sorted({name.rpartition(".")[0] for name in statistics}) or None,
    )
    tuned = _wrapped(model, config)
    for layer in tuned.network.modules():
        if isinstance(layer, LoraLayer):
            is_composed = not method.dropout and _is_quicker_composed(layer, method.rank)
            layer.forward = (_composed if is_composed else _beside)(layer)
    named = {name: p for name, p in tuned.network.named_parameters() if p.requires_grad}
    return tuned, Trainable(
        parameters=list(named.values()),
        scaled=[parameter for name, parameter in named.items() if "lora_B" in name],
        statistics=[(_saved_buffer(tuned.network, name), value) for name, value in statistics.items()],
    )


def _is_quicker_composed(layer: Any, rank: int) -> bool:
    """Whether the gradient of the whole weight takes fewer multiplications than an update beside it.

    Beside the weight, the update is passed three times: forwards, for the gradient of its input, and for its own.
    """
    weight: torch.Tensor = layer.get_base_layer().weight
    return weight.numel() < 3 * rank * (len(weight) + weight[0].numel())


def _composed(layer: Any) -> Callable[[torch.Tensor], torch.Tensor]:
    """The forward pass of a layer that multiplies its input once, with the sum of its weight and the update."""
    base = layer.get_base_layer()

    def forward(x: torch.Tensor) -> torch.Tensor:
        weight = base.weight + layer.get_delta_weight("default")
        output: torch.Tensor = functional_call(base, {"weight": weight}, x)
        return output

    return forward


def _beside(layer: Any) -> Callable[[torch.Tensor], torch.Tensor]:
    """The forward pass of a layer with the update beside it.

    It is peft's, but that the update is scaled where it is narrowest, and not by 1.
    """
    base, scale = layer.get_base_layer(), layer.scaling["default"]
    dropout, down, up = (of["default"] for of in (layer.lora_dropout, layer.lora_A, layer.lora_B))

    def forward(x: torch.Tensor) -> torch.Tensor:
        low: torch.Tensor = down(dropout(x))
        output: torch.Tensor = base(x) + up(low if scale == 1 else low * scale)
        return output

    return forward


def target_problems(model: VisionLanguageModel, method: Lora) -> list[str]:
    """What is wrong with the layers to adapt, or with the rank; a line, or none.

    The targets may match no layer, or one that has no low-rank update or that the encoder does not call; or the rank
    may be larger than every adapted layer: as a matrix, outputs x inputs of one output.

    Parameters
    ----------
    model : VisionLanguageModel
        Before anything is adapted.
    method : Lora
        Its layers and its rank are looked at.
    """
    targets = _targets(model, method.targets)
    layers = {
        name: layer
        for name, layer in model.network.named_modules()
        if (re.fullmatch(targets, name) if isinstance(targets, str) else name in targets)
    }
    if not layers and method.targets == "all":
        return [f"{model.name} has no layer that takes a low-rank update: train a head, or all of it"]
    if not layers:
        return [
            f"The targets {targets!r} match no layer of {model.name}: correct the regular expression, or set "
            "'targets: all'"
        ]
    for name, layer in layers.items():
        if not _is_adaptable(layer):
            groups = f" of {layer.groups} groups" if getattr(layer, "groups", 1) > 1 else ""
            return [
                f"The targets {targets!r} match '{name}' of {model.name}, a {type(layer).__name__}{groups}: let them "
                "match linear layers, and plain convolutional ones that are not divided into groups"
            ]
    if uncalled := sorted(layers.keys() - set(_called_layers(model))):
        return [
            f"The targets {targets!r} match '{uncalled[0]}' of {model.name}, whose weights are read by the layer "
            "around it, or not at all, so that an update of it changes nothing: let them match other layers"
        ]
    return _rank_problems(model, layers, method.rank)


def _rank_problems(model: VisionLanguageModel, layers: Mapping[str, torch.nn.Module], rank: int) -> list[str]:
    weights = {name: layer.get_parameter("weight") for name, layer in layers.items()}
    sizes = {name: (len(weight), weight[0].numel()) for name, weight in weights.items()}
    name, size = max(sizes.items(), key=lambda item: min(item[1]))
    if rank <= min(size):
        return []
    return [
        f"The rank {rank} is larger than every adapted layer of {model.name}; the largest, '{name}', is a matrix of "
        f"{size[0]} x {size[1]}: choose a rank of at most {min(size)}"
    ]


def lora_state(network: Any) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Configuration and weights of the updates, as peft saves them, but that the names of layers are in order."""
    with tempfile.TemporaryDirectory() as folder:
        network.save_pretrained(folder)
        config = json.loads((Path(folder) / "adapter_config.json").read_text())
        for key in ("target_modules", "modules_to_save"):
            if isinstance(config[key], list):
                config[key].sort()  # peft holds them as sets, whose order is another in every process
        return config, load_file(Path(folder) / "adapter_model.safetensors")


def merged_lora(
    model: VisionLanguageModel, config: Mapping[str, Any], weights: Mapping[str, np.ndarray]
) -> torch.nn.Module:
    """A copy of the model's network with the update added to its weights.

    Raises
    ------
    InputError
        If the weights don't fit.
    """
    settings = {key: value for key, value in config.items() if value is not None}
    network: Any = _wrapped(model, peft.LoraConfig(**settings)).network
    tensors = {name: torch.from_numpy(np.array(array)) for name, array in weights.items()}
    expected = set(peft.get_peft_model_state_dict(network))
    if expected != set(tensors):
        raise InputError(f"The adapter's weights don't fit the model: {sorted(expected ^ set(tensors))[:5]}")
    peft.set_peft_model_state_dict(network, tensors)
    merged: torch.nn.Module = network.merge_and_unload()
    return merged


def _targets(model: VisionLanguageModel, targets: str | None) -> str | list[str]:
    return _called_layers(model) if targets == "all" else targets or model.lora_targets


def _is_adaptable(layer: torch.nn.Module) -> bool:
    """Whether the layer multiplies by its weight, one matrix: else what peft merges is not what was trained.

    Of a convolution in groups it can't merge the update. Of one of another class, such as timm's with standardised
    weights, it makes the layers of the update of that class, too.
    """
    if isinstance(layer, torch.nn.Conv2d):
        return type(layer) in (torch.nn.Conv2d, Conv2dSame) and layer.groups == 1
    return isinstance(layer, torch.nn.Linear)


@torch.no_grad()
def _called_layers(model: VisionLanguageModel) -> list[str]:
    """Layers that can be adapted and that the visual encoder calls.

    Of others, as in an attention pool, the weights are read.
    """
    called: set[torch.nn.Module] = set()
    hooks = [
        layer.register_forward_pre_hook(lambda layer, _: called.add(layer))
        for layer in model.network.get_submodule("visual").modules()
        if _is_adaptable(layer)
    ]
    model.encode_image(torch.zeros(1, 3, *model.preprocess.size, device=model.device))
    for hook in hooks:
        hook.remove()
    return [name for name, layer in model.network.named_modules() if layer in called]


def _wrapped(model: VisionLanguageModel, config: peft.LoraConfig) -> VisionLanguageModel:
    network = with_quick_dropout(peft.get_peft_model(copy.deepcopy(model.network), config))
    for name, parameter in network.named_parameters():
        parameter.requires_grad_("lora_" in name)  # of a layer that is saved whole, the statistics alone move
    return model.with_network(network.eval())


def _saved_buffer(network: torch.nn.Module, name: str) -> torch.Tensor:
    """The adapter's own copy of a statistic."""
    layer, _, statistic = name.rpartition(".")
    return network.get_buffer(f"base_model.model.{layer}.modules_to_save.default.{statistic}")
