"""Unfused attention equals the fused one, and is fused again without a trace."""

import copy

import pytest
import timm
import torch
import transformers
from torch import nn

from robustmedclip.models.attention import fuse_attention, unfuse_attention


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


NETWORKS = {
    "timm ViT": lambda: timm.create_model("test_vit", num_classes=0),
    "timm ViT without bias": lambda: timm.create_model("test_vit", num_classes=0, qkv_bias=False),
    "timm Swin": lambda: timm.create_model(
        "swin_tiny_patch4_window7_224",
        num_classes=0,
        img_size=56,
        depths=(1, 2),
        num_heads=(2, 4),
        embed_dim=16,
    ),
    "transformers SigLIP": lambda: transformers.SiglipVisionModel(
        transformers.SiglipVisionConfig(
            hidden_size=32, intermediate_size=48, num_hidden_layers=1, num_attention_heads=2, image_size=32
        )
    ),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_keep_their_output_and_get_their_weights_back(name):
    torch.manual_seed(0)
    network = NETWORKS[name]().eval()
    side = {"timm ViT": 160, "timm ViT without bias": 160, "timm Swin": 56}.get(name, 32)
    pixels = torch.randn(2, 3, side, side)

    def output(module: nn.Module) -> torch.Tensor:
        with torch.inference_mode():
            result = module(pixels)
        return result if isinstance(result, torch.Tensor) else result.pooler_output

    expected, weights = output(network), copy.deepcopy(network.state_dict())
    unfuse_attention(network)
    assert sum("q_proj.weight" in key for key in network.state_dict()) == sum(
        "q_proj.weight" in key or "qkv.weight" in key or "in_proj_weight" in key for key in weights
    )
    torch.testing.assert_close(output(network), expected, atol=1e-5, rtol=0)
    fuse_attention(network)
    assert network.state_dict().keys() == weights.keys()
    assert all(torch.equal(network.state_dict()[key], tensor) for key, tensor in weights.items())


def test_attention_that_reads_its_own_weights_is_left_alone():
    network = timm.create_model("beit_base_patch16_224", num_classes=0, depth=1, embed_dim=24, num_heads=2, img_size=32)
    before = network.state_dict().keys()
    assert unfuse_attention(network).state_dict().keys() == before
