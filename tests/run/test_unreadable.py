"""Images that can't be read are named for all data sets at once, before a run makes anything."""

import logging

import numpy as np
import pandas as pd
import pytest
from kedro.io import DataCatalog
from kedro.pipeline import Node
from PIL import Image

from robustmedclip.io import FolderDataset
from robustmedclip.plan import names
from robustmedclip.run import unreadable
from robustmedclip.run.unreadable import unreadable_images


@pytest.fixture
def catalog(tmp_path) -> DataCatalog:
    """Two data sets of 30 pictures each, and the nodes' names for them."""
    rng, entries = np.random.default_rng(0), {}
    for name in ("skin", "lung"):
        (tmp_path / name).mkdir()
        files = [f"{index:02d}.png" for index in range(30)]
        for file in files:
            Image.fromarray(rng.integers(0, 256, (30, 30), np.uint8)).save(tmp_path / name / file)
        table = {"file": files, "label": ["a", "b", "b"] * 10, "split": ["train", "train", "test"] * 10}
        table["label"][2::6] = ["a"] * 5
        pd.DataFrame(table).to_csv(tmp_path / name / "labels.csv", index=False)
        settings = {"name": name, "modality": "photo", "filepath": str(tmp_path / name), "class_names": ["a", "b"]}
        entries[names.raw(name)] = FolderDataset(**settings)
    return DataCatalog(entries)


NODES = [Node(lambda images: images, names.raw(name), name, name=name) for name in ("skin", "lung")]


def cut_off(file) -> None:
    """Leave the header, and half of the pixels."""
    file.write_bytes(file.read_bytes()[:500])


def test_of_all_data_sets_whatever_can_not_be_read_is_listed(tmp_path, catalog):
    assert unreadable_images(NODES, catalog) == []
    for index in range(0, 28, 2):
        cut_off(tmp_path / f"skin/{index:02d}.png")
    cut_off(tmp_path / "lung/29.png")
    (tmp_path / "lung/05.png").write_bytes(b"")
    lung, skin = unreadable_images(NODES, catalog)
    assert lung.startswith("raw lung: 2 of 30 images can't be read: ")
    assert f"{tmp_path}/lung/05.png is empty" in lung and f"{tmp_path}/lung/29.png can't be read" in lung
    assert skin.startswith("raw skin: 14 of 30 images can't be read: ") and "and 3 more)" in skin
    assert unreadable_images(NODES[:1], catalog) == [skin]


def test_of_a_data_set_that_takes_too_long_the_headers_are_looked_at(tmp_path, catalog, monkeypatch, caplog):
    cut_off(tmp_path / "skin/29.png")
    monkeypatch.setattr(unreadable, "MOST_SECONDS", -1)
    monkeypatch.setattr(unreadable, "_BATCH", 5)
    with caplog.at_level(logging.INFO, "robustmedclip.run"):
        assert unreadable_images(NODES, catalog) == []
    assert "'skin', train images: to read all 20 would take about" in caplog.text
    (tmp_path / "skin/28.png").write_bytes(b"")
    assert len(unreadable_images(NODES, catalog)) == 1
