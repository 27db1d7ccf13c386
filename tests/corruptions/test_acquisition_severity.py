"""acquisition-c gets worse from each severity to the next, by as much as its table says."""

from functools import lru_cache
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import numpy as np
import pytest
from acquired import images_for

from robustmedclip.calibration.likeness import psnr, ssim
from robustmedclip.corruptions import SEVERITIES, suite
from robustmedclip.corruptions.draws import Draws
from robustmedclip.corruptions.suites.acquisition_c import OURS, REALISTIC_SSIM, SSIM_BANDS

pytestmark = pytest.mark.slow

CORRUPTIONS = suite("acquisition-c").corruptions()
DOCS = Path(__file__).parents[2] / "docs"
#: Draws per picture, of corruptions whose randomness does not average out over it.
REPEATS = 3
DETERMINISTIC = {"scatter", "underexposure", "overexposure", "section_defocus", "sparse_views", "jpeg2000"}

#: Corruption, side, metric, severity that is not worse than the one before it, and why.
EXCEPTIONS = {
    ("sparse_views", 64, "PSNR", 2): "120 views are still more than so few pixels need",
    ("screen_photo", 224, "SSIM", 5): "the published lines of a gap of 1 are finer than pixels: an even grey",
    ("screen_photo", 512, "SSIM", 5): "the published lines of a gap of 1 are finer than pixels: an even grey",
}


@lru_cache
def likeness(name: str, side: int) -> np.ndarray:
    """Mean SSIM and PSNR at each severity, with the same random numbers for all, ``(5, 2)``."""
    corruption = CORRUPTIONS[name]
    images = images_for(corruption, side)[: 1 if side > 300 else None]
    draws = range(REPEATS if side < 300 and name not in DETERMINISTIC else 1)
    values = [
        [
            np.array([ssim(image, other), psnr(image, other)])
            for image in images
            for key in draws
            for other in [corruption.kernel(image, Draws(key), value).reshape(image.shape)]
        ]
        for value in corruption.values
    ]
    return np.mean(values, axis=1)


@pytest.mark.parametrize("side", [64, 224, 512])
@pytest.mark.parametrize("name", CORRUPTIONS)
def test_every_severity_is_worse_than_the_one_before(name, side):
    steps = np.argwhere(np.diff(likeness(name, side), axis=0) >= 0)
    metrics = ("SSIM", "PSNR")
    assert {(name, side, metrics[metric], SEVERITIES[step + 1]) for step, metric in steps} == {
        exception for exception in EXCEPTIONS if exception[:2] == (name, side)
    }


@pytest.mark.parametrize("name", [name for name, corruption in CORRUPTIONS.items() if corruption.source == OURS])
def test_levels_that_are_set_by_ssim_lie_in_the_stated_bands(name):
    for value, (low, high) in zip(likeness(name, 224)[:, 0], SSIM_BANDS, strict=True):
        assert low - 0.03 < value < high + 0.03


@pytest.mark.parametrize(
    "name", [name for name, corruption in CORRUPTIONS.items() if corruption.realistic_source is None]
)
def test_levels_are_called_realistic_by_their_ssim(name):
    for severity, (value, _) in zip(SEVERITIES, likeness(name, 224), strict=True):
        if abs(value - REALISTIC_SSIM) > 0.03:
            assert CORRUPTIONS[name].band(severity) == ("realistic" if value > REALISTIC_SSIM else "extreme")


def test_every_corruption_says_where_its_values_and_its_band_are_from():
    assert len(CORRUPTIONS) == 36
    for name, corruption in CORRUPTIONS.items():
        assert corruption.source, name
        assert corruption.band(1) == "realistic", name
        assert corruption.kernel.__doc__, name


def test_the_page_has_the_table_of_the_suite():
    """To make it anew: python docs/gallery/acquisition_c.py."""
    spec = spec_from_file_location("gallery", DOCS / "gallery/acquisition_c.py")
    gallery = module_from_spec(spec)
    spec.loader.exec_module(gallery)
    assert gallery.table() in (DOCS / "acquisition-c.md").read_text()
