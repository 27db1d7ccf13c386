"""The study's adapters: imported, they are what its code computes, and what they lack is said."""

import copy
import re
from pathlib import Path

import fsspec
import peft
import pytest
import torch
from content import content_of
from model_sources import model_dataset
from published import randomised, write_biomedclip, write_medclip, write_text_tower
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F

import robustmedclip.models
from robustmedclip.adaptation.study_adapters import import_robustmedclip
from robustmedclip.adaptation.tuning import merge_adapter
from robustmedclip.commands.import_model import import_model
from robustmedclip.errors import InputError
from robustmedclip.io import AdapterDataset
from robustmedclip.models.open_clip import load_open_clip
from robustmedclip.models.published_checkpoint import load_checkpoint

pytestmark = pytest.mark.slow

RANK = 3


class TunedProjection(nn.Module):
    """Of the study's ViT: the fused layer, and one low-rank update for each of query, key and value."""

    def __init__(self, qkv: nn.Linear):
        super().__init__()
        self.qkv = qkv
        for part in "qkv":
            setattr(self, f"linear_a_{part}", nn.Linear(qkv.in_features, RANK, bias=False))
            setattr(self, f"linear_b_{part}", nn.Linear(RANK, qkv.in_features, bias=False))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        updates = [getattr(self, f"linear_b_{p}")(getattr(self, f"linear_a_{p}")(x)) for p in "qkv"]
        return self.qkv(x) + torch.cat(updates, dim=-1)


class TunedConvolution(nn.Module):
    """Of the study's ResNet: the update acts on each pixel, and is resized where the convolution has a stride."""

    def __init__(self, conv: nn.Conv2d):
        super().__init__()
        self.conv = conv
        self.linear_a = nn.Linear(conv.in_channels, RANK, bias=False)
        self.linear_b = nn.Linear(RANK, conv.out_channels, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = self.conv(x)
        update = self.linear_b(self.linear_a(x.permute(0, 2, 3, 1))).permute(0, 3, 1, 2)
        return out + (update if update.shape == out.shape else F.interpolate(update, out.shape[2:], mode="nearest"))


def difference(model, reference, side: int) -> float:
    """Largest difference of the features, at a logit scale of 20."""
    pixels = torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(5))
    with torch.inference_mode():
        return float(20 * (model.encode_image(pixels) - F.normalize(reference(pixels), dim=-1)).abs().max())


@pytest.fixture(scope="module")
def text_tower(tmp_path_factory) -> Path:
    return write_text_tower(tmp_path_factory.mktemp("tower") / "bert")


@pytest.fixture(scope="module")
def vit(tmp_path_factory, text_tower):
    """Folder of the base, folder of the study's files, and the tuned visual encoder."""
    root = tmp_path_factory.mktemp("vit")
    network = write_biomedclip(root / "biomedclip", text_tower)
    tuned, (a, b) = copy.deepcopy(network.visual), ([], [])
    for block in tuned.trunk.blocks:
        layer = block.attn.qkv = TunedProjection(block.attn.qkv)
        a += [layer.linear_a_q, layer.linear_a_v]
        b += [layer.linear_b_q, layer.linear_b_v]
        for part in "qkv":
            randomised(getattr(layer, f"linear_a_{part}"), seed=7 + ord(part))
            randomised(getattr(layer, f"linear_b_{part}"), seed=9 + ord(part))
    (root / "vit").mkdir()
    weights = {f"lora_vit.lora_vit.{name}": tensor for name, tensor in tuned.state_dict().items()}
    weights |= {f"text_encoder.{name}": tensor for name, tensor in network.text.state_dict().items()}
    torch.save(weights, root / "vit" / "model.pth")
    matrices = {f"w_a_{i:03d}": layer.weight for i, layer in enumerate(a)}
    matrices |= {f"w_b_{i:03d}": layer.weight for i, layer in enumerate(b)}
    width, embed_dim = tuned.head.proj.in_features, tuned.head.proj.out_features
    matrices[f"fc_{width}in_{embed_dim}out"] = tuned.head.proj.weight
    save_file({k: v.detach().clone() for k, v in matrices.items()}, root / "vit" / "lora_weights.safetensors")
    return root / "biomedclip", root / "vit", tuned.eval()


@pytest.fixture(scope="module")
def resnet(tmp_path_factory, text_tower):
    root = tmp_path_factory.mktemp("resnet")
    network = write_medclip(root / "medclip", "resnet")
    tuned = copy.deepcopy(network.vision_model.model)
    layers = []
    for name, module in list(tuned.named_modules()):
        if re.fullmatch(r"conv1|layer\d\.\d+\.conv\d", name):
            parent, _, child = name.rpartition(".")
            layers.append(TunedConvolution(module))
            randomised(layers[-1].linear_a, seed=len(layers))
            randomised(layers[-1].linear_b, seed=100 + len(layers))
            layers[-1].linear_b.weight.data.mul_(0.1)
            setattr(tuned.get_submodule(parent), child, layers[-1])
    tuned.bn1.running_mean += 0.3  # the training moves the statistics of layers that it means to freeze
    tuned.bn1.num_batches_tracked += 9
    (root / "resnet").mkdir()
    weights = {f"lora_resnet.lora_medclip.model.{name}": tensor for name, tensor in tuned.state_dict().items()}
    for i, layer in enumerate(layers):
        weights |= {f"lora_resnet.w_As.{i}.weight": layer.linear_a.weight.data}
        weights |= {f"lora_resnet.w_Bs.{i}.weight": layer.linear_b.weight.data}
    weights |= {f"text_encoder.{name}": tensor for name, tensor in network.text_model.state_dict().items()}
    torch.save(weights, root / "resnet" / "model.pth")
    matrices = {f"w_a_{i:03d}": layer.linear_a.weight.data for i, layer in enumerate(layers)}
    matrices |= {f"w_b_{i:03d}": layer.linear_b.weight.data for i, layer in enumerate(layers)}
    save_file(matrices | {"fc_2048in_16out": tuned.fc.weight.data}, root / "resnet" / "lora_weights.safetensors")
    return root / "medclip", root / "resnet", tuned.eval()


def test_the_vit_of_model_pth_is_the_studys(tmp_path, vit):
    base, study, tuned = vit
    model = load_open_clip(f"local-dir:{base}")
    adapter = import_robustmedclip(model, str(study))
    assert adapter.config["r"] == adapter.config["lora_alpha"] == RANK
    assert adapter.metadata["source"] == "model.pth"
    assert adapter.metadata["missing"] == []
    assert difference(merge_adapter(model, adapter), tuned, 160) < 1e-4
    assert difference(model, tuned, 160) > 0.1
    AdapterDataset(filepath=str(tmp_path / "adapter")).save(adapter)
    loaded = peft.PeftModel.from_pretrained(copy.deepcopy(model.network), tmp_path / "adapter")
    with torch.inference_mode():
        pixels = torch.randn(1, 3, 160, 160)
        torch.testing.assert_close(loaded.eval().encode_image(pixels), tuned(pixels), atol=1e-4, rtol=1e-4)


def test_the_matrices_alone_lack_the_keys_and_say_so(vit, caplog):
    base, study, tuned = vit
    model = load_open_clip(f"local-dir:{base}")
    adapter = import_robustmedclip(model, str(study / "lora_weights.safetensors"))
    assert adapter.metadata["missing"] == ["the update of the keys (K)"]
    assert "lacks the update of the keys (K)" in caplog.text
    without_keys = copy.deepcopy(tuned)
    for block in without_keys.trunk.blocks:
        block.attn.qkv.linear_b_k.weight.data.zero_()
    merged = merge_adapter(model, adapter)
    assert difference(merged, without_keys, 160) < 1e-4
    assert difference(merged, tuned, 160) > 0.1


def test_the_resnet_of_model_pth_is_the_studys(resnet, text_tower):
    base, study, tuned = resnet
    entry = {
        "type": "checkpoint",
        "layout": "medclip",
        "weights": str(base),
        "text": str(text_tower),
    }
    source = {"type": "robustmedclip", "base": entry, "adapter": str(study)}
    dataset = model_dataset(source)
    assert dataset.problems() == []
    assert sum(map(len, content_of(dataset)[1])) == 1 + 2 + len(list(text_tower.iterdir()))
    assert difference(dataset.load(), tuned, 224) < 1e-4


def test_the_matrices_of_the_resnet_lack_its_statistics(resnet, text_tower):
    base, study, tuned = resnet
    model = load_checkpoint("medclip", str(base), text=str(text_tower))
    adapter = import_robustmedclip(model, str(study / "lora_weights.safetensors"))
    assert adapter.metadata["missing"] == ["the statistics of batch normalisation"]
    before = copy.deepcopy(tuned)
    before.bn1.running_mean -= 0.3
    merged = merge_adapter(model, adapter)
    assert difference(merged, before, 224) < 1e-4
    assert difference(merged, tuned, 224) > 0.01
    assert difference(model, before, 224) > 0.01


def test_another_base_is_refused(tmp_path, vit, text_tower):
    _, study, _ = vit
    write_biomedclip(tmp_path / "other", text_tower)
    weights = torch.load(tmp_path / "other" / "open_clip_pytorch_model.bin")
    weights["visual.head.proj.weight"] *= 1.1
    torch.save(weights, tmp_path / "other" / "open_clip_pytorch_model.bin")
    other = load_open_clip(f"local-dir:{tmp_path / 'other'}")
    for name in ("model.pth", "lora_weights.safetensors"):
        with pytest.raises(InputError, match=r"another base: visual\.head\.proj\.weight differ"):
            import_robustmedclip(other, str(study / name))


@pytest.mark.parametrize("name", ["model.pth", "lora_weights.safetensors"])
def test_a_base_of_another_kind_is_refused(vit, name):
    _, study, _ = vit
    phantom = load_open_clip(f"local-dir:{Path(robustmedclip.models.__file__).parent / 'phantom_vit'}")
    with pytest.raises(InputError, match="trained on another base"):
        import_robustmedclip(phantom, str(study / name))


def test_what_is_no_adapter_is_refused(tmp_path, vit):
    base, study, _ = vit
    model = load_open_clip(f"local-dir:{base}")
    with pytest.raises(InputError, match="neither model.pth nor"):
        import_robustmedclip(model, str(base))
    with pytest.raises(InputError, match="no adapter of RobustMedCLIP"):
        import_robustmedclip(model, str(base / "open_clip_pytorch_model.bin"))
    save_file({"w_a_000": torch.ones(2, 5)}, tmp_path / "lora_weights.safetensors")
    with pytest.raises(InputError, match="lacks 'w_b_000'"):
        import_robustmedclip(model, str(tmp_path))


@pytest.mark.parametrize("family, side", [("vit", 160), ("resnet", 224)])
def test_a_model_of_the_study_is_imported_with_its_adapter_merged(tmp_path, request, text_tower, family, side):
    base, study, tuned = request.getfixturevalue(family)
    entry = {"type": "open_clip", "path": str(base)}
    if family == "resnet":
        entry = {
            "type": "checkpoint",
            "layout": "medclip",
            "weights": str(base),
            "text": str(text_tower),
        }
    source = {
        "type": "robustmedclip",
        "base": entry,
        "adapter": str(study / "model.pth"),
    }
    imported = import_model(source, tmp_path / "robustmedclip")
    model = model_dataset(imported).load()
    assert difference(model, tuned, side) < 1e-4


def test_a_model_of_the_study_is_read_from_another_filesystem_with_its_base(tmp_path, monkeypatch, vit):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    base, adapter, _ = vit
    store = fsspec.filesystem("memory")
    store.put(str(base), "/bucket/base", recursive=True)
    store.put(str(adapter), "/bucket/adapter", recursive=True)

    def loaded(base: object, adapter: object):
        source = {"type": "robustmedclip", "base": {"type": "open_clip", "path": str(base)}, "adapter": str(adapter)}
        return model_dataset(source).load()

    remote = loaded("memory://bucket/base", "memory://bucket/adapter")
    assert remote.content_hash() == loaded(base, adapter).content_hash()
    store.rm("/bucket", recursive=True)
