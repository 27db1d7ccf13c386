"""Artefacts against the drawing code published with MedMNIST-C, with the same random numbers."""

import cv2
import numpy as np
import pytest
from PIL import Image, ImageDraw
from scipy.ndimage import label
from suite_lists import MEDMNIST_DATASETS

from robustmedclip.corruptions import SEVERITIES, corrupt, severities
from robustmedclip.corruptions.draws import Draws
from robustmedclip.corruptions.kernels.artefacts import stain_masks


def stain_deposit(image, value, draws):
    most, side = value
    stained = image.copy()
    for _ in range(draws.integer(1, most)):
        ink = stain_masks(side)[draws.integer(0, 9)]
        top, left = draws.integer(10, 224 - side - 10), draws.integer(10, 224 - side - 10)
        stained[top : top + side, left : left + side][ink == 1] = 0
    return stained


def bubble(image, value, draws):
    largest, most = value
    layer = Image.new("RGBA", (224, 224), (255, 255, 255, 0))
    pen = ImageDraw.Draw(layer)
    for _ in range(draws.integer(7, most)):
        radius = draws.integer(3, largest)
        x, y = draws.integer(radius, 224 - radius), draws.integer(radius, 224 - radius)
        for reach, alpha in ((radius + 2, 130), (radius, 100)):
            pen.ellipse((x - reach, y - reach, x + reach, y + reach), fill=(255, 255, 255, alpha))
    picture = Image.fromarray(image)
    picture.paste(layer, (0, 0), layer)
    return np.asarray(picture)


def characters(image, value, draws):
    words, letters, largest = value
    written = image.copy()
    for _ in range(draws.integer(1, words)):
        length = draws.integer(3, letters)
        scale = draws.integer(14, round(100 * largest)) / 100
        word = "".join("abcdefghijklmnopqrstuvwxyz"[draws.integer(0, 25)] for _ in range(length))
        origin = (draws.integer(10, 224 - 8 * length), draws.integer(10, 224 - 10))
        colour = [draws.integer(0, 255) for _ in range(3)]
        cv2.putText(written, word, origin, cv2.FONT_HERSHEY_DUPLEX, scale, colour, 1, cv2.LINE_AA)
    return written


ORACLES = {"stain_deposit": stain_deposit, "bubble": bubble, "characters": characters}
CASES = [
    (dataset, name) for dataset in MEDMNIST_DATASETS for name in severities("medmnist-c", dataset) if name in ORACLES
]


@pytest.mark.parametrize("severity", SEVERITIES)
@pytest.mark.parametrize(("dataset", "name"), CASES)
def test_algorithm(dataset, name, severity):
    images = np.random.default_rng(0).integers(0, 256, (8, 224, 224, 3), np.uint8)
    values = severities("medmnist-c", dataset)[name]
    made = corrupt(images, name, severity, suite="medmnist-c", dataset=dataset, seed=0).astype(int)

    def errors(value):
        streams = [Draws(0, "medmnist-c", dataset, name, severity, index) for index in range(8)]
        return np.abs(made - [ORACLES[name](image, value, draws) for image, draws in zip(images, streams, strict=True)])

    assert errors(values[severity - 1]).max() <= (1 if name == "characters" else 0)
    for other in {*values} - {values[severity - 1]}:
        assert errors(other).max() > 50


@pytest.mark.parametrize(("severity", "most", "side"), [(1, 1, 24), (3, 3, 24), (5, 5, 32)])
def test_stains_lie_inside_the_margin_and_number_at_most_the_value(severity, most, side):
    white = np.full((300, 224, 224, 1), 255, np.uint8)
    stained = corrupt(white, "stain_deposit", severity, suite="medmnist-c", dataset="pathmnist", seed=0)[..., 0]
    assert set(np.unique(stained)) == {0, 255}
    black = stained == 0
    places = np.flatnonzero(black.any(0).any(1)), np.flatnonzero(black.any(0).any(0))
    assert all((10 <= place[0] <= 12) & (211 <= place[-1] <= 213) for place in places)
    areas = black.sum((1, 2)) / side**2
    assert 0.4 < areas.min() < 0.9
    assert 0.46 * most < areas.max() < 0.86 * most
    if most == 1:
        assert all(np.ptp(np.argwhere(picture), axis=0).max() < side for picture in black)
    number = areas.mean() / stain_masks(side).mean()  # a little less than the mean number, as stains overlap
    assert number == pytest.approx((1 + most) / 2, rel=0.08)


@pytest.mark.parametrize("side", [24, 32])
def test_stain_masks_cover_as_much_as_the_published_ones(side):
    masks = stain_masks(side)
    assert masks.shape == (10, side, side)
    assert len(np.unique(masks, axis=0)) == 10
    assert set(np.unique(masks)) == {0, 1}
    assert 0.46 <= masks.mean((1, 2)).min() < masks.mean((1, 2)).max() <= 0.86
    assert all(label(mask)[1] < 4 for mask in masks)


def test_bubbles_whiten_by_100_or_130_of_255_and_do_not_add_up():
    grey = np.full((50, 224, 224, 1), 51, np.uint8)
    made = corrupt(grey, "bubble", 5, suite="medmnist-c", dataset="pathmnist", seed=0)
    assert set(np.unique(made)) == {51, 51 + 204 * 100 // 255, 51 + 204 * 130 // 255}


def test_bubbles_have_the_published_radii():
    """From 3 to 17 pixels, and a rim of 2."""
    black = np.zeros((60, 224, 224, 1), np.uint8)
    made = corrupt(black, "bubble", 5, suite="medmnist-c", dataset="pathmnist", seed=0)[..., 0]
    sizes = []
    for picture in made:
        parts, count = label(picture)
        for part in range(1, count + 1):
            rows, columns = np.nonzero(parts == part)
            height, width = np.ptp(rows) + 1, np.ptp(columns) + 1
            if height == width and len(rows) == pytest.approx(np.pi * height**2 / 4, rel=0.03):
                sizes.append(height)  # on its own, inside the image
    assert (min(sizes), max(sizes)) == (2 * 5 + 1, 2 * 19 + 1)


@pytest.mark.parametrize(("height", "width"), [(224, 224), (64, 64), (96, 128), (128, 96), (448, 448), (97, 65)])
@pytest.mark.parametrize("severity", SEVERITIES)
def test_black_corner_keeps_a_centred_disk(severity, height, width):
    white = np.full((1, height, width, 1), 255, np.uint8)
    kept = corrupt(white, "black_corner", severity, suite="medmnist-c", dataset="dermamnist", seed=0)[0, ..., 0]
    radius = int(min(height // 2, width // 2) * (1.10, 1.05, 1.00, 0.90, 0.95)[severity - 1])
    disk = cv2.circle(np.zeros((height, width), np.uint8), (width // 2, height // 2), radius, 255, -1)
    np.testing.assert_array_equal(kept, disk)
    y, x = np.ogrid[:height, :width]
    distance = np.hypot(y - height // 2, x - width // 2)
    assert kept[distance <= radius - 1].all()
    assert not kept[distance >= radius + 1].any()


def test_black_corner_leaves_the_disk_as_it_was(scaled_picture):
    made = corrupt(scaled_picture[None], "black_corner", 4, suite="medmnist-c", dataset="dermamnist", seed=0)[0]
    white = np.full_like(scaled_picture, 255)
    disk = corrupt(white[None], "black_corner", 4, suite="medmnist-c", dataset="dermamnist", seed=0)[0]
    np.testing.assert_array_equal(made, np.minimum(scaled_picture, disk))


@pytest.mark.parametrize("severity", [1, 3, 5])
def test_characters_cover_as_much_as_with_other_random_numbers(severity):
    """And start no further to the left than the margin."""
    value = severities("medmnist-c", "dermamnist")["characters"][severity - 1]
    white = np.full((100, 224, 224, 3), 255, np.uint8)
    made = corrupt(white, "characters", severity, suite="medmnist-c", dataset="dermamnist", seed=0)
    expected = np.stack([characters(white[0], value, Draws("other", index)) for index in range(100)])
    covered, expected_covered = ((pictures != 255).any(-1) for pictures in (made, expected))
    assert covered.mean() == pytest.approx(expected_covered.mean(), rel=0.15)
    columns = np.flatnonzero(covered.any((0, 1)))
    assert 8 <= columns[0] <= 14
    assert columns[-1] < 224


@pytest.mark.parametrize(
    ("dataset", "name"), [("bloodmnist", "stain_deposit"), ("bloodmnist", "bubble"), ("dermamnist", "characters")]
)
@pytest.mark.parametrize("side", [112, 448])
def test_same_picture_at_other_sizes(dataset, name, side):
    def layer(size):
        flat = np.full((8, size, size, 1), 100, np.uint8)
        made = corrupt(flat, name, 5, suite="medmnist-c", dataset=dataset, seed=0)
        return made.reshape(8, 112, size // 112, 112, size // 112).mean((2, 4)) - 100

    assert np.corrcoef(layer(side).ravel(), layer(224).ravel())[0, 1] > 0.95
