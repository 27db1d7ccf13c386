"""Files of sources and models: changed and damaged ones are told apart; equal ones are equal, whatever their times."""

import hashlib
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from model_sources import open_clip_dataset
from PIL import Image
from projects import ROOT
from released_collections import write_medimeta

from robustmedclip.errors import InputError
from robustmedclip.io import FolderDataset, MedIMetaDataset, NpzDataset
from robustmedclip.run.catalog import FingerprintedCatalog
from robustmedclip.run.contents import Contents

SETTINGS = {"name": "cells", "modality": "microscopy", "class_names": ["a", "b"]}


def hdf5(folder: Path) -> tuple[MedIMetaDataset, Path]:
    write_medimeta(folder, "pbc", "cell class", ["a", "b"])
    return MedIMetaDataset(filepath=str(folder), id="pbc", task="cell class", **SETTINGS), folder / "pbc/images.hdf5"


def safetensors(folder: Path) -> tuple[object, Path]:
    shutil.copytree(ROOT / "src/robustmedclip/models/phantom_vit", folder / "vit")
    return open_clip_dataset(path=str(folder / "vit")), folder / "vit/open_clip_model.safetensors"


def images(folder: Path) -> tuple[FolderDataset, Path]:
    for index in range(8):
        file = folder / "images" / SETTINGS["class_names"][index % 2] / f"{index}.bmp"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((32, 32), 20 * index, np.uint8)).save(file)
    return FolderDataset(filepath=str(folder / "images"), labels=None, **SETTINGS), folder / "images/b/3.bmp"


def arrays(folder: Path) -> tuple[NpzDataset, Path]:
    pair = {"images": np.zeros((4, 32, 32), np.uint8), "labels": np.arange(4) % 2}
    np.savez(
        folder / "a.npz", **{f"{split}_{key}": array for split in ("train", "test") for key, array in pair.items()}
    )
    return NpzDataset(filepath=str(folder / "a.npz"), **SETTINGS), folder / "a.npz"


@pytest.fixture(params=[hdf5, safetensors, images, arrays])
def entry(tmp_path, request):
    (tmp_path / "source").mkdir()
    return request.param(tmp_path / "source")


def flip(file: Path, keep_time: bool) -> None:
    """Flip a bit in the last third of a file."""
    status, content = file.stat(), bytearray(file.read_bytes())
    content[len(content) * 2 // 3] ^= 16
    file.write_bytes(content)
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns if keep_time else status.st_mtime_ns + 10**9))


def begun(project: Path, dataset: object) -> tuple[FingerprintedCatalog, object]:
    """The catalog of a run that has begun, and the checksums that it starts from."""
    catalog = FingerprintedCatalog({"raw-x": dataset})
    catalog.contents = Contents(project)
    return catalog, catalog.contents.checksums("raw-x", dataset.paths())


def test_a_flipped_bit_is_named_before_the_next_run_though_size_and_time_are_kept(tmp_path, entry):
    dataset, file = entry
    begun(tmp_path, dataset)
    flip(file, keep_time=True)
    message = rf"'raw x' is probably damaged: {file} \(taken on 20\d\d-\d\d-\d\d\) has another content.*original back"
    for _ in range(2):
        with pytest.raises(InputError, match=message):
            begun(tmp_path, dataset)
    flip(file, keep_time=True)
    begun(tmp_path, dataset)


def test_a_flipped_bit_that_no_time_shows_is_named_when_the_file_is_loaded(tmp_path, entry, monkeypatch):
    dataset, file = entry
    begun(tmp_path, dataset)
    flip(file, keep_time=True)
    monkeypatch.setattr("robustmedclip.run.contents.Content.is_untouched", lambda content, status: True)
    catalog, _ = begun(tmp_path, dataset)
    with pytest.raises(InputError, match=f"'raw x' is probably damaged: {file} "):
        catalog.load("raw-x")


def test_a_file_that_is_changed_during_the_run_is_named(tmp_path, entry):
    dataset, file = entry
    catalog, _ = begun(tmp_path, dataset)
    flip(file, keep_time=False)
    with pytest.raises(InputError, match=rf"'raw x' was changed during the run \({file}\): run again"):
        catalog.load("raw-x")


def test_a_changed_file_is_said_once_and_counts_as_new(tmp_path, entry, caplog):
    dataset, file = entry
    _, before = begun(tmp_path, dataset)
    flip(file, keep_time=False)
    assert caplog.text == ""
    _, after = begun(tmp_path, dataset)
    assert after != before
    assert "'raw x' is not as it was first taken (20" in caplog.text
    assert f"what was made of it is stale. changed: {file.relative_to(tmp_path)}" in caplog.text
    caplog.clear()
    assert begun(tmp_path, dataset)[1] == after and caplog.text == ""


def test_a_damaged_file_is_accepted_after_touch(tmp_path, entry):
    dataset, file = entry
    _, before = begun(tmp_path, dataset)
    flip(file, keep_time=True)
    file.touch()
    assert begun(tmp_path, dataset)[1] != before


def test_files_that_come_and_go_are_said(tmp_path, caplog):
    dataset, file = images(tmp_path)
    begun(tmp_path, dataset)
    file.rename(file.with_name("9.bmp"))
    begun(tmp_path, dataset)
    assert "stale. new: images/b/9.bmp; gone: images/b/3.bmp" in caplog.text


def test_equal_files_are_equal_whatever_their_times_and_wherever_they_are(tmp_path, entry, caplog):
    dataset, file = entry
    _, before = begun(tmp_path, dataset)
    file.touch()
    assert begun(tmp_path, dataset)[1] == before
    shutil.copyfile(file, file.with_name("copy"))
    file.with_name("copy").rename(file)
    assert begun(tmp_path, dataset)[1] == before
    assert begun(tmp_path / "elsewhere", dataset)[1] == before
    assert caplog.text == ""


def test_an_untouched_file_is_read_once_and_again_when_it_is_loaded(tmp_path, entry, monkeypatch):
    dataset, _ = entry
    reads, file_digest = [], hashlib.file_digest
    monkeypatch.setattr(
        "robustmedclip.run.contents.hashlib.file_digest",
        lambda file, kind: reads.append(file.name) or file_digest(file, kind),
    )
    catalog, _ = begun(tmp_path, dataset)
    files = len(reads)
    catalog.contents.verify("raw-x", dataset.paths())
    assert len(reads) == files == len(set(reads)) > 0
    catalog, _ = begun(tmp_path, dataset)
    assert len(reads) == files
    catalog.contents.verify("raw-x", dataset.paths())
    catalog.contents.verify("raw-x", dataset.paths())
    assert len(reads) == 2 * files


def test_a_record_that_is_damaged_or_cannot_be_written_stops_no_run(tmp_path, caplog):
    dataset, _ = arrays(tmp_path)
    _, before = begun(tmp_path, dataset)
    for record in (tmp_path / "data/.checksums").iterdir():
        record.write_text('{"a.npz": {"blake2b": 1}}')
    assert begun(tmp_path, dataset)[1] == before
    (tmp_path / "no_folder").touch()
    assert begun(tmp_path / "no_folder", dataset)[1] == before
    assert "The checksums of 'raw x' can't be kept in" in caplog.text


def test_two_places_of_one_entry_have_records_of_their_own(tmp_path, caplog):
    for place in ("here", "there"):
        (tmp_path / place).mkdir()
    here, there = (arrays(tmp_path / place)[0] for place in ("here", "there"))
    for dataset in (here, there, here):
        begun(tmp_path, dataset)
    assert caplog.text == "" and len(list((tmp_path / "data/.checksums").iterdir())) == 2
