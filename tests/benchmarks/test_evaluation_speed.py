"""Evaluation beside the bare forward pass of the same model on the same images."""

from pathlib import Path

import numpy as np
import pytest
import torch

import robustmedclip.models
from robustmedclip.models import BATCH_SIZE, image_logits, load_open_clip, zero_shot_classifier

IMAGES = 5 * BATCH_SIZE


@pytest.fixture(params=["phantom_vit", "phantom_resnet"])
def model(request):
    return load_open_clip(f"local-dir:{Path(robustmedclip.models.__file__).parent / request.param}")


@pytest.fixture
def batches() -> list[np.ndarray]:
    images = np.random.default_rng(0).integers(0, 256, (IMAGES, 64, 64, 3), np.uint8)
    return np.split(images, IMAGES // BATCH_SIZE)


@pytest.mark.benchmark(group="evaluation of 500 images of 64 px")
def test_bare_forward(benchmark, model, batches):
    pixels = [model.preprocess(batch) for batch in batches]

    @torch.inference_mode()
    def forward():
        for batch in pixels:
            model.network.encode_image(batch)

    benchmark.pedantic(forward, rounds=5, warmup_rounds=1)


@pytest.mark.benchmark(group="evaluation of 500 images of 64 px")
def test_from_uint8_to_logits(benchmark, model, batches):
    classifier = zero_shot_classifier(model, ["a", "b"], ["{class_name}"], "x-ray")
    benchmark.pedantic(lambda: list(image_logits(model, classifier, batches)), rounds=5, warmup_rounds=1)
