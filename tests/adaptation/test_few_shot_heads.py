"""Few-shot classifiers are their published formulas, and ours is zero-shot where it would do worse."""

import numpy as np
import pytest
import torch
from scipy.optimize import approx_fprime
from scipy.special import softmax

from robustmedclip.adaptation.heads import all_logits
from robustmedclip.adaptation.methods.clap import clap_loss, class_penalties
from robustmedclip.adaptation.methods.lp_plus_plus import fit_lp_plus_plus
from robustmedclip.adaptation.methods.robust_probe import fit_robust_probe
from robustmedclip.adaptation.methods.ss_text import ss_text_prototypes
from robustmedclip.adaptation.methods.temperature import fit_temperature
from robustmedclip.adaptation.methods.tip_adapter_f import trained_keys
from robustmedclip.adaptation.probes import folds, probes

TEXT = np.array([[1.0, 0.0], [0.0, 1.0]])
FEATURES = np.array([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]])
LABELS = np.array([0, 0, 1])
STRENGTHS = (0.1, 0.01, 0.001)


def shots(seed: int, count: int, noise: float = 0.4) -> tuple[np.ndarray, np.ndarray]:
    """Unit features about the directions of three classes."""
    rng, labels = np.random.default_rng(seed), np.arange(count) % 3
    features = np.eye(8)[labels] + rng.normal(0, noise, (count, 8))
    return features / np.linalg.norm(features, axis=1, keepdims=True), labels


def test_ss_text_is_its_closed_form():
    """Of N = 3 images at tau = 1/10: SS-Text has 1/N 1/lambda = 1, SS-Text+ has N_c / N."""
    plain = ss_text_prototypes(FEATURES, LABELS, TEXT, 10, "all", repel=False)
    np.testing.assert_allclose(plain, [[10 * 1.6 + 1, 10 * 0.8], [0, 10 + 1]])
    by_class = ss_text_prototypes(FEATURES, LABELS, TEXT, 10, "class", repel=False)
    np.testing.assert_allclose(by_class, [[2 / 3 * 16 + 1, 2 / 3 * 8], [0, 10 / 3 + 1]])
    pushed = ss_text_prototypes(FEATURES, LABELS, TEXT, 10, "class", repel=True)
    delta = 2 * by_class - by_class.mean(0)
    np.testing.assert_allclose(pushed, by_class - delta / np.linalg.norm(delta, axis=1, keepdims=True))


def test_clap_weighs_each_class_by_its_zero_shot_probability():
    probabilities = softmax(2 * FEATURES @ TEXT.T, axis=1)
    expected = [(probabilities[0, 0] + probabilities[1, 0]) / 2, probabilities[2, 1]]
    np.testing.assert_allclose(class_penalties(FEATURES, LABELS, TEXT, 2), expected)


def test_the_loss_of_clap_is_cross_entropy_and_distance_to_the_prompts():
    weights, penalties = np.array([[2.0, 1.0], [0.5, 1.0]]), np.array([0.7, 0.3])
    unit = weights / np.linalg.norm(weights, axis=1, keepdims=True)
    entropy = -np.log(softmax(3 * FEATURES @ unit.T, axis=1)[np.arange(3), LABELS]).mean()
    distance = (0.7 * (1 + 1) + 0.3 * 0.25) / 2
    arguments = FEATURES, LABELS, TEXT, 3, penalties
    loss, slope = clap_loss(weights.ravel(), *arguments)
    assert loss == pytest.approx(entropy + distance)
    numeric = approx_fprime(weights.ravel(), lambda values: clap_loss(values, *arguments)[0], 1e-6)
    np.testing.assert_allclose(slope, numeric, atol=1e-4)


def test_lp_plus_plus_starts_from_means_and_the_mean_similarity():
    start = fit_lp_plus_plus(FEATURES, LABELS, TEXT, epochs=0)
    alpha = 250 * ((1 + 0.6) / 2 + 1) / 2
    np.testing.assert_allclose(start["weight"], [[0.8 + alpha, 0.4], [0, 1 + alpha]])


def test_lp_plus_plus_takes_the_steps_of_its_authors():
    """As torch's SGD with momentum takes them, at 4 N over the largest eigenvalue; the blend's, every tenth."""
    features, labels = shots(0, 12)
    text, one_hot = np.eye(8)[:3], np.eye(3)[labels]
    f, t, y = torch.from_numpy(features), torch.from_numpy(text), torch.from_numpy(labels)
    weight = torch.from_numpy(one_hot.T @ features / 4).requires_grad_(True)
    bias = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    alpha = torch.full((3,), 250 * float((one_hot * (features @ text.T)).sum() / 12), dtype=torch.float64)
    alpha.requires_grad_(True)
    rate = 4 * 12 / float(np.linalg.eigvalsh(features.T @ features)[-1])
    optimiser = torch.optim.SGD([weight, bias], rate, momentum=0.9)
    for epoch in range(1, 12):
        loss = torch.nn.functional.cross_entropy(f @ weight.T + bias + alpha * (f @ t.T), y)
        optimiser.zero_grad()
        alpha.grad = None
        loss.backward()
        optimiser.step()
        if epoch % 10 == 0:
            alpha.data -= 12 / (4 * float(((f @ t.T) ** 2).sum(0).max())) * alpha.grad
    expected = (weight + alpha[:, None] * t).detach().numpy()
    np.testing.assert_allclose(fit_lp_plus_plus(features, labels, text, epochs=11)["weight"], expected, rtol=1e-6)


def test_tip_adapter_f_starts_from_the_features_and_lowers_the_loss():
    features, labels = shots(1, 12)
    features, zero_shot = features.astype(np.float32), np.eye(8, dtype=np.float32)[:3]
    np.testing.assert_array_equal(trained_keys(features, labels, zero_shot, 1, 0.0), features)

    def loss(keys: np.ndarray) -> float:
        logits = features @ zero_shot.T + np.exp(-5.5 * (1 - features @ keys.T)) @ np.eye(3)[labels]
        return float(-np.log(softmax(logits, axis=1)[np.arange(12), labels]).mean())

    assert loss(trained_keys(features, labels, zero_shot, 20, 1e-2)) < loss(features)


def test_the_fitted_temperature_is_the_one_that_logits_were_multiplied_by():
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (4000, 3))
    labels = np.array([rng.choice(3, p=p) for p in softmax(logits, axis=1)])
    assert fit_temperature(5 * logits, labels) == pytest.approx(5, rel=0.1)


def test_a_probe_minimises_what_it_says():
    (features, labels), prior = shots(2, 15), 2 * np.eye(8)[:3]
    for strength, probe in zip(STRENGTHS, probes(features, labels, prior, STRENGTHS), strict=True):
        residual = (softmax(features @ probe["weight"].T + probe["bias"], axis=1) - np.eye(3)[labels]) / 15
        np.testing.assert_allclose(residual.T @ features + strength * (probe["weight"] - prior), 0, atol=3e-4)
        np.testing.assert_allclose(residual.sum(0) + strength * probe["bias"] / 0.25**2, 0, atol=3e-3)


def test_images_are_left_out_with_as_many_of_each_class():
    labels = np.repeat([0, 1, 2], [10, 5, 5])
    parts = folds(labels, 5)
    assert [np.bincount(labels[parts == part]).tolist() for part in range(5)] == [[2, 1, 1]] * 5
    assert sorted(folds(np.array([1, 0, 1, 0]), 5)) == [0, 1, 2, 3]


def test_the_robust_probe_learns_what_the_prompts_do_not_say():
    (features, labels), (new, of_new) = shots(3, 30, noise=0.2), shots(4, 60, noise=0.2)
    zero_shot = 10 * np.eye(8)[[1, 2, 0]]
    probe, search = fit_robust_probe((features, labels), 30, zero_shot, STRENGTHS, 5)
    assert search[0]["strength"] == np.inf and search[0]["validation_accuracy"] < 0.2
    predictions = all_logits({k: np.float32(v) for k, v in probe.items()}, new.astype(np.float32)).argmax(1)
    assert np.mean(predictions == of_new) > 0.9


def test_the_robust_probe_is_zero_shot_where_it_would_do_worse():
    """Of one image of each class, a class is always new to a probe that leaves it out, and the prompts know it."""
    features, labels = shots(5, 3, noise=0.1)
    zero_shot = 10 * np.eye(8)[:3]
    probe, search = fit_robust_probe((features, labels), 3, zero_shot, STRENGTHS, 5)
    np.testing.assert_array_equal(probe["weight"], zero_shot)
    assert np.argmin([row["validation_loss"] for row in search]) == 0


def test_corrupted_copies_are_left_out_with_their_image():
    """Copies that equal their image say nothing new: with and without them the search finds the same."""
    features, labels = shots(6, 15)
    zero_shot = np.eye(8)[:3]
    _, alone = fit_robust_probe((features, labels), 15, zero_shot, STRENGTHS, 5)
    _, copied = fit_robust_probe((np.tile(features, (3, 1)), np.tile(labels, 3)), 15, zero_shot, STRENGTHS, 5)
    losses = [[row["validation_loss"] for row in search] for search in (alone, copied)]
    np.testing.assert_allclose(*losses, rtol=1e-3)
