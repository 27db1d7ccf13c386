"""Activations that are computed anew leave every gradient as it is."""

import copy

import numpy as np
import pytest
import torch
import transformers
from tasks import LORA, changed, classifier_of, phantoms, shipped

from robustmedclip.adaptation.lora import with_lora
from robustmedclip.adaptation.memory import activation_bytes, checkpoint_activations
from robustmedclip.adaptation.samples import Samples
from robustmedclip.adaptation.tuning import tune
from robustmedclip.models.formats.transformers import Transformers
from robustmedclip.models.interface import VisionLanguageModel
from robustmedclip.models.preprocessing import CLIP_MEAN, CLIP_STD, Preprocessing
from robustmedclip.models.transformers_clip import Towers


def of_transformers() -> VisionLanguageModel:
    shape = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 3, "num_attention_heads": 2}
    text, vision = {**shape, "vocab_size": 50}, {**shape, "image_size": 32, "patch_size": 8}
    torch.manual_seed(0)
    network = transformers.CLIPModel(transformers.CLIPConfig(text_config=text, vision_config=vision, projection_dim=16))
    targets = r"model\.vision_model\..+\.self_attn\.(q|k|v)_proj"
    preprocess = Preprocessing((32, 32), CLIP_MEAN, CLIP_STD)
    return VisionLanguageModel(
        "clip", Towers(network).requires_grad_(False).eval(), None, preprocess, 100.0, targets, Transformers
    )


@pytest.fixture(scope="module", params=["open_clip", "transformers"])
def tuned(request):
    model = shipped("phantom_vit") if request.param == "open_clip" else of_transformers()
    return with_lora(model, changed(LORA, dropout=0.3), {})[0]


def gradients(model: VisionLanguageModel) -> list[torch.Tensor]:
    for name, module in model.network.named_modules():
        if "lora_dropout" in name:
            module.train()
    torch.manual_seed(1)
    pixels = torch.randn(3, 3, *model.preprocess.size)
    features = model.network.encode_image(pixels)  # as on a GPU, where alone activations are computed anew
    features.square().mul(torch.arange(3.0)[:, None]).sin().sum().backward()
    return [parameter.grad for parameter in model.network.parameters() if parameter.requires_grad]


def test_gradients_are_equal_and_less_is_kept(tuned):
    plain, saving = copy.deepcopy(tuned), copy.deepcopy(tuned)
    checkpoint_activations(saving.network.visual)
    assert activation_bytes(saving, 8) < activation_bytes(plain, 8) / 2
    for expected, gradient in zip(gradients(plain), gradients(saving), strict=True):
        torch.testing.assert_close(gradient, expected, rtol=0, atol=0)


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_what_a_batch_keeps_is_told_by_one_image_and_two(tuned, precision):
    """Copies of weights in bfloat16 are kept once, not for each image."""
    kept: dict[int, torch.UntypedStorage] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if not any(tensor.data_ptr() == p.data_ptr() for p in tuned.network.parameters()):
            kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage()
        return tensor

    pixels = torch.zeros(8, 3, *tuned.preprocess.size)
    with (
        torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
        torch.autocast("cpu", precision, enabled=precision != torch.float32),
    ):
        tuned.encode_image(pixels)
    expected = sum(storage.nbytes() for storage in kept.values())
    assert activation_bytes(tuned, 8, precision) == pytest.approx(expected, rel=0.05)


def test_what_a_training_in_half_precision_makes_is_float32():
    model = shipped("phantom_resnet")
    sets = [phantoms("oct", 1, 8)]
    samples = Samples(sets, model.preprocess)
    settings = changed(LORA, epochs=1)
    adapter, history = tune(
        model, samples, samples, classifier_of(model, sets), settings, seed=0, metadata={}, precision=torch.bfloat16
    )
    assert {array.dtype for array in adapter.weights.values()} == {np.dtype(np.float32)}
    assert np.isfinite(history[1]["training_loss"])
