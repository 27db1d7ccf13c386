"""Batches of a large set: the same bytes as all at once, a bounded number of them at a time."""

import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robustmedclip.corruptions import corrupt, corrupted_batches

IDS = [f"image {index}" for index in range(11)]
SETTINGS = {"suite": "imagenet-c", "dataset": "bloodmnist", "seed": 3}


class Recorded(np.ndarray):
    """An array that remembers up to where it was read."""

    def __getitem__(self, index):
        self.read = max(getattr(self, "read", 0), getattr(index, "stop", None) or 0)
        return super().__getitem__(index).view(np.ndarray)


def images(count: int = 11) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, 40, 32, 3), dtype=np.uint8)


@pytest.mark.parametrize("name", ["gaussian_noise", "frost", "glass_blur", "pixelate"])
@settings(max_examples=8)
@given(batch_size=st.integers(1, 14))
def test_batches_are_those_of_the_whole_set(name, batch_size):
    batches = list(corrupted_batches(images(), IDS, batch_size, name, 2, **SETTINGS))
    assert all(len(batch) == batch_size for batch in batches[:-1])
    np.testing.assert_array_equal(np.concatenate(batches), corrupt(images(), name, 2, sample_ids=IDS, **SETTINGS))


def test_a_memory_map_is_read_and_left_alone(tmp_path):
    np.save(tmp_path / "images.npy", images())
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    made = np.concatenate(list(corrupted_batches(mapped, IDS, 4, "snow", 5, **SETTINGS)))
    np.testing.assert_array_equal(made, corrupt(images(), "snow", 5, sample_ids=IDS, **SETTINGS))
    np.testing.assert_array_equal(np.load(tmp_path / "images.npy"), images())


def test_no_images_give_no_batches():
    assert list(corrupted_batches(images(0), [], 4, "fog", 1, **SETTINGS)) == []


def test_only_a_few_batches_are_made_ahead(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    many = np.repeat(images(1), 400, axis=0).view(Recorded)
    ids = [str(index) for index in range(400)]
    consumed = 0
    for batch in corrupted_batches(many, ids, 2, "contrast", 1, **SETTINGS):
        consumed += len(batch)
        assert many.read <= consumed + 2 * 2 + 2
    assert consumed == 400


@pytest.mark.parametrize(
    ("cores", "side", "sizes"),
    [(1, 200, [50, 20]), (3, 200, [17, 17, 17, 17, 2]), (16, 200, [10] * 7), (16, 64, [50, 20])],
)
def test_a_batch_is_shared_out_among_the_cores_unless_its_images_are_small(monkeypatch, cores, side, sizes):
    seen, threads = [], set()

    def recorded(part, *_, sample_ids, **__):
        seen.append(len(sample_ids))
        threads.add(threading.current_thread())
        return part

    monkeypatch.setenv("OMP_NUM_THREADS", str(cores))
    monkeypatch.setattr("robustmedclip.corruptions.stream.corrupt", recorded)
    many = np.random.default_rng(0).integers(0, 256, (70, side, side, 1), np.uint8)
    made = list(corrupted_batches(many, [str(index) for index in range(70)], 50, "fog", 1, **SETTINGS))
    assert sorted(seen) == sorted(sizes)
    assert len(threads) == 1 or side == 200
    assert [len(batch) for batch in made] == [50, 20]
    np.testing.assert_array_equal(np.concatenate(made), many)


def test_a_consumer_may_stop_early():
    batches = corrupted_batches(images(), IDS, 1, "fog", 1, **SETTINGS)
    next(batches)
    batches.close()
    assert next(batches, None) is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": images().astype(np.float32)}, "images must be uint8"),
        ({"sample_ids": IDS[:-1]}, "1 sample ids for 2 images"),
        ({"name": "fogg"}, "did you mean 'fog'"),
        ({"severity": 6}, "severity must be"),
    ],
)
def test_an_error_of_a_worker_surfaces(change, message):
    arguments = {
        "images": images(),
        "sample_ids": IDS,
        "batch_size": 3,
        "name": "fog",
        "severity": 1,
    } | change
    with pytest.raises(ValueError, match=message):
        list(corrupted_batches(**arguments, **SETTINGS))
