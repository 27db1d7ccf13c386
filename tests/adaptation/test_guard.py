"""The input guard: what is in range stays, what is not comes back."""

import json
from dataclasses import asdict

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter
from tasks import LORA, changed, classifier_of, phantoms, shipped

from robustmedclip.adaptation.artefacts import Adapter
from robustmedclip.adaptation.guard import as_guard, fit_guard, noise_level, tone
from robustmedclip.adaptation.samples import Samples
from robustmedclip.adaptation.tuning import guarded, merge_adapter, tune
from robustmedclip.corruptions import corrupt
from robustmedclip.io import AdapterDataset


def smooth(count: int, seed: int = 0, channels: int = 3) -> np.ndarray:
    fields = np.random.default_rng(seed).normal(size=(count, 48, 48, channels))
    fields = gaussian_filter(fields, (0, 6, 6, 0))
    fields = 120 + 30 * fields / fields.std((1, 2), keepdims=True)
    return np.clip(np.rint(fields + np.random.default_rng(seed + 1).normal(size=(count, 1, 1, 1)) * 8), 0, 255).astype(
        np.uint8
    )


IMAGES = smooth(40)


@pytest.mark.parametrize("sigma", [5, 10, 20])
def test_the_noise_level_is_that_of_the_noise(sigma):
    noise = np.random.default_rng(2).normal(0, sigma, IMAGES.shape)
    noisy = np.clip(np.rint(IMAGES + noise), 0, 255).astype(np.uint8)
    np.testing.assert_allclose(noise_level(noisy), sigma, rtol=0.1)
    assert noise_level(IMAGES).max() < 1


def test_images_that_it_was_fitted_to_stay_but_for_the_tails():
    def changed(coverage: float) -> int:
        return (fit_guard([IMAGES], coverage)(IMAGES) != IMAGES).any((1, 2, 3)).sum()

    assert changed(1 - 1e-9) == 0 < changed(0.99) < changed(0.8) < len(IMAGES)


@pytest.mark.parametrize("corruption", ["gaussian_noise", "impulse_noise", "brightness", "contrast"])
def test_a_corrupted_image_comes_closer_to_the_clean_one(corruption):
    guard, clean = fit_guard([IMAGES], 0.68), smooth(10, seed=5)
    corrupted = corrupt(clean, corruption, 4, suite="medimeta-c", seed=0)

    def distance(images: np.ndarray) -> float:
        return np.square(images.astype(float) - clean).mean()

    assert distance(guard(corrupted)) < 0.5 * distance(corrupted)


@given(st.permutations(range(12)), st.integers(1, 12))
def test_an_image_is_guarded_by_itself(order, count):
    images = corrupt(smooth(12, seed=7, channels=1), "gaussian_noise", 3, suite="medimeta-c", seed=0)
    images[3], images[4] = 0, 255
    guard, chosen = fit_guard([smooth(20, channels=1)], 0.68), list(order)[:count]
    before = images.copy()
    np.testing.assert_array_equal(guard(images[chosen]), guard(images)[chosen])
    np.testing.assert_array_equal(images, before)


def test_tones_end_within_the_range():
    guard = fit_guard([IMAGES], 0.68)
    dark = (IMAGES // 2).astype(np.uint8)
    after = tone(guard(dark))
    assert (tone(dark)[:, 0] < np.array(guard.low)[0]).all()
    assert (after[:, 0] > np.array(guard.low)[0] - 1).all() and (after[:, 0] < np.array(guard.high)[0] + 1).all()


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("count", [0, 4])
def test_the_tone_is_mean_and_deviation_of_each_channel(count, channels):
    images = smooth(4, channels=channels)[:count]
    expected = np.stack([images.mean((1, 2)), np.log(images.std((1, 2)))], 1)
    np.testing.assert_allclose(tone(images), expected, rtol=1e-12)


def test_of_one_image_nothing_is_known_of_the_tone():
    guard, brighter = fit_guard([IMAGES[:1]], 0.68), np.minimum(IMAGES[:1], 155) + 100
    np.testing.assert_array_equal(guard(brighter), brighter)


def test_a_guard_survives_json():
    guard = fit_guard([IMAGES], 0.68)
    assert as_guard(json.loads(json.dumps(asdict(guard)))) == guard


def test_a_tuned_model_is_evaluated_behind_the_guard_of_the_data_set(tmp_path):
    model = shipped("phantom_vit")
    sets = [phantoms("oct", 1), phantoms("blood", 1)]
    training, validation = Samples(sets, model.preprocess), Samples(sets, model.preprocess)
    settings = changed(LORA, guard=0.68, keep="scaled_update", epochs=1)
    adapter, history = tune(model, training, validation, classifier_of(model, sets), settings, seed=0, metadata={})
    dataset = AdapterDataset(filepath=str(tmp_path / "adapter"))
    dataset.save(adapter)
    bright, adapter = np.minimum(sets[0].images, 200) + 55, dataset.load()
    tuned = guarded(merge_adapter(model, adapter), adapter, "oct")
    guard = fit_guard([sets[0].images], 0.68)
    torch.testing.assert_close(tuned.preprocess(bright), model.preprocess(guard(bright)))
    assert not torch.equal(tuned.preprocess(bright), model.preprocess(bright))
    behind = training.with_guards({"oct": guard}).pixels(np.arange(4), lambda images, _: np.minimum(images, 200) + 55)
    torch.testing.assert_close(behind, tuned.preprocess(bright[:4]))


def test_without_a_guard_images_are_preprocessed_as_ever():
    model = shipped("phantom_vit")
    assert guarded(model, Adapter({}, {}, {"guards": {}}), "oct").preprocess == model.preprocess
