"""Severity means something: images get less like the original from each severity to the next, or the cause is named."""

from functools import cache, lru_cache
from typing import Any

import cv2
import numpy as np
import pytest
from skimage import data
from skimage.metrics import structural_similarity
from skimage.transform import resize
from suite_lists import ACQUISITION, CASES, kernel_and_value

from robustmedclip.corruptions import SEVERITIES
from robustmedclip.corruptions.draws import Draws
from robustmedclip.corruptions.kernels.kernel import Kernel

pytestmark = pytest.mark.slow

#: Draws per picture, where the randomness of one does not average out over the picture.
REPEATS = {
    "motion_blur": 4, "snow": 2, "frost": 8, "fog": 4, "spatter": 3, "elastic_transform": 2,
    "stain_deposit": 8, "bubble": 6, "characters": 12,
}  # fmt: skip

METRICS = ("PSNR", "SSIM")

#: Suite, data set, corruption, side, metrics, the severities that are not worse than the one before, and why.
EXCEPTIONS = (
    ("imagenet-c", None, "glass_blur", 224, ("PSNR",), (2, 4), "fewer passes: 2, 1, 3, 2, 2"),
    ("imagenet-c", None, "glass_blur", 224, ("SSIM",), (4,), "fewer passes: 2, 1, 3, 2, 2"),
    ("imagenet-c", None, "glass_blur", 64, METRICS, (2, 4), "fewer passes: 2, 1, 3, 2, 2"),
    ("imagenet-c", None, "glass_blur", 64, METRICS, (5,), "one-pixel displacements, hidden by more blur"),
    (
        "imagenet-c",
        None,
        "snow",
        224,
        ("SSIM",),
        (3,),
        "larger flakes, fewer of which pass a higher threshold",
    ),
    ("imagenet-c", None, "snow", 64, ("SSIM",), (5,), "smaller flakes, which merge into an even veil"),
    ("imagenet-c", None, "frost", 224, ("PSNR",), (4,), "less image and as much frost: less overexposure"),
    ("imagenet-c", None, "frost", 64, METRICS, (4,), "less image and as much frost: less overexposure"),
    ("imagenet-c", None, "spatter", 224, ("SSIM",), (4,), "water turns into mud, which covers less"),
    ("imagenet-c", None, "saturate", 224, ("PSNR",), (3,), "less saturation turns into more"),
    ("imagenet-c", None, "saturate", 64, METRICS, (3,), "less saturation turns into more"),
    (
        "medmnist-c",
        "pathmnist",
        "motion_blur",
        64,
        ("PSNR",),
        (3,),
        "a longer trail of the same standard deviation",
    ),
    (
        "medmnist-c",
        "dermamnist",
        "motion_blur",
        64,
        ("PSNR",),
        (2,),
        "a longer trail of the same standard deviation",
    ),
    (
        "medmnist-c",
        "bloodmnist",
        "stain_deposit",
        224,
        METRICS,
        (4,),
        "the constants are those of severity 3",
    ),
    ("medmnist-c", "bloodmnist", "stain_deposit", 64, METRICS, (4,), "the constants are those of severity 3"),
    (
        "medmnist-c",
        "dermamnist",
        "black_corner",
        224,
        METRICS,
        (5,),
        "a larger radius than that of severity 4",
    ),
    (
        "medmnist-c",
        "dermamnist",
        "black_corner",
        64,
        METRICS,
        (5,),
        "a larger radius than that of severity 4",
    ),
    ("medmnist-c", "octmnist", "defocus_blur", 64, METRICS, (2, 3), "disks within a pixel, as at severity 1"),
)


@lru_cache
def pictures(side: int, channels: int) -> np.ndarray:
    found = []
    for original in (data.astronaut(), data.coffee()):
        picture = np.round(resize(original, (side, side), anti_aliasing=True) * 255).astype(np.uint8)
        found.append(picture if channels == 3 else cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)[..., None])
    return np.stack(found)


@cache
def likeness(kernel: Kernel, value: Any, side: int, channels: int, repeats: int) -> tuple[float, float]:
    """Mean PSNR in dB (at most 78) and mean SSIM after a corruption, with the same random numbers for every value."""
    signal, structure = [], []
    for picture in pictures(side, channels):
        clean = picture.astype(np.float32)
        for repeat in range(repeats):
            corrupted = kernel(picture, Draws(repeat), value).reshape(picture.shape).astype(np.float32)
            signal.append(10 * np.log10(255**2 / max(np.square(corrupted - clean).mean(), 1e-3)))
            structure.append(structural_similarity(clean, corrupted, channel_axis=-1, data_range=255))
    return float(np.mean(signal)), float(np.mean(structure))


def not_worse(suite: str, dataset: str | None, name: str, side: int, channels: int) -> set[tuple[str, int]]:
    """Metrics and severities at which the metric is not below that of the severity before."""
    pairs = [kernel_and_value(name, severity, suite, dataset) for severity in SEVERITIES]
    values = np.array([likeness(*pair, side, channels, REPEATS.get(name, 1)) for pair in pairs])
    steps = np.argwhere(~(np.diff(values, axis=0) < 0))
    return {(METRICS[metric], SEVERITIES[step + 1]) for step, metric in steps}


@pytest.mark.parametrize("side", [224, 64])
@pytest.mark.parametrize(("suite", "dataset", "name"), [case for case in CASES if case[0] != ACQUISITION])
def test_every_severity_is_worse_than_the_one_before(suite, dataset, name, side):
    colour_only = name == "saturate" or dataset in ("pathmnist", "bloodmnist", "dermamnist", "retinamnist")
    found = set.union(*(not_worse(suite, dataset, name, side, c) for c in ((3,) if colour_only else (3, 1))))
    expected = {
        (metric, severity)
        for *where, metrics, excused, _ in EXCEPTIONS
        if where == [suite, dataset, name, side]
        for metric in metrics
        for severity in excused
    }
    assert found == expected


def test_grey_pictures_have_no_saturation_to_change():
    assert not_worse("imagenet-c", None, "saturate", 64, 1) == {(m, s) for m in METRICS for s in SEVERITIES[1:]}
