"""Bad weights: one clear error each, no code that runs, and never a model that is random in part."""

import json
import os
import random
import shutil
import zipfile
from math import prod
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from published import write_clip, write_pmcclip, write_text_tower
from safetensors.torch import save_file

from robustmedclip.errors import InputError
from robustmedclip.models.checkpoints import read_weights
from robustmedclip.models.open_clip import load_open_clip
from robustmedclip.models.published_checkpoint import load_checkpoint
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


def resaved(file: Path, change, compression: int = zipfile.ZIP_STORED) -> None:
    """The archive with every member given to `change`: name and content to content."""
    with zipfile.ZipFile(file) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, change(name, content))


@pytest.mark.parametrize("zipped", [True, False])
def test_a_small_file_that_declares_large_weights_is_refused_before_they_are_read(tmp_path, zipped):
    """A stride of 0 makes of one value as many as it says, and all were compared with infinity."""
    content = {"a": torch.ones(1).expand(2**42)}
    torch.save(content, tmp_path / "model.pt", _use_new_zipfile_serialization=zipped)
    with pytest.raises(InputError, match=r"larger than the file of \d+ bytes: a"):
        read_weights(tmp_path / "model.pt")


def test_a_compressed_archive_is_refused(tmp_path):
    torch.save({"a": torch.zeros(10**6)}, tmp_path / "model.pt")
    resaved(tmp_path / "model.pt", lambda name, content: content, zipfile.ZIP_DEFLATED)
    assert (tmp_path / "model.pt").stat().st_size < 10**5
    with pytest.raises(InputError, match="is compressed.*torch.save, or as safetensors"):
        read_weights(tmp_path / "model.pt")


def test_an_archive_that_declares_more_than_it_holds_is_refused(tmp_path):
    torch.save(WEIGHTS, tmp_path / "model.pt")
    content = bytearray((tmp_path / "model.pt").read_bytes())
    entry = content.index(b"PK\x01\x02", content.rindex(b"data/0") - 60)
    content[entry + 20 : entry + 28] = (2**31).to_bytes(4, "little") * 2
    (tmp_path / "model.pt").write_bytes(content)
    with pytest.raises(InputError, match="damaged .*declares more than the file holds"):
        read_weights(tmp_path / "model.pt")


def test_values_of_the_next_record_are_not_taken_for_missing_ones(tmp_path):
    torch.save(WEIGHTS, tmp_path / "model.pt")
    resaved(tmp_path / "model.pt", lambda name, content: content[:4000] if name.endswith("data/0") else content)
    with pytest.raises(InputError, match="damaged"):
        read_weights(tmp_path / "model.pt")


def test_weights_that_share_their_values_are_read(tmp_path):
    shared = torch.arange(6.0)
    torch.save({"a": shared, "b": shared, "c": shared[2:]}, tmp_path / "model.pt")
    read = read_weights(tmp_path / "model.pt")
    assert torch.equal(read["b"], shared) and torch.equal(read["c"], shared[2:])


@pytest.mark.parametrize(
    "weight",
    [
        torch.empty(3, device="meta"),
        torch.eye(3).to_sparse(),
        torch.ones(3).to(torch.float8_e4m3fn),
        torch.ones(3, dtype=torch.complex64),
    ],
    ids=["left out", "sparse", "8 bits", "complex"],
)
def test_weights_that_are_not_plain_numbers_are_refused(tmp_path, weight):
    torch.save({"a": weight}, tmp_path / "model.pt")
    with pytest.raises(InputError, match="not plain numbers, .*: a. Save them as float32"):
        read_weights(tmp_path / "model.pt")


def test_a_flipped_bit_in_the_values_is_refused(tmp_path):
    torch.save(WEIGHTS, tmp_path / "model.pt")
    content = bytearray((tmp_path / "model.pt").read_bytes())
    content[content.index(WEIGHTS["a"].numpy().tobytes()) + 402] ^= 1
    (tmp_path / "model.pt").write_bytes(content)
    with pytest.raises(InputError, match="damaged .*data/0 in it differs from its checksum|Bad CRC"):
        read_weights(tmp_path / "model.pt")


@pytest.mark.parametrize("zipped", [True, False])
def test_changed_bytes_of_a_checkpoint_end_in_weights_no_larger_than_the_file_or_in_a_refusal(tmp_path, zipped):
    file = tmp_path / "model.pt"
    weights = {"a": torch.arange(40.0), "b": torch.ones(3, 4)}
    torch.save(weights, file, _use_new_zipfile_serialization=zipped)
    original, draws = file.read_bytes(), random.Random(0)
    kinds = {"read": 0, "refused": 0}
    for _ in range(300):
        content = bytearray(original)
        for _ in range(draws.randint(1, 3)):
            content[draws.randrange(len(content))] = draws.randrange(256)
        file.write_bytes(content)
        try:
            read = read_weights(file)
        except InputError as error:
            assert str(file) in error.message
            kinds["refused"] += 1
        else:
            assert sum(tensor.nbytes for tensor in read.values()) <= len(original)
            kinds["read"] += 1
    assert min(kinds.values()) > 10


def test_integers_are_not_taken_for_weights(clip):
    def quantised(weights):
        weights["visual.proj"] = (weights["visual.proj"] * 127).to(torch.int8)

    rewrite(clip, quantised)
    with pytest.raises(InputError, match=r"1 of another kind of number \(visual\.proj torch\.int8 for torch\.float32"):
        load_open_clip(f"local-dir:{clip}")


def test_a_program_is_refused(tmp_path):
    torch.jit.script(torch.nn.Linear(2, 2)).save(str(tmp_path / "ViT-B-16.pt"))
    with pytest.raises(InputError, match="TorchScript archive.*pretrained: openai"):
        read_weights(tmp_path / "ViT-B-16.pt")


@pytest.mark.parametrize("content", [{}, [1, 2], {"a": 1.0}, {"epoch": 3, "weights": [torch.ones(1)]}])
def test_other_content_is_refused(tmp_path, content):
    torch.save(content, tmp_path / "weights.pt")
    with pytest.raises(InputError, match="no weights|not a file of weights alone"):
        read_weights(tmp_path / "weights.pt")


def test_weights_that_are_all_zero_are_refused_and_some_are_warned_of(clip, caplog):
    rewrite(clip, lambda weights: weights["visual.proj"].fill_(0))
    read_weights(clip / "open_clip_pytorch_model.bin")
    assert "visual.proj are all 0: is the file whole?" in caplog.text
    rewrite(clip, lambda weights: [tensor.fill_(0) for tensor in weights.values()])
    with pytest.raises(InputError, match="are all 0: .*Get a copy of a trained model"):
        read_weights(clip / "open_clip_pytorch_model.bin")


@pytest.mark.parametrize("logarithm", [50.0, -50.0])
def test_a_logit_scale_that_is_not_that_of_a_trained_model_is_refused(clip, logarithm):
    rewrite(clip, lambda weights: weights["logit_scale"].fill_(logarithm))
    with pytest.raises(InputError, match="its logit scale is .*, and that of a trained model lies between"):
        load_open_clip(f"local-dir:{clip}")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@given(shape=st.sampled_from([(), (3,), (5, 7), (33, 65)]), place=st.floats(0, 1, exclude_max=True))
def test_a_value_that_is_not_finite_is_found_wherever_it_is(tmp_path_factory, dtype, value, shape, place):
    weight = torch.linspace(-3, 3, max(1, prod(shape))).reshape(shape).to(dtype)
    weight.view(-1)[int(place * weight.numel())] = value
    file = tmp_path_factory.getbasetemp() / "not-finite.safetensors"
    save_file({"whole": torch.ones(2, 2), "weight": weight, "none": torch.ones(0)}, file)
    with pytest.raises(InputError, match="not finite: weight"):
        read_weights(file)


def test_loading_a_model_draws_no_random_numbers(clip):
    before = torch.get_rng_state()
    load_open_clip(f"local-dir:{clip}")
    assert torch.equal(torch.get_rng_state(), before)


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
