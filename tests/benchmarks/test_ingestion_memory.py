"""Peak memory of ingestion, search for duplicates and few-shot sampling, on files as large as the largest of the study.

Needs 12 GB of disk.
"""

import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest
import yaml
from medmnist import INFO
from numpy.lib import format as npy
from projects import ROOT, Project

LARGEST_BYTES = 2e9
SIDE, CLASSES = 224, ["CNV", "DME", "DRUSEN", "NORMAL"]
COUNTS = {"octmnist": INFO["octmnist"]["n_samples"], "oct": {"train": 91_615, "val": 16_694, "test": 1_000}}
MEASURED = """
import resource, subprocess, sys
code = subprocess.run(sys.argv[1:], stdout=sys.stderr).returncode
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(code)
"""


def images(count: int, seed: int) -> Iterator[np.ndarray]:
    """Grey images that differ, uint8 ``(<=1000, 224, 224)`` at a time."""
    rng = np.random.default_rng(seed)
    for start in range(0, count, 1000):
        tiles = rng.integers(0, 256, (min(1000, count - start), SIDE // 14, SIDE // 14), np.uint8)
        yield tiles.repeat(14, axis=1).repeat(14, axis=2)


def write_medmnist(file: Path) -> None:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for seed, (split, count) in enumerate(COUNTS["octmnist"].items()):
            with archive.open(f"{split}_images.npy", "w", force_zip64=True) as member:
                shape = (count, SIDE, SIDE)
                npy.write_array_header_1_0(member, {"descr": "|u1", "fortran_order": False, "shape": shape})
                for chunk in images(count, seed):
                    member.write(chunk)
            with archive.open(f"{split}_labels.npy", "w") as member:
                npy.write_array(member, (np.arange(count, dtype=np.uint8) % len(CLASSES))[:, None])


def write_medimeta(folder: Path) -> None:
    for name in ("splits", "task_labels"):
        (folder / name).mkdir(parents=True)
    total = sum(COUNTS["oct"].values())
    with h5py.File(folder / "images.hdf5", "w") as file:
        dataset = file.create_dataset("images", (total, SIDE, SIDE), np.uint8)
        for start, chunk in zip(range(0, total, 1000), images(total, seed=9), strict=True):
            dataset[start : start + 1000] = chunk
    rows = iter(np.random.default_rng(0).permutation(total))
    for split, count in COUNTS["oct"].items():
        lines = [f"images/{next(rows):06d}.tiff" for _ in range(count)]
        (folder / f"splits/{split}.txt").write_text("\n".join(lines))
    np.save(folder / "task_labels/disease class.npy", np.arange(total) % len(CLASSES))
    task = {
        "task_name": "disease class",
        "task_target": "MULTICLASS_CLASSIFICATION",
        "labels": dict(enumerate(CLASSES)),
    }
    (folder / "info.yaml").write_text(yaml.safe_dump({"id": "oct", "tasks": [task]}))


@pytest.fixture
def project() -> Iterator[Project]:
    with tempfile.TemporaryDirectory() as folder:
        yield Project(Path(folder))


@pytest.mark.parametrize("name", COUNTS)
def test_peak_memory(benchmark, project, name):
    raw = project.folder / "data/01_raw"
    (raw / "medmnist").mkdir(parents=True)
    write_medmnist(raw / "medmnist/octmnist_224.npz") if name == "octmnist" else write_medimeta(raw / "medimeta/oct")
    data_set = yaml.safe_load((ROOT / "conf/paper/benchmark.yml").read_text())["data_sets"][name]
    base = yaml.safe_load((ROOT / "conf/base/benchmark.yml").read_text())
    probe = {"method": "linear-probe", "models": "all", "fractions": [0.1]}
    project.configure({"data_sets": {name: data_set}, "models": base["models"], "adaptations": {"probe": probe}})
    command = [sys.executable, "-m", "kedro", "run", "--pipelines", "ingestion,few_shot"]

    def run() -> int:
        measured = [sys.executable, "-c", MEASURED, *command]
        done = subprocess.run(measured, cwd=project.folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-3000:]
        return 1024 * int(done.stdout)

    peak = benchmark.pedantic(run, rounds=1)
    benchmark.extra_info["peak memory, GB"] = peak / 1e9
    assert (
        len(next(project.folder.glob("data/05_model_input/few_shots/k10_s0.csv/*/*.csv")).read_text().splitlines())
        > 10_000
    )
    assert peak < LARGEST_BYTES
