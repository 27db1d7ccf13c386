"""Attention whose query, key and value projections are layers of their own, so that they can be adapted."""

import torch
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
        weights = fused.in_proj_weight.detach().chunk(3)
        biases = fused.in_proj_bias.detach().chunk(3) if fused.in_proj_bias is not None else (None,) * 3
        self.q_proj, self.k_proj, self.v_proj = (
            _linear(weight, bias) for weight, bias in zip(weights, biases, strict=True)
        )
        self.out_proj = _linear(
            fused.out_proj.weight.detach(),
            None if fused.out_proj.bias is None else fused.out_proj.bias.detach(),
        )
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
            self._split(layer(x))
            for layer, x in ((self.q_proj, query), (self.k_proj, key), (self.v_proj, value))
        )
        attended = F.scaled_dot_product_attention(q, k, v, attn_mask=attn_mask)
        output = self.out_proj(attended.transpose(1, 2).flatten(2))
        return output if self.batch_first else output.transpose(0, 1), None

    def _split(self, x: torch.Tensor) -> torch.Tensor:
        return x.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)


def _linear(weight: torch.Tensor, bias: torch.Tensor | None) -> nn.Linear:
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None)
    layer.weight.data.copy_(weight)
    if bias is not None:
        layer.bias.data.copy_(bias)
    return layer


def unfuse_attention(module: nn.Module) -> nn.Module:
    """Replace every ``nn.MultiheadAttention`` inside `module` by an equal :class:`UnfusedAttention`."""
    for name, child in list(module.named_children()):
        if isinstance(child, nn.MultiheadAttention):
            unfused = UnfusedAttention(child).to(child.out_proj.weight.device)
            setattr(module, name, unfused.train(child.training))
        else:
            unfuse_attention(child)
    return module
