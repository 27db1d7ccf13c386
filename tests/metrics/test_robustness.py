"""Corruption errors by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robustmedclip.metrics import (
    corruption_error,
    error_ratio,
    mce,
    mce_ratio_of_means,
    mean_of_defined,
    relative_corruption_error,
    relative_mce,
)

BASELINE = np.array([[0.2, 0.3, 0.4, 0.5, 0.6], [0.1, 0.2, 0.3, 0.4, 0.5]])
ERRORS = np.array([[0.2, 0.2, 0.3, 0.4, 0.4], [0.3, 0.3, 0.3, 0.3, 0.3]])


def test_hand_computed_example():
    np.testing.assert_allclose(corruption_error(ERRORS, BASELINE), [75, 100])
    assert mce(ERRORS, BASELINE) == pytest.approx(87.5)
    np.testing.assert_allclose(relative_corruption_error(ERRORS, 0.2, BASELINE, 0.1), [100 / 3, 50])
    assert relative_mce(ERRORS, 0.2, BASELINE, 0.1) == pytest.approx(125 / 3)
    assert error_ratio(0.3, 0.4) == pytest.approx(75)


@settings(deadline=None, derandomize=True)
@given(wrong=st.lists(st.integers(1, 997), min_size=35, max_size=35), images=st.integers(997, 5000))
def test_the_baseline_is_exactly_100(wrong, images):
    errors = np.array(wrong).reshape(7, 5) / images
    assert mce(errors, errors) == 100
    assert mce_ratio_of_means(np.stack([errors, errors]), np.stack([errors, errors])) == 100
    assert relative_mce(errors + 0.1, 0, errors + 0.1, 0) == 100


def test_a_baseline_without_error_is_left_out():
    flawless = np.stack([BASELINE[0], np.zeros(5)])
    np.testing.assert_allclose(corruption_error(ERRORS, flawless), [75, np.nan])
    assert mce(ERRORS, flawless) == pytest.approx(75)
    assert np.isnan(mce(ERRORS, 0 * BASELINE))
    assert np.isnan(error_ratio(0.3, 0.0))


@pytest.mark.parametrize("clean", [0.295, 0.3, 0.4])
def test_a_baseline_that_hardly_degrades_is_left_out(clean):
    clean_of_each = np.array([0.1, clean])
    relative = relative_corruption_error(ERRORS, 0.2, BASELINE, clean_of_each)
    np.testing.assert_allclose(relative, [100 / 3, np.nan])
    assert np.isnan(relative_mce(ERRORS, 0.2, BASELINE, 0.5))
    assert mean_of_defined(relative) == pytest.approx(100 / 3)


def test_a_model_that_corruption_helps_has_a_negative_relative_error():
    assert relative_corruption_error(np.full(5, 0.1), 0.2, np.full(5, 0.5), 0.1) == pytest.approx(-25)


def test_ratio_of_means_weighs_hard_data_sets_more():
    errors, baseline = np.zeros((2, 1, 5)), np.zeros((2, 1, 5))
    errors[0], baseline[0] = 0.1, 0.1
    errors[1], baseline[1] = 0.2, 0.4
    assert mce_ratio_of_means(errors, baseline) == pytest.approx(60)
    assert mean_of_defined(mce(errors, baseline)) == pytest.approx(75)


def test_ratio_of_means_passes_over_a_corruption_that_a_data_set_lacks():
    errors, baseline = np.stack([ERRORS, ERRORS]), np.stack([BASELINE, BASELINE])
    errors[1, 1] = baseline[1, 1] = np.nan
    assert mce_ratio_of_means(errors, baseline) == pytest.approx(87.5)


def test_leading_axes_are_kept():
    errors = np.stack([ERRORS, BASELINE, 2 * BASELINE])
    np.testing.assert_allclose(mce(errors, BASELINE), [87.5, 100, 200])
    np.testing.assert_allclose(relative_mce(errors, np.array([0.2, 0.1, 0.2]), BASELINE, 0.1), [125 / 3, 100, 200])


def test_mean_of_defined():
    np.testing.assert_allclose(mean_of_defined(np.array([[1, np.nan, 3], [np.nan] * 3])), [2, np.nan])
    assert mean_of_defined(np.array([[1.0, np.nan], [3.0, 8.0]]), axis=(0, 1)) == 4
