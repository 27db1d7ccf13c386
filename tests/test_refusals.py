"""What is wrong with a plan, its data, its models or the disk is said, and leaves nothing half-done."""

import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from platforms import posix_only
from projects import Project
from safetensors.torch import load_file, save_file
from small_benchmark import PHANTOM, PLAN, new_project

pytestmark = pytest.mark.slow


@pytest.fixture
def fresh_project(tmp_path) -> Project:
    return new_project(tmp_path)


def test_every_wrong_name_is_reported_before_anything_is_done(fresh_project):
    fresh_project.configure(
        {**PLAN, "corruptions": {"suite": "medimeta-c", "names": ["gausian_noise"]}, "baseline": "phantom_vitt"}
    )
    result = fresh_project.run("--pipeline", "benchmark")
    output = " ".join((result.stdout + result.stderr).split())
    assert result.returncode != 0
    assert "did you mean 'gaussian_noise'?" in output and "did you mean 'phantom_vit'?" in output
    assert not fresh_project.stored()


def test_a_file_that_cannot_be_read_is_named_in_a_line(fresh_project):
    (fresh_project.folder / "conf/local/benchmark.yml").write_text("models:\n\tclip: 3\n")
    result = fresh_project.run("--pipeline", "benchmark")
    output = " ".join((result.stdout + result.stderr).split())
    assert result.returncode != 0 and "Traceback" not in output
    assert "conf/local/benchmark.yml, line 2, column 1: found character" in output


def test_every_bad_source_is_reported_before_anything_is_done(fresh_project):
    table = pd.read_csv(fresh_project.folder / "squares/labels.csv")
    table.loc[3, "label"] = "triangle"
    table.loc[4, "file"] = "gone.png"
    table.to_csv(fresh_project.folder / "squares/labels.csv", index=False)
    result = fresh_project.run("--pipeline", "benchmark")
    output = result.stdout + result.stderr
    assert result.returncode != 0
    assert "'triangle' (3.png)" in output and "gone.png" in output
    assert not fresh_project.stored()


def test_classes_that_only_a_source_knows_are_compared_before_anything_is_done(fresh_project):
    def phantom(anatomy: str) -> dict:
        counts = {"train": 16, "test": 16}
        return {"type": "phantom", "anatomy": anatomy, "domain": "hospital", "counts": counts, "seed": 0, "size": 32}

    data_sets = {
        "blood": {"modality": "x", "source": phantom("blood"), "synonyms": {"lymphocites": ["lymphoid cell"]}},
        "oct": {"modality": "y", "source": phantom("oct")},
    }
    fresh_project.configure({**PLAN, "data_sets": data_sets, "shift": [{"of": "blood", "to": "oct"}]})
    result = fresh_project.run("--pipeline", "benchmark")
    output = " ".join((result.stdout + result.stderr).split())
    assert result.returncode != 0
    assert "data_sets.blood.synonyms: unknown 'lymphocites'; did you mean 'lymphocyte" in output
    assert "shift: 'blood' and 'oct' have other classes" in output
    assert not fresh_project.stored()


def test_every_bad_model_is_reported_before_anything_is_done(fresh_project):
    good = fresh_project.folder / "src/robustmedclip/models/phantom_vit"
    weights = load_file(good / "open_clip_model.safetensors")
    content = (good / "open_clip_model.safetensors").read_bytes()

    def copy(name: str) -> Path:
        folder = Path(shutil.copytree(good, fresh_project.folder / name))
        (folder / "open_clip_model.safetensors").unlink()
        return folder

    copy("empty")
    (copy("truncated") / "open_clip_model.safetensors").write_bytes(content[:-1000])
    save_file({**weights, "visual.proj": weights["visual.proj"] * np.nan}, copy("nan") / "model.safetensors")
    save_file({**weights, "extra": weights["visual.proj"].clone()}, copy("left_over") / "model.safetensors")
    save_file({k: v for k, v in weights.items() if k != "visual.proj"}, copy("lacking") / "model.safetensors")
    shutil.copy(good.with_name("phantom_resnet") / "open_clip_model.safetensors", copy("other") / "model.safetensors")
    (copy("code") / "pytorch_model.bin").write_bytes(b"cposix\nsystem\n(S'touch ran'\ntR.")
    models = {
        folder: {"path": folder} for folder in ("empty", "truncated", "nan", "left_over", "lacking", "other", "code")
    }
    models["unreachable"] = {"model": "hf-hub:nobody/nothing"}
    dataset = "open_clip"
    added = {name: {"source": {"type": dataset, **source}} for name, source in models.items()}
    fresh_project.configure(
        {**PLAN, "models": {"phantom_vit": {"source": {"type": dataset, "path": str(good)}}, **added}}
    )
    result = fresh_project.run("--pipeline", "benchmark")
    assert result.returncode != 0
    found = dict(re.findall(r"- model (\w+): (.*)", result.stdout + result.stderr))
    for name, message in {
        "empty": "it has none of open_clip_model.safetensors",
        "truncated": "is damaged or cut off: get it again",
        "nan": "are not finite: visual.proj. Get an undamaged copy",
        "left_over": "1 left over (extra)",
        "lacking": "1 missing (visual.proj)",
        "other": "they are of another architecture",
        "code": "holds Python objects, which could be code and are not loaded",
        "unreachable": "can't be downloaded, and is not in the cache",
    }.items():
        assert message in found.pop(name), name
    assert not found
    assert not (fresh_project.folder / "ran").exists()
    assert not fresh_project.stored()


def test_a_disk_that_is_too_small_is_found_before_anything_is_done(fresh_project):
    huge = {**PHANTOM, "size": 1024, "counts": {"train": 80, "test": 100_000_000}}
    fresh_project.configure({**PLAN, "data_sets": {"huge": {"modality": "retinal OCT", "source": huge}}})
    result = fresh_project.run("--pipeline", "benchmark")
    output = " ".join((result.stdout + result.stderr).split())
    assert result.returncode != 0
    assert re.search(r"the corrupted test sets take [\d.]+ GB, and [\d.]+ GB are free", output)
    assert not fresh_project.stored()


def test_a_stage_without_its_inputs_says_which_pipeline_makes_them(fresh_project):
    result = fresh_project.run("--pipeline", "evaluation")
    output = " ".join((result.stdout + result.stderr).split())
    assert result.returncode != 0
    assert "corrupted squares does not exist; the pipeline 'corruption' makes it" in output
    assert not fresh_project.stored()


def test_an_unreadable_image_stops_the_run_and_leaves_no_half_written_file(fresh_project):
    (fresh_project.folder / "squares/7.png").write_bytes(b"not an image")
    result = fresh_project.run("--pipeline", "benchmark")
    assert result.returncode != 0
    assert "7.png is in no format that is read" in result.stdout + result.stderr
    assert not list(fresh_project.folder.glob("data/*/*/squares*/**/*"))


@posix_only
def test_a_full_disk_leaves_no_half_written_file(fresh_project):
    """A limit on the size of files stands in for the disk's."""
    big = {**PHANTOM, "counts": {"train": 400, "test": 24}}
    fresh_project.configure({**PLAN, "data_sets": {"big": {"modality": "retinal OCT", "source": big}}})
    result = fresh_project.run_apart("--pipelines", "ingestion", prefix="ulimit -f 1200; ")
    output = " ".join((result.stdout + result.stderr).split())
    assert result.returncode != 0
    assert "No space left while writing 'pool-big'" in output
    assert not [path for folder in fresh_project.stored() for path in folder.rglob("*") if path.is_file()]
