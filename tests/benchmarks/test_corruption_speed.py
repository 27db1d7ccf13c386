"""Speed of the corruptions at 224 px beside plain references, one group each: ``pytest --benchmark-only``."""

from math import ceil, cos, radians, sin

import cv2
import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import correlate, zoom
from skimage import data
from skimage.color import hsv2rgb, rgb2hsv
from skimage.transform import resize
from skimage.util import random_noise

from robustmedclip.corruptions import corrupt, corruptions

SEVERITY = 3


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    picture = resize(data.astronaut(), (224, 224), anti_aliasing=True)
    return np.repeat(np.round(picture * 255).astype(np.uint8)[None], 8, axis=0)


@pytest.fixture(autouse=True)
def single_threaded():
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    yield
    cv2.setNumThreads(threads)


def gaussian_noise(scaled: np.ndarray) -> np.ndarray:
    return random_noise(scaled, "gaussian", var=0.18**2)


def impulse_noise(scaled: np.ndarray) -> np.ndarray:
    return random_noise(scaled, "s&p", amount=0.09)


def motion_blur(scaled: np.ndarray) -> np.ndarray:
    radius, sigma, angle = 15, 8, radians(np.random.default_rng(0).uniform(-45, 45))
    weights = np.zeros((4 * radius + 1, 4 * radius + 1, 1))
    for i in range(2 * radius + 1):
        row, column = ceil(i * sin(angle) - 0.5), ceil(i * cos(angle) - 0.5)
        weights[2 * radius + row, 2 * radius + column] += np.exp(-(i**2) / (2 * sigma**2))
    return correlate(scaled, weights / weights.sum(), mode="nearest")


def zoom_blur(scaled: np.ndarray) -> np.ndarray:
    factors = np.arange(1, 1.21, 0.02)
    total = scaled.copy()
    for factor in factors:
        crop = ceil(224 / factor)
        start = (224 - crop) // 2
        enlarged = zoom(scaled[start : start + crop, start : start + crop], (factor, factor, 1), order=1)
        trim = (len(enlarged) - 224) // 2
        total += enlarged[trim : trim + 224, trim : trim + 224]
    return total / (len(factors) + 1)


def pixelate(scaled: np.ndarray) -> np.ndarray:
    picture = Image.fromarray((scaled * 255).astype(np.uint8))
    return np.asarray(picture.resize((89, 89), Image.BOX).resize((224, 224), Image.BOX)) / 255


def brightness(scaled: np.ndarray) -> np.ndarray:
    hsv = rgb2hsv(scaled)
    hsv[..., 2] = np.clip(hsv[..., 2] + 0.3, 0, 1)
    return hsv2rgb(hsv)


def contrast(scaled: np.ndarray) -> np.ndarray:
    means = scaled.mean((0, 1), keepdims=True)
    return (scaled - means) * 0.2 + means


REFERENCES = {
    function.__name__: function
    for function in (gaussian_noise, impulse_noise, motion_blur, zoom_blur, pixelate, brightness, contrast)
}


def reference(images: np.ndarray, name: str, severity: int) -> np.ndarray:
    assert severity == SEVERITY
    corrupted = [np.clip(REFERENCES[name](image / 255.0), 0, 1) * 255 for image in images]
    return np.stack(corrupted).astype(np.uint8)


@pytest.mark.parametrize("implementation", [corrupt, reference], ids=["robustmedclip", "reference"])
@pytest.mark.parametrize("name", corruptions())
def test_corruption(benchmark, images, name, implementation):
    benchmark.group = name
    assert benchmark(implementation, images, name, SEVERITY).shape == images.shape
