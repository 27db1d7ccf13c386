"""The last block of a ViT, and the pool of a ResNet, for the class token alone.

Where the features are made of the class token, the last attention needs the other tokens as keys and values only: of a
block's products, a sixth is left, and of a pool's, half. The features are the same but for rounding.
"""

from typing import Any

import torch
from open_clip.modified_resnet import AttentionPool2d, ModifiedResNet
from open_clip.transformer import ResidualAttentionBlock, VisionTransformer
from torch import nn
from torch.nn import functional as F

from robustmedclip.models.attention import UnfusedAttention, attended_by_one


class ClassTokenBlock(nn.Module):
    """Drop-in for open_clip's block, of which only the first token, the class token, comes out.

    Parameters
    ----------
    block : ResidualAttentionBlock
        Its layers are taken over, under the same names.
    """

    def __init__(self, block: Any):
        super().__init__()
        for name, layer in block.named_children():
            self.add_module(name, layer)

    def forward(self, x: torch.Tensor, *_: None, attn_mask: None = None) -> torch.Tensor:
        """Tokens ``(N, L, D)`` to ``(N, 1, D)``; what else a vision tower gives a block is None."""
        layer: Any = self
        tokens, class_token = layer.ln_1(x), x[:, :1]
        class_token = class_token + layer.ls_1(layer.attn(tokens[:, :1], tokens, tokens)[0])
        output: torch.Tensor = class_token + layer.ls_2(layer.mlp(layer.ln_2(class_token)))
        return output


class ClassTokenPool(nn.Module):
    """Drop-in for open_clip's attention pool, where the mean of all places, the class token, alone attends.

    Parameters
    ----------
    pool : AttentionPool2d
        Its layers are taken over, under the same names. As there, their weights are read, and they aren't called.
    """

    def __init__(self, pool: Any):
        super().__init__()
        self.num_heads, self.positional_embedding = pool.num_heads, pool.positional_embedding
        for name, layer in pool.named_children():
            self.add_module(name, layer)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Activations ``(N, D, H, W)`` to features ``(N, D')``."""
        layer: Any = self
        places = x.flatten(2).transpose(1, 2)
        tokens = torch.cat([places.mean(1, keepdim=True), places], dim=1) + self.positional_embedding
        q, k, v = (
            F.linear(part, of.weight, of.bias).view(*part.shape[:2], self.num_heads, -1).transpose(1, 2)
            for part, of in ((tokens[:, :1], layer.q_proj), (tokens, layer.k_proj), (tokens, layer.v_proj))
        )
        pooled = attended_by_one(q, k, v).flatten(1)
        return F.linear(pooled, layer.c_proj.weight, layer.c_proj.bias)


def for_class_token(visual: nn.Module) -> nn.Module:
    """The visual encoder, changed in place: if its features are made of the class token, the last attention leaves out
    the others. It is open_clip's ViT, with unfused attention, or ResNet. Weights keep their names.
    """
    if isinstance(visual, ModifiedResNet) and type(visual.attnpool) is AttentionPool2d:
        pool: Any = ClassTokenPool(visual.attnpool)
        visual.attnpool = pool
    if isinstance(visual, VisionTransformer) and visual.pool_type == "tok" and visual.attn_pool is None:
        blocks = visual.transformer.resblocks
        attention = getattr(blocks[-1], "attn", None)
        if type(blocks[-1]) is ResidualAttentionBlock and isinstance(attention, UnfusedAttention):
            blocks[-1] = ClassTokenBlock(blocks[-1])
    return visual
