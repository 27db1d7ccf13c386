"""The corruptions of acquisition-c against the physics that they are named after; a wrong constant fails."""

from io import BytesIO

import numpy as np
import pytest
from acquired import head
from PIL import Image
from scipy import stats
from skimage.color import hed2rgb, rgb2hed
from skimage.transform import iradon, radon

from robustmedclip.corruptions import SEVERITIES, corrupt, severities
from robustmedclip.corruptions.draws import Draws
from robustmedclip.corruptions.kernels import capture, kspace, microscopy, projection, radiography, ultrasound

VALUES = severities("acquisition-c")


def flat(level: int, side: int = 224, channels: int = 1) -> np.ndarray:
    return np.full((side, side, channels), level, np.uint8)


def corrupted(image: np.ndarray, name: str, severity: int) -> np.ndarray:
    return corrupt(image[None], name, severity, suite="acquisition-c", seed=0)[0]


@pytest.mark.parametrize("dose", VALUES["quantum_noise"])
def test_the_variance_of_quantum_noise_is_the_exposure_over_the_photons(dose):
    """Of 4000 dose photons where black is exposed, and 2 electrons; white has exp(-4) of its exposure."""
    for level in (60, 128, 190):
        image = radiography.quantum_noise(flat(level), Draws(level), dose) / 255
        exposure, expected = np.exp(-4 * image), np.exp(-4 * level / 255)
        photons = 4000 * dose
        variance = (expected + 2**2 / photons) / photons + (expected * 4 / 255) ** 2 / 12  # and that of rounding
        assert exposure.mean() == pytest.approx(expected, rel=0.01)
        assert exposure.var() == pytest.approx(variance, rel=0.04)


def test_noise_of_the_counts_is_that_of_a_poisson():
    mean, normal = np.array([[20.0], [200.0], [5000.0]]), np.random.default_rng(0).standard_normal((3, 40000))
    change = projection.count_noise(-np.log(mean / 1e6) + 0 * normal, normal, 1e6)
    counts = mean * np.exp(-change)
    np.testing.assert_allclose(counts.mean(1), mean[:, 0], rtol=0.01)
    np.testing.assert_allclose(counts.var(1), mean[:, 0], rtol=0.03)


@pytest.mark.parametrize("severity", SEVERITIES)
def test_a_flat_field_stays_flat_under_scatter(severity):
    scattered = corrupted(flat(100), "scatter", severity)
    assert np.ptp(scattered) == 0
    assert scattered[0, 0, 0] == round(100 * (1 + (0.05, 0.10, 0.15, 0.22, 0.30)[severity - 1]))


def test_scatter_spreads_by_30_pixels():
    point = np.zeros((401, 401, 1), np.uint8)
    point[196:205, 196:205] = 255
    profile = radiography.scatter(point, Draws(0), 200.0)[200, 210:, 0].astype(float)
    sigma = 30 * 401 / 224
    distance = np.arange(10, 10 + len(profile))
    np.testing.assert_allclose(profile / profile[0], np.exp(-(distance**2 - 100) / (2 * sigma**2)), atol=0.03)


@pytest.mark.parametrize("severity", SEVERITIES)
def test_window_errors_are_linear_between_the_ends_of_the_window(severity):
    ramp = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 28, axis=0)
    shown = corrupted(ramp, "window_error", severity)[0, :, 0].astype(float)
    inside = (shown > 0) & (shown < 255)
    slope, _, correlation, _, _ = stats.linregress(np.arange(256)[inside], shown[inside])
    assert slope == pytest.approx(1 / (1 - severity / 20), rel=0.005)
    assert correlation > 0.9999


def test_grid_lines_darken_every_fourth_row():
    lines = corrupted(flat(200), "grid_lines", 5)[:, 0, 0]
    assert set(lines[::4]) == {156}
    assert set(np.delete(lines, np.s_[::4])) == {200}


@pytest.mark.parametrize(("severity", "factor"), [(1, 0.85), (5, 0.25)])
def test_underexposure_scales(severity, factor):
    assert set(np.unique(corrupted(flat(100), "underexposure", severity))) == {round(100 * factor)}


def test_collimation_leaves_the_field_and_unexposed_film_around_it():
    image = np.random.default_rng(0).integers(0, 200, (224, 224, 1), np.uint8)
    for severity, most in enumerate(VALUES["collimation"], start=1):
        collimated = corrupted(image, "collimation", severity)
        outside = (collimated == 250).mean()  # 0.98 of white
        assert outside < 4 * most + 0.05
        margin = int(224 * (most + 0.03)) + 2
        inner = (slice(margin, 224 - margin),) * 2
        np.testing.assert_array_equal(collimated[inner], image[inner])


def test_attenuation_is_exponential_in_the_distance_from_the_probe():
    weakened = corrupted(flat(255), "depth_attenuation", 3)[:, 112, 0] / 255
    slope = stats.linregress((np.arange(224) + 0.5) / 224, np.log(weakened)).slope
    assert slope == pytest.approx(-1.8, rel=0.01)


def test_a_gain_in_decibels_shifts_the_logarithm():
    shifts = {int(ultrasound.gain_error(flat(100), Draws(key), 6)[0, 0, 0]) - 100 for key in range(40)}
    assert {abs(shift) for shift in shifts} <= set(range(20, 32))  # 0.8 to 1.2 of 6 / 60 of 255
    assert min(shifts) < 0 < max(shifts)


def test_speckle_of_ultrasound_has_a_rayleigh_distribution_and_a_size():
    speckle = ultrasound.rayleigh_speckle(flat(60, 448), Draws(0), 1.0)[..., 0] / 60
    independent = speckle[::12, ::16].ravel()
    assert stats.kstest(independent, stats.rayleigh(scale=np.sqrt(2 / np.pi)).cdf).pvalue > 0.01
    assert speckle.mean() == pytest.approx(1, rel=0.01)
    assert speckle.std() == pytest.approx(np.sqrt(4 / np.pi - 1), rel=0.02)
    centred = speckle - speckle.mean()
    down, across = ((centred[:-2] * centred[2:]).mean(), (centred[:, :-2] * centred[:, 2:]).mean())
    assert down < across < speckle.var()  # longer across the beam


@pytest.mark.parametrize("severity", SEVERITIES)
def test_speckle_of_oct_is_lognormal_with_the_published_sigma(severity):
    sigma = (0.08, 0.15, 0.25, 0.35, 0.50)[severity - 1]
    logarithm = np.log(corrupted(flat(60), "lognormal_speckle", severity) / 60)
    middle = logarithm[np.abs(logarithm + sigma**2 / 2) < 3 * sigma]
    assert middle.mean() == pytest.approx(-(sigma**2) / 2, abs=0.01 * sigma + 0.002)
    assert middle.std() == pytest.approx(0.9866 * sigma, rel=0.02)  # of a normal cut off at 3 sigma


@pytest.mark.parametrize(("severity", "count"), [(1, 1), (5, 6)])
def test_blinks_are_runs_of_a_scans_of_2_to_5_percent(severity, count):
    dark = np.mean(
        [corrupt(flat(200)[None], "blink", severity, suite="acquisition-c", seed=s) < 100 for s in range(30)]
    )
    assert dark == pytest.approx(0.035 * count, rel=0.25)


def test_vessels_shade_the_published_fraction_of_the_width():
    for severity, width in ((1, 0.03), (5, 0.18)):
        image = corrupted(flat(200), "vessel_shadow", severity)[0, :, 0]
        assert (image < 125).mean() <= width + 3 / 224
        assert (image < 125).mean() > 0.4 * width


@pytest.mark.parametrize("severity", SEVERITIES)
def test_stains_shift_in_optical_density_and_what_is_not_shifted_stays(severity):
    image = np.random.default_rng(0).integers(20, 256, (40, 40, 3), np.uint8)
    np.testing.assert_array_equal(microscopy.stain_shift(image, Draws(0), 0.0), image)
    theta = (0.05, 0.10, 0.15, 0.20, 0.30)[severity - 1]
    grey = flat(128, 28, 3)
    density = lambda pixels: -np.log10(pixels / 255)  # noqa: E731
    added = [density(microscopy.stain_shift(grey, Draws(key), theta)[0, 0]) - density(grey[0, 0]) for key in range(200)]
    stains = np.array(added) @ np.linalg.inv(microscopy.STAINS)
    stain = (density(grey[0, 0]) @ np.linalg.inv(microscopy.STAINS))[None]
    reach = theta * (1 + np.abs(stain)) + 0.03
    assert (np.abs(stains) <= reach).all()
    assert (np.abs(stains).max(0) > 0.75 * theta).all()


def test_stains_are_taken_apart_and_put_together_as_by_scikit_image():
    """Whose unit is the density of its darkest level, a millionth of white."""
    stains = np.random.default_rng(0).uniform(0, 0.5, (5, 5, 3))
    image = 10 ** -(stains @ microscopy.STAINS)
    np.testing.assert_allclose(rgb2hed(image) * 6, stains, atol=1e-5)
    np.testing.assert_allclose(hed2rgb(stains / 6), image, atol=1e-5)


@pytest.mark.parametrize("side", [95, 225])
def test_projections_are_those_of_scikit_image(side):
    """To a few hundred-thousandths of the largest, where both turn about the middle of a pixel: at odd sides."""
    slice_, angles = head(side)[..., 0].astype(np.float32) / 255, np.arange(0, 180, 3.0)
    ours, theirs = projection.radon(slice_, 60), radon(slice_, angles, circle=False).T
    np.testing.assert_allclose(ours[:, 1:-1], theirs, atol=3e-5 * theirs.max())
    back = projection.back_projection(projection.filtered(ours), slice_.shape)
    np.testing.assert_allclose(back, iradon(theirs.T, angles, circle=False, output_size=side), atol=1e-4)


def test_many_views_give_the_slice_back():
    slice_ = head(128)[..., 0].astype(np.float32) / 255
    back = projection.back_projection(projection.filtered(projection.radon(slice_, 360)), slice_.shape)
    assert np.abs(back - slice_).mean() < 0.02
    assert back.sum() == pytest.approx(slice_.sum(), rel=0.01)


def test_the_noise_of_a_low_dose_falls_with_the_root_of_the_photons():
    disk = (np.hypot(*np.mgrid[-64:64, -64:64]) < 50).astype(np.uint8)[..., None] * 100
    centre = (slice(44, 84), slice(44, 84))
    noise = [projection.low_dose(disk, Draws(0), photons)[centre].std() for photons in (4e3, 1.6e4)]
    assert noise[0] / noise[1] == pytest.approx(2, rel=0.1)
    bins = 100 * 100 / 255 * projection.ATTENUATION / 128  # attenuation through the middle
    variance = np.exp(bins) / (1.6e4 * (128 / 224) ** 2) * np.pi**2 / (12 * projection.VIEWS)
    smoothing = 2 / 3 - 8 / (4 * np.pi**2)  # of the ramp's noise by linear interpolation: 24 (2 / 24 - 1 / 4 pi^2) / 3
    expected = 255 * np.sqrt(variance * smoothing) / (projection.ATTENUATION / 128)
    assert noise[1] == pytest.approx(expected, rel=0.1)


def energy(image: np.ndarray) -> float:
    return float(np.square(np.abs(np.fft.fft2(image[..., 0] / 255))).sum())


@pytest.mark.parametrize("severity", SEVERITIES)
def test_motion_keeps_the_energy_of_k_space(severity):
    image = (head(96) * 0.6).astype(np.uint8)
    assert energy(corrupted(image, "motion", severity)) == pytest.approx(energy(image), rel=0.003)


def test_motion_moves_the_published_fraction_of_the_lines_by_up_to_the_published_distance():
    for most, fraction in VALUES["motion"]:
        (ramp,) = kspace._translations(Draws(0), (most, fraction), (448, 448))
        shift = -np.angle(ramp[:, 1, 0]) * 448 / (2 * np.pi)
        moved = np.abs(shift) > 1e-4
        assert moved.mean() == pytest.approx(0.95 * fraction, abs=0.06)
        assert 1.8 * most < np.abs(shift).max() <= 2 * most
        assert not moved[np.abs(np.fft.fftfreq(448)) < 1 / 40].any()


def test_ghosting_takes_the_energy_of_the_lines_that_it_weakens():
    image = (head(96) * 0.8).astype(np.uint8)
    weakened = kspace.ghosting(image, Draws(3), 0.7)
    (weights,) = kspace._weights(Draws(3), 0.7, image.shape)
    lines = np.square(np.abs(np.fft.fft2(image[..., 0] / 255))).sum(1)
    from_the_centre = np.minimum(np.arange(96), 96 - np.arange(96))
    assert energy(weakened) == pytest.approx((lines * weights[from_the_centre, 0, 0] ** 2).sum(), rel=0.005)


@pytest.mark.parametrize("strength", [0.2, 0.5])
def test_a_spike_adds_its_own_energy(strength):
    image = (head(96) * 0.6).astype(np.uint8)
    added = energy(kspace.spike(image, Draws(1), strength)) - energy(image)
    assert added == pytest.approx((strength * image.sum() / 255) ** 2, rel=0.1)


def test_a_bias_field_is_one_plus_a_gaussian():
    field, draws = kspace.bias_field(flat(150, 101), Draws(0), 0.7)[..., 0] / 150, Draws(0)
    down, across = draws.uniform(0.3, 0.7), draws.uniform(0.3, 0.7)
    far2 = sum(((np.arange(101) + 0.5) / 101 - place) ** 2 for place in (down, across))  # along the diagonal
    np.testing.assert_allclose(np.diag(field), 1 + 0.7 * np.exp(-far2 / (2 * 0.3**2)), atol=0.004)


@pytest.mark.parametrize("side", [96, 224])
@pytest.mark.parametrize("channels", [1, 3])
def test_jpeg_2000_hits_the_ratio(side, channels):
    image = np.repeat(head(side), channels, axis=-1)
    picture = Image.fromarray(image[..., 0] if channels == 1 else image)
    for ratio in VALUES["jpeg2000"]:
        stream = capture.compressed(picture, image.nbytes / ratio)
        assert image.nbytes / capture.data_length(stream) == pytest.approx(ratio, rel=0.05)
        assert stream.startswith(b"\xff\x4f\xff\x51")
    decoded = np.asarray(Image.open(BytesIO(stream))).reshape(image.shape)
    np.testing.assert_array_equal(capture.jpeg2000(image, Draws(0), ratio), decoded)


def test_text_and_calipers_are_written_and_the_rest_is_left():
    image = flat(100)
    written = [corrupted(image, "burnt_in_text", severity) for severity in SEVERITIES]
    covered = [(picture != 100).mean() for picture in written]
    assert covered == sorted(covered)
    assert 0 < covered[0] < 0.05 < covered[4] < 0.3


def test_a_photograph_of_a_screen_is_tilted_by_up_to_the_published_fraction():
    for severity, tilt in ((2, 0.05), (4, 0.15)):
        dark = (corrupted(flat(255), "screen_photo", severity) < 10).mean()
        assert 0 < dark < 4 * tilt
