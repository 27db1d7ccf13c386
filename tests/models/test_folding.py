"""Batch normalisation in the weights of the convolutions before it."""

import torch
from model_sources import open_clip_dataset
from torch import nn

from robustmedclip.models.folding import with_folded_batch_norm


@torch.inference_mode()
def test_features_are_those_of_the_model_but_for_rounding_without_batch_normalisation():
    model = open_clip_dataset(path="package:models/phantom_resnet").load()
    pixels = torch.randn(4, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    before = model.content_hash()
    folded = with_folded_batch_norm(model)
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in folded.network.visual.modules())
    torch.testing.assert_close(folded.encode_image(pixels), model.encode_image(pixels), rtol=1e-5, atol=1e-6)
    assert model.content_hash() == before


def test_a_transformer_is_left_as_it_is():
    model = open_clip_dataset(path="package:models/phantom_vit").load()
    assert with_folded_batch_norm(model) is model
