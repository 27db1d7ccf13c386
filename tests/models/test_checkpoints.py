"""Bad weights: one clear error each, no code that runs, and never a model that is random in part."""

import json
import os
import shutil
from pathlib import Path

import pytest
import torch
from published import write_clip, write_pmcclip, write_text_tower
from safetensors.torch import save_file

from robustmedclip.errors import InputError
from robustmedclip.models.checkpoints import read_weights
from robustmedclip.models.open_clip import load_checkpoint, load_open_clip
from robustmedclip.models.transformers_clip import load_transformers

WEIGHTS = {"a": torch.arange(2000.0), "b": torch.ones(3, dtype=torch.float16)}


@pytest.fixture(scope="module")
def published(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("published") / "clip"
    write_clip(folder, "vit")
    return folder


@pytest.fixture
def clip(tmp_path, published) -> Path:
    return Path(shutil.copytree(published, tmp_path / "clip"))


def rewrite(folder: Path, change) -> None:
    file = folder / "open_clip_pytorch_model.bin"
    weights = torch.load(file, weights_only=True)
    change(weights)
    torch.save(weights, file)


@pytest.mark.parametrize(
    "content",
    [
        WEIGHTS,
        {"state_dict": WEIGHTS, "optimizer": {"lr": 1.0}},
        {f"module.{k}": v for k, v in WEIGHTS.items()},
    ],
    ids=["plain", "of a training", "of a parallel training"],
)
@pytest.mark.parametrize("zipped", [True, False])
def test_weights_are_read_out_of_what_is_around_them(tmp_path, content, zipped):
    torch.save(content, tmp_path / "weights.pt", _use_new_zipfile_serialization=zipped)
    read = read_weights(tmp_path / "weights.pt")
    assert read.keys() == WEIGHTS.keys()
    assert all(torch.equal(read[name], tensor) for name, tensor in WEIGHTS.items())


def test_a_missing_file_is_named(tmp_path, clip):
    with pytest.raises(InputError, match=r"no weights file .*gone\.pt"):
        read_weights(tmp_path / "gone.pt")
    (clip / "open_clip_pytorch_model.bin").unlink()
    with pytest.raises(InputError, match=r"can't be loaded: it has none of open_clip_model\.safetensors"):
        load_open_clip(f"local-dir:{clip}")


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
@pytest.mark.parametrize("kept", [0.0, 0.01, 0.5, 0.99])
def test_a_truncated_file_is_refused(tmp_path, suffix, kept):
    file = tmp_path / f"weights{suffix}"
    torch.save(WEIGHTS, file) if suffix == ".pt" else save_file(WEIGHTS, file)
    file.write_bytes(file.read_bytes()[: int(file.stat().st_size * kept)])
    with pytest.raises(InputError, match="damaged"):
        read_weights(file)


class Exploit:
    def __init__(self, target: Path):
        self.target = target

    def __reduce__(self):
        return os.mkdir, (str(self.target),)


@pytest.mark.parametrize("zipped", [True, False])
def test_code_in_a_pickle_does_not_run(tmp_path, zipped):
    torch.save(
        {"a": torch.ones(1), "b": Exploit(tmp_path / "ran")},
        tmp_path / "model.pth",
        _use_new_zipfile_serialization=zipped,
    )
    with pytest.raises(InputError, match="holds Python objects, which could be code"):
        read_weights(tmp_path / "model.pth")
    assert not (tmp_path / "ran").exists()


def test_a_program_is_refused(tmp_path):
    torch.jit.script(torch.nn.Linear(2, 2)).save(str(tmp_path / "ViT-B-16.pt"))
    with pytest.raises(InputError, match="TorchScript archive.*pretrained: openai"):
        read_weights(tmp_path / "ViT-B-16.pt")


@pytest.mark.parametrize("content", [{}, [1, 2], {"a": 1.0}, {"epoch": 3, "weights": [torch.ones(1)]}])
def test_other_content_is_refused(tmp_path, content):
    torch.save(content, tmp_path / "weights.pt")
    with pytest.raises(InputError, match="no weights|not a file of weights alone"):
        read_weights(tmp_path / "weights.pt")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_that_are_not_finite_are_refused(clip, value):
    rewrite(clip, lambda weights: weights["visual.proj"][0].fill_(value))
    with pytest.raises(InputError, match=r"not finite: visual\.proj"):
        load_open_clip(f"local-dir:{clip}")


def test_missing_weights_are_refused(clip):
    rewrite(clip, lambda weights: weights.pop("visual.proj"))
    with pytest.raises(InputError, match=r"1 missing \(visual\.proj\)"):
        load_open_clip(f"local-dir:{clip}")


def test_weights_left_over_are_refused(clip):
    rewrite(clip, lambda weights: weights.update(extra=torch.ones(1)))
    with pytest.raises(InputError, match=r"1 left over \(extra\)"):
        load_open_clip(f"local-dir:{clip}")


@pytest.mark.parametrize("key, value", [("layers", 3), ("width", 64), ("image_size", 48)])
def test_another_architecture_is_refused(clip, key, value):
    """Positions of another image size too: they are not interpolated behind the user's back."""
    config = json.loads((clip / "open_clip_config.json").read_text())
    config["model_cfg"]["vision_cfg"][key] = value
    (clip / "open_clip_config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match="another architecture"):
        load_open_clip(f"local-dir:{clip}")


def test_a_checkpoint_of_another_layout_is_refused(tmp_path, clip):
    text = write_text_tower(tmp_path / "bert")
    for layout in ("unimedclip", "medclip"):
        with pytest.raises(InputError, match="can't be loaded: they lack"):
            load_checkpoint(layout, str(clip / "open_clip_pytorch_model.bin"), text=str(text))
    with pytest.raises(InputError, match="no layout 'medclipp'; known are"):
        load_checkpoint("medclipp", str(clip))
    write_pmcclip(tmp_path / "pmc")
    (tmp_path / "pmc" / "text_encoder.pth").unlink()
    with pytest.raises(InputError, match=r"Expected one file text_encoder\.pth"):
        load_checkpoint("pmcclip", str(tmp_path / "pmc"), text=str(text))
    with pytest.raises(InputError, match="one file of a model of 3"):
        load_checkpoint("pmcclip", str(tmp_path / "pmc" / "text_projection_layer.pth"), text=str(text))


def test_names_that_open_clip_does_not_know_are_refused(clip):
    with pytest.raises(InputError, match="no model 'ViT-B-61'; it has"):
        load_open_clip("ViT-B-61", "openai")
    with pytest.raises(InputError, match="no weights 'openia'.*openai"):
        load_open_clip("ViT-B-16-quickgelu", "openia")
    with pytest.raises(InputError, match="'ViT-B-16' needs weights"):
        load_open_clip("ViT-B-16")
    with pytest.raises(InputError, match="another activation: use 'ViT-B-16-quickgelu'"):
        load_open_clip("ViT-B-16", "openai")


def test_without_a_network_nothing_is_random(tmp_path, monkeypatch, clip):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    for load in (
        lambda: load_open_clip("hf-hub:owner/not-in-the-cache"),
        lambda: load_open_clip("ViT-B-16-quickgelu", "openai"),
        lambda: load_transformers("owner/not-in-the-cache"),
        lambda: load_checkpoint("pmcclip", "hf-hub:datasets/owner/not-in-the-cache"),
        lambda: load_checkpoint("unimedclip", "hf-hub:owner/not-in-the-cache/model.pt"),
    ):
        with pytest.raises(InputError, match=r"not in the cache|can't be downloaded|Can't get"):
            load()
    config = json.loads((clip / "open_clip_config.json").read_text())
    config["model_cfg"]["text_cfg"] = {
        "hf_model_name": "owner/unknown-tower",
        "hf_tokenizer_name": "owner/unknown-tower",
    }
    (clip / "open_clip_config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match="text tower's config.json into the folder 'text'"):
        load_open_clip(f"local-dir:{clip}")
