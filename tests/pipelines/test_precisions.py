"""Decisions that another precision than float32 changes, in a run where the device chooses bfloat16."""

from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
import torch
from projects import Project, without_figures
from small_benchmark import PHANTOM

import robustmedclip.models
from robustmedclip.adaptation.methods import Method
from robustmedclip.images.conditions import CLEAN, Condition
from robustmedclip.images.corrupted import CorruptedSet
from robustmedclip.images.sets import ImageSet
from robustmedclip.metrics.logits import Logits
from robustmedclip.metrics.precisions import no_changes, precision_changes
from robustmedclip.models.interface import VisionLanguageModel
from robustmedclip.models.open_clip import load_open_clip
from robustmedclip.pipelines.corruption.nodes import corrupt_test_set
from robustmedclip.pipelines.evaluation import precisions
from robustmedclip.pipelines.evaluation.nodes import encode
from robustmedclip.pipelines.evaluation.precisions import compare_precisions, encode_in_float32
from robustmedclip.pipelines.reporting.nodes import collect_precisions
from robustmedclip.reporting.precisions import precision_table

FOLDER = Path(robustmedclip.models.__file__).with_name("phantom_vit")
AUTO = {"precision": "auto"}
FACTS = {"method": Method(), "name": "vit", "attributes": {"seed": None}, "templates": ["{class_name}"], "synonyms": {}}
PLAN = {
    "data_sets": {"phantom_oct": {"modality": "retinal OCT", "source": PHANTOM}},
    "corruptions": {"suite": "medimeta-c", "names": ["pixelate"]},
    "models": {"phantom_vit": {"source": {"type": "open_clip", "path": str(FOLDER)}}},
    "adaptations": {
        "lora": {"method": "robust-lora", "models": "all", "fractions": [0.1], "rank": 4, "epochs": 1},
        "probe": {"method": "linear-probe", "models": "all", "fractions": [0.1]},
    },
    "seeds": [0],
    "evaluation": AUTO,
}


@pytest.fixture
def bfloat16(monkeypatch) -> None:
    """A processor that is faster in bfloat16."""
    monkeypatch.setattr("robustmedclip.models.inference.fast_precision", lambda device: torch.bfloat16)


@pytest.fixture
def float32(monkeypatch) -> None:
    monkeypatch.setattr("robustmedclip.models.inference.fast_precision", lambda device: torch.float32)


@pytest.mark.slow
def test_a_run_in_bfloat16_says_how_many_decisions_float32_would_change(tmp_path, bfloat16):
    project = Project(tmp_path / "project")
    project.configure(PLAN)
    with without_figures():
        project.run_here("benchmark")
    table = pd.read_csv(project.newest("data/08_reporting/precisions.csv/*/precisions.csv"))
    assert set(table["model"]) == {"phantom_vit", "phantom_vit_lora_k10", "phantom_vit_probe_k10"}
    assert set(zip(table["corruption"], table["severity"], strict=True)) == {("clean", 0), ("pixelate", 3)}
    assert set(table["n"]) == {24} and set(table["precision"]) == {"bfloat16"}
    assert (table["largest_logit_difference"] > 0).all() and table["mean_cosine"].between(0.999, 1 - 1e-9).all()
    report = project.newest("data/08_reporting/report.md/*/report.md").read_text()
    assert "encoded in bfloat16" in report and f"{table['changed'].sum()} of {table['n'].sum()} decisions" in report
    assert "bfloat16 beside float32" in project.newest("data/08_reporting/report.html/*/report.html").read_text()
    client = mlflow.MlflowClient(f"sqlite:///{project.folder}/mlflow.db")
    runs = client.search_runs([experiment.experiment_id for experiment in client.search_experiments()])
    logged = [run.data.metrics["changed_by_precision_percent"] for run in runs if "model" in run.data.params]
    assert sorted(logged) == pytest.approx(sorted(table.groupby("model")["changed_percent"].max()))


def noise(count: int) -> ImageSet:
    return ImageSet.validated(
        name="oct",
        split="test",
        modality="OCT",
        class_names=("drusen", "normal"),
        images=np.random.default_rng(0).integers(0, 256, (count, 64, 64, 1), np.uint8),
        labels=np.arange(count, dtype=np.int64) % 2,
        sample_ids=np.array([f"{i:02d}" for i in range(count)]),
    )


@pytest.fixture(scope="module")
def model() -> VisionLanguageModel:
    return load_open_clip(f"local-dir:{FOLDER}")


@pytest.fixture(scope="module")
def corrupted() -> CorruptedSet:
    settings = {"suite": "medimeta-c", "dataset": None, "grey": "native", "storage": "on_the_fly"}
    conditions = (CLEAN, *(Condition("contrast", severity) for severity in (1, 2, 3, 4, 5)))
    return corrupt_test_set(noise(12), {"seed": 0}, conditions=conditions, **settings)


def test_a_sample_is_compared_with_the_same_images_in_float32(monkeypatch, bfloat16, model, corrupted):
    monkeypatch.setattr(precisions, "MOST_IMAGES", 5)
    features = encode(model, corrupted, AUTO, name="vit")
    sample = encode_in_float32(features, model, corrupted, name="vit")
    expected = encode(model, corrupted, {"precision": "float32"}, name="vit")
    rows = np.flatnonzero(np.isin(expected.sample_ids, sample.sample_ids))
    assert len(rows) == 5 and sample.conditions == (CLEAN, Condition("contrast", 3))
    whole = expected.rows.reshape(6, 12, -1)
    np.testing.assert_array_equal(sample.rows.reshape(2, 5, -1), whole[[0, 3]][:, rows])
    table = compare_precisions(features, sample, model, **FACTS)
    assert table["n"].tolist() == [5, 5] and (table["mean_cosine"] > 0.999).all()


def test_where_the_device_chooses_float32_nothing_is_encoded_again(monkeypatch, float32, model, corrupted):
    features = encode(model, corrupted, AUTO, name="vit")
    monkeypatch.setattr(precisions, "encode", None)
    table = compare_precisions(features, encode_in_float32(features, model, corrupted, name="vit"), model, **FACTS)
    assert table.empty and collect_precisions(precision=table, missing=None).empty


def logits(values: list[list[float]], labels: list, seed: int = 0) -> Logits:
    return Logits(
        model="vit",
        data_set="oct",
        modality="OCT",
        class_names=("drusen", "normal"),
        conditions=(CLEAN,),
        logits=np.array([values], np.float32),
        labels=np.array(labels),
        sample_ids=np.arange(len(labels)).astype(str),
        attributes={"seed": seed, "precision": "bfloat16 on a GPU"},
    )


def test_changed_decisions_are_counted_with_their_interval():
    run, reference = logits([[0, 1], [1, 0], [2, 0]], [0, 1, 0]), logits([[1, 0], [1, 0], [0.5, 0]], [0, 1, 0])
    (row,) = precision_changes(run, reference, np.array([[0.5, 1, 1]])).to_dict("records")
    assert (row["changed"], row["n"], row["largest_logit_difference"]) == (1, 3, 1.5)
    # Wilson's interval of 1 of 3.
    assert (row["changed_percent"], row["low"], row["high"]) == pytest.approx((100 / 3, 6.149, 79.234), abs=1e-3)
    assert row["mean_cosine"] == pytest.approx(2.5 / 3)


def test_an_image_with_findings_is_decided_otherwise_if_any_finding_is():
    findings = [[0, 1], [1, 0], [1, 1]]
    run, reference = logits([[1, 1], [1, -1], [2, 2]], findings), logits([[1, -1], [2, -1], [-2, -2]], findings)
    assert precision_changes(run, reference, np.ones((1, 3)))["changed"].tolist() == [2]


def test_the_table_has_the_mean_over_seeds_and_the_worst_difference():
    reference = logits([[1, 0], [1, 0]], [0, 1])
    runs = [logits([[0, 1], [1, 0]], [0, 1], seed=0), logits([[0, 3], [0, 1]], [0, 1], seed=1)]
    tables = {f"precision{run.attributes['seed']}": precision_changes(run, reference, np.ones((1, 2))) for run in runs}
    text = precision_table(collect_precisions(**tables, none=no_changes()), ["vit"]).text
    assert text["decisions changed"].tolist() == ["1.5"] and text["largest difference of a logit"].tolist() == ["3"]
