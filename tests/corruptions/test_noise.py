"""Noise on flat images against its exact law."""

import numpy as np
import pytest
from scipy import stats

from robustmedclip.corruptions import SEVERITIES, corrupt, severities

LEVEL, SIDE = 128, 448


def distance(name: str, severity: int, law_of: int) -> float:
    """Largest difference of the distribution functions of corrupted grey 128 and of the law at severity `law_of`."""
    image = np.full((1, SIDE, SIDE, 3), LEVEL, np.uint8)
    noisy = corrupt(image, name, severity, suite="imagenet-c", seed=0)
    value, x = severities("imagenet-c")[name][law_of - 1], LEVEL / 255
    above = np.arange(1, 256)  # a grey level is below `above` where the untruncated one is
    if name == "shot_noise":
        law = stats.poisson.cdf(np.ceil(above * value / 255 - 1e-9) - 1, value * x)
    elif name == "impulse_noise":
        law = np.where(above <= LEVEL, value / 2, 1 - value / 2)
    else:
        law = stats.norm.cdf(above / 255, x, value * (x if name == "speckle_noise" else 1))
    return np.abs(np.bincount(noisy.ravel(), minlength=256).cumsum()[:-1] / noisy.size - law).max()


@pytest.mark.parametrize("severity", SEVERITIES)
@pytest.mark.parametrize("name", ["gaussian_noise", "shot_noise", "impulse_noise", "speckle_noise"])
def test_law(name, severity):
    bound = 2 / np.sqrt(3 * SIDE * SIDE)  # Kolmogorov: exceeded by chance once in 1500
    assert distance(name, severity, severity) < bound
    assert distance(name, severity, severity % 5 + 1) > 2 * bound


@pytest.mark.parametrize(("grey", "fraction"), [("native", 1), ("reference", 0.6686)])
def test_gaussian_noise_of_grey_images(grey, fraction):
    image = np.full((1, SIDE, SIDE, 1), LEVEL, np.uint8)
    noisy = corrupt(image, "gaussian_noise", 1, suite="imagenet-c", seed=0, grey=grey)
    assert noisy.std() == pytest.approx(255 * 0.08 * fraction, rel=0.01)


@pytest.mark.parametrize("name", ["gaussian_noise", "shot_noise", "impulse_noise", "speckle_noise"])
def test_channels_and_neighbours_are_independent(name):
    noisy = corrupt(np.full((1, SIDE, SIDE, 3), LEVEL, np.uint8), name, 2, suite="imagenet-c", seed=0)[0].astype(float)
    bound = 5 / SIDE
    assert np.abs(np.corrcoef(noisy.reshape(-1, 3), rowvar=False) - np.eye(3)).max() < bound
    for one, other in ((noisy[1:], noisy[:-1]), (noisy[:, 1:], noisy[:, :-1])):
        assert abs(np.corrcoef(one.ravel(), other.ravel())[0, 1]) < bound
