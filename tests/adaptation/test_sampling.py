"""Which images an epoch sees."""

from collections import Counter

import numpy as np
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from tasks import LORA, changed, shipped

from robustmedclip.adaptation.samples import Samples
from robustmedclip.adaptation.sampling import epoch_order, occurrences
from robustmedclip.adaptation.tuning import tune
from robustmedclip.images.sets import ImageSet
from robustmedclip.models.preprocessing import CLIP_MEAN, CLIP_STD, Preprocessing

PREPROCESS = Preprocessing((32, 32), CLIP_MEAN, CLIP_STD)
#: Images of each class of each data set; a class may have none.
COUNTS = st.lists(st.lists(st.integers(0, 12), min_size=2, max_size=4).filter(any), min_size=1, max_size=4)


def samples_of(counts: list[list[int]], preprocess: Preprocessing = PREPROCESS) -> Samples:
    sets = []
    for position, classes in enumerate(counts):
        labels = np.repeat(np.arange(len(classes)), classes)
        images = np.random.default_rng(0).integers(0, 256, (len(labels), 32, 32, 1), np.uint8)
        names, ids = tuple(f"class {label}" for label in range(len(classes))), np.arange(len(labels)).astype(str)
        sets.append(ImageSet(f"set_{position}", "pool", "x-ray", names, images, labels, ids))
    return Samples(sets, preprocess)


@given(COUNTS, st.integers(0, 5))
def test_natural_sampling_sees_every_image_once(counts, seed):
    samples = samples_of(counts)
    order = epoch_order(samples, "natural", np.random.default_rng(seed))
    np.testing.assert_array_equal(np.sort(order), np.arange(len(samples)))


@given(COUNTS, st.integers(0, 5))
@example([[0, 1], [1, 1]], 0)
def test_balanced_sampling_sees_all_data_sets_classes_and_images_of_a_class_alike(counts, seed):
    samples = samples_of(counts)
    order = epoch_order(samples, "balanced", np.random.default_rng(seed))
    assert len(order) == len(samples)
    times = np.bincount(order, minlength=len(samples))
    of_sets = [times[inside].sum() for inside in samples.members()]
    assert np.ptp(of_sets) <= 1
    for inside in samples.members():
        of_images = [times[inside][samples.labels[inside] == label] for label in np.unique(samples.labels[inside])]
        assert np.ptp([of_class.sum() for of_class in of_images]) <= 1
        assert all(np.ptp(of_class) <= 1 for of_class in of_images)


@given(COUNTS, st.integers(0, 5))
def test_the_same_seed_gives_the_same_order(counts, seed):
    first, second = (epoch_order(samples_of(counts), "balanced", np.random.default_rng(seed)) for _ in range(2))
    np.testing.assert_array_equal(first, second)


@given(st.lists(st.integers(0, 5), min_size=1, max_size=30))
def test_occurrences_are_counted(order):
    seen: Counter[int] = Counter()
    for index, before in zip(order, occurrences(np.array(order)), strict=True):
        assert before == seen[index]
        seen[index] += 1


def test_a_balanced_training_repeats_rare_images_corrupted_anew(monkeypatch):
    model, keys = shipped("phantom_resnet"), []

    def corrupted(images, corruptions, sample_ids, *_):
        keys.extend(sample_ids)
        return images

    samples = samples_of([[14, 1], [1, 2]], model.preprocess)
    monkeypatch.setattr("robustmedclip.adaptation.training.corrupted", corrupted)
    noise = {"suite": "imagenet-c", "names": ["shot_noise"], "probability": 1.0}
    chosen = changed(LORA, epochs=1, sampling="balanced", corruptions=noise)
    classifier = torch.nn.functional.normalize(torch.randn(4, model.network.visual.output_dim), dim=-1)
    tune(model, samples, samples, classifier, chosen, seed=0, metadata={})
    assert len(keys) == len(samples) == len(set(keys))
    assert Counter(key.partition("/")[0] for key in keys) == {"set_0": 9, "set_1": 9}
