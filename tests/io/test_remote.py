"""Entries on another filesystem: when they are there, and what is fetched of them."""

import json
import os
import shutil
from itertools import count
from unittest.mock import Mock

import fsspec
import numpy as np
import pytest
from kedro.io.core import Version
from test_datasets import CONDITIONS, assert_same, corrupted, pixels_of

from robustmedclip.adaptation.artefacts import Adapter
from robustmedclip.adaptation.checkpoint import TrainingState
from robustmedclip.errors import InputError
from robustmedclip.io import (
    AdapterDataset,
    CorruptedSetDataset,
    FilesDataset,
    ImageSetDataset,
    TrainingCheckpointDataset,
)
from robustmedclip.io.disk import machine_folder
from robustmedclip.io.remote import make_room
from robustmedclip.io.versioned import address, load_path
from robustmedclip.run.catalog import FingerprintedCatalog

FILES = {"a.txt": b"1", "b.txt": b"22", "c.txt": b"333"}
VERSIONS = [f"2026-01-0{day}T00.00.00.000Z" for day in (1, 2, 3)]


@pytest.fixture(autouse=True)
def store(tmp_path, monkeypatch):
    """A filesystem elsewhere, and a machine that has fetched nothing yet."""
    (tmp_path / "machine").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "machine"))
    memory = fsspec.filesystem("memory")
    yield memory
    memory.store.clear()
    memory.pseudo_dirs[:] = [""]


@pytest.fixture
def fetched(store, monkeypatch) -> list[str]:
    """The files that are fetched, by name."""
    names, get_file = [], type(store).get_file

    def counted(self, remote, local, **options):
        names.append(remote.rpartition("/")[2])
        return get_file(self, remote, local, **options)

    monkeypatch.setattr(type(store), "get_file", counted)
    return names


@pytest.mark.parametrize("error", [KeyError, OSError])
def test_a_user_without_a_name_as_in_a_container_has_copies_too(monkeypatch, error):
    monkeypatch.setattr("getpass.getuser", Mock(side_effect=error))
    assert machine_folder("copies").is_dir()


def files(version: str | None = None) -> FilesDataset:
    return FilesDataset(filepath="memory://bucket/files", version=Version(None, version))


def forget_copies() -> None:
    """As on another machine."""
    shutil.rmtree(machine_folder("copies"))


def test_a_put_that_is_interrupted_leaves_nothing_that_counts(store, monkeypatch):
    """Before any of the three files, and before the manifest that follows them."""
    files(VERSIONS[0]).save(FILES)
    for writes in range(4):
        left = count(writes, -1)

        def limited(self, *arguments, write, left=left, **options):
            if not next(left):
                raise KeyboardInterrupt
            return write(self, *arguments, **options)

        with monkeypatch.context() as patches:
            for name in ("put_file", "pipe_file"):
                write = getattr(type(store), name)
                patches.setattr(
                    type(store), name, lambda self, *a, write=write, **o: limited(self, *a, write=write, **o)
                )
            with pytest.raises(KeyboardInterrupt):
                files(VERSIONS[1]).save({"a.txt": b"new", "b.txt": b"new", "c.txt": b"new"})
        assert load_path(files()).split("/")[-2] == VERSIONS[0]
        assert files().load() == FILES
    files(VERSIONS[1]).save({"a.txt": b"new"})
    assert files().load() == {"a.txt": b"new"}


def test_what_is_read_again_is_fetched_once_and_what_this_machine_wrote_never(store, fetched):
    files(VERSIONS[0]).save(FILES)
    assert files().load() == FILES and not fetched
    forget_copies()
    for _ in range(3):
        assert files().load() == FILES
    assert sorted(fetched) == sorted(FILES)
    files(VERSIONS[1]).save(FILES)
    assert files().load() == FILES and len(fetched) == 3


def test_of_a_corrupted_set_only_the_conditions_that_are_read_are_fetched(store, fetched, image_set):
    dataset = CorruptedSetDataset(filepath="memory://bucket/cells")
    dataset.save(corrupted(image_set))
    forget_copies()
    loaded = dataset.load()
    assert_same(loaded.clean, image_set)
    for _ in range(2):
        pixels_of(loaded, CONDITIONS[1])
    assert fetched == ["manifest.json", "clean.npz", "gaussian_noise_severity_1.npz"]
    np.testing.assert_array_equal(
        pixels_of(dataset.load(), CONDITIONS[2]), pixels_of(corrupted(image_set), CONDITIONS[2])
    )


def test_a_killed_corruption_goes_on_with_the_unfinished_file(store, image_set, monkeypatch):
    dataset, written = CorruptedSetDataset(filepath="memory://bucket/cells"), []

    def interrupted(path, **members):
        written.append(path.name)
        if len(written) == 3:
            raise KeyboardInterrupt
        return write_npz(path, **members)

    from robustmedclip.io.npz import write_npz

    monkeypatch.setattr("robustmedclip.io.corrupted_set.write_npz", interrupted)
    with pytest.raises(KeyboardInterrupt):
        dataset.save(corrupted(image_set))
    assert not dataset.exists()
    dataset.save(corrupted(image_set))
    assert len(written) == 4
    assert_same(dataset.load().clean, image_set)


def test_a_file_that_is_damaged_where_it_lies_is_named(store):
    files(VERSIONS[0]).save(FILES)
    forget_copies()
    store.pipe_file(f"{load_path(files())}/b.txt", b"2x")
    where = f"memory:///files/{VERSIONS[0]}"
    with pytest.raises(InputError, match=f"{where}/files/b.txt is damaged: .* Delete {where}, and go on with"):
        FingerprintedCatalog({"files": files()}).load("files")


def test_a_damaged_copy_is_fetched_anew(store, fetched):
    files(VERSIONS[0]).save(FILES)
    (copy,) = machine_folder("copies").glob("*/files/b.txt")
    copy.write_bytes(b"2x")
    assert files().load() == FILES and fetched == ["b.txt"]


def test_two_writers_of_the_same_leave_one_whole_entry(store):
    version = Version(None, VERSIONS[0])
    catalogs = [
        FingerprintedCatalog({"files": FilesDataset(filepath="memory://bucket/f", version=version)}) for _ in "ab"
    ]
    for catalog in catalogs:
        catalog.fingerprints = {"files": "x"}
    catalogs[0].save("files", FILES)
    before = dict(store.store)
    catalogs[1].save("files", FILES)
    assert catalogs[1].load("files") == FILES and store.store == before


def test_the_catalog_asks_for_what_other_processes_have_written(store, tmp_path):
    catalog = FingerprintedCatalog({"files": files(VERSIONS[0])})
    catalog.fingerprints = {"files": "x"}
    assert not catalog.exists("files")
    store.dircache.use_listings_cache = True
    catalog.save("files", FILES)
    assert catalog.exists("files") and not store.dircache.use_listings_cache
    record = json.loads(store.cat_file(f"/files/{VERSIONS[0]}/.fingerprint"))
    assert record == {"fingerprint": "x", "blake2b": {}}
    assert address(files(), load_path(files())) == f"memory:///files/{VERSIONS[0]}/files"


def test_a_checkpoint_is_taken_up_again_and_gone_once_the_adapter_is_there(store, monkeypatch):
    monkeypatch.setattr("robustmedclip.io.checkpoint._SECONDS_BETWEEN_CHECKPOINTS", 0)
    entry = "memory://bucket/adapters/lora"
    state = TrainingState([{"epoch": 1, "loss": 0.5}], {}, {"weight": np.arange(3, dtype=np.float32)})
    for key in ("a", "b"):
        checkpoint = TrainingCheckpointDataset(filepath=entry).load()
        checkpoint.open(key)
        assert checkpoint.last() is None
        checkpoint.record({"epoch": 1, "loss": 0.5}, lambda: state)
        np.testing.assert_array_equal(checkpoint.last().arrays["weight"], [0, 1, 2])
    AdapterDataset(filepath=entry).save(Adapter({}, state.arrays, {"seed": 0}))
    assert checkpoint.last() is None
    np.testing.assert_array_equal(AdapterDataset(filepath=entry).load().weights["weight"], [0, 1, 2])


def test_copies_that_were_not_used_for_longest_give_way(store, image_set, monkeypatch):
    for name, hours in (("old", 5), ("older", 9), ("used", 0)):
        ImageSetDataset(filepath=f"memory://bucket/{name}.npz").save(image_set)
        (copy,) = machine_folder("copies").glob(f"*/{name}.npz")
        for path in (copy, copy.parent):
            os.utime(path, (path.stat().st_mtime - 3600 * hours,) * 2)
    free = iter([5, 15])
    monkeypatch.setattr("shutil.disk_usage", lambda folder: shutil._ntuple_diskusage(100, 0, next(free, 0)))
    make_room(3)
    names = {path.name for path in machine_folder("copies").glob("*/*")}
    assert names == {"old.npz", "used.npz"}
    make_room(3)
    assert {path.name for path in machine_folder("copies").glob("*/*")} == {"used.npz"}
