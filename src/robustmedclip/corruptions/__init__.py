"""Image corruptions over batches: uint8 in, uint8 out, each image with randomness of its own.

Examples
--------
>>> import numpy as np
>>> images = np.full((2, 32, 32, 1), 128, np.uint8)
>>> noisy = corrupt(images, "gaussian_noise", severity=3, seed=0)
>>> noisy.shape, noisy.dtype, bool((noisy[0] != noisy[1]).any())
((2, 32, 32, 1), dtype('uint8'), True)
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
