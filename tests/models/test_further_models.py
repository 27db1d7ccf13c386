"""Models of 2024 to 2026 on random weights of their published names: by settings alone, or by a layout."""

import json
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
import transformers
import yaml
from click.testing import CliRunner
from model_sources import model_dataset
from published import CLIP_CONFIGS, randomised, small_bert, write_text_tower, write_transformers, write_unimedclip
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional as F

from robustmedclip.commands.import_model import import_model, import_model_command
from robustmedclip.models.formats import model_format
from robustmedclip.models.layouts import unimedclip
from robustmedclip.models.published_checkpoint import load_checkpoint
from robustmedclip.models.transformers_clip import load_transformers

pytestmark = pytest.mark.slow

TEXTS = ["a chest x-ray of pneumonia", "normal"]
IMAGES = np.random.default_rng(0).integers(0, 256, (2, 40, 40, 3), np.uint8)


@pytest.fixture(scope="module", autouse=True)
def no_network():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
        yield


@pytest.fixture(scope="module")
def bert(tmp_path_factory) -> Path:
    return write_text_tower(tmp_path_factory.mktemp("tower") / "bert")


@torch.inference_mode()
def assert_same(model, encode_image, encode_text) -> None:
    """Unit features of both towers, on pixels of the model's own size."""
    pixels = torch.randn(2, 3, *model.preprocess.size, generator=torch.Generator().manual_seed(3))
    features = ((model.encode_image(pixels), encode_image(pixels)), (model.encode_text(TEXTS), encode_text()))
    for ours, reference in features:
        expected = F.normalize(reference, dim=-1)
        assert expected.std(0).max() > 1e-3
        torch.testing.assert_close(ours, expected, atol=1e-4, rtol=0)


def test_chexzero_is_openais_layout_with_a_normalisation_of_its_own(tmp_path, monkeypatch):
    config = CLIP_CONFIGS["vit"]
    (tmp_path / "ViT-tiny.json").write_text(json.dumps(config))
    open_clip.add_model_config(tmp_path / "ViT-tiny.json")
    network = randomised(open_clip.CLIP(**config))
    sizes = {
        "input_resolution": torch.tensor(32),
        "context_length": torch.tensor(77),
        "vocab_size": torch.tensor(49408),
    }
    torch.save(
        network.state_dict() | {name: torch.tensor(size) for name, size in sizes.items()},
        tmp_path / "best_64_0.0002_original_35000_0.864.pt",
    )
    settings = {"mean": 101.48761 / 255, "std": 83.43944 / 255, "resize_mode": "longest"}
    source = {
        "type": "open_clip",
        "model": "ViT-tiny",
        "pretrained": str(tmp_path / "best_64_0.0002_original_35000_0.864.pt"),
        "preprocess": settings,
    }
    model = model_dataset(source).load()
    square = np.full((1, 32, 32, 1), 200, np.uint8)
    torch.testing.assert_close(model.preprocess(square)[0, 0, 0, 0], torch.tensor((200 - 101.48761) / 83.43944))
    tokens = open_clip.SimpleTokenizer()(TEXTS)
    assert_same(model, network.encode_image, lambda: network.encode_text(tokens))


def test_fetalclip_is_configured_by_a_file(tmp_path):
    config = {**CLIP_CONFIGS["vit"], "text_cfg": {**CLIP_CONFIGS["vit"]["text_cfg"], "context_length": 117}}
    network = randomised(open_clip.CLIP(**config))
    (tmp_path / "FetalCLIP_config.json").write_text(json.dumps(config))
    torch.save({"state_dict": network.state_dict()}, tmp_path / "FetalCLIP_weights.pt")
    source = {
        "type": "open_clip",
        "config": str(tmp_path / "FetalCLIP_config.json"),
        "pretrained": str(tmp_path / "FetalCLIP_weights.pt"),
        "preprocess": {"resize_mode": "longest"},
    }
    model = model_dataset(source).load()
    tokens = open_clip.SimpleTokenizer(context_length=117)(TEXTS)
    assert tokens.shape[1] == 117 and model.preprocess.resize_mode == "longest"
    assert_same(model, network.encode_image, lambda: network.encode_text(tokens))
    options = ["--config", source["config"], "--pretrained", source["pretrained"]]
    options += ["--preprocess", "{resize_mode: longest}", "--licence", "CC BY-NC"]
    output = CliRunner().invoke(import_model_command, [str(tmp_path / "copy"), *options]).output
    entry = yaml.safe_load(output.partition("\n\n")[2])["models"]["copy"]
    again = model_dataset(entry["source"]).load()
    assert entry["origin"] == {"licence": "CC BY-NC"}
    assert again.content_hash() == model.content_hash() and again.preprocess == model.preprocess
    torch.testing.assert_close(again.encode_text(TEXTS), model.encode_text(TEXTS))


@pytest.mark.parametrize("wrapped", [True, False])
def test_mmkd_clip_is_of_unimedclips_layout(tmp_path, bert, wrapped):
    file = tmp_path / "unimed_clip_vit_b16.pt"
    reference = write_unimedclip(file, bert)
    weights = torch.load(file, weights_only=True)["state_dict"]
    weights = weights if wrapped else {name.removeprefix("module."): tensor for name, tensor in weights.items()}
    torch.save(weights, tmp_path / "MMKD_B16.pth")
    model = load_checkpoint("unimedclip", str(tmp_path / "MMKD_B16.pth"), text=str(bert))
    tokens = open_clip.tokenizer.HFTokenizer(str(bert), context_length=256)(TEXTS)
    assert_same(model, reference.encode_image, lambda: reference.encode_text(tokens))


@pytest.mark.parametrize(
    ("width", "positions", "patch", "text", "size", "encoder"),
    [
        (768, 197, 16, 768, 224, "base"),
        (1024, 257, 14, 768, 224, "base"),
        (1024, 577, 14, 768, 336, "base"),
        (1024, 577, 14, 1024, 336, "large"),
    ],
    ids=["B/16", "L/14", "L/14-336", "L/14-336, large text encoder"],
)
def test_unimedclips_variants_are_known_by_their_shapes(width, positions, patch, text, size, encoder):
    with torch.device("meta"):
        weights = {
            "visual.conv1.weight": torch.empty(width, 3, patch, patch),
            "visual.positional_embedding": torch.empty(positions, width),
            "visual.proj": torch.empty(width, 512),
            "visual.transformer.resblocks.0.mlp.c_fc.weight": torch.empty(4 * width, width),
            "text_encoder.transformer.embeddings.word_embeddings.weight": torch.empty(30522, text),
        }
    converted = unimedclip([weights])
    assert converted.preprocessing.size == (size, size)
    assert f"BiomedBERT-{encoder}" in converted.config["text_cfg"]["hf_model_name"]
    assert converted.config["vision_cfg"]["width"] == width and converted.config["quick_gelu"]


class FlairReference(nn.Module):
    """FLAIR of the modules of torchvision and transformers, put together as its code does."""

    def __init__(self):
        super().__init__()
        import torchvision

        self.vision_model, self.text_model = nn.Module(), nn.Module()
        self.vision_model.model = torchvision.models.resnet50(weights=None)
        self.vision_model.model.fc = nn.Identity()
        self.vision_model.projection_head_vision = nn.Module()
        self.vision_model.projection_head_vision.projection = nn.Linear(2048, 16, bias=False)
        self.text_model.model = small_bert(output_hidden_states=True)
        self.text_model.projection_head_text = nn.Module()
        self.text_model.projection_head_text.projection = nn.Linear(32, 16, bias=False)
        self.logit_scale = nn.Parameter(torch.tensor(0.0))
        randomised(self)

    def encode_image(self, pixels: torch.Tensor) -> torch.Tensor:
        features = F.normalize(self.vision_model.model(pixels), dim=-1)
        return self.vision_model.projection_head_vision.projection(features)

    def encode_text(self, encoded: transformers.BatchEncoding) -> torch.Tensor:
        hidden = self.text_model.model(**encoded).hidden_states
        features = F.normalize(torch.stack([hidden[1], hidden[2], hidden[-1]]).mean(2).mean(0), dim=-1)
        return self.text_model.projection_head_text.projection(features)


def each(reference: nn.Module, tokenizer) -> torch.Tensor:
    """Each text by itself, without padding."""
    return torch.cat([reference.encode_text(tokenizer(text, return_tensors="pt")) for text in TEXTS])


def test_flair_equals_torchvision_and_transformers(tmp_path, bert):
    reference = FlairReference()
    torch.save(reference.state_dict(), tmp_path / "flair_resnet.pth")
    model = load_checkpoint("flair", str(tmp_path / "flair_resnet.pth"), text=str(bert))
    tokenizer = transformers.AutoTokenizer.from_pretrained(bert)
    assert_same(model, reference.encode_image, lambda: each(reference, tokenizer))
    pixels = model.preprocess(np.full((1, 40, 20, 3), 255, np.uint8))
    assert pixels.shape == (1, 3, 512, 512) and pixels.max() == 1 and pixels[..., 0].max() == 0


class CxrClipReference(nn.Module):
    """CXR-CLIP of the modules of torchvision and transformers, put together as its code does."""

    def __init__(self, kind: str):
        super().__init__()
        import torchvision

        for name in ("image_encoder", "text_encoder", "image_projection", "text_projection"):
            setattr(self, name, nn.Module())
        if kind == "resnet":
            self.image_encoder.resnet = torchvision.models.resnet50(weights=None)
            del self.image_encoder.resnet.fc
        else:
            self.image_encoder.image_encoder = transformers.SwinModel(transformers.SwinConfig())
        self.text_encoder.text_encoder, self.text_projection.projection = small_bert(), nn.Linear(32, 16)
        self.image_projection.projection = nn.Linear(2048 if kind == "resnet" else 768, 16)
        self.logit_scale = nn.Parameter(torch.tensor(0.0))
        randomised(self)

    def published(self, folder: Path) -> dict[str, torch.Tensor]:
        """The weights, those of Swin in the names that transformers gives them on disk."""
        weights, prefix = self.state_dict(), "image_encoder.image_encoder."
        if not hasattr(self.image_encoder, "image_encoder"):
            return weights
        self.image_encoder.image_encoder.save_pretrained(folder)
        swin = {prefix + name: tensor for name, tensor in load_file(folder / "model.safetensors").items()}
        return {name: tensor for name, tensor in weights.items() if not name.startswith(prefix)} | swin

    def encode_image(self, pixels: torch.Tensor) -> torch.Tensor:
        if hasattr(self.image_encoder, "image_encoder"):
            patches = self.image_encoder.image_encoder(pixel_values=pixels).last_hidden_state
            return self.image_projection.projection(patches[:, 0])
        network = self.image_encoder.resnet
        x = network.maxpool(network.relu(network.bn1(network.conv1(pixels))))
        x = network.layer4(network.layer3(network.layer2(network.layer1(x))))
        return self.image_projection.projection(network.avgpool(x).flatten(1))

    def encode_text(self, encoded: transformers.BatchEncoding) -> torch.Tensor:
        last = encoded["attention_mask"].sum(-1) - 1
        return self.text_projection.projection(self.text_encoder.text_encoder(**encoded).last_hidden_state[:, last[0]])


@pytest.mark.parametrize("kind", ["resnet", "swin"])
def test_cxr_clip_equals_torchvision_and_transformers_and_is_written(tmp_path, bert, kind):
    reference = CxrClipReference(kind)
    content = {"model": reference.published(tmp_path / "swin"), "config": {"base": {"image_size": 224}}, "epoch": 15}
    torch.save(content, tmp_path / "mcc.tar")
    source = {"type": "checkpoint", "layout": "cxrclip", "weights": str(tmp_path / "mcc.tar"), "text": str(bert)}
    model = model_dataset(source).load()
    tokenizer = transformers.AutoTokenizer.from_pretrained(bert)
    assert_same(model, reference.encode_image, lambda: each(reference, tokenizer))
    if kind == "swin":
        again = model_dataset(import_model(source, tmp_path / "copy")).load()
        assert again.content_hash() == model.content_hash()


def test_monets_statistics_of_imagenet_are_obeyed(tmp_path):
    write_transformers(tmp_path / "monet", "clip")
    settings = {"crop_size": 32, "size": 32, "do_center_crop": True, "do_normalize": True, "do_resize": True}
    settings |= {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225], "resample": 3}
    for file in (tmp_path / "monet").glob("*processor_config.json"):
        file.unlink()
    (tmp_path / "monet/preprocessor_config.json").write_text(json.dumps(settings))
    preprocess = load_transformers(str(tmp_path / "monet")).preprocess
    assert preprocess.mean == (0.485, 0.456, 0.406) and preprocess.std == (0.229, 0.224, 0.225)


@pytest.mark.parametrize(("tokenizer_class", "lowered"), [("GemmaTokenizer", True), ("SiglipTokenizer", False)])
def test_siglip_2_reads_lower_case_and_siglip_as_it_is(tmp_path, monkeypatch, tokenizer_class, lowered):
    folder = tmp_path / "siglip"
    write_transformers(folder, "siglip")
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    seen = []

    def spied(texts, **options):
        seen.extend(texts)
        return tokenizer(texts, **options)

    monkeypatch.setattr(transformers.AutoTokenizer, "from_pretrained", lambda *_, **__: spied)
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": tokenizer_class}))
    load_transformers(str(folder)).encode_text(["A Chest X-Ray"])
    assert seen[-1] == ("a chest x-ray" if lowered else "A Chest X-Ray")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"config": "c.json"}, "give 'pretrained'"),
        ({"model": "ViT-B-32", "config": "c.json", "pretrained": "w.pt"}, "one of 'path'"),
        ({"model": "ViT-B-32", "pretrained": "openai", "preprocess": {"mean": 0.5}}, "goes with a file of weights"),
        ({"model": "ViT-B-32", "pretrained": "w.pt", "preprocess": {"meen": 0.5}}, "meen are not known"),
    ],
)
def test_settings_that_do_not_go_together_are_said(settings, message):
    with pytest.raises(ValueError, match=message):
        model_format({"type": "open_clip", **settings})
