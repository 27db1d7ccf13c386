"""Images that are read when they are used behave like the array they stand for."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from robustmedclip.images.pixels import LazyImages, batches, chosen_rows, concatenated
from robustmedclip.images.sets import ImageSet
from robustmedclip.pipelines.ingestion.nodes import ingest

PIXELS = np.random.default_rng(0).integers(0, 256, (11, 4, 5, 3), np.uint8)
LAZY = LazyImages(PIXELS.shape, lambda rows: PIXELS[rows])


@given(st.integers(-11, 10) | st.slices(11) | arrays(np.int64, st.integers(0, 20), elements=st.integers(-11, 10)))
def test_indexing_gives_what_the_array_gives(key):
    np.testing.assert_array_equal(LAZY[key], PIXELS[key])


def test_a_mask_chooses_images():
    np.testing.assert_array_equal(LAZY[np.arange(11) % 3 == 1], PIXELS[1::3])


@pytest.mark.parametrize("key", [11, -12, [0, 11]])
def test_an_index_outside_is_refused(key):
    with pytest.raises(IndexError):
        LAZY[key]


@given(st.lists(st.integers(0, 10)), st.integers(1, 5))
def test_rows_of_several_sets_one_after_the_other(rows, size):
    rows = np.array(rows, dtype=np.int64)
    both = concatenated([LAZY, chosen_rows(LAZY, rows), PIXELS])
    expected = np.concatenate([PIXELS, PIXELS[rows], PIXELS])
    assert both.shape == expected.shape
    np.testing.assert_array_equal(np.concatenate(list(batches(both, size))), expected)
    np.testing.assert_array_equal(both[::-2], expected[::-2])


def test_ingestion_reads_no_pixels_and_names_the_sizes_that_differ():
    def refuse(rows):
        raise AssertionError("read")

    def split(name: str, side: int) -> ImageSet:
        return ImageSet(
            name="cells",
            split=name,
            modality="microscopy",
            class_names=("a", "b"),
            images=LazyImages((4, side, side, 1), refuse),
            labels=np.arange(4) % 2,
            sample_ids=np.array([f"{name}/{i}" for i in range(4)]),
        )

    pool, test = ingest({"train": split("train", 8), "val": split("val", 8), "test": split("test", 8)})
    assert (pool.images.shape, test.images.shape) == ((8, 8, 8, 1), (4, 8, 8, 1))
    pool, _ = ingest({"train": split("train", 9), "val": split("val", 8), "test": split("test", 8)}, ["val"])
    assert pool.sample_ids.tolist() == [f"val/{i}" for i in range(4)]
    with pytest.raises(ValueError, match="'cells' has no val split; it has train, test"):
        ingest({"train": split("train", 8), "test": split("test", 8)}, ["val"])
    with pytest.raises(ValueError, match=r"'cells', training pool.*\(8, 8, 1\), \(9, 9, 1\)"):
        ingest({"train": split("train", 8), "val": split("val", 9), "test": split("test", 8)})
