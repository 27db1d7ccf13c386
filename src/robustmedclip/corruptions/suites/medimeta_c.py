"""MediMeta-C: seven of ImageNet-C's corruptions.

Source: Imam et al. 2025 (arXiv:2505.15425) names the corruptions and publishes no constants; these are ImageNet-C's.
"""

from robustmedclip.corruptions.suites.definition import Suite
from robustmedclip.corruptions.suites.imagenet_c import CORRUPTIONS

_NAMES = ("gaussian_noise", "impulse_noise", "motion_blur", "zoom_blur", "pixelate", "brightness", "contrast")

SUITE = Suite(
    name="medimeta-c",
    source="Imam et al. 2025, arXiv:2505.15425; constants: Hendrycks & Dietterich 2019, arXiv:1903.12261",
    lists={None: {name: CORRUPTIONS[name] for name in _NAMES}},
)
