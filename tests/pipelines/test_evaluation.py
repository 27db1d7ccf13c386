"""The evaluation of one cell: what it keeps, and that broken numbers stop it where they arise."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import robustmedclip.models
from robustmedclip.errors import InputError
from robustmedclip.models import VisionLanguageModel, load_open_clip
from robustmedclip.pipelines.corruption.nodes import corrupt_test_set
from robustmedclip.pipelines.evaluation.nodes import evaluate
from robustmedclip.types import CLEAN, Condition, CorruptedSet, ImageSet

SETTINGS = {"name": "vit", "attributes": {"base": "vit"}, "templates": ["a {modality} image showing {class_name}"]}


@pytest.fixture(scope="module")
def corrupted() -> CorruptedSet:
    images = ImageSet.validated(
        name="cells",
        split="test",
        modality="microscopy",
        class_names=("round", "long"),
        images=np.random.default_rng(0).integers(0, 256, (6, 32, 32, 1), np.uint8),
        labels=np.arange(6, dtype=np.int64) % 2,
        sample_ids=np.array([f"cells/{index}" for index in range(6)]),
    )
    conditions = (CLEAN, Condition("pixelate", 1))
    how = {"suite": "medimeta-c", "dataset": None, "grey": "native", "storage": "on_the_fly"}
    return corrupt_test_set(images, {"seed": 0}, conditions=conditions, **how)


@pytest.fixture
def model() -> VisionLanguageModel:
    return load_open_clip(f"local-dir:{Path(robustmedclip.models.__file__).parent / 'phantom_vit'}")


def test_logits_carry_the_hash_of_the_weights_that_made_them(model, corrupted):
    logits = evaluate(model, corrupted, **SETTINGS)
    assert logits.logits.shape == (2, 6, 2) and np.isfinite(logits.logits).all()
    assert logits.attributes == {"base": "vit", "weights": model.content_hash()}


@pytest.mark.parametrize("scale", [np.inf, np.nan])
def test_logits_that_are_not_finite_are_refused_with_their_place(model, corrupted, scale):
    with pytest.raises(InputError, match=r"'vit' on 'cells' under clean are not finite for 6 of 6 .* cells/0"):
        evaluate(replace(model, logit_scale=scale), corrupted, **SETTINGS)


def test_a_single_image_that_overflows_is_found(model, corrupted):
    def encode_image(pixels):
        features = encode(pixels)
        return features / (features.new_ones(len(features), 1).index_fill_(0, features.new_tensor([4]).long(), 0))

    encode, model.network.encode_image = model.network.encode_image, encode_image
    with pytest.raises(InputError, match="1 of 6 images, the first of them cells/4"):
        evaluate(model, corrupted, **SETTINGS)
