"""The evaluation and a training step of every layout on a GPU that is not there."""

import copy
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import pytest
import timm
import torch
from fake_gpu import FakeGPU, NoKernel, WaitsForTheGPU, fake_gpu
from published import (
    write_biomedclip,
    write_clip,
    write_medclip,
    write_pmcclip,
    write_text_tower,
    write_transformers,
    write_unimedclip,
)
from torch import nn
from torch._subclasses.fake_tensor import DataDependentOutputException, unset_fake_temporarily
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

import robustmedclip.models
from robustmedclip.adaptation.objective import Objective
from robustmedclip.adaptation.samples import Samples
from robustmedclip.adaptation.training import _epoch
from robustmedclip.corruptions import corrupt, corruptions
from robustmedclip.errors import InputError
from robustmedclip.images.sets import ImageSet
from robustmedclip.models.batch_size import BATCH_SIZE, batch_size, encoding, images_per_pass
from robustmedclip.models.formats import load_model, model_format
from robustmedclip.models.inference import class_logits, image_features, image_features_of_each
from robustmedclip.models.interface import VisionLanguageModel, zero_shot_classifier
from robustmedclip.models.timm_encoder import load_timm
from robustmedclip.plan.methods import method_of

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(torch.__version__ < "2.10", reason="fake tensors of older releases look for a driver"),
]

CLASSES = ("normal", "pneumonia")


def shipped(folder: Path, name: str) -> VisionLanguageModel:
    return load_model(Path(robustmedclip.models.__file__).with_name(name))


def of_open_clip(folder: Path, kind: str) -> VisionLanguageModel:
    write_clip(folder / "model", kind)
    return load_model(folder / "model")


def of_transformers(folder: Path, kind: str) -> VisionLanguageModel:
    write_transformers(folder / "model", kind)
    return load_model(folder / "model", "transformers")


def biomedclip(folder: Path) -> VisionLanguageModel:
    write_biomedclip(folder / "model", write_text_tower(folder / "bert"))
    return load_model(folder / "model")


def checkpoint(folder: Path, layout: str, weights: str) -> VisionLanguageModel:
    text = str(write_text_tower(folder / "bert"))
    return model_format({"type": "checkpoint", "layout": layout, "weights": str(folder / weights), "text": text}).load()


def unimedclip(folder: Path) -> VisionLanguageModel:
    write_unimedclip(folder / "unimed_clip_vit_b16.pt", write_text_tower(folder / "tower"))
    return checkpoint(folder, "unimedclip", "unimed_clip_vit_b16.pt")


def medclip(folder: Path, kind: str) -> VisionLanguageModel:
    write_medclip(folder / "model", kind)
    return checkpoint(folder, "medclip", "model")


def pmcclip(folder: Path) -> VisionLanguageModel:
    write_pmcclip(folder / "model")
    return checkpoint(folder, "pmcclip", "model")


def of_timm(folder: Path) -> VisionLanguageModel:
    torch.save(timm.create_model("test_vit", num_classes=0).state_dict(), folder / "weights.pth")
    return load_timm("test_vit", str(folder / "weights.pth"))


LAYOUTS: dict[str, Callable[[Path], VisionLanguageModel]] = {
    "phantom_vit": lambda folder: shipped(folder, "phantom_vit"),
    "phantom_resnet": lambda folder: shipped(folder, "phantom_resnet"),
    "clip_vit": lambda folder: of_open_clip(folder, "vit"),
    "clip_resnet": lambda folder: of_open_clip(folder, "resnet"),
    "biomedclip": biomedclip,
    "unimedclip": unimedclip,
    "medclip_resnet": lambda folder: medclip(folder, "resnet"),
    "medclip_vit": lambda folder: medclip(folder, "vit"),
    "pmcclip": pmcclip,
    "transformers_clip": lambda folder: of_transformers(folder, "clip"),
    "transformers_siglip": lambda folder: of_transformers(folder, "siglip"),
    "timm": of_timm,
}


@pytest.fixture(scope="module", params=LAYOUTS)
def model(request, tmp_path_factory) -> VisionLanguageModel:
    return LAYOUTS[request.param](tmp_path_factory.mktemp("layout"))


def images(count: int, side: int = 70) -> np.ndarray:
    return np.zeros((count, side, side + 10, 3), np.uint8)


def evaluate(model: VisionLanguageModel, precision: torch.dtype) -> np.ndarray:
    """Encode images and prompts, and score."""
    features = list(image_features(model, [images(3), images(2)], precision, place=1))
    if not model.has_text:
        return np.concatenate(features)[:, :1]
    classifier = zero_shot_classifier(model, ["normal"], ["an image of {class_name}"], "x-ray")
    return np.concatenate(list(class_logits(features, classifier, model.logit_scale)))


def train(
    model: VisionLanguageModel, method: str, precision: torch.dtype, inside: AbstractContextManager = nullcontext()
) -> None:
    """One epoch of one step."""
    recipe = {"type": "full", "batch_norm": "batch"} if method == "full" else {"type": "lora", "dropout": 0.1}
    if method == "robust-ensemble":
        recipe = {"type": "lora", "targets": "all", "max_gradient_norm": 0.3}
    if method == "robust-lora":
        recipe |= {"guard": 0.95, "label_space": "data_set", "batch_norm": "adapted"}
        recipe["corruptions"] = {"suite": "imagenet-c", "names": ["saturate"], "probability": 1.0}
    settings = method_of(method, recipe | {"batch_size": 4}, [])
    noise = np.random.default_rng(0).integers(0, 256, (4, 70, 80, 3), np.uint8)
    pool = ImageSet.validated(
        name="noise",
        split="train",
        modality="x-ray",
        class_names=CLASSES,
        images=noise,
        labels=np.arange(4, dtype=np.int64) % 2,
        sample_ids=np.arange(4).astype(str),
    )
    samples = Samples([pool], model.preprocess)
    if settings.guard is not None:
        samples = samples.guarded(settings.guard)[0]
    tuned, _ = settings.prepared(replace(model, network=copy.deepcopy(model.network)), {})
    width = model.encode_image(torch.zeros(1, 3, *model.preprocess.size)).shape[1]
    classifier = torch.eye(2, width)
    with fake_gpu() as gpu, inside:
        tuned = gpu.put(tuned)
        weights = [weight for weight in tuned.network.parameters() if weight.requires_grad]
        optimiser = torch.optim.AdamW(weights, lr=settings.learning_rate)
        objective = Objective(tuned, classifier, samples.label_ranges, settings, precision)
        _epoch(objective, samples, settings, optimiser, 0, 1, None)
        assert weights and all(weight.grad.device == weight.device for weight in weights)


def on_gpu(gpu: FakeGPU, model: VisionLanguageModel) -> VisionLanguageModel:
    """A copy of a model on the GPU."""
    with unset_fake_temporarily():
        network = copy.deepcopy(model.network)
    return gpu.put(replace(model, network=network))


def test_every_layout_is_evaluated_on_a_gpu(model):
    with fake_gpu() as gpu:
        assert evaluate(on_gpu(gpu, model), torch.bfloat16).shape == (5, 1)


class Watched(TorchFunctionMode):
    """Notes what keeps a GPU from its speed: images or weights of another layout, attention by products, waits."""

    def __init__(self) -> None:
        super().__init__()
        self.channels_first, self.by_products, self.waited_for = list[tuple](), list[tuple](), list[tuple]()
        self.pinned = list[torch.Tensor]()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs, name = kwargs or {}, getattr(func, "__name__", "")
        tensors = [each for each in args if isinstance(each, torch.Tensor)]
        if name == "conv2d" and len(tensors[0]) > 1:
            # What comes out of a convolution has the layout of what goes in, but not on this GPU.
            watched = [*(tensors[:1] if tensors[0].shape[1] == 3 else ()), *(w for w in tensors[1:2] if w.is_leaf)]
            frozen = [each for each in watched if not each.requires_grad]
            self.channels_first += [
                tuple(each.shape) for each in frozen if not each.is_contiguous(memory_format=torch.channels_last)
            ]
        if name == "softmax" and tensors[0].ndim >= 4 and tensors[0].shape[-2] > 1:
            self.by_products.append(tuple(tensors[0].shape))
        if name == "pin_memory":
            self.pinned.append(tensors[0])
        if name == "to" and tensors[0].dtype == torch.uint8 and "cuda" in " ".join(map(str, args[1:])):
            if not kwargs.get("non_blocking") or not any(tensors[0] is pinned for pinned in self.pinned):
                self.waited_for.append(tuple(tensors[0].shape))
        return func(*args, **kwargs)


@pytest.mark.parametrize("work", ["evaluation", "training"])
def test_every_layout_has_channels_last_fused_attention_and_pinned_images(request, model, work):
    watched = Watched()
    if work == "training":
        train(model, "robust-lora", torch.bfloat16, watched)
    else:
        with fake_gpu() as gpu, watched:
            evaluate(on_gpu(gpu, model), torch.bfloat16)
    assert watched.pinned and (watched.channels_first, watched.waited_for) == ([], [])
    # Transformers' Swin has attention by products alone.
    assert bool(watched.by_products) == ("medclip_vit" in request.node.name)


def test_two_threads_with_a_stream_each_encode_on_a_gpu(monkeypatch):
    model, streams, threads = shipped(Path(), "phantom_vit"), [], []

    def map_ahead(function, items, workers, begin):
        threads.append(workers)
        begin()
        return map(function, items)

    with fake_gpu() as gpu:
        monkeypatch.setattr("torch.cuda.Stream", lambda device: MagicMock(device=device))
        monkeypatch.setattr("torch.cuda.default_stream", lambda device: "where weights may be changed")
        monkeypatch.setattr("torch.cuda.set_stream", streams.append)
        monkeypatch.setattr("robustmedclip.models.inference.map_ahead", map_ahead)
        list(image_features(gpu.put(model), [images(3)], torch.bfloat16))
    assert threads == [2] and [str(stream.device) for stream in streams] == ["cuda:0"]
    streams[0].wait_stream.assert_called_once_with("where weights may be changed")


def test_images_pass_a_guard_before_they_go_to_a_gpu():
    model, seen = shipped(Path(), "phantom_vit"), []

    def guard(pictures: np.ndarray) -> np.ndarray:
        seen.append(len(pictures))
        return pictures

    guarded = replace(model, preprocess=replace(model.preprocess, guard=guard))
    with fake_gpu() as gpu:
        assert evaluate(gpu.put(guarded), torch.bfloat16).shape == (5, 1)
    assert seen == [3, 2]


def test_evaluation_in_float32_runs_on_a_gpu_too():
    model = shipped(Path(), "phantom_resnet")
    with fake_gpu() as gpu:
        assert evaluate(gpu.put(model), torch.float32).shape == (5, 1)


def test_every_layout_is_trained_on_a_gpu(model):
    train(model, "robust-lora", torch.bfloat16)


@pytest.mark.parametrize("method", ["lora", "robust-ensemble", "full"])
@pytest.mark.parametrize("name", ["phantom_vit", "phantom_resnet"])
def test_every_method_trains_the_encoder_on_a_gpu(name, method):
    train(shipped(Path(), name), method, torch.bfloat16)


class ForgottenOnTheCPU(nn.Module):
    """Holds a tensor that is no buffer, so that it stays where it was made."""

    def __init__(self) -> None:
        super().__init__()
        self.shift = torch.ones(3, 1, 1)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return pixels + self.shift


class ScalesIntegers(nn.Module):
    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return F.interpolate(pixels.byte(), pixels.shape[2:], mode="bicubic", antialias=True).float()


class MixesPrecisions(nn.Module):
    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        halved = pixels.bfloat16() if pixels.device.type == "cuda" else pixels
        with torch.autocast(pixels.device.type, enabled=False):
            return F.conv2d(halved, torch.ones(3, 3, 1, 1, device=pixels.device)).float()


class LooksAtAValue(nn.Module):
    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return pixels if pixels.max() > 0 else -pixels


class ComputesOnTheCPU(nn.Module):
    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return pixels.cpu().flip(-1).to(pixels.device)


@pytest.mark.parametrize(
    ("fault", "error", "said"),
    [
        (ForgottenOnTheCPU, RuntimeError, "two (different )?devices,? cuda:0(,| and) cpu"),
        (MixesPrecisions, NoKernel, "conv.* of torch.bfloat16, torch.float32"),
        (ScalesIntegers, NoKernel, "_upsample_bicubic2d_aa of torch.uint8"),
        (LooksAtAValue, DataDependentOutputException, "_local_scalar_dense"),
        (ComputesOnTheCPU, WaitsForTheGPU, "is copied to the CPU"),
    ],
)
def test_faults_that_a_cpu_forgives_are_found(fault, error, said):
    model = shipped(Path(), "phantom_resnet")
    layer = fault()
    encode_image = model.network.encode_image
    model.network.encode_image = lambda pixels: encode_image(layer(pixels))
    list(image_features(model, [images(1)]))
    with fake_gpu() as gpu, pytest.raises(error, match=said):
        list(image_features(gpu.put(model), [images(1)], torch.bfloat16))


@pytest.mark.parametrize(
    ("memory", "largest", "expected"), [(80e9, 2.4e6, 512), (8e9, 2.4e6, 128), (24e9, 9.5e6, 128), (1e6, 9.5e6, 1)]
)
def test_images_per_pass_follow_from_the_memory_of_the_gpu_and_the_layout(memory, largest, expected):
    assert images_per_pass(int(memory), int(largest)) == expected


def test_the_batch_size_of_a_gpu_is_recorded_and_that_of_a_cpu_stays():
    model = shipped(Path(), "phantom_vit")
    assert (batch_size(model), encoding(model, torch.float32)) == (BATCH_SIZE, "float32")
    with fake_gpu() as gpu:
        assert encoding(gpu.put(model), torch.bfloat16) == "bfloat16 on fake, 512 images a pass"


def test_models_that_read_together_have_the_features_of_each_by_itself_whatever_their_batch_sizes(monkeypatch):
    models = [shipped(Path(), name) for name in ("phantom_vit", "phantom_resnet")]
    sizes = {id(models[0]): 8, id(models[1]): 4}
    monkeypatch.setattr("robustmedclip.models.inference.batch_size", lambda model: sizes[id(model)])
    noise = [np.random.default_rng(0).integers(0, 256, (21, 64, 64, 3), np.uint8)]
    together = list(zip(*image_features_of_each(models, noise, place=7), strict=True))
    for model, features, place in zip(models, together, (7, 3), strict=True):
        np.testing.assert_array_equal(
            np.concatenate(features), np.concatenate(list(image_features(model, noise, place=place)))
        )


def test_a_gpu_whose_memory_is_too_small_is_said_with_what_to_do(monkeypatch):
    model = shipped(Path(), "phantom_vit")

    def too_large(*_):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")

    monkeypatch.setattr(Objective, "training_loss", too_large)
    with pytest.raises(InputError, match="too small .CUDA out of memory.: lower 'batch_size' of the method"):
        train(model, "lora", torch.float32)
    monkeypatch.setattr(model.network, "encode_image", too_large)
    with pytest.raises(InputError, match="too small .CUDA out of memory.: end what else runs on it"):
        list(image_features(model, [images(1)]))


@pytest.mark.parametrize("name", corruptions("medimeta-c"))
def test_corruptions_are_made_on_a_gpu(monkeypatch, name):
    monkeypatch.setattr("robustmedclip.corruptions.kernels.devices.check_device", lambda device: None)
    pictures = np.random.default_rng(0).integers(0, 256, (2, 40, 48, 3), np.uint8)
    with fake_gpu():
        corrupted = corrupt(pictures, name, 3, seed=0, device="cuda")
    assert corrupted.shape == pictures.shape and corrupted.dtype == np.uint8
