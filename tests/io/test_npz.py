"""Archives: streamed writing, mapped reading, no pickles."""

import io

import numpy as np
import pytest

from robustmedclip.io.npz import NpzArchive, Stream, read_npy, read_npz, write_npz


def test_round_trip_and_numpy_reads_it(tmp_path):
    file, images = tmp_path / "a.npz", np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    write_npz(file, images=images, labels=np.array([1, 0]), names=np.array(["a", "bc"]), one=np.array("x"))
    read = read_npz(file)
    with np.load(file, allow_pickle=False) as plain:
        for name in plain.files:
            np.testing.assert_array_equal(plain[name], read[name])
    assert isinstance(read["images"], np.memmap)
    assert not read["images"].flags.writeable


def test_a_stream_writes_the_same_bytes_as_the_array(tmp_path):
    images = np.random.default_rng(0).integers(0, 255, (7, 4, 4, 3), np.uint8)
    write_npz(tmp_path / "whole.npz", images=images)
    chunks = (images[i : i + 3] for i in range(0, 7, 3))
    write_npz(tmp_path / "stream.npz", images=Stream(images.shape, images.dtype, chunks))
    assert (tmp_path / "whole.npz").read_bytes() == (tmp_path / "stream.npz").read_bytes()


def test_compressed_and_empty_archives_are_read(tmp_path):
    np.savez_compressed(tmp_path / "c.npz", images=np.ones((2, 2), np.uint8))
    np.testing.assert_array_equal(read_npz(tmp_path / "c.npz")["images"], 1)
    write_npz(tmp_path / "e.npz", images=np.empty((0, 4, 4, 1), np.uint8))
    assert read_npz(tmp_path / "e.npz")["images"].shape == (0, 4, 4, 1)


def test_a_stream_that_breaks_its_word_is_refused(tmp_path):
    short = Stream((3, 2), np.dtype(np.uint8), [np.zeros((2, 2), np.uint8)])
    with pytest.raises(ValueError, match="got 2 of 3 rows"):
        write_npz(tmp_path / "a.npz", images=short)
    wrong = Stream((2, 2), np.dtype(np.uint8), [np.zeros((2, 2), np.float32)])
    with pytest.raises(ValueError, match="float32"):
        write_npz(tmp_path / "a.npz", images=wrong)


def test_pickles_are_neither_written_nor_read(tmp_path):
    objects = np.array([{"a": 1}], dtype=object)
    with pytest.raises(ValueError, match="pickle"):
        write_npz(tmp_path / "a.npz", images=objects)
    np.savez(tmp_path / "b.npz", images=objects)
    with pytest.raises(ValueError, match=r"b\.npz"):
        read_npz(tmp_path / "b.npz")


@pytest.mark.parametrize("damage", [lambda data: data[:100], lambda data: b"nothing of the kind"])
def test_a_damaged_archive_is_named(tmp_path, damage):
    file = tmp_path / "a.npz"
    write_npz(file, images=np.zeros((5, 8, 8, 3), np.uint8))
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(ValueError, match=r"a\.npz is damaged"):
        read_npz(file)


def test_a_header_cut_short_is_named(tmp_path):
    np.save(tmp_path / "a.npy", np.arange(5))
    content = (tmp_path / "a.npy").read_bytes()
    for keep in range(len(content)):
        with pytest.raises(ValueError, match=r"a\.npy is damaged"):
            read_npy(io.BytesIO(content[:keep]), "a.npy", 1000)
    np.testing.assert_array_equal(read_npy(io.BytesIO(content), "a.npy", 1000), np.arange(5))
    with pytest.raises(ValueError, match="more than 10"):
        read_npy(io.BytesIO(content), "a.npy", 10)


def test_rows_are_read_in_any_order(tmp_path):
    images = np.random.default_rng(0).integers(0, 255, (50, 30, 30, 3), np.uint8)
    for save in (np.savez, np.savez_compressed):
        save(tmp_path / "a.npz", images=images)
        with open(tmp_path / "a.npz", "rb") as file:
            read = NpzArchive(file, "a.npz").rows("images")
            for rows in (np.arange(50), np.array([49, 3, 3, 0, 20]), np.array([], int)):
                np.testing.assert_array_equal(read(rows), images[rows])
