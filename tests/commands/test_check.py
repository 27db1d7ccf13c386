"""The dry run: what is present, missing or damaged, found by reading everything."""

import hashlib

import numpy as np
import pytest
from medmnist import INFO

from robustmedclip.commands.check import as_text, check_entries
from robustmedclip.io import MedMNISTDataset, NpzDataset, OpenCLIPDataset, ReleasedSetDataset


def arrays(side: int = 128) -> dict[str, np.ndarray]:
    rng, made = np.random.default_rng(0), {}
    for split in ("train", "val", "test"):
        made[f"{split}_images"] = rng.integers(0, 256, (20, side, side), np.uint8)
        made[f"{split}_labels"] = (np.arange(20, dtype=np.uint8) % 2)[:, None]
    return made


@pytest.fixture
def entries(tmp_path):
    """A source and a release that are whole."""
    np.savez(tmp_path / "own.npz", **arrays())
    np.savez(tmp_path / "breastmnist_128.npz", **arrays())
    (tmp_path / "release/test").mkdir(parents=True)
    for condition in ("clean", *(f"pixelate_severity_{severity}" for severity in range(1, 6))):
        np.savez(tmp_path / f"release/test/{condition}.npz", images=arrays()["test_images"], labels=np.arange(20) % 2)
    conditions = ["clean", *(f"pixelate_severity_{severity}" for severity in range(1, 6))]
    return {
        "raw-own": NpzDataset(name="own", modality="x", filepath=str(tmp_path / "own.npz"), class_names=["a", "b"]),
        "raw-breast": MedMNISTDataset(
            name="breast", modality="x", filepath=str(tmp_path), flag="breastmnist", size=128, download=True
        ),
        "released-own": ReleasedSetDataset(
            filepath=str(tmp_path / "release"), suite="medimeta-c", conditions=conditions
        ),
        "model-clip": OpenCLIPDataset(path=str(tmp_path / "clip")),
    }


def statuses(entries) -> dict[str, str]:
    return {name: status for name, status, _ in check_entries(entries, entries.get)}


def test_what_is_whole_is_present_and_other_bytes_than_the_official_ones_are_not(tmp_path, entries, monkeypatch):
    assert statuses(entries) == {
        "raw-own": "present",
        "raw-breast": "damaged",
        "released-own": "present",
        "model-clip": "missing",
    }
    digest = hashlib.md5((tmp_path / "breastmnist_128.npz").read_bytes()).hexdigest()
    monkeypatch.setitem(INFO["breastmnist"], "MD5_128", digest)
    assert statuses(entries)["raw-breast"] == "present"


def test_a_changed_pixel_is_found_and_nothing_is_downloaded(tmp_path, entries, monkeypatch):
    for file in (tmp_path / "own.npz", tmp_path / "release/test/pixelate_severity_4.npz"):
        content = bytearray(file.read_bytes())
        content[200_000] ^= 1
        file.write_bytes(content)
    (tmp_path / "breastmnist_128.npz").unlink()
    before = sorted(tmp_path.rglob("*"))
    found = {name: (status, text) for name, status, text in check_entries(entries, entries.get)}
    assert found["raw-own"][0] == "damaged" and "own.npz" in found["raw-own"][1]
    assert found["raw-breast"][0] == "missing"
    assert "zenodo" in found["raw-breast"][1] and "or let the run download it" in found["raw-breast"][1]
    assert found["released-own"][0] == "damaged" and "severity_4.npz" in found["released-own"][1]
    assert sorted(tmp_path.rglob("*")) == before


def test_the_table_has_a_line_per_entry(entries):
    lines = as_text(check_entries(entries, entries.get)).splitlines()
    assert len(lines) == 5
    assert "raw own" in lines[1] and "train 20, val 20, test 20; 128 x 128 x 1; 2 classes" in lines[1]
