"""Resamples and percentile intervals."""

import numpy as np
import pytest

from robustmedclip.metrics import interval, resample_counts


def test_counts_depend_on_the_arguments_only():
    first = resample_counts(3, "oct", 20, 50)
    np.random.seed(1)
    np.random.random(100)
    resample_counts(3, "blood", 20, 50)
    np.testing.assert_array_equal(resample_counts(3, "oct", 20, 50), first)
    np.testing.assert_array_equal(resample_counts(3, "oct", 7, 50), first[:7])


@pytest.mark.parametrize("key", [(4, "oct"), (3, "blood"), (3, "")])
def test_another_key_gives_other_counts(key):
    assert not np.array_equal(resample_counts(*key, 20, 50), resample_counts(3, "oct", 20, 50))


def test_every_resample_draws_as_many_images_as_there_are():
    counts = resample_counts(0, "oct", 2000, 40)
    assert (counts.shape, counts.dtype) == ((2000, 40), np.float32)
    np.testing.assert_array_equal(counts.sum(1), 40)
    np.testing.assert_array_equal(counts, np.round(counts))
    np.testing.assert_allclose(counts.mean(0), 1, atol=0.12)
    assert counts.var() == pytest.approx(1 - 1 / 40, rel=0.05)
    assert resample_counts(0, "oct", 0, 40).shape == (0, 40)


def test_bounds_are_order_statistics_taken_outwards():
    samples = np.random.default_rng(0).permutation(np.arange(1000.0))
    assert interval(samples) == (24, 975)
    assert interval(np.arange(11.0), level=0.5) == (2, 8)


def test_bounds_keep_trailing_axes():
    samples = np.arange(200.0)[:, None, None] * np.ones((3, 2))
    low, high = interval(samples)
    assert low.shape == high.shape == (3, 2)


def test_undefined_resamples_widen_the_interval_until_there_is_none():
    samples = np.arange(1000.0)
    samples[500:510] = np.nan
    low, high = interval(samples)
    assert low == 14
    assert high == 985
    samples[500:530] = np.nan
    assert np.isnan(interval(samples)).all()


def test_no_resamples_no_interval():
    low, high = interval(np.empty((0, 4)))
    assert low.shape == high.shape == (4,)
    assert np.isnan([low, high]).all()


def test_the_interval_covers_the_truth_about_as_often_as_promised():
    rng, hits = np.random.default_rng(0), 0
    for trial in range(200):
        wrong = rng.random(150) < 0.3
        low, high = interval(resample_counts(trial, "coverage", 200, 150) @ wrong / 150)
        hits += low <= 0.3 <= high
    assert 0.9 <= hits / 200 <= 0.99
