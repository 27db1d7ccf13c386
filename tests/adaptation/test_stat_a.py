"""StatA is what its authors' code computes, and needs no label."""

import numpy as np
import torch
from scipy.special import softmax

from robustmedclip.adaptation.methods.stat_a import StatA, stat_a


def clusters(seed: int, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Unit features about three directions, class vectors that lie beside them, and labels."""
    rng, labels = np.random.default_rng(seed), np.arange(count) % 3
    features = np.eye(8)[labels] + rng.normal(0, 0.3, (count, 8))
    vectors = np.eye(8)[:3] + 0.8 * np.eye(8)[[1, 2, 0]]
    return *(array / np.linalg.norm(array, axis=1, keepdims=True) for array in (features, vectors)), labels


def as_its_authors(logits: np.ndarray, features: np.ndarray, text: np.ndarray, alpha: float, k: int) -> np.ndarray:
    """Their steps one by one, in dense arrays: z, then beta, mu and the covariance, ten times; then z."""
    x, t = torch.from_numpy(features), torch.from_numpy(text)
    y = torch.from_numpy(softmax(logits, axis=1))
    affinity = x @ x.T
    nearest = affinity.topk(k + 1, -1).indices[:, 1:]
    w = torch.zeros_like(affinity).scatter(1, nearest, affinity.gather(1, nearest))
    z, mu = y.clone(), t.clone()
    first = torch.einsum("ij,ijk->k", z, (x[:, None] - mu[None]) ** 2) / len(x)
    cov = first.repeat(len(t), 1)
    for iteration in range(11):
        likelihood = -0.5 * ((x[:, None] - mu[None]) ** 2 / cov[None]).sum(2)
        for _ in range(5):
            z = y * torch.exp((likelihood + 50 / (2 * k) * (w.T @ z + w @ z)) / 50)
            z = z / z.sum(1, keepdim=True)
        if iteration == 10:
            return z.numpy()
        count = torch.bincount(z.argmax(1), minlength=len(t))
        beta = (count / (alpha + count))[:, None]
        mu = torch.nn.functional.normalize((z.T @ x) / z.sum(0)[:, None])
        mu = torch.nn.functional.normalize(beta * mu + (1 - beta) * t)
        own = (z[..., None] * (x[:, None] - mu[None]) ** 2).sum(0) / z.sum(0)[:, None]
        cov = beta * own + (1 - beta) * (first + (t - mu) ** 2)
    raise AssertionError


def test_it_takes_the_steps_of_its_authors():
    features, vectors, _ = clusters(0, 40)
    logits = 10 * features @ vectors.T
    expected = as_its_authors(logits, features, vectors, alpha=2, k=3)
    np.testing.assert_allclose(np.exp(stat_a(logits, features, vectors, 2, 3, 10)), expected, atol=1e-9)


def test_unlabelled_images_put_prompts_right_that_lie_beside_them():
    features, vectors, labels = clusters(1, 300)
    logits = 3 * features @ vectors.T
    adapted = StatA().at_test_time(*(array.astype(np.float32) for array in (logits, features, vectors)))
    assert adapted.dtype == np.float32 and adapted.shape == logits.shape
    assert np.mean(adapted.argmax(1) == labels) > np.mean(logits.argmax(1) == labels)


def test_one_image_and_an_absent_class_are_no_obstacle():
    features, vectors, _ = clusters(2, 7)
    for images in (features[:1], features[::3]):
        assert np.isfinite(StatA().at_test_time(images @ vectors.T, images, vectors)).all()
