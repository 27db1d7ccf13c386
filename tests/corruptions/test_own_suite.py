"""A suite of a user's own, the example of the how-to, in a module outside the package."""

import re
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from robustmedclip.corruptions import RandomCorruption, corrupt, corruptions, suite
from robustmedclip.errors import InputError
from robustmedclip.images.conditions import CLEAN, Condition
from robustmedclip.images.sets import ImageSet
from robustmedclip.io import CorruptedSetDataset, ReleasedSetDataset
from robustmedclip.pipelines.corruption.nodes import adopt_released_set, corrupt_test_set

PATH = "my_study.suite.MY_SUITE"
CONDITIONS = (CLEAN, Condition("dead_columns", 3), Condition("median_blur", 1))


@pytest.fixture(autouse=True)
def my_suite(tmp_path, monkeypatch):
    """The module of the how-to."""
    page = (Path(__file__).parents[2] / "docs/how-to/suite.md").read_text()
    (code,) = re.findall(r"```python\n(# my_study/suite.py.*?)```", page, re.DOTALL)
    (tmp_path / "my_study").mkdir()
    (tmp_path / "my_study/suite.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    for module in ("my_study", "my_study.suite"):
        monkeypatch.delitem(sys.modules, module, raising=False)
    return suite(PATH)


@pytest.fixture
def test_set() -> ImageSet:
    images = np.random.default_rng(0).integers(0, 256, (20, 32, 30, 3), np.uint8)
    return ImageSet.validated(
        name="own",
        split="test",
        modality="x-ray",
        class_names=("a", "b"),
        images=images,
        labels=np.arange(20) % 2,
        sample_ids=np.array([f"image {index}" for index in range(20)]),
    )


def corrupted(test_set: ImageSet, storage: str):
    settings = {"suite": PATH, "dataset": None, "grey": "native", "storage": storage}
    return corrupt_test_set(test_set, {"seed": 0}, conditions=CONDITIONS, **settings)


def test_it_is_named_by_its_path_or_given_as_an_object(my_suite, test_set):
    assert corruptions(PATH) == ("dead_columns", "median_blur", "contrast")
    by_path, as_object = (corrupt(test_set.images, "dead_columns", 5, suite=it, seed=0) for it in (PATH, my_suite))
    np.testing.assert_array_equal(by_path, as_object)
    black = (by_path == 0).all((1, 3)).mean()
    assert 0.15 < black < 0.25


def test_on_the_fly_and_stored_give_the_same_bytes(tmp_path, test_set):
    for condition in CONDITIONS[1:]:
        settings = {"suite": PATH, "dataset": "own", "seed": 0}
        expected = corrupt(test_set.images, *condition, sample_ids=test_set.sample_ids, **settings)
        for storage in ("materialised", "on_the_fly"):
            dataset = CorruptedSetDataset(filepath=str(tmp_path / f"{condition}-{storage}"))
            dataset.save(corrupted(test_set, storage))
            loaded = dataset.load()
            assert loaded.suite == PATH
            np.testing.assert_array_equal(np.concatenate(list(loaded.read(condition, 7))), expected)


def test_a_release_of_it_is_read(tmp_path, test_set):
    CorruptedSetDataset(filepath=str(tmp_path / "set")).save(corrupted(test_set, "materialised"))
    released = ReleasedSetDataset(filepath=str(tmp_path / "set"), suite=PATH, conditions=list(map(str, CONDITIONS)))
    adopted = adopt_released_set(
        test_set, released.load(), suite=PATH, storage="on_the_fly", conditions=CONDITIONS, label_map=None
    )
    for condition in CONDITIONS:
        images = np.concatenate(list(corrupted(test_set, "on_the_fly").read(condition, 7)))
        np.testing.assert_array_equal(np.concatenate(list(adopted.read(condition, 9))), images)


def test_its_form_for_devices_gives_the_same_bytes(test_set, monkeypatch):
    monkeypatch.setattr("robustmedclip.corruptions.kernels.devices.check_device", lambda device: None)
    here, there = (corrupt(test_set.images, "dead_columns", 4, suite=PATH, seed=0, device=d) for d in ("cpu", "cpu:0"))
    np.testing.assert_array_equal(here, there)


def test_training_images_are_corrupted_by_it(my_suite, test_set):
    made = RandomCorruption(PATH, names=["median_blur"], severities=[1])(test_set.images[0])
    np.testing.assert_array_equal(made, corrupt(test_set.images[:1], "median_blur", 1, suite=my_suite, seed=0)[0])


def test_its_random_numbers_are_not_those_of_another_suite(my_suite, test_set):
    other = replace(my_suite, name="other")
    first, second = (corrupt(test_set.images, "dead_columns", 5, suite=it, seed=0) for it in (my_suite, other))
    assert not np.array_equal(first, second)


def test_a_path_to_something_else_is_named():
    with pytest.raises(ValueError, match="'my_study.suite.dead_columns' is no corruption suite but of type function"):
        corruptions("my_study.suite.dead_columns")
    with pytest.raises(InputError, match="the module 'my_study.suite' has no 'MY_SUTE'"):
        corruptions("my_study.suite.MY_SUTE")
