"""Resolution and compression against Pillow, the elastic deformation against its published law."""

from io import BytesIO

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter, map_coordinates
from suite_lists import kernel_and_value

from robustmedclip.corruptions import SEVERITIES, corrupt, severities
from robustmedclip.corruptions.draws import Draws


def pixelate(picture: Image.Image, fraction: float) -> Image.Image:
    small = [int(side * fraction) for side in picture.size]
    return picture.resize(small, Image.Resampling.BOX).resize(picture.size, Image.Resampling.BOX)


def jpeg(picture: Image.Image, quality: int) -> Image.Image:
    stream = BytesIO()
    picture.save(stream, "JPEG", quality=quality)
    return Image.open(stream)


ORACLES = {"pixelate": pixelate, "jpeg_compression": jpeg}


def test_same_bytes_as_pillow(case, pictures, small_picture):
    suite, dataset, name, severity = case
    kernel, value = kernel_and_value(name, severity, suite, dataset)
    for image in (*pictures, small_picture):
        made = corrupt(image[None], name, severity, suite=suite, dataset=dataset, seed=0)[0]
        reference = ORACLES[kernel.__name__](Image.fromarray(image.squeeze()), value)
        np.testing.assert_array_equal(made, np.asarray(reference).reshape(image.shape))


@pytest.mark.parametrize("name", ["pixelate", "jpeg_compression"])
def test_reference_grey_is_the_luminance_of_the_corrupted_colour_image(name):
    grey = np.random.default_rng(0).integers(0, 256, (224, 224, 1), np.uint8)
    made = corrupt(grey[None], name, 3, suite="imagenet-c", seed=0, grey="reference")[0, ..., 0]
    kernel, value = kernel_and_value(name, 3, "imagenet-c", None)
    colour = Image.fromarray(np.repeat(grey, 3, -1))
    np.testing.assert_array_equal(made, np.asarray(ORACLES[kernel.__name__](colour, value).convert("L")))


@pytest.mark.parametrize("name", ["pixelate", "jpeg_compression"])
@pytest.mark.parametrize("severity", [1, 2, 3, 4])
def test_the_next_severity_has_other_bytes(pictures, name, severity):
    made = corrupt(pictures[0][None], name, severity, suite="imagenet-c", seed=0)[0].squeeze()
    kernel, value = kernel_and_value(name, severity + 1, "imagenet-c", None)
    reference = ORACLES[kernel.__name__](Image.fromarray(pictures[0].squeeze()), value)
    assert (made != np.asarray(reference)).mean() > 0.5


def elastic(image, alpha, noise):
    """Displace by uniform noise in (-1, 1), within .005 of the height, smoothed over .01 of each side, times alpha."""
    height, width = image.shape[:2]
    rows, columns = (
        gaussian_filter(0.005 * height * part, (0.01 * height, 0.01 * width), mode="reflect", truncate=3) * alpha
        for part in noise
    )
    places = (rows + np.arange(height)[:, None], columns + np.arange(width))
    moved = [
        map_coordinates(image[..., c].astype(float), places, order=1, mode="reflect") for c in range(image.shape[2])
    ]
    return np.clip(np.stack(moved, -1) + 1e-3, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("severity", SEVERITIES)
def test_elastic_transform(pictures, severity):
    alphas = severities("imagenet-c")["elastic_transform"]
    made = corrupt(pictures[0][None], "elastic_transform", severity, suite="imagenet-c", seed=0)[0].astype(int)
    bits = Draws(0, "imagenet-c", "", "elastic_transform", severity, "0").bits16((2, 224, 224))
    noise = (bits + 0.5) / 32768 - 1
    assert np.abs(made - elastic(pictures[0], alphas[severity - 1], noise)).max() <= 1
    assert np.abs(made - elastic(pictures[0], alphas[severity % 5], noise)).max() > 20


def displacement(moved, ramps):
    """Standard deviation in pixels, and correlation over 1/64 of the side, of the field that moved two ramps."""
    margin, lag = len(ramps) // 8, round(len(ramps) / 64)
    slopes = np.gradient(ramps.astype(float), axis=0).mean((0, 1)) + np.gradient(ramps.astype(float), axis=1).mean(
        (0, 1)
    )
    shift = ((moved.astype(float) - ramps) / slopes)[margin:-margin, margin:-margin]
    shift -= shift.mean((0, 1))
    return shift.std(), (shift[lag:] * shift[:-lag]).mean() / shift.var()


@pytest.mark.parametrize("side", [128, 224, 448])
@pytest.mark.parametrize("severity", SEVERITIES)
def test_elastic_transform_displaces_as_far_as_with_other_random_numbers(severity, side):
    """Two ramps, down and across, show the two components; both scale with the side."""
    ramp = np.broadcast_to(np.linspace(0, 255, side), (side, side))
    ramps = np.stack([ramp, ramp.T, ramp], -1).astype(np.uint8)
    alphas = severities("imagenet-c")["elastic_transform"]
    made = corrupt(ramps[None], "elastic_transform", severity, suite="imagenet-c", seed=0)[0]
    noise = np.random.default_rng(severity).uniform(-1, 1, (2, side, side))
    reach, correlation = displacement(made, ramps)
    expected_reach, expected_correlation = displacement(elastic(ramps, alphas[severity - 1] * side / 224, noise), ramps)
    assert reach == pytest.approx(expected_reach, rel=0.07)
    assert reach != pytest.approx(expected_reach * alphas[severity % 5] / alphas[severity - 1], rel=0.07)
    assert correlation == pytest.approx(expected_correlation, abs=0.05)
