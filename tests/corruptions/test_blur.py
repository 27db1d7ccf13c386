"""Blurs at 224 px against the published algorithms in float64."""

from math import ceil

import numpy as np
import pytest
from scipy.ndimage import correlate, correlate1d, gaussian_filter, zoom

from robustmedclip.corruptions import corrupt
from robustmedclip.corruptions.registry import kernel_and_value


def as_uint8(values: np.ndarray) -> np.ndarray:
    return np.clip(values + 1e-6, 0, 255).astype(np.uint8)


def gaussian_taps(sigma: float, reach: int) -> np.ndarray:
    taps = np.exp(-(np.arange(-reach, reach + 1) ** 2) / (2 * sigma**2))
    return taps / taps.sum()


def defocus(image, disk):
    radius, sigma = disk
    reach, smoothing = (8, 1) if radius <= 8 else (radius, 2)
    grid = np.arange(-reach, reach + 1)
    kernel = (grid**2 + grid[:, None] ** 2 <= radius**2).astype(float)
    kernel /= kernel.sum()
    for axis in (0, 1):
        kernel = correlate1d(kernel, gaussian_taps(sigma, smoothing), axis, mode="mirror")
    return as_uint8(correlate(image.astype(float), kernel[..., None], mode="mirror"))


def gaussian(image, sigma):
    return as_uint8(gaussian_filter(image.astype(float), (sigma, sigma, 0), mode="nearest", truncate=4))


def kernel_blur(image, side):
    taps = gaussian_taps(0.3 * ((side - 1) * 0.5 - 1) + 0.8, side // 2)
    blurred = image.astype(float)
    for axis in (0, 1):
        blurred = correlate1d(blurred, taps, axis, mode="mirror")
    return np.rint(blurred).astype(np.uint8)


def zoomed(image, factor):
    side = len(image)
    crop = ceil(side / factor)
    start = (side - crop) // 2
    enlarged = zoom(image[start : start + crop, start : start + crop], (factor, factor, 1), order=1)
    trim = (len(enlarged) - side) // 2
    return enlarged[trim : trim + side, trim : trim + side]


def zoom_blur(image, value):
    last, step = value
    source = image.astype(float)
    factors = np.arange(1, last + step / 2, step)
    return as_uint8((source + sum(zoomed(source, factor) for factor in factors)) / (len(factors) + 1))


ORACLES = {"defocus_blur": defocus, "gaussian_blur": gaussian, "kernel_blur": kernel_blur, "zoom_blur": zoom_blur}


def test_algorithm(case, pictures):
    suite, dataset, name, severity = case
    kernel, value = kernel_and_value(name, severity, suite, dataset)
    for image in (pictures[0], pictures[2], pictures[4]):
        made = corrupt(image[None], name, severity, suite=suite, dataset=dataset, seed=0)[0]
        assert np.abs(made.astype(int) - ORACLES[kernel.__name__](image, value)).max() <= 1


@pytest.mark.parametrize("name", ["defocus_blur", "gaussian_blur", "zoom_blur"])
@pytest.mark.parametrize("severity", [1, 2, 3, 4])
def test_the_next_severity_is_outside_the_bound(pictures, name, severity):
    made = corrupt(pictures[0][None], name, severity, suite="imagenet-c", seed=0)[0]
    kernel, value = kernel_and_value(name, severity + 1, "imagenet-c", None)
    assert np.abs(made.astype(int) - ORACLES[kernel.__name__](pictures[0], value)).max() > 1
