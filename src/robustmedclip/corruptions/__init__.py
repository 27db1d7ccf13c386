"""Image corruptions over batches: uint8 in, uint8 out, each image with randomness of its own.

>>> from robustmedclip.corruptions import corrupt
>>> noisy = corrupt(images, "gaussian_noise", severity=3, seed=0)
"""

from robustmedclip.corruptions.corrupt import GREY_MODES, SMALLEST_SIDE, corrupt
from robustmedclip.corruptions.kernels.arrays import REFERENCE_SIDE
from robustmedclip.corruptions.kernels.kernel import device_form_of
from robustmedclip.corruptions.stream import CorruptedOnTheFly, corrupted_batches
from robustmedclip.corruptions.suites import (
    SEVERITIES,
    SUITES,
    Corruption,
    FileLayout,
    Suite,
    corruptions,
    severities,
    suite,
)
from robustmedclip.corruptions.transform import RandomCorruption

__all__ = [
    "GREY_MODES",
    "REFERENCE_SIDE",
    "SEVERITIES",
    "SMALLEST_SIDE",
    "SUITES",
    "CorruptedOnTheFly",
    "Corruption",
    "FileLayout",
    "RandomCorruption",
    "Suite",
    "corrupt",
    "corrupted_batches",
    "corruptions",
    "device_form_of",
    "severities",
    "suite",
]
