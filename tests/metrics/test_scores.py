"""Scores against scikit-learn, torchmetrics and plain loops."""

import warnings
from unittest.mock import patch

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from sklearn.metrics import accuracy_score, balanced_accuracy_score, log_loss, roc_auc_score
from torchmetrics.functional.classification import multiclass_calibration_error

from robustmedclip.metrics import (
    accuracy,
    aurc,
    auroc,
    balanced_accuracy,
    brier_score,
    expected_calibration_error,
    fit_temperature,
    image_values,
    is_correct,
    metrics_named,
    reliability,
    resample_counts,
    scaled_logits,
    softmax,
)

SCORES = {
    "balanced_accuracy": balanced_accuracy,
    "auroc": auroc,
    "aurc": aurc,
    "brier": brier_score,
    "ece": expected_calibration_error,
}
EXACT = 1e-9

PROPERTY = settings(max_examples=60)


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
    assert accuracy(logits, labels) == pytest.approx(accuracy_score(labels, logits.argmax(1)), abs=EXACT)
    assert balanced_accuracy(logits, labels) == pytest.approx(
        balanced_accuracy_score(labels, logits.argmax(1)), abs=EXACT
    )


@PROPERTY
@given(case=scored())
def test_balanced_accuracy_leaves_absent_classes_out(case):
    logits, labels = case
    logits, labels = logits[labels > 0], labels[labels > 0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        expected = balanced_accuracy_score(labels, logits.argmax(1))
    assert balanced_accuracy(logits, labels) == pytest.approx(expected, abs=EXACT)


@PROPERTY
@given(case=scored())
def test_auroc_is_that_of_scikit_learn(case):
    logits, labels = case
    probabilities = softmax(logits)
    scores = probabilities[:, 1] if logits.shape[1] == 2 else probabilities
    expected = roc_auc_score(labels, scores, multi_class="ovr", average="macro")
    assert auroc(logits, labels) == pytest.approx(expected, abs=EXACT)


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
    assert expected_calibration_error(*case, bins) == pytest.approx(calibration_error_by_loop(*case, bins), abs=EXACT)


@given(case=scored(), bins=st.integers(1, 20))
@PROPERTY
def test_the_calibration_error_is_the_mean_gap_of_the_reliability_diagram(case, bins):
    images, confidence, right = reliability(*case, bins)
    assert images.sum() == len(case[1])
    assert np.abs(right - confidence).sum() / images.sum() == pytest.approx(
        expected_calibration_error(*case, bins), abs=EXACT
    )


def test_reliability_by_hand():
    logits = np.log([[0.9, 0.1], [0.75, 0.25], [0.25, 0.75], [0.5, 0.5]])
    images, confidence, right = reliability(logits, np.array([0, 0, 0, 0]), bins=4)
    np.testing.assert_array_equal(images, [0, 1, 2, 1])
    np.testing.assert_allclose(confidence, [0, 0.5, 1.5, 0.9])
    np.testing.assert_array_equal(right, [0, 1, 1, 1])


def test_reliability_adds_up_over_conditions():
    logits, labels = np.random.default_rng(0).normal(size=(3, 50, 4)), np.arange(50) % 4
    apart = sum(reliability(one, labels) for one in logits)
    np.testing.assert_allclose(reliability(logits, labels), apart)


def test_calibration_error_by_hand():
    logits = np.log([[0.75, 0.25], [0.75, 0.25], [0.1, 0.9], [0.1, 0.9]])
    assert expected_calibration_error(logits, np.array([0, 1, 1, 1])) == pytest.approx((0.25 + 0.1) / 2)
    assert expected_calibration_error(1e4 * np.eye(2), np.array([0, 1])) == 0


@PROPERTY
@given(case=scored())
def test_calibration_error_is_that_of_torchmetrics(case):
    logits, labels = case
    probabilities, labels_of_torch = torch.from_numpy(softmax(logits)), torch.from_numpy(labels)
    # It rounds the confidences to float32, which would be its only difference.
    with patch.object(torch.Tensor, "float", torch.Tensor.double):
        expected = multiclass_calibration_error(probabilities, labels_of_torch, logits.shape[1], n_bins=15, norm="l1")
    assert expected.dtype == torch.float64
    assert expected_calibration_error(logits, labels) == pytest.approx(float(expected), abs=EXACT)


def test_a_bin_that_is_right_on_average_has_no_error():
    logits = np.log([[0.75, 0.25]] * 4)
    assert expected_calibration_error(logits, np.array([0, 0, 0, 1])) == pytest.approx(0, abs=EXACT)


@PROPERTY
@given(case=scored())
def test_brier_score_is_the_squared_distance_from_one_hot(case):
    logits, labels = case
    expected = np.mean([np.sum((p - (np.arange(len(p)) == y)) ** 2) for p, y in zip(softmax(logits), labels)])
    assert brier_score(logits, labels) == pytest.approx(expected, abs=EXACT)


def test_brier_score_by_hand():
    assert brier_score(np.log([[0.75, 0.25], [0.75, 0.25]]), np.array([0, 1])) == pytest.approx((0.125 + 1.125) / 2)


@PROPERTY
@given(case=scored())
def test_risk_coverage_is_the_mean_over_random_orders_of_ties(case):
    logits, labels = case
    wrong, confidence = ~is_correct(logits, labels), softmax(logits).max(-1)
    errors = wrong[np.argsort(-confidence, kind="stable")].astype(float)
    for value in np.unique(confidence):
        tied = -np.sort(-confidence) == value
        errors[tied] = errors[tied].mean()
    expected = np.mean([errors[:k].mean() for k in range(1, len(errors) + 1)])
    assert aurc(logits, labels) == pytest.approx(expected, abs=EXACT)


def test_risk_coverage_by_hand():
    logits = np.log([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3], [0.6, 0.4]])
    assert aurc(logits, np.array([0, 0, 1, 0])) == pytest.approx((0 + 0 + 1 / 3 + 1 / 4) / 4)
    assert aurc(logits, np.array([1, 0, 0, 0])) == pytest.approx((1 + 1 / 2 + 1 / 3 + 1 / 4) / 4)


def test_risk_coverage_orders_images_of_which_a_model_is_all_but_certain():
    """Softmax probabilities of margins above 37 are 1, all the same."""
    margins = np.linspace(40, 60, 200)
    logits = np.stack([margins, np.zeros(200)], axis=1)
    logits[:20] = logits[:20, ::-1]
    labels = np.zeros(200, int)
    assert aurc(logits, labels) == pytest.approx(aurc(logits / 10, labels), abs=EXACT)


@settings(PROPERTY, max_examples=15)
@given(case=scored(), temperature=st.sampled_from([0.5, 3.0]))
def test_the_temperature_minimises_the_log_loss(case, temperature):
    logits, labels = case
    assume(not is_correct(logits, labels).all())

    def loss(log_temperature: float) -> float:
        return log_loss(labels, softmax(logits / np.exp(log_temperature)), labels=np.arange(logits.shape[1]))

    best = minimize_scalar(loss, bounds=np.log([0.01, 100]), method="bounded", options={"xatol": 1e-10})
    assert loss(np.log(fit_temperature(logits, labels))) <= best.fun + EXACT
    hotter = fit_temperature(temperature * logits.astype(float), labels)
    if 0.02 < hotter < 50:
        assert hotter == pytest.approx(temperature * fit_temperature(logits, labels), rel=1e-6)


def test_temperature_scaling_mends_overconfidence_under_every_condition():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(2, 3000, 4))
    labels = (softmax(logits[0]).cumsum(-1) > rng.random((3000, 1))).argmax(-1)
    scaled = scaled_logits(7 * logits, 7 * logits[0], labels)
    np.testing.assert_allclose(np.median(7 * logits / scaled), 7, rtol=0.1)
    assert expected_calibration_error(7 * logits[0], labels) > 0.3
    assert expected_calibration_error(scaled[0], labels) < 0.05
    np.testing.assert_array_equal(scaled.argmax(-1), logits.argmax(-1))


def test_a_model_that_is_right_on_all_clean_images_is_not_scaled():
    """No temperature fits best: the lower, the better."""
    labels = np.arange(60) % 2
    clean = np.eye(2)[labels]
    assert fit_temperature(clean, labels) == 1
    corrupted = clean.copy()
    corrupted[:6] = corrupted[:6, ::-1]
    np.testing.assert_array_equal(scaled_logits(corrupted, clean, labels), corrupted)


def test_no_image_takes_part_in_its_own_temperature():
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(40, 3)), rng.integers(3, size=40)
    changed = logits.copy()
    changed[7] *= -5
    before, after = scaled_logits(logits, logits, labels), scaled_logits(logits, changed, labels)
    np.testing.assert_array_equal(before[7], after[7])
    assert not np.array_equal(before, after)
    np.testing.assert_array_equal(scaled_logits(logits[:1], logits[:1], labels[:1]), logits[:1])


def test_no_image_of_a_patient_takes_part_in_the_temperature_of_another():
    rng = np.random.default_rng(0)
    patients = np.array([f"patient {i // 4}" for i in range(40)])[rng.permutation(40)]
    logits, labels = rng.normal(size=(40, 3)), rng.integers(3, size=40)
    changed, mates = logits.copy(), patients == patients[7]
    changed[mates] *= -5
    before, after = (scaled_logits(logits, clean, labels, patients) for clean in (logits, changed))
    np.testing.assert_array_equal(before[mates], after[mates])
    assert not np.array_equal(before, after)
    (metric,) = (metric for metric in metrics_named() if metric.name == "scaled_ece")
    values = image_values([metric], logits, labels, logits, patients)
    assert values.mean() == pytest.approx(expected_calibration_error(before, labels))


@pytest.mark.parametrize("name", SCORES)
def test_conditions_are_scored_as_they_are_alone(name):
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(3, 2, 30, 4)), rng.integers(4, size=30)
    together = SCORES[name](logits, labels)
    assert together.shape == (3, 2)
    alone = [SCORES[name](one, labels) for one in logits.reshape(6, 30, 4)]
    np.testing.assert_allclose(together.ravel(), alone, atol=1e-12)


@pytest.mark.parametrize("name", SCORES)
def test_resamples_of_image_values_spread_as_scores_of_resampled_images(name):
    metrics = {metric.name: metric for metric in metrics_named()}
    rng = np.random.default_rng(0)
    labels = rng.integers(3, size=300)
    logits = 3 * (1.5 * np.eye(3)[labels] + 1.2 * rng.normal(size=(300, 3)))
    values = image_values([metrics[name]], logits[None], labels, logits)[0, 0]
    assert values.mean() == pytest.approx(SCORES[name](logits, labels), abs=1e-12)
    counts = resample_counts(0, "spread", 600, 300)
    fast = counts @ values / 300
    drawn = [np.repeat(np.arange(300), row) for row in counts]
    slow = np.array([SCORES[name](logits[images], labels[images]) for images in drawn])
    assert fast.std() == pytest.approx(slow.std(), rel=0.15)
    assert np.corrcoef(fast, slow)[0, 1] > (0.8 if name == "ece" else 0.97)


@pytest.mark.parametrize("score", [accuracy, *SCORES.values()])
@pytest.mark.parametrize(
    ("logits", "labels", "message"),
    [
        (np.array([[0, np.nan]]), np.array([0]), "finite"),
        (np.array([[0, np.inf]]), np.array([0]), "finite"),
        (np.zeros((2, 3)), np.array([0, 3]), "from 0 to 2"),
        (np.zeros((2, 3)), np.array([0, -1]), "from 0 to 2"),
        (np.zeros((2, 3)), np.array([0.0, 1.0]), "integers"),
        (np.zeros((2, 3)), np.array([0, 1, 2]), "labels"),
        (np.zeros((0, 3)), np.array([], int), "N > 0"),
    ],
)
def test_what_cannot_be_scored_is_an_error(score, logits, labels, message):
    with pytest.raises(ValueError, match=message):
        score(logits, labels)


def test_softmax_survives_large_logits():
    np.testing.assert_allclose(softmax(np.array([[1000.0, 1000.0], [-1e4, 0]])), [[0.5, 0.5], [0, 1]])


def test_the_first_of_equal_logits_counts_and_leading_axes_are_kept():
    logits = np.array([[[1, 1], [0, 1]], [[0, 1], [2, 0]]])
    np.testing.assert_array_equal(is_correct(logits, np.array([0, 1])), [[True, True], [False, False]])
