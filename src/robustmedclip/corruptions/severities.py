"""The severity tables: what each corruption's severities 1 to 5 mean, as data.

The seven corruptions of MediMeta-C (arXiv:2505.15425). The study publishes no constants; these are
ImageNet-C's for images of 224 px (Hendrycks & Dietterich 2019, arXiv:1903.12261, and its published code).
Lengths in pixels are given for a side of ``REFERENCE_SIDE`` and scale with the side of the image.
"""

from typing import Any

REFERENCE_SIDE = 224

MEDIMETA_C: dict[str, tuple[Any, ...]] = {
    # standard deviation of the noise, as a fraction of full scale
    "gaussian_noise": (0.08, 0.12, 0.18, 0.26, 0.38),
    # share of values replaced, half of them by black, half by white
    "impulse_noise": (0.03, 0.06, 0.09, 0.17, 0.27),
    # radius and standard deviation of the trail, in pixels
    "motion_blur": ((10, 3), (15, 5), (15, 8), (15, 12), (20, 15)),
    # last and step of the zoom factors that are averaged, from 1 on
    "zoom_blur": ((1.11, 0.01), (1.15, 0.01), (1.20, 0.02), (1.24, 0.02), (1.30, 0.03)),
    # remaining share of the side
    "pixelate": (0.6, 0.5, 0.4, 0.3, 0.25),
    # added to the value of HSV, as a fraction of full scale
    "brightness": (0.1, 0.2, 0.3, 0.4, 0.5),
    # factor of the deviation from the mean
    "contrast": (0.4, 0.3, 0.2, 0.1, 0.05),
}

SUITES: dict[str, dict[str, tuple[Any, ...]]] = {"medimeta-c": MEDIMETA_C}
