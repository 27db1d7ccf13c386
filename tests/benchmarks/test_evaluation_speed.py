"""Evaluation beside the bare forward pass of the same model on tensors that are ready, in processor time."""

import time

import pytest
import torch
from subjects import NAMES, load, noise

from robustmedclip.adaptation.methods import Method
from robustmedclip.corruptions import corruptions
from robustmedclip.images.conditions import CLEAN, Condition
from robustmedclip.images.sets import ImageSet
from robustmedclip.io import CorruptedSetDataset, FeaturesDataset, LogitsDataset
from robustmedclip.models.batch_size import BATCH_SIZE
from robustmedclip.pipelines.corruption.nodes import corrupt_test_set
from robustmedclip.pipelines.evaluation.nodes import encode, encode_with_each, score

#: Processor time, so that other work on the machine counts for little.
pytestmark = pytest.mark.benchmark(timer=time.process_time)

CONDITIONS = (CLEAN, Condition("contrast", 1))
FLOAT32 = {"precision": "float32"}
#: Images per condition.
COUNTS = {"phantom_vit": 5 * BATCH_SIZE, "phantom_resnet": 5 * BATCH_SIZE, "ViT-B-16": BATCH_SIZE}


@pytest.fixture(scope="module")
def images(name) -> ImageSet:
    return noise(NAMES[name], COUNTS[name], classes=2)


@pytest.mark.parametrize("side", ["ours", "reference"])
def test_from_stored_images_to_stored_logits(benchmark, tmp_path, name, model, images, side):
    """Reading, preprocessing, encoding, scoring and storing; the reference only encodes."""
    settings = {"suite": "medimeta-c", "dataset": None, "grey": "native", "storage": "materialised"}
    stored = CorruptedSetDataset(filepath=str(tmp_path / "noise"))
    stored.save(corrupt_test_set(images, {"seed": 0}, conditions=CONDITIONS, **settings))
    features, logits = (
        FeaturesDataset(filepath=str(tmp_path / "f.npz")),
        LogitsDataset(filepath=str(tmp_path / "l.npz")),
    )
    prompts = {"templates": ["a {modality} image showing {class_name}"], "synonyms": {}}
    pixels = model.preprocess(images.images[:BATCH_SIZE])

    def ours():
        features.save(encode(model, stored.load(), FLOAT32, name=name))
        logits.save(score(features.load(), model, method=Method(), name=name, attributes={}, **prompts))

    @torch.inference_mode()
    def reference():
        for _ in range(len(CONDITIONS) * len(images) // BATCH_SIZE):
            model.network.encode_image(pixels)

    benchmark.group = f"{len(CONDITIONS) * len(images)} images of {name}"
    rounds, warmup_rounds = (1, 0) if name == "ViT-B-16" else (5, 1)
    benchmark.pedantic(ours if side == "ours" else reference, rounds=rounds, warmup_rounds=warmup_rounds)


@pytest.mark.parametrize("side", ["ours", "reference"])
@pytest.mark.parametrize("pixels", [64, 224])
def test_two_models_that_read_together_beside_each_by_itself(benchmark, tmp_path, pixels, side):
    """Images that are corrupted on the fly; larger ones stand for an encoder that is fast beside the corruption."""
    names = ("phantom_vit", "phantom_resnet")
    models = [load(name) for name in names]
    conditions = (CLEAN, *(Condition(name, 3) for name in corruptions("medimeta-c")))
    settings = {"suite": "medimeta-c", "dataset": None, "grey": "native", "storage": "on_the_fly"}
    corrupted = corrupt_test_set(
        noise(pixels, 2 * BATCH_SIZE, classes=2), {"seed": 0}, conditions=conditions, **settings
    )
    stored = FeaturesDataset(filepath=str(tmp_path / "f.npz"))

    def together():
        for features in encode_with_each(corrupted, FLOAT32, *models, names=names):
            stored.save(features)

    def apart():
        for name, model in zip(names, models, strict=True):
            stored.save(encode(model, corrupted, FLOAT32, name=name))

    benchmark.group = f"{len(conditions) * 2 * BATCH_SIZE} images of {pixels} px, corrupted on the fly, two models"
    benchmark.pedantic(together if side == "ours" else apart, rounds=5, warmup_rounds=1)
