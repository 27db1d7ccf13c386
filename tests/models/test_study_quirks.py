"""What the study's code does to models, switch by switch."""

import copy
import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from model_sources import model_dataset
from torch.nn import functional as F

import robustmedclip.models
from robustmedclip.errors import InputError
from robustmedclip.models.batch_norm import with_statistics_of
from robustmedclip.models.interface import zero_shot_classifier
from robustmedclip.models.open_clip import load_open_clip
from robustmedclip.models.preprocessing import CLIP_MEAN, CLIP_STD, Preprocessing
from robustmedclip.models.study_quirks import _SWITCHES, apply_study_quirks
from robustmedclip.models.study_switches import STUDY_SWITCHES

SHIPPED = Path(robustmedclip.models.__file__).parent / "phantom_vit"
IMAGES = np.random.default_rng(0).integers(0, 256, (4, 64, 64, 3), np.uint8)


@pytest.fixture(scope="module")
def model():
    return load_open_clip(f"local-dir:{SHIPPED}")


def test_the_plan_knows_every_switch():
    assert tuple(_SWITCHES) == STUDY_SWITCHES


def test_images_are_normalised_twice(model):
    once, twice = model.preprocess(IMAGES), apply_study_quirks(model, ["normalised_twice"]).preprocess(IMAGES)
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (model.preprocess.mean, model.preprocess.std))
    torch.testing.assert_close(twice, (once - mean) / std, atol=1e-5, rtol=1e-5)


def test_images_of_every_model_are_normalised_as_those_of_clip(model):
    own = Preprocessing((64, 64), (0.5862785,) * 3, (0.27950088,) * 3, "bilinear", "pad", "L")
    switched = apply_study_quirks(dataclasses.replace(model, preprocess=own), ["clip_normalisation"])
    assert switched.preprocess == Preprocessing((64, 64), CLIP_MEAN, CLIP_STD)


def test_class_vectors_keep_their_length_but_not_their_direction(model):
    prompts = (["a cell", "a lesion"], ["{class_name}", "an image of {class_name}"], "x-ray")
    raw = zero_shot_classifier(apply_study_quirks(model, ["text_not_normalised"]), *prompts)
    assert not torch.allclose(raw.norm(dim=-1), torch.ones(2), atol=1e-3)
    one = (["a cell", "a lesion"], ["{class_name}"], "x-ray")
    raw = zero_shot_classifier(apply_study_quirks(model, ["text_not_normalised"]), *one)
    torch.testing.assert_close(F.normalize(raw, dim=-1), zero_shot_classifier(model, *one))


def test_a_catalog_entry_switches_the_model_of_another(model):
    entry = {"type": "open_clip", "path": str(SHIPPED)}
    dataset = model_dataset(entry, switches=["no_logit_scale"])
    assert dataset.load().logit_scale == 1
    assert dataset.load().content_hash() == model.content_hash()
    assert dataset.signature() != model_dataset(entry, switches=["normalised_twice"]).signature()
    assert dataset.problems() == []


def test_batch_statistics_are_those_of_training_mode():
    resnet = load_open_clip(f"local-dir:{SHIPPED.with_name('phantom_resnet')}")
    before = resnet.content_hash()
    adapted = with_statistics_of(resnet, IMAGES)
    training = copy.deepcopy(resnet.network)
    training.visual.train()
    with torch.no_grad():
        expected = F.normalize(training.encode_image(resnet.preprocess(IMAGES)), dim=-1)
        torch.testing.assert_close(adapted.encode_image(adapted.preprocess(IMAGES)), expected, atol=1e-5, rtol=1e-5)
    assert resnet.content_hash() == before != adapted.content_hash()


def test_batch_statistics_need_batch_normalisation(model):
    with pytest.raises(InputError, match="no batch normalisation: take 'batch_statistics' out"):
        apply_study_quirks(model, ["batch_statistics"])
