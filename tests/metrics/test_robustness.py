"""Corruption errors by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robustmedclip.corruptions import corruptions, suite
from robustmedclip.metrics import (
    balanced_error,
    corruption_error,
    error_ratio,
    mce,
    mean_of_defined,
    pooled,
    reference_errors,
    relative_balanced_error,
    relative_corruption_error,
    relative_mce,
    retained_accuracy,
)

ALEXNET = suite("medmnist-c").reference_errors
BASELINE = np.array([[0.2, 0.3, 0.4, 0.5, 0.6], [0.1, 0.2, 0.3, 0.4, 0.5]])
ERRORS = np.array([[0.2, 0.2, 0.3, 0.4, 0.4], [0.3, 0.3, 0.3, 0.3, 0.3]])


def test_hand_computed_example():
    np.testing.assert_allclose(corruption_error(ERRORS, BASELINE), [75, 100])
    assert mce(ERRORS, BASELINE) == pytest.approx(87.5)
    np.testing.assert_allclose(relative_corruption_error(ERRORS, 0.2, BASELINE, 0.1), [100 / 3, 50])
    assert relative_mce(ERRORS, 0.2, BASELINE, 0.1) == pytest.approx(125 / 3)
    assert error_ratio(0.3, 0.4) == pytest.approx(75)


@given(wrong=st.lists(st.integers(50, 997), min_size=35, max_size=35), images=st.integers(997, 5000))
def test_the_baseline_is_exactly_100(wrong, images):
    errors = np.array(wrong).reshape(7, 5) / images
    assert mce(errors, errors) == 100
    assert mce(*[pooled(np.stack([errors, errors]), np.zeros(2))[0]] * 2) == 100
    assert relative_mce(errors + 0.1, 0, errors + 0.1, 0) == 100


@pytest.mark.parametrize("least", [0, 0.0099])
def test_a_baseline_with_hardly_an_error_is_left_out(least):
    flawless = np.stack([BASELINE[0], np.full(5, least)])
    np.testing.assert_allclose(corruption_error(ERRORS, flawless), [75, np.nan])
    assert mce(ERRORS, flawless) == pytest.approx(75)
    assert np.isnan(mce(ERRORS, 0 * BASELINE + least))
    assert np.isnan(error_ratio(0.3, least))


@pytest.mark.parametrize("clean", [0.295, 0.3, 0.4])
def test_a_baseline_that_hardly_degrades_is_left_out(clean):
    clean_of_each = np.array([0.1, clean])
    relative = relative_corruption_error(ERRORS, 0.2, BASELINE, clean_of_each)
    np.testing.assert_allclose(relative, [100 / 3, np.nan])
    assert np.isnan(relative_mce(ERRORS, 0.2, BASELINE, 0.5))
    assert mean_of_defined(relative) == pytest.approx(100 / 3)


def test_a_model_that_corruption_helps_has_a_negative_relative_error():
    assert relative_corruption_error(np.full(5, 0.1), 0.2, np.full(5, 0.5), 0.1) == pytest.approx(-25)


def test_pooled_errors_weigh_hard_data_sets_more():
    errors, baseline = np.zeros((2, 1, 5)), np.zeros((2, 1, 5))
    errors[0], baseline[0] = 0.1, 0.1
    errors[1], baseline[1] = 0.2, 0.4
    clean = np.array([0.0, 0.1])
    (own, own_clean), (base, base_clean) = pooled(errors, clean), pooled(baseline, clean)
    assert mce(own, base) == pytest.approx(60)
    assert mean_of_defined(mce(errors, baseline)) == pytest.approx(75)
    np.testing.assert_allclose(relative_corruption_error(own, own_clean, base, base_clean), 50)


def test_a_data_set_that_lacks_a_corruption_is_pooled_into_the_others_alone():
    errors = np.stack([ERRORS, ERRORS + 0.2])
    errors[1, 1] = np.nan
    own, clean = pooled(errors, np.array([0.1, 0.3]))
    np.testing.assert_allclose(own, [ERRORS[0] + 0.1, ERRORS[1]])
    np.testing.assert_allclose(clean, [0.2, 0.1])


def test_retained_accuracy_is_what_is_left_of_the_clean_one():
    np.testing.assert_allclose(retained_accuracy(np.array([0.2, 0.6, 1.0]), 0.2), [100, 50, 0])
    assert np.isnan(retained_accuracy(0.9, 1.0))


def test_balanced_errors_by_medmnist_c():
    """By the formulas of its evaluator, on its published table."""
    names = ["pixelate", "jpeg_compression", "motion_blur"]
    reference_clean, *reference = reference_errors(ALEXNET["octmnist_224"], names)
    reference = np.array(reference)
    np.testing.assert_allclose(reference, [0.3124, 0.2964, 0.4892])
    assert reference_clean == pytest.approx(0.202)
    errors = np.random.default_rng(0).random((3, 5))
    for row, alex in zip(errors, reference, strict=True):
        assert balanced_error(row, alex) == pytest.approx(row.mean() / alex, abs=1e-12)
        expected = (row.mean() - 0.1) / (alex - reference_clean)
        assert relative_balanced_error(row, 0.1, alex, reference_clean) == pytest.approx(expected, abs=1e-12)
    np.testing.assert_allclose(balanced_error(np.repeat(reference[:, None], 5, 1), reference), 1)


@pytest.mark.parametrize(
    ("data_set", "undefined"),
    [
        ("pneumoniamnist", {"contrast_up", "gamma_corr_up"}),
        ("chestmnist", {"contrast_up", "gamma_corr_up", "gamma_corr_down"}),
        ("octmnist", set()),
    ],
)
def test_where_corruption_helps_alexnet_the_relative_error_is_undefined(data_set, undefined):
    names = [*corruptions("medmnist-c", data_set)]
    clean, *reference = reference_errors(ALEXNET[f"{data_set}_224"], names)
    relative = relative_balanced_error(np.full((len(names), 5), 0.5), 0.1, reference, clean)
    assert {name for name, value in zip(names, relative, strict=True) if np.isnan(value)} == undefined


def test_alexnet_is_known_for_every_corruption_of_the_suite():
    for data_set in suite("medmnist-c").datasets:
        clean, *errors = reference_errors(ALEXNET[f"{data_set}_224"], [*corruptions("medmnist-c", data_set)])
        assert np.isfinite(errors).all() and 0 < clean < 1
    assert np.isnan(reference_errors(ALEXNET["octmnist_224"], ["fog"])[1])
    assert np.isnan(reference_errors({}, ["fog"])).all()


def test_leading_axes_are_kept():
    errors = np.stack([ERRORS, BASELINE, 2 * BASELINE])
    np.testing.assert_allclose(mce(errors, BASELINE), [87.5, 100, 200])
    np.testing.assert_allclose(relative_mce(errors, np.array([0.2, 0.1, 0.2]), BASELINE, 0.1), [125 / 3, 100, 200])


def test_mean_of_defined():
    np.testing.assert_allclose(mean_of_defined(np.array([[1, np.nan, 3], [np.nan] * 3])), [2, np.nan])
    assert mean_of_defined(np.array([[1.0, np.nan], [3.0, 8.0]]), axis=(0, 1)) == 4
