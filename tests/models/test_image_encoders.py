"""Image encoders without text: equal to timm's and transformers' own, and what a checkpoint holds beside them."""

import argparse
import json
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
import transformers
from model_sources import model_dataset
from PIL import Image
from published import randomised
from safetensors.torch import save_file

from robustmedclip.commands.import_model import import_model
from robustmedclip.errors import InputError
from robustmedclip.models.formats import model_format
from robustmedclip.models.timm_encoder import load_timm
from robustmedclip.models.transformers_vision import load_transformers_vision

IMAGES = np.random.default_rng(0).integers(0, 256, (2, 40, 40, 3), np.uint8)


def saved_by_timm(folder: Path, architecture: str) -> torch.nn.Module:
    """A folder as timm writes it for the hub, its classifier too; the network."""
    folder.mkdir()
    network = randomised(timm.create_model(architecture))
    settings = {
        key: network.pretrained_cfg[key] for key in ("mean", "std", "interpolation", "input_size", "classifier")
    }
    config = {"architecture": architecture, "num_classes": 1000, "pretrained_cfg": settings}
    (folder / "config.json").write_text(json.dumps(config))
    save_file(network.state_dict(), folder / "model.safetensors")
    return network


@pytest.mark.parametrize("architecture", ["test_vit", "test_resnet"])
def test_features_are_those_that_timm_gives_its_classifier(tmp_path, architecture):
    network = saved_by_timm(tmp_path / "model", architecture)
    model = model_dataset({"type": "timm", "model": str(tmp_path / "model")}).load()
    pixels = model.preprocess(IMAGES)
    with torch.inference_mode():
        expected = network.forward_head(network.forward_features(pixels), pre_logits=True)
        torch.testing.assert_close(model.network.encode_image(pixels), expected, atol=1e-4, rtol=1e-4)
    assert not model.has_text
    with pytest.raises(InputError, match="has no text encoder"):
        model.encode_text(["pneumonia"])


def test_a_checkpoint_of_masked_pretraining_is_loaded_without_its_decoder(tmp_path):
    network = randomised(timm.create_model("test_vit", num_classes=0))
    pretraining = {"mask_token": torch.ones(1, 1, 8), "decoder_embed.weight": torch.ones(8, 64)}
    content = {"model": network.state_dict() | pretraining, "args": argparse.Namespace(lr=0.1), "epoch": 800}
    torch.save(content, tmp_path / "RETFound_cfp_weights.pth")
    model = load_timm("test_vit", str(tmp_path / "RETFound_cfp_weights.pth"))
    pixels = model.preprocess(IMAGES)
    with torch.inference_mode():
        torch.testing.assert_close(model.network.encode_image(pixels), network(pixels), atol=1e-4, rtol=1e-4)


def test_torchvisions_resnet18_is_loaded_from_its_file(tmp_path):
    import torchvision

    reference = randomised(torchvision.models.resnet18(weights=None))
    torch.save(reference.state_dict(), tmp_path / "resnet18-f37072fd.pth")
    source = {"type": "timm", "model": "resnet18.tv_in1k", "weights": str(tmp_path / "resnet18-f37072fd.pth")}
    model = model_dataset(source).load()
    pixels = model.preprocess(IMAGES)
    reference.fc = torch.nn.Identity()
    with torch.inference_mode():
        torch.testing.assert_close(model.network.encode_image(pixels), reference(pixels), atol=1e-3, rtol=1e-3)
    assert model.preprocess.mean == (0.485, 0.456, 0.406) and model.preprocess.interpolation == "bilinear"


@pytest.fixture(scope="module")
def rad_dino(tmp_path_factory) -> Path:
    """A folder with the names, shapes and settings of Rad-DINO's, but for its widths."""
    folder = tmp_path_factory.mktemp("hub") / "rad-dino"
    config = transformers.Dinov2Config(hidden_size=32, num_hidden_layers=2, num_attention_heads=2, image_size=56)
    randomised(transformers.Dinov2Model(config)).save_pretrained(folder)
    transformers.BitImageProcessor(
        size={"shortest_edge": 56}, crop_size=56, image_mean=[0.5307] * 3, image_std=[0.2583] * 3
    ).save_pretrained(folder)
    return folder


def test_rad_dinos_features_are_those_of_transformers(rad_dino):
    model = load_transformers_vision(str(rad_dino))
    reference = transformers.AutoModel.from_pretrained(rad_dino).eval()
    processor = transformers.AutoImageProcessor.from_pretrained(rad_dino)
    pixels = processor([Image.fromarray(image) for image in IMAGES], return_tensors="pt").pixel_values
    assert (model.preprocess(IMAGES) - pixels).abs().max() < 2.5 / 255 / min(model.preprocess.std)
    with torch.inference_mode():
        expected = reference(pixel_values=pixels).pooler_output
        torch.testing.assert_close(model.network.encode_image(pixels), expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("kind", ["timm", "transformers_vision"])
def test_it_is_written_and_loaded_again(tmp_path, rad_dino, kind):
    saved_by_timm(tmp_path / "vit", "test_vit")
    source = {"type": kind, "model": str(tmp_path / "vit" if kind == "timm" else rad_dino)}
    written = import_model(source, tmp_path / "copy", licence="Apache-2.0")
    assert written == {"type": kind, "model": str(tmp_path / "copy")}
    model, again = (model_dataset(entry).load() for entry in (source, written))
    assert again.content_hash() == model.content_hash() and again.preprocess == model.preprocess


@pytest.mark.parametrize("kind", ["timm", "transformers_vision"])
def test_lora_adapts_query_key_and_value_of_every_block(tmp_path, rad_dino, kind):
    import peft

    saved_by_timm(tmp_path / "vit", "test_vit")
    model = model_dataset({"type": kind, "model": str(tmp_path / "vit" if kind == "timm" else rad_dino)}).load()
    blocks = {"timm": 6, "transformers_vision": 2}[kind]
    tuned = peft.get_peft_model(model.network, peft.LoraConfig(r=2, target_modules=model.lora_targets))
    assert sum(".lora_A." in name for name, _ in tuned.named_parameters()) == 3 * blocks


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"model": "resnet18.tv_in1k"}, "a name of timm needs its 'weights'"),
        ({"model": "resnet81", "weights": "weights.pth"}, "timm has no model 'resnet81'"),
        ({"model": ".", "weights": "weights.pth"}, "brings its own weights"),
    ],
)
def test_what_is_not_described_as_it_should_be_is_said(tmp_path, monkeypatch, settings, message):
    monkeypatch.chdir(tmp_path)
    torch.save(timm.create_model("test_vit").state_dict(), tmp_path / "weights.pth")
    with pytest.raises(InputError, match=message):
        model_format({"type": "timm", **settings}).load()


def test_patches_of_another_size_are_refused(tmp_path):
    """timm would scale them, and the features would be others."""
    torch.save(timm.create_model("test_vit", patch_size=32).state_dict(), tmp_path / "weights.pth")
    with pytest.raises(InputError, match="patches of 32 x 32 px, and its own have 16 x 16"):
        load_timm("test_vit", str(tmp_path / "weights.pth"))


def test_weights_of_another_architecture_are_refused(tmp_path):
    torch.save(timm.create_model("test_vit").state_dict(), tmp_path / "weights.pth")
    with pytest.raises(InputError, match="of another architecture"):
        load_timm("test_resnet", str(tmp_path / "weights.pth"))
