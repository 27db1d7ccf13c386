"""Image towers of checkpoints, in the names that timm has for their weights."""

import re

import torch

Weights = dict[str, torch.Tensor]

#: Names of transformers' Swin, as they are in checkpoints, to timm's.
_SWIN_NAMES = (
    (r"^embeddings\.patch_embeddings\.projection\.", "patch_embed.proj."),
    (r"^embeddings\.norm\.", "patch_embed.norm."),
    (r"^layernorm\.", "norm."),
    (r"^encoder\.", ""),
    (r"\.layernorm_before\.", ".norm1."),
    (r"\.layernorm_after\.", ".norm2."),
    (r"\.attention\.self\.relative_position_bias_table$", ".attn.relative_position_bias_table"),
    (r"\.attention\.self\.query\.", ".attn.qkv."),
    (r"\.attention\.output\.dense\.", ".attn.proj."),
    (r"\.intermediate\.dense\.", ".mlp.fc1."),
    (r"\.output\.dense\.", ".mlp.fc2."),
)


def swin(weights: Weights, prefix: str) -> Weights:
    """transformers' Swin as timm has it: query, key and value joined, downsampling at the start of the next stage."""
    trunk = {}
    for name in weights:
        if not name.startswith(prefix) or re.search(r"\.attention\.self\.(key|value)\.", name):
            continue
        parts = [name.replace(".self.query.", f".self.{part}.") for part in ("query", "key", "value")]
        joined = ".self.query." in name
        trunk[_swin_name(name.removeprefix(prefix))] = (
            torch.cat([weights[p] for p in parts]) if joined else weights[name]
        )
    return {f"visual.trunk.{name}": tensor for name, tensor in trunk.items()}


def _swin_name(name: str) -> str:
    name = re.sub(r"\.(\d+)\.downsample\.", lambda match: f".{int(match[1]) + 1}.downsample.", name)
    for pattern, replacement in _SWIN_NAMES:
        name = re.sub(pattern, replacement, name)
    return name


#: Names of efficientnet_pytorch to timm's: of the network, of its first blocks, which don't expand, and of the others.
_EFFICIENTNET_NAMES = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2"}
_PLAIN_BLOCK = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
_EXPANDING_BLOCK = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}
_SQUEEZE = {"_se_reduce": "se.conv_reduce", "_se_expand": "se.conv_expand"}


def efficientnet(weights: Weights, prefix: str) -> Weights:
    """efficientnet_pytorch's EfficientNet as timm has it: blocks of one width are a stage."""
    own = {name.removeprefix(prefix): tensor for name, tensor in weights.items() if name.startswith(prefix)}
    places: dict[str, str] = {}
    stage, place, width = -1, 0, 0
    for block in range(len({name.split(".")[1] for name in own if name.startswith("_blocks.")})):
        before, width = width, own[f"_blocks.{block}._project_conv.weight"].shape[0]
        stage, place = (stage, place + 1) if width == before else (stage + 1, 0)
        places[str(block)] = f"blocks.{stage}.{place}"
    trunk = {}
    for name, tensor in own.items():
        if not name.startswith("_blocks."):
            layer, _, value = name.partition(".")
            trunk[f"{_EFFICIENTNET_NAMES[layer]}.{value}"] = tensor
            continue
        _, block_number, layer, value = name.split(".")
        expands = f"_blocks.{block_number}._expand_conv.weight" in own
        names = (_EXPANDING_BLOCK if expands else _PLAIN_BLOCK) | _SQUEEZE
        trunk[f"{places[block_number]}.{names[layer]}.{value}"] = tensor
    return {f"visual.trunk.{name}": tensor for name, tensor in trunk.items()}
