"""CLIP and SigLIP of transformers: equal to transformers' own path, from a folder and from a file."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from kedro.io import AbstractDataset
from PIL import Image
from published import write_transformers
from safetensors.torch import load_file, save_file

from robustmedclip.errors import InputError
from robustmedclip.models.transformers_clip import load_transformers

TEXTS = ["a chest x-ray of pneumonia", "normal"]


@pytest.fixture(scope="module", params=["clip", "siglip"])
def published(request, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("hub") / request.param
    write_transformers(folder, request.param)
    return folder


def test_equal_to_transformers(published):
    model = load_transformers(str(published))
    reference = transformers.AutoModel.from_pretrained(published).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(published)
    processor = transformers.AutoImageProcessor.from_pretrained(published)
    image = np.random.default_rng(0).integers(0, 256, (2, 40, 53, 3), np.uint8)
    inputs = tokenizer(TEXTS, padding="max_length", max_length=24, return_tensors="pt")
    pixels = processor([Image.fromarray(i) for i in image], return_tensors="pt").pixel_values
    assert (model.preprocess(image) - pixels).abs().max() < 2.5 / 255 / min(model.preprocess.std)
    with torch.inference_mode():
        output = reference(input_ids=inputs.input_ids, pixel_values=pixels)
        ours = model.logit_scale * model.encode_image(pixels) @ model.encode_text(TEXTS).T
    bias = reference.logit_bias if hasattr(reference, "logit_bias") else 0
    assert output.logits_per_image.std() > 0.01
    torch.testing.assert_close(ours, output.logits_per_image - bias, atol=1e-4, rtol=0)


def test_weights_come_from_a_file_too(tmp_path, published):
    folder = shutil.copytree(published, tmp_path / "model")
    file = shutil.move(folder / "model.safetensors", tmp_path / "tuned.safetensors")
    with pytest.raises(InputError, match=r"no model\.safetensors"):
        load_transformers(str(folder))
    entry = {"type": "robustmedclip.io.TransformersDataset", "model": str(folder), "weights": str(file)}
    model = AbstractDataset.from_config("model", entry).load()
    assert model.content_hash() == load_transformers(str(published)).content_hash()


def test_missing_weights_are_refused(tmp_path, published):
    folder = shutil.copytree(published, tmp_path / "model")
    weights = load_file(folder / "model.safetensors")
    del weights["vision_model.encoder.layers.1.self_attn.q_proj.weight"]
    save_file(weights, folder / "model.safetensors")
    with pytest.raises(InputError, match="1 missing"):
        load_transformers(str(folder))


@pytest.mark.parametrize(
    "file, change, message",
    [
        ("config.json", {"model_type": "siglip2"}, "type 'siglip2'; those .* clip, siglip"),
        ("preprocessor_config.json", {"resample": 1}, "preprocessor_config.json is not supported"),
    ],
)
def test_what_is_not_supported_is_said(tmp_path, published, file, change, message):
    folder = shutil.copytree(published, tmp_path / "model")
    path = folder / file
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(InputError, match=message):
        load_transformers(str(folder))


def test_query_key_and_value_are_adapted(published):
    import peft

    model = load_transformers(str(published))
    tuned = peft.get_peft_model(model.network, peft.LoraConfig(r=2, target_modules=model.lora_targets))
    adapted = {name.split(".lora_A")[0] for name, _ in tuned.named_parameters() if ".lora_A." in name}
    assert len(adapted) == 2 * 3
    assert all(".vision_model." in name for name in adapted)
