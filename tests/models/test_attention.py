"""Unfused attention equals the fused one."""

import pytest
import torch
from torch import nn

from robustmedclip.models import unfuse_attention


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("bias", [True, False])
def test_equal_to_multihead_attention(batch_first, bias):
    torch.manual_seed(0)
    fused = nn.MultiheadAttention(24, 3, bias=bias, batch_first=batch_first).eval()
    unfused = unfuse_attention(nn.Sequential(fused))[0]
    x = torch.randn(5, 7, 24)
    mask = torch.triu(torch.full((7 if batch_first else 5,) * 2, float("-inf")), 1)
    for attn_mask in (None, mask):
        expected = fused(x, x, x, need_weights=False, attn_mask=attn_mask)[0]
        torch.testing.assert_close(unfused(x, x, x, attn_mask=attn_mask)[0], expected, atol=1e-6, rtol=1e-5)


def test_every_attention_of_a_network_is_replaced_and_adaptable():
    layer = nn.TransformerEncoderLayer(16, 2)
    unfuse_attention(layer)
    names = {name for name, module in layer.named_modules() if isinstance(module, nn.Linear)}
    assert {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.out_proj"} <= names
