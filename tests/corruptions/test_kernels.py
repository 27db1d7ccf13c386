"""Each corruption at 224 px against a plain reference with ImageNet-C's constants."""

from math import ceil, cos, radians, sin

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import zoom
from skimage import data
from skimage.color import hsv2rgb, rgb2hsv
from skimage.transform import resize

from robustmedclip.corruptions import SEVERITIES, corrupt, kernels

BRIGHTNESS = (0.1, 0.2, 0.3, 0.4, 0.5)
CONTRAST = (0.4, 0.3, 0.2, 0.1, 0.05)
PIXELATE = (0.6, 0.5, 0.4, 0.3, 0.25)
MOTION_BLUR = ((10, 3), (15, 5), (15, 8), (15, 12), (20, 15))
ZOOM_BLUR = ((1.11, 0.01), (1.16, 0.01), (1.21, 0.02), (1.26, 0.02), (1.31, 0.03))
GAUSSIAN_NOISE = (0.08, 0.12, 0.18, 0.26, 0.38)
IMPULSE_NOISE = (0.03, 0.06, 0.09, 0.17, 0.27)

each_severity = pytest.mark.parametrize("severity", SEVERITIES)


@pytest.fixture(scope="module", params=["astronaut", "chelsea"])
def picture(request) -> np.ndarray:
    return np.round(resize(getattr(data, request.param)(), (224, 224), anti_aliasing=True) * 255).astype(np.uint8)


def flat(count: int, channels: int = 3) -> np.ndarray:
    return np.full((count, 224, 224, channels), 128, dtype=np.uint8)


def assert_within_a_level(corrupted: np.ndarray, reference: np.ndarray) -> None:
    assert np.abs(corrupted.astype(int) - np.clip(reference, 0, 255).astype(np.uint8)).max() <= 1


@each_severity
def test_brightness(picture, severity):
    hsv = rgb2hsv(picture / 255.0)
    hsv[..., 2] = np.clip(hsv[..., 2] + BRIGHTNESS[severity - 1], 0, 1)
    assert_within_a_level(corrupt(picture[None], "brightness", severity)[0], hsv2rgb(hsv) * 255)


def test_brightness_turns_black_grey():
    np.testing.assert_array_equal(corrupt(0 * flat(1), "brightness", 2), 0 * flat(1) + 51)


@each_severity
def test_contrast(picture, severity):
    means = picture.mean((0, 1))
    reference = (picture - means) * CONTRAST[severity - 1] + means
    assert_within_a_level(corrupt(picture[None], "contrast", severity)[0], reference)


@each_severity
def test_pixelate(picture, severity):
    side = int(224 * PIXELATE[severity - 1])
    reference = Image.fromarray(picture).resize((side, side), Image.BOX).resize((224, 224), Image.BOX)
    np.testing.assert_array_equal(corrupt(picture[None], "pixelate", severity)[0], np.asarray(reference))


def clipped_zoom(picture: np.ndarray, factor: float) -> np.ndarray:
    side = len(picture)
    crop = ceil(side / factor)
    start = (side - crop) // 2
    inner = picture[start : start + crop, start : start + crop]
    enlarged = zoom(inner, (factor, factor, 1), order=1)
    trim = (len(enlarged) - side) // 2
    return enlarged[trim : trim + side, trim : trim + side]


@each_severity
def test_zoom_blur(picture, severity):
    last, step = ZOOM_BLUR[severity - 1]
    scaled = picture.astype(np.float64)
    zoomed = [clipped_zoom(scaled, factor) for factor in np.arange(1, last, step)]
    assert_within_a_level(corrupt(picture[None], "zoom_blur", severity)[0], np.mean([scaled, *zoomed], axis=0))


def shifted(picture: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """The picture moved down and to the right, its edges repeated."""
    y = np.clip(np.arange(len(picture)) - rows, 0, len(picture) - 1)
    x = np.clip(np.arange(picture.shape[1]) - columns, 0, picture.shape[1] - 1)
    return picture[y][:, x]


def smeared(picture: np.ndarray, radius: int, sigma: float, angle: float) -> np.ndarray:
    t, total, weights = radians(angle), 0.0, 0.0
    for i in range(2 * radius + 1):
        weight = np.exp(-(i**2) / (2 * sigma**2))
        moved = shifted(picture, -ceil(i * sin(t) - 0.5), -ceil(i * cos(t) - 0.5))
        total, weights = total + weight * moved, weights + weight
    return total / weights


@each_severity
@pytest.mark.parametrize("seed", range(3))
def test_motion_blur(picture, severity, seed):
    trail = MOTION_BLUR[severity - 1]
    angle = np.random.default_rng(seed).uniform(-45, 45)
    blurred = kernels.motion_blur(picture, np.random.default_rng(seed), trail)
    assert_within_a_level(blurred, smeared(picture, *trail, angle))


@pytest.mark.parametrize("severity", [1, 5])
def test_motion_blur_severities_and_angles(picture, severity):
    picture = picture[..., :1]
    corrupted = corrupt(picture[None], "motion_blur", severity)[0].astype(int)
    errors = [
        np.abs(corrupted - smeared(picture, *MOTION_BLUR[severity - 1], angle)).mean()
        for angle in np.arange(-45, 45.1, 1)
    ]
    assert min(errors) < 1 < max(errors)


@pytest.mark.parametrize("angle", [-45, -10, 0, 30, 45])
def test_motion_kernel_trails_to_one_side(angle):
    kernel = kernels.motion_kernel(5, 3.0, angle)
    assert kernel.shape == (21, 21)
    assert kernel.sum() == pytest.approx(1)
    assert kernel[:, :10].sum() == 0
    assert kernel[10, 10] > 0


@each_severity
@pytest.mark.parametrize("channels", [1, 3])
def test_gaussian_noise(severity, channels):
    sigma = 255 * GAUSSIAN_NOISE[severity - 1]
    noisy = corrupt(flat(4, channels), "gaussian_noise", severity)
    lower, median, upper = np.quantile(noisy, [0.25, 0.5, 0.75])
    assert median == pytest.approx(127.5, abs=2)
    assert upper - lower == pytest.approx(1.349 * sigma, abs=2.5)
    correlation = np.corrcoef(noisy.reshape(-1, channels), rowvar=False)
    np.testing.assert_allclose(correlation, np.eye(channels) if channels > 1 else 1, atol=0.02)


def test_gaussian_noise_has_the_moments_of_a_normal():
    noise = corrupt(flat(4), "gaussian_noise", 1).astype(float) - 127.5
    assert noise.mean() == pytest.approx(0, abs=0.2)
    assert noise.std() == pytest.approx(0.08 * 255, rel=0.01)
    assert np.mean(noise**4) / noise.var() ** 2 == pytest.approx(3, abs=0.1)


@each_severity
@pytest.mark.parametrize("channels", [1, 3])
def test_impulse_noise(severity, channels):
    noisy, share = corrupt(flat(4, channels), "impulse_noise", severity), IMPULSE_NOISE[severity - 1]
    bound = 5 * np.sqrt(share / 2 / noisy.size)
    assert np.mean(noisy == 0) == pytest.approx(share / 2, abs=bound)
    assert np.mean(noisy == 255) == pytest.approx(share / 2, abs=bound)
    assert set(np.unique(noisy)) == {0, 128, 255}


@each_severity
def test_lengths_scale_with_the_image(severity):
    """The smear of a bright column is about half as long at half the side."""

    def reach(side: int) -> float:
        column = np.zeros((16, side, side, 1), dtype=np.uint8)
        column[:, :, side // 2] = 255
        profile = corrupt(column, "motion_blur", severity).astype(float).mean((0, 1, 3))
        return side // 2 - np.average(np.arange(side), weights=profile)

    assert reach(224) / reach(448) == pytest.approx(0.5, abs=0.08)
