"""Published layouts load without a network, and their features are those of the code they were published with."""

import json
import shutil
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
import transformers
from content import content_of
from model_sources import model_dataset
from PIL import Image
from published import (
    UNIMED_VISION,
    write_biomedclip,
    write_clip,
    write_medclip,
    write_pmcclip,
    write_text_tower,
    write_unimedclip,
)
from safetensors.torch import load_file
from torch.nn import functional as F

from robustmedclip.models.export import save_model
from robustmedclip.models.interface import VisionLanguageModel
from robustmedclip.models.open_clip import load_open_clip
from robustmedclip.models.published_checkpoint import load_checkpoint

pytestmark = pytest.mark.slow

TEXTS = ["a chest x-ray of pneumonia", "normal"]


@pytest.fixture(scope="module", autouse=True)
def no_network():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
        yield


@pytest.fixture(scope="module")
def text_tower(tmp_path_factory) -> Path:
    return write_text_tower(tmp_path_factory.mktemp("tower") / "bert")


@torch.inference_mode()
def logits(image_features: torch.Tensor, text_features: torch.Tensor, scale: float) -> torch.Tensor:
    return scale * F.normalize(image_features, dim=-1) @ F.normalize(text_features, dim=-1).T


def assert_same_logits(model: VisionLanguageModel, encode_image, encode_text, scale: float) -> None:
    """On pixels of the model's own size."""
    pixels = torch.randn(2, 3, *model.preprocess.size, generator=torch.Generator().manual_seed(3))
    with torch.inference_mode():
        ours = model.logit_scale * model.encode_image(pixels) @ model.encode_text(TEXTS).T
        expected = logits(encode_image(pixels), encode_text(TEXTS), scale)
    assert expected.std() > 0.01
    torch.testing.assert_close(ours, expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("kind", ["vit", "resnet"])
@pytest.mark.parametrize("as_file", [False, True])
def test_clip_equals_open_clips_own_path(tmp_path, kind, as_file):
    folder = tmp_path / "clip"
    write_clip(folder, kind)
    reference = open_clip.create_model(f"local-dir:{folder}", require_pretrained=True).eval()
    if as_file:
        (tmp_path / f"tiny-{kind}.json").write_text(
            json.dumps(json.loads((folder / "open_clip_config.json").read_text())["model_cfg"])
        )
        open_clip.add_model_config(tmp_path / f"tiny-{kind}.json")
        model = load_open_clip(f"tiny-{kind}", str(folder / "open_clip_pytorch_model.bin"))
    else:
        model = load_open_clip(f"local-dir:{folder}")
    tokenizer = open_clip.get_tokenizer(f"local-dir:{folder}")
    assert_same_logits(
        model, reference.encode_image, lambda texts: reference.encode_text(tokenizer(texts)), np.exp(3.0)
    )


def test_biomedclip_equals_open_clips_own_path(tmp_path, text_tower):
    folder = tmp_path / "biomedclip"
    write_biomedclip(folder, text_tower)
    local = Path(shutil.copytree(folder, tmp_path / "reference"))
    config = json.loads((local / "open_clip_config.json").read_text())
    config["model_cfg"]["text_cfg"]["hf_model_name"] = str(text_tower)
    (local / "open_clip_config.json").write_text(json.dumps(config))
    reference, _, transform = open_clip.create_model_and_transforms(f"local-dir:{local}", require_pretrained=True)
    tokenizer = open_clip.get_tokenizer(f"local-dir:{local}")
    model = load_open_clip(f"local-dir:{folder}")
    assert_same_logits(
        model,
        reference.eval().encode_image,
        lambda texts: reference.encode_text(tokenizer(texts)),
        np.exp(3.0),
    )
    image = np.random.default_rng(0).integers(0, 256, (1, 200, 171, 3), np.uint8)
    difference = model.preprocess(image) - transform(Image.fromarray(image[0]))
    assert difference.abs().max() < 2.5 / 255 / 0.26


@pytest.mark.parametrize("name", UNIMED_VISION)
def test_unimedclip_equals_the_renamed_weights(tmp_path, text_tower, name):
    file = tmp_path / f"{name}.pt"
    reference = write_unimedclip(file, text_tower)
    model = load_checkpoint("unimedclip", str(file), text=str(text_tower))
    tokenizer = open_clip.tokenizer.HFTokenizer(str(text_tower), context_length=256)
    assert model.preprocess.size == (UNIMED_VISION[name]["image_size"],) * 2
    assert_same_logits(
        model, reference.encode_image, lambda texts: reference.encode_text(tokenizer(texts)), np.exp(3.0)
    )


@pytest.mark.parametrize("kind", ["resnet", "vit"])
def test_medclip_equals_torchvision_and_transformers(tmp_path, text_tower, kind):
    folder = tmp_path / "medclip"
    reference = write_medclip(folder, kind)
    model = load_checkpoint("medclip", str(folder), text=str(text_tower))
    tokenizer = transformers.AutoTokenizer.from_pretrained(text_tower)

    def encode_text(texts):
        return torch.cat([reference.encode_text(tokenizer(text, return_tensors="pt")) for text in texts])

    assert_same_logits(model, reference.encode_image, encode_text, np.exp(3.0))


def test_pmcclip_equals_its_towers(tmp_path, text_tower):
    folder = tmp_path / "pmc_oa"
    image, text, projection = write_pmcclip(folder)
    model = load_checkpoint("pmcclip", str(folder), text=str(text_tower))
    tokenizer = transformers.AutoTokenizer.from_pretrained(text_tower)

    def encode_text(texts):
        tokens = tokenizer(texts, padding="max_length", max_length=77, return_tensors="pt").input_ids
        return text(tokens, attention_mask=torch.ones_like(tokens)).last_hidden_state[:, 0] @ projection

    assert_same_logits(model, image, encode_text, np.exp(4.4292))
    assert_same_logits(export_and_load(model, tmp_path / "exported"), image, encode_text, np.exp(4.4292))


def test_medclip_bounds_its_scale_and_averages_over_no_padding(tmp_path, text_tower):
    write_medclip(tmp_path / "medclip", "resnet", logit_scale=9.0)
    model = load_checkpoint("medclip", str(tmp_path / "medclip"), text=str(text_tower))
    assert model.logit_scale == pytest.approx(100, abs=1e-2)
    torch.testing.assert_close(model.encode_text(TEXTS)[1:], model.encode_text(TEXTS[1:]), atol=0, rtol=0)


def test_the_text_tower_of_biomedclip_is_known_without_a_file(tmp_path, text_tower):
    """The published folder names it by its name on the hub only: no network is asked for it."""
    folder = tmp_path / "biomedclip"
    write_biomedclip(folder, text_tower)
    shutil.rmtree(folder / "text")
    with pytest.raises(ValueError, match=r"of another shape \(text\.transformer.* for \(30522, 768\)"):
        load_open_clip(f"local-dir:{folder}")


def test_a_model_is_exported_with_its_attention_fused_and_all_that_it_needs(tmp_path, text_tower):
    folder, exported = tmp_path / "biomedclip", tmp_path / "exported"
    network = write_biomedclip(folder, text_tower)
    model = load_open_clip(f"local-dir:{folder}")
    again = export_and_load(model, exported)
    assert again.content_hash() == model.content_hash()
    assert again.preprocess == model.preprocess
    assert load_file(exported / "open_clip_model.safetensors").keys() == network.state_dict().keys()


def test_a_checkpoint_is_exported_as_a_folder_of_open_clip(tmp_path, text_tower):
    write_medclip(tmp_path / "medclip", "resnet", logit_scale=9.0)
    model = load_checkpoint("medclip", str(tmp_path / "medclip"), text=str(text_tower))
    again = export_and_load(model, tmp_path / "exported")
    assert again.logit_scale == pytest.approx(model.logit_scale)
    assert again.preprocess == model.preprocess
    torch.testing.assert_close(again.encode_text(TEXTS), model.encode_text(TEXTS), atol=0, rtol=0)


def export_and_load(model: VisionLanguageModel, folder: Path) -> VisionLanguageModel:
    folder.mkdir()
    save_model(folder, model, {}, licence=None)
    return load_open_clip(f"local-dir:{folder}")


def test_every_layout_is_a_catalog_entry(tmp_path, text_tower):
    write_pmcclip(tmp_path / "pmc_oa")
    entry = {
        "type": "checkpoint",
        "layout": "pmcclip",
        "weights": str(tmp_path / "pmc_oa"),
        "text": str(text_tower),
    }
    dataset = model_dataset(entry)
    assert dataset.problems() == []
    content = content_of(dataset)
    assert dataset.load().encode_text(TEXTS).shape == (2, 24)
    (tmp_path / "pmc_oa" / "text_encoder.pth").write_bytes(b"")
    assert content_of(dataset) != content
    missing = model_dataset({**entry, "weights": str(tmp_path / "gone")})
    assert missing.problems() == [f"there is no {tmp_path / 'gone'}"]
