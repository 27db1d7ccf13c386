"""Resamples, and intervals that keep their promise."""

from statistics import NormalDist

import numpy as np
import pytest

from robustmedclip.metrics import (
    interval,
    mce,
    mean_of_defined,
    resample_counts,
    resampled_means,
    seed_weights,
)


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
    assert counts.shape == (2000, 40)
    np.testing.assert_array_equal(counts.sum(1), 40)
    np.testing.assert_allclose(counts.mean(0), 1, atol=0.12)
    assert counts.var() == pytest.approx(1 - 1 / 40, rel=0.05)
    assert resample_counts(0, "oct", 0, 40).shape == (0, 40)


def test_counts_do_not_depend_on_the_blocks_they_are_drawn_in(monkeypatch):
    expected = resample_counts(0, "oct", 50, 33)
    monkeypatch.setattr("robustmedclip.metrics.bootstrap._BLOCK", 100)
    np.testing.assert_array_equal(resample_counts(0, "oct", 50, 33), expected)
    values = np.random.default_rng(0).normal(size=(4, 33))
    np.testing.assert_allclose(resampled_means(values, 0, "oct", 50)[1:], expected @ values.T / 33)


def test_means_are_those_of_the_drawn_images():
    values = np.random.default_rng(0).normal(size=(3, 2, 40))
    means, counts = resampled_means(values, 0, "oct", 30), resample_counts(0, "oct", 30, 40)
    np.testing.assert_array_equal(means[0], values.mean(-1))
    for row, drawn in zip(means[1:], counts, strict=True):
        np.testing.assert_allclose(row, np.repeat(values, drawn, axis=-1).mean(-1))
    assert len(np.unique(resampled_means(np.full(40, 1 / 3), 0, "oct", 30))) == 1


def test_one_seed_has_all_the_weight():
    np.testing.assert_array_equal(seed_weights(0, [None], 5), np.ones((6, 1)))


@pytest.mark.parametrize("seeds", [[0, 1], [0, 1, 2], [5, 7, 11, 13]])
def test_the_spread_over_seeds_is_not_too_small(seeds):
    weights = seed_weights(0, seeds, 20_000)
    np.testing.assert_allclose(weights.sum(1), 1)
    np.testing.assert_allclose(weights[0], 1 / len(seeds))
    scores = np.random.default_rng(1).normal(size=len(seeds))
    assert np.var(weights[1:] @ scores) == pytest.approx(np.var(scores, ddof=1) / len(seeds), rel=0.05)
    np.testing.assert_array_equal(seed_weights(0, seeds, 20), weights[:21])


def with_estimate(estimate: float, samples: np.ndarray) -> np.ndarray:
    return np.concatenate([[estimate], samples])


def test_bounds_of_an_unbiased_statistic_are_percentiles_taken_outwards():
    samples = np.random.default_rng(0).permutation(np.arange(1000.0))
    assert interval(with_estimate(499.5, samples)) == (24, 975)
    assert interval(with_estimate(5, np.arange(11.0)), level=0.5) == (2, 8)


def test_resamples_that_are_biased_upwards_move_the_interval_down():
    samples = np.arange(1000.0)
    low, high = interval(with_estimate(400, samples))
    shift = 2 * NormalDist().inv_cdf(0.4005)
    expected = [999 * NormalDist().cdf(shift + bound) for bound in (-1.96, 1.96)]
    np.testing.assert_allclose([low, high], expected, atol=1)


@pytest.mark.parametrize("estimate", [-5.0, 2.0, 998.0, 2000.0])
def test_the_interval_contains_the_estimate(estimate):
    low, high = interval(with_estimate(estimate, np.arange(1000.0)))
    assert low <= estimate <= high


def test_a_statistic_that_never_varies_has_an_interval_of_no_width():
    np.testing.assert_array_equal(interval(np.full((101, 2), 100.0)), 100)


def test_bounds_keep_trailing_axes():
    samples = np.arange(200.0)[:, None, None] * np.ones((3, 2))
    low, high = interval(samples)
    assert low.shape == high.shape == (3, 2)


def test_undefined_resamples_widen_the_interval_until_there_is_none():
    samples = np.arange(1000.0)
    samples[500:510] = np.nan
    whole, wider = interval(with_estimate(499.5, np.arange(1000.0))), interval(with_estimate(499.5, samples))
    assert (wider[1] - wider[0]) - (whole[1] - whole[0]) == pytest.approx(20, abs=2)
    samples[500:530] = np.nan
    assert np.isnan(interval(with_estimate(499.5, samples))).all()


def test_no_estimate_or_no_resamples_no_interval():
    assert np.isnan(interval(with_estimate(np.nan, np.arange(100.0)))).all()
    low, high = interval(np.zeros((1, 4)))
    assert low.shape == high.shape == (4,)
    assert np.isnan([low, high]).all()
    assert np.isnan(interval(np.full((50, 2), np.nan))).all()


@pytest.mark.slow
@pytest.mark.parametrize(("data_sets", "baseline"), [(1, 0.3), (5, 0.12)])
def test_the_interval_of_mce_covers_the_truth_as_often_as_promised(data_sets, baseline):
    """1,000 simulated benchmarks of 100 images a data set, whose images are hard or easy for both models."""
    images, corruptions, simulations = 100, 4, 1000
    severity, corruption = np.arange(1, 6), np.arange(corruptions)[:, None]
    true_base = baseline - 0.09 + 0.03 * severity + 0.03 * corruption
    true_own = 0.8 * true_base + 0.01 * severity
    truth = 100 * np.mean(true_own.sum(1) / true_base.sum(1))
    thresholds = np.vectorize(NormalDist().inv_cdf)(np.stack([true_own, true_base])[:, None])
    rng, hits = np.random.default_rng(0), 0
    counts = [resample_counts(0, f"set {i}", 400, images) for i in range(data_sets)]
    for _ in range(simulations):
        hard = 0.9 * rng.normal(size=(data_sets, 1, images, 1, 1))
        noise = np.sqrt(1 - 0.9**2) * rng.normal(size=(data_sets, 2, images, corruptions, 5))
        wrong = (hard + noise < thresholds).mean(-1)
        samples = []
        for drawn, (own, base) in zip(counts, wrong, strict=True):
            weights = np.concatenate([np.ones((1, images)), drawn]) / images
            samples.append(mce((weights @ own)[..., None], (weights @ base)[..., None]))
        low, high = interval(mean_of_defined(np.stack(samples, axis=1)))
        hits += low <= truth <= high
    assert 0.93 <= hits / simulations <= 0.97
