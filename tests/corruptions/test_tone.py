"""Tone and colour against the published formulas in float64."""

import numpy as np
import pytest
from PIL import Image, ImageEnhance
from skimage.color import hsv2rgb, rgb2hsv
from suite_lists import kernel_and_value

from robustmedclip.corruptions import corrupt


def as_uint8(values: np.ndarray) -> np.ndarray:
    return np.clip(values, 0, 255).astype(np.uint8)


def in_hsv(image: np.ndarray, channel: int, change) -> np.ndarray:
    hsv = rgb2hsv(np.broadcast_to(image, (*image.shape[:2], 3)) / 255)
    hsv[..., channel] = np.clip(change(hsv[..., channel]), 0, 1)
    return as_uint8(hsv2rgb(hsv) * 255)


def brightness(image, amount):
    if image.shape[-1] == 1:
        return as_uint8(image + 255 * amount)
    return in_hsv(image, 2, lambda value: value + amount)


def contrast(image, factor):
    means = image.mean((0, 1))
    return as_uint8((image - means) * factor + means)


def enhanced(enhancer):
    def enhance(image, factor):
        return np.asarray(enhancer(Image.fromarray(image.squeeze())).enhance(factor)).reshape(image.shape)

    return enhance


def saturation(image, change):
    factor, added = change
    return image if image.shape[-1] == 1 else in_hsv(image, 1, lambda value: value * factor + added)


#: Oracle of each kernel, and the largest difference in grey levels.
ORACLES = {
    "brightness": (brightness, 1),
    "contrast": (contrast, 1),
    "scaled_brightness": (enhanced(ImageEnhance.Brightness), 0),
    "scaled_contrast": (enhanced(ImageEnhance.Contrast), 0),
    "gamma": (lambda image, exponent: np.floor(255.999 * (image / 255) ** exponent).astype(np.uint8), 0),
    "saturation": (saturation, 1),
    "added_saturation": (lambda image, amount: saturation(image, (1, amount)), 1),
}


def test_formula(case, pictures):
    suite, dataset, name, severity = case
    kernel, value = kernel_and_value(name, severity, suite, dataset)
    oracle, most = ORACLES[kernel.__name__]
    for image in pictures:
        made = corrupt(image[None], name, severity, suite=suite, dataset=dataset, seed=0)[0]
        assert np.abs(made.astype(int) - oracle(image, value)).max() <= most


@pytest.mark.parametrize("name", ["brightness", "contrast", "saturate"])
def test_the_next_severity_is_outside_the_bound(pictures, name):
    if name == "saturate" and pictures[0].shape[-1] == 1:
        return
    for severity in (1, 2, 3, 4):
        made = corrupt(pictures[0][None], name, severity, suite="imagenet-c", seed=0)[0]
        kernel, value = kernel_and_value(name, severity + 1, "imagenet-c", None)
        assert np.abs(made.astype(int) - ORACLES[kernel.__name__][0](pictures[0], value)).max() > 1
