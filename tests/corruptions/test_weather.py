"""Weather against the published algorithms in float64, with the same random numbers."""

from math import ceil

import cv2
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, zoom

from robustmedclip.corruptions import SEVERITIES, corrupt, severities
from robustmedclip.corruptions.draws import Draws
from robustmedclip.corruptions.kernels.weather import frost_textures


def as_uint8(values: np.ndarray) -> np.ndarray:
    return np.clip(values + 2**-9, 0, 255).astype(np.uint8)  # whole numbers that rounding missed stay whole


def luminance(image):
    return image[..., :1].astype(float) if image.shape[-1] == 1 else image @ np.array([[0.299], [0.587], [0.114]])


def trailing(layer, radius, sigma, angle):
    taps = np.arange(2 * radius + 1)
    weights = np.exp(-(taps**2) / (2 * sigma**2))
    blurred = np.zeros(layer.shape)
    for tap, weight in zip(taps, weights / weights.sum(), strict=True):
        down, right = (ceil(tap * part - 0.5) for part in (np.sin(np.radians(angle)), np.cos(np.radians(angle))))
        rows, columns = (np.clip(np.arange(n) + by, 0, n - 1) for n, by in zip(layer.shape, (down, right), strict=True))
        blurred += weight * layer[rows[:, None], columns]
    return blurred


def snow(image, value, draws):
    mean, deviation, size, threshold, radius, sigma, weight = value
    height, width = image.shape[:2]
    seeds = draws.normal((ceil(height / size), ceil(width / size))).astype(float) * deviation + mean
    flakes = zoom(seeds, size, order=1)
    flakes = np.clip(np.where(flakes < threshold, 0, flakes), 0, 1)
    flakes = np.rint(255 * trailing(flakes, radius, sigma, draws.uniform(-135, -45)))[:height, :width, None]
    whitened = weight * image + (1 - weight) * np.maximum(image, 1.5 * luminance(image) + 127.5)
    return as_uint8(whitened + flakes + np.rot90(flakes, 2))


def frost(image, value, draws):
    texture = frost_textures()[draws.integer(0, 4)]
    top, left = (draws.integer(0, extent - 224) for extent in texture.shape[:2])
    ice = texture[top : top + 224, left : left + 224].astype(float)
    return as_uint8(value[0] * image + value[1] * (ice if image.shape[-1] == 3 else luminance(ice)))


def diamond_square(draws, side, decay):
    """Centres of squares, then centres of their upper and left edges, on a torus."""
    heights = np.zeros((side, side))
    step, roughness = side, 100.0
    while step > 1:
        half, corners = step // 2, np.arange(0, side, step)
        diagonal, straight = ((-1, -1), (-1, 1), (1, -1), (1, 1)), ((-1, 0), (1, 0), (0, -1), (0, 1))
        for down, right, neighbours in ((half, half, diagonal), (0, half, straight), (half, 0, straight)):
            rows, columns = (corners + down)[:, None], corners + right
            mean = sum(heights[(rows + half * y) % side, (columns + half * x) % side] for y, x in neighbours) / 4
            noise = (draws.bits16(mean.shape) + 0.5) / 32768 - 1
            heights[rows, columns] = mean + roughness**2 * noise
        step, roughness = half, roughness / decay
    return (heights - heights.min()) / (heights.max() - heights.min())


def fog(image, value, draws):
    strength, decay = value
    height, width = image.shape[:2]
    cloud = diamond_square(draws, 2 ** ceil(np.log2(max(height, width))), decay)[:height, :width, None]
    brightest = image.max() / 255
    return as_uint8((image + 255 * strength * cloud) * brightest / (brightest + strength))


def spatter(image, value, draws):
    mean, deviation, smoothing, threshold, last, muddy = value
    liquid = gaussian_filter(draws.normal(image.shape[:2]).astype(float) * deviation + mean, smoothing, mode="nearest")
    colour = np.array((63, 42, 20) if muddy else (175, 238, 238), float)
    if image.shape[-1] == 1:
        colour = luminance(colour[None])[0]
    if muddy:
        mud = gaussian_filter((liquid > threshold).astype(float), last, mode="nearest")[..., None]
        mud[mud < 0.8] = 0
        return as_uint8(image * (1 - mud) + mud * colour)
    liquid = (255 * np.where(liquid < threshold, 0, liquid)).astype(np.uint8)
    distance = cv2.distanceTransform(255 - cv2.Canny(liquid, 50, 150), cv2.DIST_L2, 5)
    distance = cv2.equalizeHist(cv2.blur(np.minimum(distance, 20), (3, 3)).astype(np.uint8))
    embossed = cv2.filter2D(distance, cv2.CV_8U, np.array([[-2, -1, 0], [-1, 1, 1], [0, 1, 2]]))
    drops = liquid * cv2.blur(embossed, (3, 3)).astype(float)
    return as_uint8(image + np.clip(last * (drops / drops.max())[..., None] * colour, 0, 255))


ORACLES = {"snow": snow, "frost": frost, "fog": fog, "spatter": spatter}


@pytest.mark.parametrize("severity", SEVERITIES)
@pytest.mark.parametrize("name", ORACLES)
def test_algorithm(pictures, name, severity):
    values = severities("imagenet-c")[name]

    def errors(image, value):
        made = corrupt(image[None], name, severity, suite="imagenet-c", seed=0)[0].astype(int)
        return np.abs(made - ORACLES[name](image, value, Draws(0, "imagenet-c", "", name, severity, "0")))

    for image in (pictures[0], pictures[2]):
        assert errors(image, values[severity - 1]).max() <= 1
    assert (errors(pictures[0], values[severity % 5]) > 1).mean() > 0.1


def test_fog_of_other_sizes(scaled_picture):
    for severity, value in enumerate(severities("imagenet-c")["fog"], 1):
        made = corrupt(scaled_picture[None], "fog", severity, suite="imagenet-c", seed=0)[0].astype(int)
        expected = fog(scaled_picture, value, Draws(0, "imagenet-c", "", "fog", severity, "0"))
        assert np.abs(made - expected).max() <= 1


@pytest.mark.parametrize("side", [112, 448])
@pytest.mark.parametrize("name", ["snow", "frost", "spatter"])
def test_same_picture_at_other_sizes(name, side):
    def layer(size):
        made = corrupt(np.full((4, size, size, 1), 20, np.uint8), name, 5, suite="imagenet-c", seed=0)
        return made.reshape(4, 112, size // 112, 112, size // 112).mean((2, 4))

    assert np.corrcoef(layer(side).ravel(), layer(224).ravel())[0, 1] > 0.95


def test_frost_has_the_colour_and_the_contrast_of_the_published_pictures():
    """Mean colour, and standard deviation of the luminance, of frost1.png to frost5.jpg in the code of ImageNet-C."""
    published = [
        (77.7, 149.1, 165.7, 18.4), (200.8, 205.4, 214.5, 21.9), (200.8, 205.4, 214.5, 21.9),
        (137.6, 152.8, 165.2, 28.6), (112.4, 123.4, 134.8, 43.4),
    ]  # fmt: skip
    looks = [(*texture.mean((0, 1)), luminance(texture).std()) for texture in frost_textures()]
    np.testing.assert_allclose(looks, published, rtol=0, atol=1.5)


def test_frost_takes_every_texture_equally_often():
    """As their means tell, at weights of 0.6 for black and 0.75 for the frost; two of the five have the same mean."""
    made = corrupt(np.zeros((200, 224, 224, 3), np.uint8), "frost", 5, suite="imagenet-c", seed=0)
    redness = [texture.mean((0, 1))[0] * 0.75 for texture in frost_textures()]
    nearest = np.abs(made[..., 0].mean((1, 2))[:, None] - redness).argmin(1)
    assert np.bincount(nearest, minlength=5)[[0, 3, 4]] == pytest.approx(40, abs=20)
