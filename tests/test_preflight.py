"""What is said of the cost of a run before it begins."""

import logging
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project

from robustmedclip.config import BenchmarkConfigLoader, current_config
from robustmedclip.hooks import _disk_problems, _model_problems
from robustmedclip.io import PhantomDataset
from robustmedclip.models import BATCH_SIZE, encoding_speed, image_features, load_open_clip
from robustmedclip.pipelines import evaluation

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def context():
    bootstrap_project(ROOT)
    with KedroSession.create(ROOT) as session:
        yield session.load_context()


def nodes(stage: str, *words: str) -> list:
    from kedro.framework.project import pipelines

    return [node for node in pipelines[stage].nodes if all(word in node.name for word in words)]


def cost(context, nodes, monkeypatch, caplog, per_second: float) -> str:
    monkeypatch.setattr("robustmedclip.pipelines.evaluation.nodes.speed", lambda model, parameters: per_second)
    caplog.clear()
    with caplog.at_level(logging.INFO, "robustmedclip.hooks"):
        assert _model_problems(nodes, context.catalog) == []
    return caplog.text


def test_the_cost_is_that_of_the_cells_that_will_run(context, monkeypatch, caplog):
    """Per model: 100 test images, 36 conditions, and 5 data sets or one; zero-shot and at 4 fractions."""
    text = cost(context, nodes("evaluation"), monkeypatch, caplog, 100)
    assert "encodes 180,000 images, in about 30 min on" in text
    assert "(phantom_resnet 100 images/s, phantom_vit 100 images/s)" in text
    text = cost(context, nodes("evaluation", "phantom_vit", "phantom_oct"), monkeypatch, caplog, 100)
    assert "encodes 18,000 images, in about 3 min on this machine (phantom_vit 100 images/s)" in text


def test_models_that_read_together_cost_what_they_cost_apart(context, monkeypatch, caplog):
    plan = context.config_loader.plan()
    pipelines = [evaluation.create_pipeline(replace(plan, read_together=together)) for together in (False, True)]
    apart, together = (cost(context, pipeline.nodes, monkeypatch, caplog, 100) for pipeline in pipelines)
    assert together == apart != ""


@pytest.mark.parametrize("stage, per_second", [("evaluation", 3001), ("tuning", 1), ("ingestion", 1)])
def test_of_a_short_evaluation_or_none_nothing_is_said(context, monkeypatch, caplog, stage, per_second):
    assert cost(context, nodes(stage), monkeypatch, caplog, per_second) == ""


def test_what_lacks_on_the_disk_is_said_in_megabytes_where_it_is_little(context, monkeypatch):
    """100 test images of 64 px, 36 conditions, two data sets in colour and three in grey."""
    monkeypatch.setattr("shutil.disk_usage", lambda folder: shutil._ntuple_diskusage(10**9, 0, 2 * 10**6))
    (problem,) = _disk_problems(nodes("corruption"), context.catalog)
    assert "the corrupted test sets take 133 MB, and 2 MB are free under" in problem


def test_data_sets_of_unknown_size_are_named(context, monkeypatch, caplog):
    def test_shape(source):
        if source._settings["anatomy"] == "chest":
            raise OSError
        return 100, 64, 64, 3

    monkeypatch.setattr(PhantomDataset, "test_shape", test_shape)
    text = cost(context, nodes("evaluation"), monkeypatch, caplog, 100)
    assert "encodes 144,000 images" in text and "not counted: phantom_chest, whose size is not known" in text


def test_the_speed_is_that_of_batches_beside_each_other(monkeypatch):
    model = load_open_clip(f"local-dir:{ROOT}/src/robustmedclip/models/phantom_vit")
    seconds, calls = iter(np.arange(0, 100, 0.5)), []

    def encode_image(pixels):
        calls.append(len(pixels))
        return torch.ones(len(pixels), 2)

    monkeypatch.setattr(model.network, "encode_image", encode_image)
    monkeypatch.setattr("robustmedclip.models.inference.time.monotonic", lambda: next(seconds))
    list(image_features(model, [np.zeros((1, 64, 64, 3), np.uint8)]))
    calls.clear()
    speed = encoding_speed(model)
    assert set(calls) == {BATCH_SIZE}
    assert speed == BATCH_SIZE * len(calls) * 4 / 5 / 0.5


def test_layers_that_cannot_be_adapted_are_found_before_anything_is_done(context, monkeypatch):
    plan = current_config().plan()
    (adaptation,) = plan.adaptations
    changes = {"phantom_vit": {"rank": 1000}, "phantom_resnet": {"targets": "nowhere"}}
    changed = tuple(
        replace(adaptation, models=(model,), settings=replace(adaptation.settings, **change))
        for model, change in changes.items()
    )
    monkeypatch.setattr(BenchmarkConfigLoader, "plan", lambda loader: replace(plan, adaptations=changed))
    problems = _model_problems(nodes("tuning"), context.catalog)
    assert [problem.partition(":")[0] for problem in problems] == 2 * [f"adaptation {adaptation.name}"]
    assert "'nowhere' match no layer of phantom_resnet" in problems[0]
    assert "rank 1000 is larger than every adapted layer of phantom_vit" in problems[1]
    assert _model_problems(nodes("tuning", "phantom_vit"), context.catalog) == problems[1:]
