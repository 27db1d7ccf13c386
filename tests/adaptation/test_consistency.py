"""The consistency loss: the Jensen-Shannon divergence between what is predicted for clean and corrupted views."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.special import rel_entr
from tasks import SETTINGS, classifier_of, phantoms, shipped

from robustmedclip.adaptation.augmentation import CorruptionAugmentation
from robustmedclip.adaptation.samples import Samples
from robustmedclip.adaptation.settings import LoraSettings
from robustmedclip.adaptation.training import Objective, divergence
from robustmedclip.adaptation.tuning import merge_adapter, tune

NOISE = CorruptionAugmentation("imagenet-c", ("shot_noise",), 1.0)
CONSISTENT = replace(SETTINGS, corruptions=NOISE, consistency=12.0)


@given(arrays(np.float64, (2, 3, 4), elements=st.floats(-30, 30)))
def test_the_divergence_is_that_of_scipy(logits):
    ours = divergence(*torch.from_numpy(logits)).numpy()
    views = torch.from_numpy(logits).softmax(-1).numpy()
    np.testing.assert_allclose(ours, rel_entr(views, views.mean(0)).sum(-1).mean(0), atol=1e-12)
    assert (ours > -1e-12).all() and (ours < math.log(2) + 1e-9).all()


def test_classes_that_are_not_compared_count_for_nothing():
    logits = torch.tensor([[1.0, 2.0, -math.inf], [0.0, -3.0, -math.inf]], requires_grad=True)
    others = torch.tensor([[2.0, 1.0, -math.inf], [0.0, -3.0, -math.inf]], requires_grad=True)
    found = divergence(logits, others)
    torch.testing.assert_close(found, divergence(logits[:, :2], others[:, :2]))
    found.sum().backward()
    for view in (logits, others):
        assert torch.isfinite(view.grad).all() and (view.grad[0, :2] != 0).all() and (view.grad[1] == 0).all()


@pytest.fixture(scope="module")
def task():
    model = shipped("phantom_vit")
    sets = [phantoms("oct", 1), phantoms("blood", 1)]
    return model, Samples(sets, model.preprocess), classifier_of(model, sets)


def test_the_label_is_compared_with_the_clean_view_alone(task):
    model, samples, classifier = task
    batch = np.array([3, 40])
    clean, other = samples.pixels(batch), torch.zeros(2, 3, 64, 64)
    with torch.no_grad():
        objective = Objective(model, classifier, samples.label_ranges, CONSISTENT)
        logits = objective.logits(torch.cat([clean, other]), samples, np.tile(batch, 2))
        expected = objective.losses(logits[:2], samples, batch).mean() + 12 * divergence(*logits.chunk(2)).mean()
        torch.testing.assert_close(objective.training_loss(torch.cat([clean, other]), samples, batch), expected)


def test_predictions_under_fresh_corruption_come_closer_to_clean_ones(task):
    model, samples, classifier = task
    indices = np.arange(len(samples))
    recipe = {
        "targets": "all",
        "rank": 8,
        "epochs": 6,
        "learning_rate": 3e-3,
        "schedule": "cosine",
        "selection": "scale",
    }

    def noisy(images: np.ndarray, places: np.ndarray) -> np.ndarray:
        return NOISE(images, [str(place) for place in places], "fresh")

    def distance(settings: LoraSettings) -> float:
        adapter, _ = tune(model, samples, samples, classifier, replace(settings, **recipe), seed=0, metadata={})
        objective = Objective(merge_adapter(model, adapter), classifier, samples.label_ranges, settings)
        views = (samples.pixels(indices, augment) for augment in (None, noisy))
        with torch.no_grad():
            return divergence(*(objective.logits(view, samples, indices) for view in views)).mean().item()

    assert distance(CONSISTENT) < 0.85 * distance(replace(SETTINGS, corruptions=NOISE))
