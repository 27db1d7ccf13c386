"""Attention whose query, key and value projections are layers of their own, so that they can be adapted."""

import math

import torch
from timm.layers.attention import Attention
from timm.models.swin_transformer import WindowAttention
from torch import nn
from torch.nn import functional as F


class UnfusedAttention(nn.Module):
    """Drop-in for ``nn.MultiheadAttention`` with separate ``q_proj``, ``k_proj``, ``v_proj``, ``out_proj``.

    ``nn.MultiheadAttention`` holds the three input projections in one parameter and never calls its
    output layer, so an adapter of a layer cannot reach them.

    Parameters
    ----------
    fused : nn.MultiheadAttention
        The module whose weights are taken over; query, key and value of equal width.
    """

    def __init__(self, fused: nn.MultiheadAttention):
        super().__init__()
        width, self.num_heads, self.batch_first = fused.embed_dim, fused.num_heads, fused.batch_first
        self.q_proj, self.k_proj, self.v_proj = _split(fused.in_proj_weight, fused.in_proj_bias)
        self.out_proj = _linear(fused.out_proj.weight, fused.out_proj.bias)
        self.embed_dim = width

    def forward(
        self,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        need_weights: bool = False,
        attn_mask: torch.Tensor | None = None,
        **_: object,
    ) -> tuple[torch.Tensor, None]:
        """Attend; the shapes are those of ``nn.MultiheadAttention``, the weights are never returned."""
        if not self.batch_first:
            query, key, value = (x.transpose(0, 1) for x in (query, key, value))
        q, k, v = (
            self._heads(layer(x)) for layer, x in ((self.q_proj, query), (self.k_proj, key), (self.v_proj, value))
        )
        if q.shape[-2] == 1 and attn_mask is None:
            attended = attended_by_one(q, k, v)
        else:
            attended = F.scaled_dot_product_attention(q, k, v, attn_mask)
        output = self.out_proj(attended.transpose(1, 2).flatten(2))
        return output if self.batch_first else output.transpose(0, 1), None

    def fused(self) -> nn.MultiheadAttention:
        """An equal ``nn.MultiheadAttention``."""
        bias = self.q_proj.bias is not None
        fused = nn.MultiheadAttention(self.embed_dim, self.num_heads, bias=bias, batch_first=self.batch_first)
        joined = _joined(self.q_proj, self.k_proj, self.v_proj)
        fused.in_proj_weight.data = joined.weight.data
        fused.out_proj.weight.data = self.out_proj.weight.detach().clone()
        if bias:
            fused.in_proj_bias.data = joined.bias.data
            fused.out_proj.bias.data = self.out_proj.bias.detach().clone()
        return fused

    def _heads(self, x: torch.Tensor) -> torch.Tensor:
        return x.view(*x.shape[:-1], self.num_heads, -1).transpose(1, 2)


def attended_by_one(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """Attention of one query ``(N, heads, 1, D)``, by plain products.

    Torch's own shares out the keys, and so sums, among threads.
    """
    return (q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])).softmax(-1) @ v


class UnfusedProjection(nn.Module):
    """Drop-in for the ``qkv`` layer of timm's attention, with separate ``q_proj``, ``k_proj``, ``v_proj``.

    Parameters
    ----------
    fused : nn.Linear
        The layer whose weights are taken over; its outputs are query, key and value, one after the other.
    """

    def __init__(self, fused: nn.Linear):
        super().__init__()
        self.q_proj, self.k_proj, self.v_proj = _split(fused.weight, fused.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Query, key and value of `x`, side by side in the last dimension."""
        return torch.cat([self.q_proj(x), self.k_proj(x), self.v_proj(x)], dim=-1)

    def fused(self) -> nn.Linear:
        """An equal ``nn.Linear``."""
        return _joined(self.q_proj, self.k_proj, self.v_proj)


def unfuse_attention(module: nn.Module) -> nn.Module:
    """Replace every ``nn.MultiheadAttention``, and every ``qkv`` of timm's attention, by an equal unfused one.

    timm's ``Attention`` (ViT) and ``WindowAttention`` (Swin) are changed; its other attentions read the weights of
    ``qkv`` themselves, and stay as they are.
    """
    for name, child in list(module.named_children()):
        if isinstance(child, nn.MultiheadAttention):
            _replace(module, name, UnfusedAttention(child))
        elif isinstance(child, Attention | WindowAttention) and isinstance(child.qkv, nn.Linear):
            _replace(child, "qkv", UnfusedProjection(child.qkv))
        else:
            unfuse_attention(child)
    return module


def fuse_attention(module: nn.Module) -> nn.Module:
    """Inverse of :func:`unfuse_attention`: the weights get back the names and shapes of open_clip and timm."""
    for name, child in list(module.named_children()):
        if isinstance(child, UnfusedAttention | UnfusedProjection):
            _replace(module, name, child.fused())
        else:
            fuse_attention(child)
    return module


def _replace(parent: nn.Module, name: str, new: nn.Module) -> None:
    old = getattr(parent, name)
    parameter = next(old.parameters())
    setattr(parent, name, new.to(parameter.device).requires_grad_(parameter.requires_grad).train(old.training))


def _split(weight: torch.Tensor, bias: torch.Tensor | None) -> list[nn.Linear]:
    weights = weight.chunk(3)
    biases = (None,) * 3 if bias is None else bias.chunk(3)
    return [_linear(*pair) for pair in zip(weights, biases, strict=True)]


def _joined(*layers: nn.Linear) -> nn.Linear:
    weight = torch.cat([layer.weight for layer in layers])
    return _linear(weight, None if layers[0].bias is None else torch.cat([layer.bias for layer in layers]))


def _linear(weight: torch.Tensor, bias: torch.Tensor | None) -> nn.Linear:
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None, device="meta")
    layer.weight = _copy(weight)
    if bias is not None:
        layer.bias = _copy(bias)
    return layer


def _copy(values: torch.Tensor) -> nn.Parameter:
    return nn.Parameter(values.detach().clone(memory_format=torch.contiguous_format))


#: Layers of a visual encoder that LoRA adapts, by the kind of its attention; of others, those of a ResNet.
_LORA_TARGETS = {
    UnfusedAttention: r"visual\..+\.attn\.(q|k|v)_proj",
    UnfusedProjection: r"visual\..+\.qkv\.(q|k|v)_proj",
}
_RESNET_LORA_TARGETS = r"visual\.(trunk\.)?layer\d\.\d+\.conv\d"


def lora_targets(visual: nn.Module) -> str:
    """Regular expression of the layers of a network's ``visual``, unfused, that LoRA adapts."""
    kinds = {type(module) for module in visual.modules()}
    return next((targets for kind, targets in _LORA_TARGETS.items() if kind in kinds), _RESNET_LORA_TARGETS)
