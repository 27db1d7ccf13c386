"""Corruptions of the training images."""

from pathlib import Path

import numpy as np
import yaml

from robustmedclip.adaptation.augmentation import corrupted
from robustmedclip.adaptation.methods.lora import Lora
from robustmedclip.corruptions import RandomCorruption, corruptions

CONF = Path(__file__).parents[2] / "conf"
IMAGES = np.random.default_rng(0).integers(40, 200, (64, 32, 32, 3), np.uint8)
IDS = [f"set/{index}" for index in range(64)]


def with_probability(probability: float) -> RandomCorruption:
    names = ("shot_noise", "saturate", "jpeg_compression")
    return RandomCorruption("imagenet-c", names=names, probability=probability)


def test_an_image_is_corrupted_alike_whatever_its_batch():
    whole = corrupted(IMAGES, with_probability(0.5), IDS, 0, 1)
    order = np.random.default_rng(1).permutation(64)[:20]
    np.testing.assert_array_equal(
        corrupted(IMAGES[order], with_probability(0.5), [IDS[i] for i in order], 0, 1), whole[order]
    )


def test_epochs_and_seeds_draw_anew():
    first = corrupted(IMAGES, with_probability(1.0), IDS, 0, 1)
    assert not np.array_equal(first, corrupted(IMAGES, with_probability(1.0), IDS, 0, 2))
    assert not np.array_equal(first, corrupted(IMAGES, with_probability(1.0), IDS, 1, 1))


def test_images_are_corrupted_with_the_probability():
    before = IMAGES.copy()
    changed = (corrupted(IMAGES, with_probability(0.5), IDS, 0, 1) != IMAGES).any((1, 2, 3))
    assert 16 < changed.sum() < 48
    assert (corrupted(IMAGES, with_probability(1.0), IDS, 0, 1) != IMAGES).any((1, 2, 3)).all()
    np.testing.assert_array_equal(IMAGES, before)


def test_no_corruption_that_is_scored_is_trained_on():
    methods = yaml.safe_load((CONF / "base/parameters/methods.yml").read_text())["methods"]
    assert Lora().corruptions is None
    assert not set(methods["robust-lora"]["corruptions"]["names"]) & set(corruptions("medimeta-c"))
