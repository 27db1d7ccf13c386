"""Classifiers on frozen features: they are what their formulas say."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

from robustmedclip.adaptation.heads import head_logits
from robustmedclip.adaptation.methods.cache import CacheAdapter, fit_cache
from robustmedclip.adaptation.methods.linear_probe import LinearProbe, fit_linear_probe
from robustmedclip.errors import InputError
from robustmedclip.metrics import softmax

SEEDS = st.integers(0, 2**32 - 1)
NAMES = ("round", "long", "odd", "thin")
GRIDS = {"alphas": [0, 0.1, 1, 10], "betas": [1, 5.5]}


def labelled(seed: int, classes: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Unit features that lie about the direction of their class."""
    rng, labels = np.random.default_rng(seed), np.arange(count) % classes
    features = np.eye(8)[labels] + rng.normal(0, 0.6, (count, 8))
    return (features / np.linalg.norm(features, axis=1, keepdims=True)).astype(np.float32), labels


def logits(classifier, features: np.ndarray) -> np.ndarray:
    return np.concatenate(list(head_logits(classifier, [features])))


@settings(max_examples=10)
@given(SEEDS, st.integers(2, 4), st.sampled_from([0.01, 1.0, 30.0]))
def test_a_probe_is_the_logistic_regression_of_scikit_learn(seed, classes, strength):
    training, validation = labelled(seed, classes, 24), labelled(seed + 1, classes, 12)
    probe, _ = fit_linear_probe(training, validation, NAMES[:classes], [strength])
    # Of two classes, scikit-learn penalises the difference of the weights, twice what each of them is.
    inverse = (2 if classes == 2 else 1) / strength
    reference = LogisticRegression(C=inverse, tol=1e-8, max_iter=10_000)
    reference.fit(training[0].astype(np.float64), training[1])
    expected = reference.predict_proba(validation[0].astype(np.float64))
    np.testing.assert_allclose(softmax(logits(probe, validation[0])), expected, atol=1e-3)


@settings(max_examples=5)
@given(SEEDS)
def test_the_probe_minimises_what_it_says(seed):
    """At the minimum of summed cross-entropy + l2 / 2 ||W||^2, its gradient vanishes."""
    (features, labels), strength = labelled(seed, 3, 30), 0.5
    probe, _ = fit_linear_probe((features, labels), (features, labels), NAMES[:3], [strength])
    residual = softmax(logits(probe, features)) - np.eye(3)[labels]
    np.testing.assert_allclose(residual.T @ features + strength * probe["weight"], 0, atol=1e-4)
    np.testing.assert_allclose(residual.sum(0), 0, atol=1e-4)


@settings(max_examples=10)
@given(SEEDS, st.integers(2, 4))
def test_a_cache_is_the_formula_of_tip_adapter(seed, classes):
    training, validation = labelled(seed, classes, 20), labelled(seed + 1, classes, 12)
    zero_shot = np.random.default_rng(seed).normal(0, 3, (classes, 8)).astype(np.float32)
    cache, search = fit_cache(training, validation, NAMES[:classes], **GRIDS, zero_shot=zero_shot)
    expected = []
    for feature in validation[0]:
        row = [float(feature @ of_class) for of_class in zero_shot]
        for key, label in zip(*training, strict=True):
            row[label] += cache["alpha"] * np.exp(-cache["beta"] * (1 - float(feature @ key)))
        expected.append(row)
    np.testing.assert_allclose(logits(cache, validation[0]), expected, atol=1e-4)
    best = min(search, key=lambda row: row["validation_loss"])
    assert (cache["alpha"], cache["beta"]) == (np.float32(best["alpha"]), np.float32(best["beta"]))
    assert best["validation_loss"] == pytest.approx(log_loss(validation[1], softmax(np.array(expected))), abs=1e-4)


@settings(max_examples=10)
@given(SEEDS)
def test_a_cache_that_misleads_is_not_used(seed):
    """The validation images have other labels than the cached ones: the zero-shot model is all that is left."""
    features, labels = labelled(seed, 2, 20)
    zero_shot = np.eye(8, dtype=np.float32)[[1, 0]]
    cache, _ = fit_cache((features, labels), (features, 1 - labels), NAMES[:2], **GRIDS, zero_shot=zero_shot)
    assert cache["alpha"] == 0
    np.testing.assert_allclose(logits(cache, features), features @ zero_shot.T, atol=1e-5)


@settings(max_examples=10)
@given(SEEDS, st.integers(2, 4))
def test_the_strength_of_the_lowest_validation_loss_is_chosen(seed, classes):
    training, validation = labelled(seed, classes, 16), labelled(seed + 1, classes, 12)
    grid = [0.1, 1.0, 10.0]
    probe, search = fit_linear_probe(training, validation, NAMES[:classes], grid)
    losses = {}
    for strength in grid:
        alone, _ = fit_linear_probe(training, validation, NAMES[:classes], [strength])
        losses[strength] = log_loss(validation[1], softmax(logits(alone, validation[0])), labels=range(classes))
    assert {row["l2"]: row["validation_loss"] for row in search} == pytest.approx(losses, rel=1e-3)
    chosen, _ = fit_linear_probe(training, validation, NAMES[:classes], [min(losses, key=losses.get)])
    np.testing.assert_allclose(probe["weight"], chosen["weight"], atol=1e-2)


@pytest.mark.parametrize("kind", ["probe", "cache"])
def test_logits_do_not_depend_on_how_the_features_come(kind):
    training, validation = labelled(0, 3, 30), labelled(1, 3, 12)
    if kind == "probe":
        classifier, _ = fit_linear_probe(training, validation, NAMES[:3], [1])
    else:
        zero_shot = np.eye(8, dtype=np.float32)[:3]
        classifier, _ = fit_cache(training, validation, NAMES[:3], **GRIDS, zero_shot=zero_shot)
    features = labelled(2, 3, 123)[0]
    whole = logits(classifier, features)
    assert whole.dtype == np.float32 and whole.shape == (123, 3)
    parts = np.concatenate(list(head_logits(classifier, np.split(features, [1, 7, 60]))))
    np.testing.assert_array_equal(parts, whole)
    np.testing.assert_array_equal(logits(classifier, features[:77]), whole[:77])


@pytest.mark.parametrize("kind", ["probe", "cache"])
def test_a_class_without_images_and_no_validation_are_refused(kind):
    def fit(training, validation):
        if kind == "probe":
            return fit_linear_probe(training, validation, NAMES[:3], [1])
        return fit_cache(training, validation, NAMES[:3], **GRIDS, zero_shot=np.zeros((3, 8), np.float32))

    features, labels = labelled(0, 3, 30)
    some = labels != 1
    with pytest.raises(InputError, match="no training image of class 'long': choose a larger fraction"):
        fit((features[some], labels[some]), (features, labels))
    with pytest.raises(InputError, match="no image to choose .*: choose a smaller fraction"):
        fit((features, labels), (features[:0], labels[:0]))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"alphas": []}, r"alphas\n.*expected a list of different numbers"),
        ({"alphas": [0, 0]}, r"alphas\n.*expected a list of different"),
        ({"betas": [-1]}, r"betas\n.*expected .* of 0 or more"),
        ({"betas": 3}, r"betas\n.*expected a list"),
        ({"betas": [float("nan")]}, r"betas\n.*expected a list"),
    ],
)
def test_grids_that_are_none_are_refused(change, message):
    with pytest.raises(ValidationError, match=message):
        CacheAdapter(**change)
    with pytest.raises(ValidationError, match=r"l2_strengths\n.*expected .* above 0"):
        LinearProbe(l2_strengths=[1, 0])
