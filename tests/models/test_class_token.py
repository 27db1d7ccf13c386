"""A ViT whose last block, and a ResNet whose pool, makes the class token alone has the features of the whole one."""

import copy

import open_clip
import pytest
import torch

from robustmedclip.models.attention import unfuse_attention
from robustmedclip.models.class_token import for_class_token

SIZES = {"image_size": 32, "patch_size": 8, "width": 48, "head_width": 24, "layers": 2}
RESNET = {"image_size": 32, "width": 8, "head_width": 8, "layers": [1, 1, 1, 1]}
PIXELS = torch.randn(5, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def tower(**settings: object) -> torch.nn.Module:
    torch.manual_seed(0)
    network = open_clip.CLIP(16, {**SIZES, **settings}, {"width": 16, "heads": 2, "layers": 1, "vocab_size": 8})
    return unfuse_attention(network.visual).eval()


@pytest.mark.parametrize("settings", [{}, {"layers": 1}, {"ls_init_value": 0.1}, {"pool_type": "avg"}, RESNET], ids=str)
def test_features_and_weights_are_those_of_the_whole_encoder(settings):
    whole = tower(**settings)
    short = for_class_token(copy.deepcopy(whole))
    torch.testing.assert_close(short(PIXELS), whole(PIXELS), rtol=1e-5, atol=1e-6)
    assert short.state_dict().keys() == whole.state_dict().keys()


@pytest.mark.parametrize("settings", [{}, RESNET], ids=str)
def test_gradients_are_those_of_the_whole_encoder(settings):
    gradients = []
    for network in (tower(**settings), for_class_token(tower(**settings))):
        network(PIXELS).square().sum().backward()
        gradients.append({name: weight.grad for name, weight in network.named_parameters()})
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_only_the_class_token_leaves_the_last_block():
    network, lengths = for_class_token(tower()), []
    for block in network.transformer.resblocks:
        block.register_forward_hook(lambda block, inputs, output: lengths.append(output.shape[1]))
    network(PIXELS)
    assert lengths == [17, 1]


@pytest.mark.parametrize("settings", [{}, RESNET], ids=str)
@torch.inference_mode()
def test_features_are_the_same_bytes_with_any_number_of_threads(settings):
    network, threads = for_class_token(tower(**settings)), torch.get_num_threads()
    features = []
    for count in (1, 2, 3, 8):
        torch.set_num_threads(count)
        features.append(network(PIXELS.repeat(10, 1, 1, 1)).numpy().tobytes())
    torch.set_num_threads(threads)
    assert len(set(features)) == 1
