"""The benchmark with its data on an object store, or on another disk."""

import re
import subprocess
import sys
import time
from pathlib import Path

import fsspec
import pytest
from object_store import object_store
from projects import ROOT, Project

PLAN = {
    "data_sets": {
        "oct": {
            "modality": "OCT",
            "source": {
                "type": "phantom",
                "anatomy": "oct",
                "domain": "hospital",
                "counts": {"train": 60, "test": 20},
                "seed": 0,
            },
        }
    },
    "corruptions": {"suite": "medimeta-c", "names": ["contrast"]},
    "models": {"phantom_vit": {"source": {"type": "open_clip", "path": "package:models/phantom_vit"}}},
    "adaptations": {
        "lora": {"method": "robust-lora", "models": "all", "fractions": [0.1], "rank": 2, "epochs": 1},
        "probe": {"method": "linear-probe", "models": "all", "fractions": [0.1]},
    },
    "shards": 2,
    "tracking": {"log_best_adapter": False},
}
#: What a version is called, and what lies beside it.
VERSION = re.compile(r"/\d{4}-[^/]*Z(?=/)")


@pytest.fixture(scope="module")
def bucket():
    with object_store() as url:
        yield url


def project_at(folder: Path, data: str) -> Project:
    """A project with the plan of these tests, whose data lie elsewhere."""
    folder.mkdir()
    project = Project(folder)
    project.configure(PLAN)
    (folder / "conf/local/globals.yml").write_text(f"data: {data}\n")
    return project


def stored(place: str) -> dict[str, bytes]:
    """Every file under a folder or URL, by its path without versions; hidden ones apart."""
    filesystem, root = fsspec.core.url_to_fs(place)
    paths = [path for path in filesystem.find(root) if "/." not in path.removeprefix(root)]
    return {VERSION.sub("", path.removeprefix(root)): filesystem.cat_file(path) for path in paths}


def test_a_benchmark_on_an_object_store_gives_the_bytes_of_one_on_another_disk(tmp_path, bucket):
    remote, local = project_at(tmp_path / "remote", bucket), project_at(tmp_path / "local", "../disk")
    result = remote.run("--pipeline", "benchmark")
    assert result.returncode == 0, result.stdout + result.stderr
    local.run_here("benchmark", to_outputs=["leaderboard"])
    files, expected = stored(bucket), stored(str(tmp_path / "disk"))
    assert {"/08_reporting/leaderboard.csv/leaderboard.csv", "/08_reporting/report.html/report.html"} <= files.keys()
    assert {name.split("/")[1] for name in expected} == {f"0{layer}_{name}" for layer, name in LAYERS.items()}
    assert {name: files.get(name) for name in expected} == expected
    for project in (remote, local):
        assert not [path for path in project.folder.glob("data/*/**/*") if ".checksums" not in path.parts]
    output = "".join((result.stdout + result.stderr).split())
    assert f"Thereport:{bucket}/08_reporting/report.html/" in output


LAYERS = {
    2: "intermediate",
    3: "primary",
    4: "feature",
    5: "model_input",
    6: "models",
    7: "model_output",
    8: "reporting",
}
