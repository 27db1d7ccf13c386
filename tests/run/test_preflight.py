"""What is found and said before a run begins: stale inputs, and what it costs."""

import logging
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from content import content_of
from kedro.framework.project import configure_project
from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project
from model_sources import open_clip_dataset
from PIL import Image
from projects import CLASSES, ROOT, Project

from robustmedclip.errors import InputError
from robustmedclip.io import FolderDataset, PhantomDataset
from robustmedclip.models.batch_size import BATCH_SIZE
from robustmedclip.models.inference import image_features, images_per_second
from robustmedclip.models.open_clip import load_open_clip
from robustmedclip.pipelines import evaluation
from robustmedclip.plan.plan import Plan
from robustmedclip.run.catalog import FingerprintedCatalog
from robustmedclip.run.costs import disk_problems, model_problems
from robustmedclip.run.fingerprint_hook import relative_to_project

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def context(tmp_path_factory):
    project = Project(tmp_path_factory.mktemp("project"))
    bootstrap_project(project.folder)
    with KedroSession.create(project.folder, env="base") as session:
        yield session.load_context()
    configure_project("robustmedclip")


class Squares(Project):
    """A project with sixteen squares for data."""

    def __init__(self, folder: Path):
        super().__init__(folder)
        self.data_set = self.draw_squares(16)
        self.track(f"sqlite:///{folder}/mlflow.db", "squares")
        self.plan()

    def plan(self, modality="drawing", corruption="contrast", classes=CLASSES) -> None:
        models = yaml.safe_load((ROOT / "conf/base/benchmark.yml").read_text())["models"]
        del models["phantom_resnet"]
        self.configure(
            {
                "data_sets": {"squares": {**self.data_set, "modality": modality, "classes": list(classes)}},
                "corruptions": {"suite": "medimeta-c", "names": [corruption]},
                "models": models,
                "adaptations": {},
            }
        )

    def refusal(self, *pipelines: str, **filters: Any) -> str:
        with pytest.raises(InputError) as error:
            self.run_here(*pipelines, **filters)
        return error.value.message


@pytest.fixture
def squares(tmp_path) -> Squares:
    return Squares(tmp_path)


def test_what_was_made_of_another_plan_is_not_read(squares):
    squares.run_here("corruption")
    squares.plan(corruption="pixelate")
    message = squares.refusal("evaluation")
    assert "corrupted squares: of another plan" in message and "kedro run --pipelines corruption;" in message
    assert "corrupted squares: of another plan" in squares.refusal("evaluation", only_missing_outputs=True)
    for change in ({"modality": "photograph"}, {"classes": ["dark square", "light"]}):
        squares.plan(**change)
        assert "kedro run --pipelines ingestion,corruption;" in squares.refusal("evaluation")
    squares.plan()
    squares.run_here("evaluation")
    squares.run_here("evaluation", from_nodes=["evaluation.phantom_vit.zero-shot.squares.score"])
    squares.plan(corruption="pixelate")
    message = squares.refusal("evaluation", from_nodes=["evaluation.phantom_vit.zero-shot.squares.score"])
    assert "features phantom_vit-squares: of" in message and "--pipelines corruption,evaluation;" in message


def test_a_run_says_when_there_is_nothing_to_do_and_logs_nothing(squares, caplog):
    squares.run_here("ingestion")
    caplog.clear()
    with caplog.at_level(logging.INFO, "robustmedclip.run"):
        squares.run_here("ingestion", only_missing_outputs=True)
    assert "Everything is up to date: nothing was run" in caplog.text


def test_a_copy_of_a_project_without_the_times_of_its_files_is_up_to_date(squares, caplog, tmp_path_factory):
    squares.run_here("ingestion")
    copy = tmp_path_factory.mktemp("copy") / "project"
    shutil.copytree(squares.folder, copy, copy_function=shutil.copyfile, symlinks=True)
    squares.folder = copy
    before, _ = squares.versions(), caplog.clear()
    with caplog.at_level(logging.INFO, "robustmedclip.run"):
        squares.run_here("ingestion", only_missing_outputs=True)
    assert "Everything is up to date: nothing was run" in caplog.text and squares.versions() == before


def test_a_damaged_image_of_the_usual_size_and_time_is_named_before_anything_is_done(squares):
    squares.run_here("ingestion")
    file = squares.folder / "squares/3.png"
    status, content = file.stat(), bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    before = squares.versions()
    for pipeline in ("ingestion", "corruption"):
        assert f"'raw squares' is probably damaged: {file} (taken on" in squares.refusal(pipeline)
    assert squares.versions() == before


def test_a_version_that_was_not_finished_is_not_read_unless_it_is_asked_for(squares):
    squares.run_here("ingestion")
    (first,) = squares.folder.glob("data/02_intermediate/test/squares.npz/*")
    shutil.copytree(first, first.with_name("9999-01-01T00.00.00.000Z"), ignore=shutil.ignore_patterns(".fingerprint"))
    assert "test squares: of another plan, source or code than the present one, or never finished" in squares.refusal(
        "corruption", namespaces=["corruption"]
    )
    squares.run_here("corruption", namespaces=["corruption"], load_versions={"test-squares": first.name})


def test_what_is_stored_is_read_without_the_sources_that_it_was_made_of(squares, caplog):
    squares.run_here("corruption")
    (squares.folder / "squares").rename(squares.folder / "elsewhere")
    squares.run_here("corruption", namespaces=["corruption.squares"])
    assert "There is no raw squares: what was made of it is taken as it is stored" in caplog.text
    shutil.rmtree(squares.folder / "data/02_intermediate")
    squares.run_here("evaluation", namespaces=["evaluation.phantom_vit"])
    squares.plan(corruption="pixelate")
    squares.run_here("evaluation", from_nodes=["evaluation.phantom_vit.zero-shot.squares.score"])


def nodes(stage: str, *words: str) -> list:
    from kedro.framework.project import pipelines

    return [node for node in pipelines[stage].nodes if all(word in node.name for word in words)]


def problems_of_models(context, nodes: list, plan: Plan | None = None) -> list[str]:
    config, catalog = context.config_loader, context._get_catalog(catalog_class=FingerprintedCatalog)
    return model_problems(nodes, catalog, plan or config.plan, config["parameters"]["evaluation"])


def cost(context, nodes, monkeypatch, caplog, per_second: float) -> str:
    monkeypatch.setattr(
        "robustmedclip.pipelines.evaluation.nodes.images_per_second", lambda model, parameters: per_second
    )
    caplog.clear()
    with caplog.at_level(logging.INFO, "robustmedclip.run"):
        assert problems_of_models(context, nodes) == []
    return caplog.text


def test_the_cost_is_that_of_the_cells_that_will_run(context, monkeypatch, caplog):
    """Per model: 100 test images, 36 conditions, and 5 data sets or one; zero-shot and at 4 fractions."""
    text = cost(context, nodes("evaluation"), monkeypatch, caplog, 100)
    assert "encodes 180,000 images, in about 30 min on" in text
    assert "(phantom_resnet 100 images/s, phantom_vit 100 images/s)" in text
    text = cost(context, nodes("evaluation", "phantom_vit", "phantom_oct"), monkeypatch, caplog, 100)
    assert "encodes 18,000 images, in about 3 min on this machine (phantom_vit 100 images/s)" in text


def test_models_that_read_together_cost_what_they_cost_apart(context, monkeypatch, caplog):
    plan = context.config_loader.plan
    pipelines = [evaluation.create_pipeline(replace(plan, read_together=together)) for together in (False, True)]
    apart, together = (cost(context, pipeline.nodes, monkeypatch, caplog, 100) for pipeline in pipelines)
    assert together == apart != ""


def test_cells_in_shards_cost_what_they_cost_whole(context, monkeypatch, caplog):
    plan = context.config_loader.plan
    in_shards = replace(plan, data_sets=tuple(replace(data_set, shards=7) for data_set in plan.data_sets))
    pipelines = [evaluation.create_pipeline(each) for each in (plan, in_shards)]
    whole, split = (cost(context, pipeline.nodes, monkeypatch, caplog, 100) for pipeline in pipelines)
    assert split == whole != ""


@pytest.mark.parametrize("stage, per_second", [("evaluation", 3001), ("tuning", 1), ("ingestion", 1)])
def test_of_a_short_evaluation_or_none_nothing_is_said(context, monkeypatch, caplog, stage, per_second):
    assert cost(context, nodes(stage), monkeypatch, caplog, per_second) == ""


def test_what_lacks_on_the_disk_is_said_in_megabytes_where_it_is_little(context, monkeypatch):
    """100 test images of 64 px, 36 conditions, two data sets in colour and three in grey."""
    monkeypatch.setattr("shutil.disk_usage", lambda folder: shutil._ntuple_diskusage(10**9, 0, 2 * 10**6))
    (problem,) = disk_problems(nodes("corruption"), context.catalog, context.config_loader.plan, context.project_path)
    assert "the corrupted test sets take 133 MB, and 2 MB are free under" in problem


def test_data_sets_of_unknown_size_are_named(context, monkeypatch, caplog):
    def test_shape(source):
        if source._settings["anatomy"] == "chest":
            raise OSError
        return 100, 64, 64, 3

    monkeypatch.setattr(PhantomDataset, "test_shape", test_shape)
    text = cost(context, nodes("evaluation"), monkeypatch, caplog, 100)
    assert "encodes 144,000 images" in text and "not counted: phantom_chest, whose size is not known" in text


def test_images_per_second_are_that_of_batches_beside_each_other(monkeypatch):
    model = load_open_clip(f"local-dir:{ROOT}/src/robustmedclip/models/phantom_vit")
    seconds, calls = iter(np.arange(0, 100, 0.5)), []

    def encode_image(pixels):
        calls.append(len(pixels))
        return torch.ones(len(pixels), 2)

    monkeypatch.setattr(model.network, "encode_image", encode_image)
    monkeypatch.setattr("robustmedclip.models.inference.time.monotonic", lambda: next(seconds))
    list(image_features(model, [np.zeros((1, 64, 64, 3), np.uint8)]))
    calls.clear()
    rate = images_per_second(model)
    images = sum(calls)  # of a batch in a round, then of four, in passes of fewer
    assert images % (5 * BATCH_SIZE) == 0 and rate == images * 4 / 5 / 0.5


def test_layers_that_cannot_be_adapted_are_found_before_anything_is_done(context):
    plan = context.config_loader.plan
    (adaptation,) = plan.adaptations
    changes = {"phantom_vit": {"rank": 1000}, "phantom_resnet": {"targets": "nowhere"}}
    changed = tuple(
        replace(adaptation, models=(model,), method=adaptation.method.model_copy(update=change))
        for model, change in changes.items()
    )
    plan = replace(plan, adaptations=changed)
    problems = problems_of_models(context, nodes("tuning"), plan)
    assert [problem.partition(":")[0] for problem in problems] == 2 * [f"adaptation {adaptation.name}"]
    assert "'nowhere' match no layer of phantom_resnet" in problems[0]
    assert "rank 1000 is larger than every adapted layer of phantom_vit" in problems[1]
    assert problems_of_models(context, nodes("tuning", "phantom_vit"), plan) == problems[1:]


def test_a_project_that_is_copied_with_its_data_is_the_same_whatever_the_times(tmp_path):
    def fingerprint(root: Path) -> object:
        source = {"name": "cells", "modality": "microscopy", "class_names": ["a", "b"]}
        folder = FolderDataset(filepath=str(root / "data/cells"), labels=None, **source)
        model = open_clip_dataset(path=str(root / "data/model"))
        assert str(root) in str([folder.signature(), model.signature()])
        return [relative_to_project(content_of(dataset), root) for dataset in (folder, model)]

    for name in ("a/1.png", "b/2.png"):
        (file := tmp_path / "here/data/cells" / name).parent.mkdir(parents=True)
        Image.new("L", (32, 32)).save(file)
    (tmp_path / "here/data/model").mkdir()
    (tmp_path / "here/data/model/weights.bin").write_bytes(b"1")
    shutil.copytree(tmp_path / "here", tmp_path / "there", copy_function=shutil.copyfile)
    assert fingerprint(tmp_path / "here") == fingerprint(tmp_path / "there")
    (tmp_path / "there/data/cells/b/2.png").write_bytes(b"other")
    assert fingerprint(tmp_path / "here") != fingerprint(tmp_path / "there")


def test_images_that_are_too_small_to_be_corrupted_are_found_before_anything_is_done(squares):
    squares.data_set = squares.draw_squares(16, size=27)
    squares.plan()
    message = squares.refusal("corruption")
    assert "raw squares: the test images have 27 x 27 px, and must be at least 28 px high and wide" in message
    assert squares.versions() == set()
    squares.run_here("ingestion")
    assert "27 x 27 px" in squares.refusal("corruption", namespaces=["corruption"])
