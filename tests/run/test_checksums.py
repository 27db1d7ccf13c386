"""What was stored and is damaged is named, and never read."""

import time
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from robustmedclip.errors import InputError
from robustmedclip.images import CLEAN, ImageSet
from robustmedclip.metrics.logits import Logits
from robustmedclip.run.catalog import FingerprintedCatalog

pytestmark = pytest.mark.slow

RNG = np.random.default_rng(0)
LABELS = np.arange(6, dtype=np.int64) % 2
IDS = np.array([f"{index}" for index in range(6)])
IMAGES = ImageSet(
    name="cells",
    split="test",
    modality="microscopy",
    class_names=("a", "b"),
    images=RNG.integers(0, 256, (6, 32, 32, 1), np.uint8),
    labels=LABELS,
    sample_ids=IDS,
)
LOGITS = Logits(
    model="clip",
    data_set="cells",
    modality="microscopy",
    class_names=("a", "b"),
    conditions=(CLEAN,),
    logits=RNG.normal(size=(1, 6, 2)).astype(np.float32),
    labels=LABELS,
    sample_ids=IDS,
)
ENTRIES = {
    "images": ("robustmedclip.io.ImageSetDataset", "images.npz", IMAGES),
    "logits": ("robustmedclip.io.LogitsDataset", "logits.npz", LOGITS),
    "files": ("robustmedclip.io.FilesDataset", "files", {"a.txt": b"some content"}),
    "table": ("pandas.CSVDataset", "table.csv", pd.DataFrame({"a": [1.5, 2.5], "b": ["x", "y"]})),
    "text": ("text.TextDataset", "report.md", "a report"),
    "card": ("json.JSONDataset", "card.json", {"name": "cells", "n": 6}),
}


def catalog_of(folder: Path, version: str = "1", fingerprint: str = "abc") -> FingerprintedCatalog:
    config = {
        name: {"type": kind, "filepath": str(folder / file), "versioned": True}
        for name, (kind, file, _) in ENTRIES.items()
    }
    catalog = FingerprintedCatalog.from_config(config, save_version=version)
    catalog.fingerprints = dict.fromkeys(ENTRIES, fingerprint)
    return catalog


@pytest.mark.parametrize("name", ENTRIES)
def test_a_flipped_bit_is_named_with_its_file_and_what_to_do(tmp_path, name):
    catalog_of(tmp_path).save(name, ENTRIES[name][2])
    catalog_of(tmp_path).load(name)
    for file in (file for file in tmp_path.rglob("*") if file.is_file() and not file.name.startswith(".")):
        for place in {0, file.stat().st_size // 2, file.stat().st_size - 1}:
            content = bytearray(file.read_bytes())
            content[place] ^= 1
            file.write_bytes(content)
            with pytest.raises(InputError, match=f"'{name}' is damaged: {file} is not what was written.*only-missing"):
                catalog_of(tmp_path).load(name)
            content[place] ^= 1
            file.write_bytes(content)
    catalog_of(tmp_path).load(name)


def test_a_file_that_is_gone_from_a_version_is_named(tmp_path):
    catalog_of(tmp_path).save("files", {"a": b"1", "b": b"2"})
    next(tmp_path.rglob("b")).unlink()
    with pytest.raises(InputError, match="/b is not what was written"):
        catalog_of(tmp_path).load("files")


def test_a_version_is_verified_once_a_process(tmp_path, monkeypatch):
    catalog = catalog_of(tmp_path)
    catalog.save("images", IMAGES)
    later, calls = catalog_of(tmp_path), []
    monkeypatch.setattr("robustmedclip.run.catalog.damaged_files", lambda *arguments: calls.append(arguments))
    later.load("images")
    later.load("images")
    assert len(calls) == 1


def test_what_another_run_has_finished_meanwhile_is_taken_as_it_is(tmp_path, caplog):
    catalog_of(tmp_path).save("files", {"a": b"1"})
    with caplog.at_level("INFO"):
        catalog_of(tmp_path).save("files", {"a": b"2"})
    assert catalog_of(tmp_path).load("files") == {"a": b"1"}
    assert "Another run has finished 'files'" in caplog.text


def write_slowly(folder: str, version: str, started) -> None:
    class Slow(dict):
        def items(self):
            started.set()
            time.sleep(1)
            return super().items()

    catalog_of(Path(folder), version).save("files", Slow({"a": version.encode()}))


def test_a_second_run_waits_until_the_first_has_written(tmp_path):
    context = get_context("spawn")
    started = context.Event()
    first = context.Process(target=write_slowly, args=(str(tmp_path), "1", started))
    first.start()
    assert started.wait(60)
    catalog_of(tmp_path, "2").save("files", {"a": b"2"})
    first.join(60)
    assert first.exitcode == 0
    assert [path.read_bytes() for path in sorted(tmp_path.rglob("a"))] == [b"1", b"2"]


def test_a_run_that_was_killed_while_it_wrote_keeps_nobody_waiting(tmp_path):
    context = get_context("spawn")
    started = context.Event()
    first = context.Process(target=write_slowly, args=(str(tmp_path), "1", started))
    first.start()
    assert started.wait(60)
    first.kill()
    first.join(60)
    began = time.monotonic()
    catalog_of(tmp_path, "2").save("files", {"a": b"2"})
    assert time.monotonic() - began < 4
    assert catalog_of(tmp_path).load("files") == {"a": b"2"}
