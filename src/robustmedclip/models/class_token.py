"""The last block of a ViT, for its class token alone.

Where the features are made of the class token, the last block needs the other tokens as keys and values only: of its
products, a sixth is left. The features are the same but for rounding.
"""

from typing import Any

import torch
from open_clip.transformer import ResidualAttentionBlock, VisionTransformer
from torch import nn

from robustmedclip.models.attention import UnfusedAttention


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


def for_class_token(visual: nn.Module) -> nn.Module:
    """The visual encoder, changed in place: if it is open_clip's ViT, with unfused attention, whose features are made
    of the class token, its last block leaves out the other tokens. Weights keep their names.
    """
    if isinstance(visual, VisionTransformer) and visual.pool_type == "tok" and visual.attn_pool is None:
        blocks = visual.transformer.resblocks
        attention = getattr(blocks[-1], "attn", None)
        if type(blocks[-1]) is ResidualAttentionBlock and isinstance(attention, UnfusedAttention):
            blocks[-1] = ClassTokenBlock(blocks[-1])
    return visual
