"""Views and corruptions of the training images."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
import yaml

from robustmedclip.adaptation.augmentation import View, corrupted, viewed
from robustmedclip.adaptation.methods.lora import Lora
from robustmedclip.adaptation.samples import Samples
from robustmedclip.adaptation.training import _augmenting, _with_views
from robustmedclip.corruptions import RandomCorruption, corruptions
from robustmedclip.images.sets import ImageSet
from robustmedclip.models.preprocessing import Preprocessing
from robustmedclip.parallel import map_ahead

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


def samples_of(*sides: int) -> Samples:
    """Data sets of images of different sizes."""
    sets = [
        ImageSet.validated(
            name=f"set{side}",
            split="train",
            modality="x-ray",
            class_names=("a", "b"),
            images=np.random.default_rng(side).integers(0, 256, (20, side, side + 8, 3), np.uint8),
            labels=np.arange(20, dtype=np.int64) % 2,
            sample_ids=np.arange(20).astype(str),
        )
        for side in sides
    ]
    return Samples(sets, Preprocessing(size=(32, 32), mean=(0.5,) * 3, std=(0.5,) * 3))


def test_batches_are_the_same_whether_they_are_prepared_one_by_one_or_by_several_threads():
    samples, method = samples_of(40, 64), Lora(corruptions=with_probability(0.5), min_crop_area=0.5, batch_size=8)
    order = np.random.default_rng(0).permutation(len(samples))
    batches = [order[start : start + 8] for start in range(0, 40, 8)]
    prepare = _augmenting(SimpleNamespace(device="cpu"), samples, method, order, 0, 1)

    def parts():
        return _with_views(samples, method, range(0, 40, 8), batches, np.random.default_rng(1))

    one_by_one, by_threads = list(map(prepare, parts())), list(map_ahead(prepare, parts(), 3))
    assert all(torch.equal(*pair) for pair in zip(one_by_one, by_threads, strict=True))
    assert not torch.equal(one_by_one[0], samples.pixels(batches[0]))


def test_views_of_full_size_are_the_images_and_mirrored_ones_their_mirror_images():
    views = [View(None, False), View(None, True), View((slice(0, 32), slice(0, 32)), False)]
    np.testing.assert_array_equal(viewed(IMAGES[:3], views), [IMAGES[0], IMAGES[1][:, ::-1], IMAGES[2]])


def test_pixels_outside_of_a_crop_do_not_enter_its_view():
    part = (slice(5, 25), slice(3, 30))
    bordered = np.full_like(IMAGES[:1], 255)
    bordered[:, *part] = IMAGES[:1, *part]
    views = [View(part, False)]
    np.testing.assert_array_equal(viewed(bordered, views), viewed(IMAGES[:1], views))
