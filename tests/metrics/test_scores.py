"""Scores against scikit-learn and plain loops."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, balanced_accuracy_score, roc_auc_score

from robustmedclip.metrics import (
    accuracy,
    auroc,
    balanced_accuracy,
    expected_calibration_error,
    is_correct,
    softmax,
)

PROPERTY = settings(max_examples=60, deadline=None, derandomize=True)


@st.composite
def scored(draw) -> tuple[np.ndarray, np.ndarray]:
    """Logits and labels in which every class occurs, with some images given twice so that scores tie."""
    classes, count = draw(st.integers(2, 6)), draw(st.integers(12, 60))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    labels = np.concatenate([np.arange(classes), rng.integers(classes, size=count - classes)])
    logits = draw(st.sampled_from([0.1, 1, 5])) * rng.normal(size=(count, classes))
    logits[: count // 3] = logits[-(count // 3) :]
    return logits.astype(np.float32), labels


@PROPERTY
@given(case=scored())
def test_accuracies_are_those_of_scikit_learn(case):
    logits, labels = case
    assert accuracy(logits, labels) == pytest.approx(accuracy_score(labels, logits.argmax(1)))
    assert balanced_accuracy(logits, labels) == pytest.approx(balanced_accuracy_score(labels, logits.argmax(1)))


@PROPERTY
@given(case=scored())
def test_balanced_accuracy_leaves_absent_classes_out(case):
    logits, labels = case
    logits, labels = logits[labels > 0], labels[labels > 0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        expected = balanced_accuracy_score(labels, logits.argmax(1))
    assert balanced_accuracy(logits, labels) == pytest.approx(expected)


@PROPERTY
@given(case=scored())
def test_auroc_is_that_of_scikit_learn(case):
    logits, labels = case
    probabilities = softmax(logits)
    scores = probabilities[:, 1] if logits.shape[1] == 2 else probabilities
    assert auroc(logits, labels) == pytest.approx(roc_auc_score(labels, scores, multi_class="ovr", average="macro"))


@PROPERTY
@given(case=scored())
def test_auroc_averages_the_classes_that_occur(case):
    logits, labels = case
    labels = np.where(labels == 0, 1, labels)
    areas = [roc_auc_score(labels == c, softmax(logits)[:, c]) for c in set(labels) if set(labels) != {c}]
    assert auroc(logits, labels) == pytest.approx(np.mean(areas) if areas else np.nan, nan_ok=True)


def test_auroc_ranks_where_softmax_saturates():
    rng = np.random.default_rng(0)
    labels = rng.integers(2, size=200)
    margins = (60 + 10 * labels + 10 * rng.normal(size=200)).astype(np.float32)
    logits = np.stack([np.zeros_like(margins), margins], axis=1)
    assert auroc(logits, labels) == pytest.approx(roc_auc_score(labels, margins))


def test_auroc_by_hand():
    labels = np.array([0, 0, 1, 1])
    assert auroc(np.zeros((4, 2)), labels) == 0.5
    assert auroc(np.eye(2)[labels], labels) == 1
    assert auroc(-np.eye(2)[labels], labels) == 0
    assert np.isnan(auroc(np.eye(2)[labels], np.zeros(4, int)))


def calibration_error_by_loop(logits: np.ndarray, labels: np.ndarray, bins: int) -> float:
    probabilities, total = softmax(logits), 0.0
    for b in range(bins):
        inside = [
            (p.max(), p.argmax() == label)
            for p, label in zip(probabilities, labels, strict=True)
            if b / bins < p.max() <= (b + 1) / bins
        ]
        if inside:
            confidence, hits = np.mean(inside, axis=0)
            total += len(inside) / len(labels) * abs(confidence - hits)
    return total


@PROPERTY
@given(case=scored(), bins=st.sampled_from([1, 7, 15]))
def test_calibration_error_is_that_of_a_plain_loop(case, bins):
    assert expected_calibration_error(*case, bins) == pytest.approx(calibration_error_by_loop(*case, bins))


def test_calibration_error_by_hand():
    logits = np.log([[0.75, 0.25], [0.75, 0.25], [0.1, 0.9], [0.1, 0.9]])
    assert expected_calibration_error(logits, np.array([0, 1, 1, 1])) == pytest.approx((0.25 + 0.1) / 2)
    assert expected_calibration_error(1e4 * np.eye(2), np.array([0, 1])) == 0


def test_softmax_survives_large_logits():
    np.testing.assert_allclose(softmax(np.array([[1000.0, 1000.0], [-1e4, 0]])), [[0.5, 0.5], [0, 1]])


def test_the_first_of_equal_logits_counts_and_leading_axes_are_kept():
    logits = np.array([[[1, 1], [0, 1]], [[0, 1], [2, 0]]])
    np.testing.assert_array_equal(is_correct(logits, np.array([0, 1])), [[True, True], [False, False]])
