"""A training beside a bare loop, of peft or of all weights, on tensors that are ready: same model, layers and steps."""

import copy
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import peft
import pytest
import torch
import yaml
from subjects import NAMES, noise
from torch.nn import functional as F

from robustmedclip.adaptation.objective import Objective
from robustmedclip.adaptation.samples import Samples
from robustmedclip.adaptation.training import _augmenting, _epoch, _with_views
from robustmedclip.models.preprocessing import CLIP_MEAN, CLIP_STD, Preprocessing
from robustmedclip.parallel import map_ahead
from robustmedclip.plan.methods import method_of

#: Processor time, so that other work on the machine counts for little.
pytestmark = pytest.mark.benchmark(timer=time.process_time)

METHODS = yaml.safe_load((Path(__file__).parents[2] / "conf/base/parameters/methods.yml").read_text())["methods"]
#: Images per step, and steps.
SIZES = {"phantom_vit": (32, 4), "phantom_resnet": (32, 4), "ViT-B-16": (4, 1)}
CLASSES = 4


@pytest.fixture(scope="module")
def samples(name, model) -> Samples:
    batch_size, steps = SIZES[name]
    return Samples([noise(NAMES[name], batch_size * steps, CLASSES)], model.preprocess)


@pytest.mark.parametrize("side", ["ours", "reference"])
@pytest.mark.parametrize("method", ["lora", "robust-lora", "robust-ensemble", "full-fine-tuning"])
def test_an_epoch(benchmark, name, model, samples, method, side):
    """Reading, augmentation, corruption, input guard, preprocessing and training; the reference only trains."""
    batch_size, steps = SIZES[name]
    recipe = {key: value for key, value in METHODS[method].items() if key != "authors"}
    settings = method_of(method, {**recipe, "batch_size": batch_size, "learning_rate": 1e-6}, [])
    tuned, trainable = settings.prepared(model, {})
    guarded = samples if settings.guard is None else samples.guarded(settings.guard)[0]
    torch.manual_seed(0)
    classifier = F.normalize(torch.randn(CLASSES, model.network.visual.output_dim), dim=-1)
    optimiser = torch.optim.AdamW(trainable.parameters, lr=settings.learning_rate)

    def ours():
        objective = Objective(tuned, classifier, samples.label_ranges, settings)
        _epoch(objective, guarded, settings, optimiser, seed=0, epoch=1, pull=None)

    bare = copy.deepcopy(model.network)
    if recipe["type"] != "full":
        config = peft.LoraConfig(
            r=settings.rank,
            lora_alpha=settings.rank,
            lora_dropout=settings.dropout,
            target_modules=tuned.network.peft_config["default"].target_modules,
        )
        bare = peft.get_peft_model(bare, config)
    else:
        bare.visual.requires_grad_(True)
    bare_optimiser = torch.optim.AdamW([p for p in bare.parameters() if p.requires_grad], lr=settings.learning_rate)
    pixels = samples.pixels(np.arange(batch_size))
    labels = torch.from_numpy(samples.labels[:batch_size])

    def reference():
        bare.train()
        for _ in range(steps):
            features = F.normalize(bare.encode_image(pixels), dim=-1)
            loss = F.cross_entropy(model.logit_scale * features @ classifier.T, labels)
            bare_optimiser.zero_grad()
            loss.backward()
            bare_optimiser.step()

    benchmark.group = f"{steps} steps of {batch_size} images, {method} of {name}"
    rounds, warmup_rounds = (2, 0) if name == "ViT-B-16" else (5, 1)
    benchmark.pedantic(ours if side == "ours" else reference, rounds=rounds, warmup_rounds=warmup_rounds)


@pytest.mark.benchmark(group="preparation for robust-lora, 512 images of 224 px", timer=time.perf_counter)
@pytest.mark.parametrize("workers", [1, 2])
def test_preparation_uses_two_cores(benchmark, workers):
    """All that the CPU does of it for a GPU: views, corruption and guard; needs two cores that nothing else uses."""
    recipe = {key: value for key, value in METHODS["robust-lora"].items() if key != "authors"}
    settings, size = method_of("robust-lora", recipe, []), 64
    preprocess = Preprocessing(size=(224, 224), mean=CLIP_MEAN, std=CLIP_STD)
    pool = noise(224, 8 * size, CLASSES)
    blurred = np.stack([cv2.GaussianBlur(image, (0, 0), 3) for image in pool.images])
    samples = Samples([replace(pool, images=blurred)], preprocess).guarded(settings.guard)[0]
    order = np.arange(len(samples))
    elsewhere = SimpleNamespace(device=torch.device("meta"))  # takes no images, so that the CPU need not scale them
    prepare = _augmenting(elsewhere, samples, settings, order, 0, 1)
    starts = range(0, len(order), size)
    parts = list(
        _with_views(samples, settings, starts, [order[s : s + size] for s in starts], np.random.default_rng(0))
    )
    benchmark.pedantic(lambda: list(map_ahead(prepare, parts, workers)), rounds=5, warmup_rounds=1)
