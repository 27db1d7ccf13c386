"""The benchmark with its data on an object store, or on another disk."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import fsspec
import pytest
from kedro.io.core import Version
from model_sources import model_dataset
from object_store import object_store
from platforms import posix_only
from projects import Project, without_figures
from published import write_clip, write_text_tower, write_transformers, write_unimedclip

import robustmedclip.models
from robustmedclip.commands.import_model import import_model
from robustmedclip.errors import InputError
from robustmedclip.io import FilesDataset
from robustmedclip.run.catalog import FingerprintedCatalog
from robustmedclip.run.contents import Contents
from robustmedclip.run.fingerprint_hook import input_fingerprint
from robustmedclip.run.writable import store_problems

pytestmark = pytest.mark.slow

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
MODEL = "s3://bucket/models/phantom_vit"
LAYERS = {
    2: "intermediate",
    3: "primary",
    4: "feature",
    5: "model_input",
    6: "models",
    7: "model_output",
    8: "reporting",
}
#: What a version is called, and what lies beside it.
VERSION = re.compile(r"/\d{4}-[^/]*Z(?=/)")
PAGE = "/08_reporting/latest.html"
#: What the newest page says of the run that made it: when, and how long it took.
RUN = re.compile(rb"<p>Run \d{4}-[^<]*</p>")


@pytest.fixture(scope="module")
def bucket():
    with object_store() as url:
        yield url


def project_at(folder: Path, data: str, plan: dict[str, Any]) -> Project:
    """A project whose data lie elsewhere."""
    folder.mkdir()
    project = Project(folder)
    project.configure(plan)
    (folder / "conf/local/globals.yml").write_text(f"data: {data}\n")
    return project


def stored(place: str) -> dict[str, bytes]:
    """Files under a folder or URL by its path without versions: no hidden ones, nor what a page says of its run."""
    filesystem, root = fsspec.core.url_to_fs(place)
    paths = [path for path in filesystem.find(root) if "/." not in path.removeprefix(root)]
    files = {VERSION.sub("", path.removeprefix(root)): filesystem.cat_file(path) for path in paths}
    if page := files.get(PAGE):
        files[PAGE], told = RUN.subn(b"", page)
        assert told == 1
    return files


def test_a_benchmark_on_an_object_store_gives_the_bytes_of_one_on_another_disk(tmp_path, bucket):
    fsspec.filesystem("s3").put(str(Path(robustmedclip.models.__file__).parent / "phantom_vit"), MODEL, recursive=True)
    models = {"phantom_vit": {"source": {"type": "open_clip", "path": MODEL}}}
    remote = project_at(tmp_path / "remote", bucket, PLAN | {"models": models})
    local = project_at(tmp_path / "local", "../disk", PLAN)
    with without_figures():
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
    assert re.search(rf"Thereport,after\w+:{bucket}/08_reporting/latest.html", output)


@posix_only
def test_a_killed_put_leaves_nothing_that_counts(bucket):
    entry = f"{bucket}/killed"
    code = (
        "from robustmedclip.io import FilesDataset;"
        f"FilesDataset(filepath={entry!r}).save({{str(number): bytes(2**18) for number in range(500)}})"
    )
    filesystem = fsspec.filesystem("s3")
    with subprocess.Popen([sys.executable, "-c", code]) as process:
        while process.poll() is None and len(filesystem.find(entry, refresh=True)) < 3:
            time.sleep(0.05)
        process.kill()
    assert process.returncode == -signal.SIGKILL
    assert 3 <= len(filesystem.find(entry, refresh=True)) < 500
    dataset = FilesDataset(filepath=entry)
    assert not dataset.exists()
    dataset.save({"0": b""})
    assert dataset.load() == {"0": b""}


def test_a_bucket_that_cannot_be_written_to_is_named(bucket):
    places = {name: f"s3://nowhere/study/{name}" for name in ("cards", "tables")} | {"files": f"{bucket}/files"}
    version = Version(None, None)
    catalog = FingerprintedCatalog(
        {name: FilesDataset(filepath=place, version=version) for name, place in places.items()}
    )
    (problem,) = store_problems(["cards", "tables"], catalog)
    assert "s3://nowhere/study can't be written to (The specified bucket does not exist): check 'data' in" in problem
    before = stored(bucket)
    assert store_problems(["files"], catalog) == [] and stored(bucket) == before


@pytest.fixture
def published(tmp_path, bucket):
    """A model in each format that ships but the study's, small and random; sources at a URL, by their format."""
    folder = tmp_path / "published"
    folder.mkdir()
    write_clip(folder / "open_clip", "vit")
    write_transformers(folder / "transformers", "siglip")
    write_unimedclip(folder / "unimed_clip_vit_b16.pt", write_text_tower(folder / "bert"))
    fsspec.filesystem("s3").put(str(folder), f"{bucket}/models", recursive=True)

    def sources(place: str) -> dict[str, dict[str, str]]:
        checkpoint = {"weights": f"{place}/unimed_clip_vit_b16.pt", "text": f"{place}/bert"}
        return {
            "open_clip": {"type": "open_clip", "path": f"{place}/open_clip"},
            "transformers": {"type": "transformers", "model": f"{place}/transformers"},
            "checkpoint": {"type": "checkpoint", "layout": "unimedclip", **checkpoint},
        }

    return sources(str(folder)), sources(f"{bucket}/models")


def test_models_of_every_format_are_read_from_an_object_store(tmp_path, monkeypatch, published):
    (tmp_path / "machine").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "machine"))
    for local, remote in zip(*map(dict.values, published), strict=True):
        dataset = model_dataset(remote)
        assert dataset.problems() == [] and dataset.missing() is None
        assert dataset.load().content_hash() == model_dataset(local).load().content_hash()
    source = import_model(published[1]["checkpoint"], tmp_path / "imported")
    assert model_dataset(source).load().content_hash() == dataset.load().content_hash()


def test_a_model_on_an_object_store_is_fetched_once_and_told_by_its_content(tmp_path, monkeypatch, bucket):
    (tmp_path / "machine").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "machine"))
    store, folder = fsspec.filesystem("s3"), f"{bucket}/told/clip"
    write_clip(tmp_path / "clip", "vit")
    store.put(str(tmp_path / "clip"), folder, recursive=True)

    def fingerprint():
        catalog = FingerprintedCatalog({"model-clip": model_dataset({"type": "open_clip", "path": folder})})
        catalog.contents = Contents(tmp_path)
        return catalog, input_fingerprint("model-clip", catalog, tmp_path)

    catalog, before = fingerprint()
    (weights,) = Path(catalog["model-clip"].paths()[0]).glob("*.bin")
    content, times = bytearray(weights.read_bytes()), weights.stat()
    assert fingerprint()[1] == before and catalog.load("model-clip") and weights.stat().st_ino == times.st_ino
    content[-1] ^= 1
    weights.write_bytes(content)
    os.utime(weights, ns=(times.st_atime_ns, times.st_mtime_ns))
    with pytest.raises(InputError, match=f"damaged: {weights} .* delete it: it is a copy"):
        fingerprint()[0].load("model-clip")
    store.pipe_file(f"{folder}/{weights.name}", bytes(content))
    assert fingerprint()[1] != before


def test_a_model_that_is_not_on_the_object_store_is_named_by_its_url(bucket):
    dataset = model_dataset({"type": "open_clip", "path": f"{bucket}/absent"})
    assert dataset.problems() == [f"there is no {bucket}/absent"] and dataset.missing() == dataset.problems()[0]
    with pytest.raises(InputError, match="nowhere://model can't be fetched .Protocol not known"):
        model_dataset({"type": "transformers", "model": "nowhere://model"}).problems()


@pytest.mark.full
def test_the_default_benchmark_by_two_workers_or_two_nodes_at_a_time_gives_the_bytes_of_one_process(tmp_path, bucket):
    remote = project_at(tmp_path / "remote", f"{bucket}/default", {})
    local, spread = (project_at(tmp_path / name, "data", {}) for name in ("local", "spread"))
    workers = ["--runner", "robustmedclip.run.DaskRunner", "--runner-params=cluster.workers=2,cluster.threads=1"]
    sequential = ["--runner", "SequentialRunner"]
    for project, runner in ((remote, workers), (local, sequential), (spread, [])):
        result = project.run_apart("--pipeline", "benchmark", *runner)
        assert result.returncode == 0, result.stdout + result.stderr
    assert not [path for path in remote.folder.glob("data/*/**/*") if ".checksums" not in path.parts]
    expected = stored(str(local.folder / "data"))
    for files in (stored(f"{bucket}/default"), stored(str(spread.folder / "data"))):
        assert files.keys() == expected.keys()
        assert [name for name in expected if files[name] != expected[name]] == []
