"""Odd levels are warned of while images pass: black sets, constant images, masks."""

import logging

import numpy as np
import pytest

from robustmedclip.images.levels import LevelSummary, checked_levels
from robustmedclip.images.pixels import LazyImages, batches
from robustmedclip.images.sets import ImageSet


def image_set(images: np.ndarray) -> ImageSet:
    ids = np.array([f"{index}.png" for index in range(len(images))])
    return ImageSet("cells", "test", "m", ("a", "b"), images, np.arange(len(images)) % 2, ids)


def noise(count: int = 30, high: int = 256) -> np.ndarray:
    return np.random.default_rng(0).integers(0, high, (count, 8, 8, 3), np.uint8)


def log_of(images: np.ndarray, caplog, batch: int = 7) -> str:
    for _ in batches(checked_levels(image_set(images)).images, batch):
        pass
    return caplog.text


def test_usual_images_pass_unchanged_and_in_silence(caplog):
    images = noise()
    np.testing.assert_array_equal(checked_levels(image_set(images)).images[:], images)
    assert log_of(images, caplog) == ""


@pytest.mark.parametrize("high", [2, 16])
def test_a_set_of_few_levels_is_warned_of_with_its_range(high, caplog):
    assert f"'cells', test images: the levels lie between 0 and {high - 1}," in log_of(noise(high=high), caplog)


def test_constant_images_are_named_up_to_ten(caplog):
    images = noise()
    images[4:16] = np.arange(12)[:, None, None, None]
    text = log_of(images, caplog)
    assert "12 images have one level throughout, and show nothing: 4.png (0), 5.png (1)" in text
    assert "13.png (9) and 2 more" in text


def test_images_of_two_levels_are_warned_of_as_masks(caplog):
    images = noise()
    images[3] = np.where(images[3, ..., :1] > 128, 255, 0)
    assert "1 images have two levels alone, as masks do: 3.png (0 and 255)." in log_of(images, caplog)


def test_each_image_is_read_once_and_warned_of_once(caplog):
    reads = []

    def read(rows):
        reads.extend(rows.tolist())
        return np.zeros((len(rows), 8, 8, 1), np.uint8)

    checked = checked_levels(image_set(LazyImages((20, 8, 8, 1), read)))
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            for _ in batches(checked.images, 6):
                pass
    assert reads == [*range(20), *range(20)] and caplog.text.count("one level throughout") == 1


def test_colours_of_two_levels_count_all_channels():
    summary = LevelSummary()
    summary.add(np.array([[[[255, 0, 0], [0, 255, 9]]]], np.uint8), np.array(["x"]))
    assert not summary.two_valued
