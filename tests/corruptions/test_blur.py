"""Blurs against the published algorithms in float64, at 224 px and with scaled lengths at other sizes."""

from math import ceil

import numpy as np
import pytest
from scipy import stats
from scipy.ndimage import correlate, correlate1d, gaussian_filter, zoom
from suite_lists import MEDMNIST_DATASETS, kernel_and_value

from robustmedclip.corruptions import SEVERITIES, corrupt, severities
from robustmedclip.corruptions.draws import Draws
from robustmedclip.corruptions.kernels.blur import smeared

TRAILS = sorted(
    {
        trail
        for suite, dataset in (("imagenet-c", None), *(("medmnist-c", dataset) for dataset in MEDMNIST_DATASETS))
        for trail in severities(suite, dataset).get("motion_blur", ())
    }
)


def as_uint8(values: np.ndarray) -> np.ndarray:
    return np.clip(values + 2**-9, 0, 255).astype(np.uint8)  # whole numbers that rounding missed stay whole


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


#: Factors that zoom blur averages, by the last and the step: as published, with the extra one that rounding adds to the
#: first.
ZOOMS = {
    (1.11, 0.01): np.arange(1, 1.11, 0.01),
    (1.15, 0.01): np.arange(1, 1.16, 0.01),
    (1.20, 0.02): np.arange(1, 1.21, 0.02),
    (1.24, 0.02): np.arange(1, 1.26, 0.02),
    (1.30, 0.03): np.arange(1, 1.31, 0.03),
}


def zoom_blur(image, value):
    source = image.astype(float)
    factors = ZOOMS[value]
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


def motion(image, radius, sigma, angle):
    """Half a Gaussian of 2 radius + 1 taps, which the published code shifts and adds."""
    taps = np.arange(2 * radius + 1)
    weights = np.exp(-(taps**2) / (2 * sigma**2)) / np.exp(-(taps**2) / (2 * sigma**2)).sum()
    blurred = np.zeros(image.shape)
    for tap, weight in zip(taps, weights, strict=True):
        down, right = (-ceil(tap * part - 0.5) for part in (np.sin(np.radians(angle)), np.cos(np.radians(angle))))
        rows = np.clip(np.arange(image.shape[0]) - down, 0, image.shape[0] - 1)
        columns = np.clip(np.arange(image.shape[1]) - right, 0, image.shape[1] - 1)
        blurred += weight * image[rows[:, None], columns]
    return blurred


@pytest.mark.parametrize("trail", TRAILS, ids=str)
def test_motion_blur_at_given_angles(small_picture, trail):
    others = [other for other in TRAILS if other[1] != trail[1]]  # beyond 3 sigma, the radius hardly counts
    for angle in (-90, -45, -30.5, 0, 17, 44.9, 135):
        made = smeared(small_picture, *trail, angle)
        np.testing.assert_allclose(made, motion(small_picture, *trail, angle), rtol=0, atol=0.01)
    assert min(np.abs(made - motion(small_picture, *other, angle)).max() for other in others) > 1


@pytest.mark.slow
def test_motion_blur_at_224_px_draws_its_angle_from_45_degrees_on_both_sides():
    """A bright pixel leaves a trail whose centre of mass tells the angle."""
    count, centre = 400, 112
    dots = np.zeros((count, 224, 224, 1), np.uint8)
    dots[:, centre, centre] = 255
    trails = corrupt(dots, "motion_blur", 5, seed=0)[..., 0].astype(float)
    offsets = centre - np.arange(224)
    angles = np.degrees(np.arctan2(trails.sum(2) @ offsets, trails.sum(1) @ offsets))
    assert stats.kstest(angles, stats.uniform(-45, 90).cdf).pvalue > 0.01
    assert 44 < -angles.min() < 46
    assert 44 < angles.max() < 46


def glass(image, value, bits):
    """Blur, exchange pixels one by one as the published loop does, blur; `bits` gives uniform 16-bit numbers."""
    sigma, delta, passes = value
    height, width = image.shape[:2]
    shuffled = gaussian(image, sigma).reshape(height * width, -1)
    for _ in range(passes):
        offsets = np.floor(bits((2, height - 2 * delta, width - 2 * delta)) / 65536 * 2 * delta).astype(int) - delta
        steps = (offsets[0] * width + offsets[1]).tolist()
        source = list(range(height * width))
        for row in range(height - delta, delta, -1):
            for column in range(width - delta, delta, -1):
                here = row * width + column
                source[here] = source[here + steps[row - delta - 1][column - delta - 1]]
        shuffled = shuffled[source]
    return gaussian(shuffled.reshape(image.shape), sigma)


@pytest.mark.parametrize("severity", SEVERITIES)
def test_glass_blur(pictures, severity):
    values = severities("imagenet-c")["glass_blur"]
    made = corrupt(pictures[0][None], "glass_blur", severity, suite="imagenet-c", seed=0)[0].astype(int)
    key = (0, "imagenet-c", "", "glass_blur", severity, "0")
    assert np.abs(made - glass(pictures[0], values[severity - 1], Draws(*key).bits16)).max() <= 1
    assert np.abs(made - glass(pictures[0], values[severity % 5], Draws(*key).bits16)).max() > 20


@pytest.mark.parametrize("severity", SEVERITIES)
def test_glass_blur_displaces_as_far_as_with_other_random_numbers(severity):
    rows = np.arange(448)
    ramps = np.broadcast_to((abs(rows % 112 - 56) * 4).astype(np.uint8)[:, None, None], (448, 224, 1))
    value = severities("imagenet-c")["glass_blur"][severity - 1]
    rng = np.random.default_rng(0)
    made = corrupt(ramps[None], "glass_blur", severity, suite="imagenet-c", seed=0)[0]
    expected = glass(ramps, value, lambda shape: rng.integers(0, 65536, shape))
    spreads = [(blurred.astype(float) - ramps).std() for blurred in (made, expected)]
    assert spreads[0] == pytest.approx(spreads[1], rel=0.03)


def scaled_defocus(image, disk, scale, draws):
    """Average over a disk whose area is that of the published pixels, scaled."""
    radius, sigma = disk
    grid = np.arange(-20, 21)
    area = np.count_nonzero(grid**2 + grid[:, None] ** 2 <= radius**2) * scale**2
    reach, parts = ceil(radius * scale) + 3, 25
    fine = np.arange(-reach * parts - parts // 2, reach * parts + parts // 2 + 1) / parts
    kernel = np.pi * (fine**2 + fine[:, None] ** 2) <= area
    kernel = kernel.reshape(2 * reach + 1, parts, 2 * reach + 1, parts).mean((1, 3))
    kernel /= kernel.sum()
    for axis in (0, 1):
        kernel = correlate1d(kernel, gaussian_taps(sigma * scale, 1 if radius <= 8 else 2), axis, mode="mirror")
    return as_uint8(correlate(image.astype(float), kernel[..., None], mode="mirror"))


def scaled_kernel_blur(image, side, scale, draws):
    taps = gaussian_taps((0.3 * ((side - 1) / 2 - 1) + 0.8) * scale, max(1, round((side - 1) / 2 * scale)))
    blurred = image.astype(float)
    for axis in (0, 1):
        blurred = correlate1d(blurred, taps, axis, mode="mirror")
    return np.rint(blurred).astype(np.uint8)


def scaled_motion(image, trail, scale, draws):
    return as_uint8(motion(image, max(1, round(trail[0] * scale)), trail[1] * scale, draws.uniform(-45, 45)))


def scaled_glass(image, value, scale, draws):
    return glass(image, (value[0] * scale, max(1, round(value[1] * scale)), value[2]), draws.bits16)


SCALED = {
    ("imagenet-c", "", "gaussian_blur"): lambda image, sigma, scale, draws: gaussian(image, sigma * scale),
    ("imagenet-c", "", "defocus_blur"): scaled_defocus,
    ("imagenet-c", "", "motion_blur"): scaled_motion,
    ("imagenet-c", "", "glass_blur"): scaled_glass,
    ("medmnist-c", "tissuemnist", "gaussian_blur"): scaled_kernel_blur,
}


@pytest.mark.parametrize("severity", [1, 3, 5])
@pytest.mark.parametrize("key", SCALED, ids="-".join)
def test_lengths_scale_with_the_shorter_side(scaled_picture, key, severity):
    suite, dataset, name = key
    made = corrupt(scaled_picture[None], name, severity, suite=suite, dataset=dataset, seed=0)[0].astype(int)
    value = severities(suite, dataset)[name][severity - 1]

    def fraction_of_errors(scale):
        draws = Draws(0, *key, severity, "0")
        return (np.abs(made - SCALED[key](scaled_picture, value, scale, draws)) > 1).mean()

    assert fraction_of_errors(min(scaled_picture.shape[:2]) / 224) < 1e-3
    assert fraction_of_errors(1) > 0.1
