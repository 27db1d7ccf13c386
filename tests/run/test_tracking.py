"""What runs leave in MLflow: their state, however they end, and the best adapter as a model that can be served."""

import io
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import product
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import mlflow
import numpy as np
import pandas as pd
import psutil
import pytest
import yaml
from kedro.io import DataCatalog, DatasetError, MemoryDataset
from kedro.io.core import Version
from kedro.pipeline import Node, Pipeline
from kedro.runner import SequentialRunner
from kedro_mlflow.framework.hooks.mlflow_hook import MlflowHook
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.utils.validation import MAX_PARAM_VAL_LENGTH
from PIL import Image
from platforms import posix_only
from projects import ROOT, Project
from published import write_transformers

import robustmedclip.models
from robustmedclip.adaptation.artefacts import Adapter
from robustmedclip.adaptation.methods.lora import Lora
from robustmedclip.adaptation.samples import Samples
from robustmedclip.adaptation.tuning import merge_adapter, tune
from robustmedclip.images.conditions import CLEAN
from robustmedclip.images.sets import ImageSet
from robustmedclip.io import LogitsDataset, TrainingCheckpointDataset
from robustmedclip.metrics import overall, score_benchmark, softmax
from robustmedclip.metrics.logits import Logits
from robustmedclip.metrics.ranking import AUROC
from robustmedclip.metrics.recalibration import Temperature, recalibration
from robustmedclip.models.interface import VisionLanguageModel, zero_shot_classifier
from robustmedclip.models.open_clip import load_open_clip
from robustmedclip.models.transformers_clip import load_transformers
from robustmedclip.pipelines.corruption.nodes import corrupt_test_set
from robustmedclip.pipelines.evaluation.nodes import encode_and_score
from robustmedclip.plan.plan import EvaluatedModel, Plan
from robustmedclip.plan.reading import read_plan
from robustmedclip.pretraining import train_tokenizer
from robustmedclip.run.config import BenchmarkConfigLoader
from robustmedclip.run.parameter_batch import ParameterBatch
from robustmedclip.run.tracking import description, log_best_adapter, log_models
from robustmedclip.run.tracking_children import LiveCurves, child_run, log_curves, run_name
from robustmedclip.run.tracking_hook import TrackingHook
from robustmedclip.run.work_times import WorkTimes, covered
from robustmedclip.settings import CONFIG_LOADER_ARGS

pytestmark = pytest.mark.slow

VIT = Path(robustmedclip.models.__file__).parent / "phantom_vit"


@pytest.fixture(scope="module")
def address(tmp_path_factory) -> Iterator[str]:
    """Where runs are tracked."""
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path_factory.mktemp('mlflow')}/mlflow.db")
    yield mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(before)


@pytest.fixture
def experiment(address, tmp_path) -> str:
    """An experiment of this test's own, the active one."""
    mlflow.set_tracking_uri(address)
    name = tmp_path.name
    mlflow.create_experiment(name, artifact_location=f"{tmp_path}/artifacts")
    mlflow.set_experiment(name)
    return name


@pytest.fixture
def project(tmp_path, address, experiment) -> Project:
    """A project with twelve squares for data."""
    project = Project(tmp_path)
    project.configure({"data_sets": {"squares": project.draw_squares(12)}, "adaptations": {}})
    project.track(address, experiment)
    return project


def test_a_run_that_has_nothing_to_do_is_not_tracked(project, experiment):
    project.run_here("ingestion")
    project.run_here("ingestion", only_missing_outputs=True)
    assert mlflow.active_run() is None
    assert states(experiment) == ["FINISHED"]


def states(experiment: str) -> list[str]:
    runs = mlflow.search_runs(experiment_names=[experiment], output_format="list")
    return [run.info.status for run in runs]


def test_a_stage_that_runs_alone_is_tracked_and_closed(project, experiment):
    project.run_here("ingestion")
    assert mlflow.active_run() is None
    assert states(experiment) == ["FINISHED"]


def test_a_run_of_a_part_says_which_in_its_name_and_how_it_was_begun(project, experiment):
    project.run_here("ingestion")
    project.run_here("ingestion", namespaces=["ingestion.squares"], tags=["squares"], runner=SequentialRunner())
    part, whole = mlflow.search_runs(experiment_names=[experiment], output_format="list")
    assert whole.info.run_name == "ingestion"
    assert part.info.run_name == "ingestion · tags squares · namespaces ingestion.squares"
    said = "kedro run --pipelines ingestion --tags squares --namespaces ingestion.squares"
    assert (part.data.tags["kedro_command"], part.data.tags["runner"]) == (said, "SequentialRunner")


def test_parameters_of_a_node_are_logged_together_those_of_another_not_again_and_long_ones_as_asked(
    experiment, monkeypatch
):
    hook, commits, log_params = MlflowHook(), [], mlflow.log_params
    hook.long_params_strategy = "truncate"
    monkeypatch.setattr("mlflow.log_params", lambda params: commits.append(dict(params)) or log_params(params))
    batch = ParameterBatch(hook)
    with mlflow.start_run() as run:
        for others in ({"seed": 0, "text": "y" * 9000}, {"rank": 8}):
            for name, value in {"suite": "medimeta-c", **others}.items():
                hook._log_param(name, value)
            batch.log()
    expected = {"suite": "medimeta-c", "seed": "0", "rank": "8", "text": "y" * MAX_PARAM_VAL_LENGTH}
    assert mlflow.get_run(run.info.run_id).data.params == expected
    assert commits == [{"suite": "medimeta-c", "seed": "0"}, {"rank": "8"}]


def test_a_node_that_raises_marks_the_run_as_failed(project, experiment, monkeypatch):
    monkeypatch.setattr("robustmedclip.run.preflight.unreadable_images", lambda *_: [])
    (project.folder / "squares/7.png").write_bytes(b"not an image")
    with pytest.raises(DatasetError, match="7.png"):
        project.run_here("ingestion")
    assert mlflow.active_run() is None
    assert states(experiment) == ["FAILED"]


def test_results_that_cannot_be_logged_mark_the_run_and_its_children_as_failed(experiment):
    mlflow.start_run()
    mlflow.start_run(nested=True)
    made = Pipeline([Node(lambda: None, None, "leaderboard", name="make")])
    hook = TrackingHook()
    hook.before_node_run(made.nodes[0], {})
    with pytest.raises(Exception, match="leaderboard"):
        hook.after_pipeline_run(made, DataCatalog())
    assert mlflow.active_run() is None
    assert states(experiment) == ["FAILED", "FAILED"]


def test_a_run_in_which_nothing_was_to_do_logs_no_result_again(experiment):
    mlflow.start_run()
    made = Pipeline([Node(lambda: None, None, "leaderboard", name="make")])
    TrackingHook().after_pipeline_run(made, DataCatalog())
    mlflow.end_run()
    assert states(experiment) == ["FINISHED"]


def test_models_are_logged_while_nodes_that_run_elsewhere_still_write_the_report(experiment, monkeypatch):
    logged, hook, catalog = [], TrackingHook(), DataCatalog()
    nodes = [
        Node(lambda: None, None, ["metrics", "seed_metrics"], name="score"),
        Node(lambda metrics: None, "metrics", "leaderboard", name="rank"),
        Node(lambda board: None, "leaderboard", "report", name="write"),
    ]
    hook.after_context_created(SimpleNamespace(config_loader=Config(parameters=PARAMETERS), project_path=ROOT))
    monkeypatch.setattr(hook, "_log_models", lambda outputs, catalog: logged.append(outputs))
    with mlflow.start_run():
        hook.before_pipeline_run({"run_id": "1", "env": None}, Pipeline(nodes))
        for node, times in zip(nodes, (0, 1, 1), strict=True):
            hook.after_node_run(node, {}, catalog)
            assert len(logged) == times


@pytest.fixture
def rows(monkeypatch) -> list[dict[str, float]]:
    """Curves of a training of two epochs; every row is sent at once."""
    monkeypatch.setattr("robustmedclip.run.tracking_children._SECONDS_BETWEEN_ROWS", 0)
    losses = [(float("nan"), 1.5), (1.0, float("nan")), (0.5, 0.75)]
    return [{"epoch": e, "training_loss": t, "validation_loss": v} for e, (t, v) in enumerate(losses)]


def test_curves_are_seen_while_a_tuning_runs_and_its_run_is_closed_with_the_pipeline(experiment, rows, tmp_path):
    mlflow.start_run()
    hook, client = TrackingHook(), mlflow.MlflowClient()
    hook.after_context_created(SimpleNamespace(config_loader=Config(parameters=PARAMETERS), project_path=ROOT))
    hook.before_pipeline_run({"run_id": "1", "env": None}, Pipeline([]))
    checkpoint = TrainingCheckpointDataset(filepath=str(tmp_path / "vit_lora_k10_s0")).load()
    node = Node(
        lambda checkpoint: None,
        "checkpoint-vit_lora_k10_s0",
        "adapter-vit_lora_k10_s0",
        name="tune",
        namespace="tuning.vit_lora_k10_s0",
    )
    hook.before_node_run(node, {"checkpoint-vit_lora_k10_s0": checkpoint})
    for row in rows[:2]:
        checkpoint.record(row)
    child = _child(mlflow.active_run(), "vit_lora_k10_s0")
    assert child.info.run_name == "lora 10 % · vit · seed 0"
    assert child.info.status == "RUNNING"
    assert [point.step for point in client.get_metric_history(child.info.run_id, "training_loss")] == [1]
    hook.on_pipeline_error()
    mlflow.end_run("FAILED")
    assert states(experiment) == ["FAILED", "FAILED"]
    assert client.get_run(child.info.run_id).data.metrics == {"training_loss": 1.0, "validation_loss": 1.5}


def test_the_end_adds_the_epochs_that_were_not_seen(experiment, rows):
    with mlflow.start_run() as parent:
        curves = LiveCurves(parent, WorkTimes())
        listen = curves.listener(evaluated("vit_lora_k10_s0"))
        for row in rows[:2]:
            listen(row)
        child = _child(parent, "vit_lora_k10_s0")
        log_curves(child.info.run_id, rows)
        curves.close("FINISHED")
    history = mlflow.MlflowClient().get_metric_history(child.info.run_id, "training_loss")
    assert [(point.step, point.value) for point in history] == [(1, 1.0), (2, 0.5)]
    history = mlflow.MlflowClient().get_metric_history(child.info.run_id, "validation_loss")
    assert [(point.step, point.value) for point in history] == [(0, 1.5), (2, 0.75)]
    assert states(experiment) == ["FINISHED", "FINISHED"]


def _child(parent, cell: str):
    (run,) = mlflow.MlflowClient().search_runs([parent.info.experiment_id], f"tags.cell = '{cell}'")
    assert run.data.tags["mlflow.parentRunId"] == parent.info.run_id
    return run


def test_artifacts_lie_in_the_project_whatever_its_path_is_made_of(tmp_path):
    folder = tmp_path / "proj #1 50% x"
    shutil.copytree(ROOT / "conf", folder / "conf")
    shutil.copy(ROOT / "pyproject.toml", folder)
    loader = BenchmarkConfigLoader(str(folder / "conf"), env="base", **CONFIG_LOADER_ARGS)
    loader.config_patterns["mlflow"] = ["mlflow*"]
    config = loader["mlflow"]
    client = MlflowClient(config["server"]["mlflow_tracking_uri"])
    run = client.create_run(
        client.create_experiment("x", **config["tracking"]["experiment"]["create_experiment_kwargs"])
    )
    client.log_text(run.info.run_id, "text", "file.txt")
    assert (folder / f"mlartifacts/{run.info.run_id}/artifacts/file.txt").read_text() == "text"
    assert {path.name for path in tmp_path.iterdir()} == {folder.name}


def test_an_interrupted_run_is_not_called_finished(address, experiment):
    code = f"""
from types import SimpleNamespace
import mlflow
from robustmedclip.run.tracking_hook import TrackingHook
mlflow.set_tracking_uri({address!r})
mlflow.set_experiment({experiment!r})
from kedro.pipeline import Pipeline
mlflow.start_run()
hook = TrackingHook()
hook.after_context_created(SimpleNamespace(config_loader={{"parameters": {{"baseline": "clip"}}}}, project_path="."))
hook.before_pipeline_run({{"run_id": "1", "env": None}}, Pipeline([]))
raise KeyboardInterrupt
"""
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=False).returncode != 0
    assert states(experiment) == ["KILLED"]


@posix_only
def test_a_run_that_was_killed_is_closed_with_its_children_by_the_next(project, experiment):
    code = """
import os, pathlib, signal
import mlflow
from kedro.framework.hooks import hook_impl
from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project
from robustmedclip.run.progress_hook import ProgressHook

@hook_impl
def killed(self):
    mlflow.start_run(nested=True)
    os.kill(os.getpid(), signal.SIGKILL)

ProgressHook.after_node_run = killed
bootstrap_project(pathlib.Path.cwd())
with KedroSession.create() as session:
    session.run(pipeline_names=["ingestion"])
"""
    ended = subprocess.run([sys.executable, "-c", code], cwd=project.folder, capture_output=True, check=False)
    assert ended.returncode == -signal.SIGKILL, ended.stderr.decode()
    assert states(experiment) == ["RUNNING", "RUNNING"]
    client, (killed, _) = MlflowClient(), mlflow.search_runs(experiment_names=[experiment], output_format="list")
    still_running = {
        "of another host": f"another-{platform.node()}:1:0",
        "of this host": f"{platform.node()}:{os.getpid()}:{psutil.Process().create_time():.0f}",
        "of another program": None,
    }
    for name, process in still_running.items():
        tags = {} if process is None else {"process": process}
        client.create_run(killed.info.experiment_id, run_name=name, tags=tags)
    project.run_here("ingestion")
    found = mlflow.search_runs(experiment_names=[experiment], output_format="list")
    assert {one.info.run_name for one in found if one.info.status == "RUNNING"} == set(still_running)
    assert sorted(states(experiment)) == ["FINISHED", "KILLED", "KILLED", "RUNNING", "RUNNING", "RUNNING"]


PARAMETERS = yaml.safe_load((ROOT / "conf/base/parameters/methods.yml").read_text()) | {
    "data_sets": {
        name: {"modality": "microscopy", "source": {"type": "robustmedclip.io.FolderDataset", "filepath": name}}
        for name in ("cells", "rods")
    },
    "corruptions": {"suite": "medimeta-c", "names": ["pixelate"]},
    "templates": ["a {modality} image showing {class_name}", "{class_name}"],
    "models": {"vit": {"source": {"type": "open_clip", "path": str(VIT)}}},
    "adaptations": {
        "lora": {"method": "lora", "models": "all", "fractions": [0.1, 0.5], "rank": 2},
        "probe": {"method": "linear-probe", "models": "all", "fractions": [0.1]},
        "ensemble": {"method": "prompt-ensemble", "models": "all"},
    },
    **yaml.safe_load((ROOT / "conf/base/parameters/methods.yml").read_text()),
    "seeds": [0],
    "baseline": "vit",
}


class Config(dict):
    """A configuration with the plan that it describes."""

    @property
    def plan(self) -> Plan:
        return read_plan(self["parameters"])


def evaluated(cell: str) -> EvaluatedModel:
    (model,) = (model for model in read_plan(PARAMETERS).evaluated_models if model.cell == cell)
    return model


def images_of(name: str) -> ImageSet:
    classes = {"cells": ("round", "long", "odd"), "rods": ("thin", "thick")}[name]
    return ImageSet.validated(
        name=name,
        split="test",
        modality="microscopy",
        class_names=classes,
        images=np.random.default_rng(len(classes)).integers(0, 256, (60, 48, 40, 3 - len(name) % 2 * 2), np.uint8),
        labels=np.arange(60, dtype=np.int64) % len(classes),
        sample_ids=np.arange(60).astype(str),
    )


def random_adapter(model: VisionLanguageModel) -> Adapter:
    """An adapter that changes what the model says."""
    images = images_of("rods")
    samples = Samples([images.subset(np.arange(4))], model.preprocess)
    method = read_plan(PARAMETERS).adaptations[0].method.model_copy(update={"epochs": 1})
    classifier = zero_shot_classifier(model, images.class_names, ["{class_name}"], "microscopy")
    adapter, _ = tune(model, samples, samples, classifier, method, seed=0, metadata={})
    rng = np.random.default_rng(0)
    weights = {name: rng.normal(0, 0.3, array.shape).astype(np.float32) for name, array in adapter.weights.items()}
    return Adapter(adapter.config, weights, adapter.metadata)


def scored(folder: Path, plan: Plan) -> DataCatalog:
    """Random logits of every model of the plan, and the metrics of them; images come in pairs of a patient."""
    catalog, rng, runs = DataCatalog(), np.random.default_rng(0), []
    whose = {data_set.name: np.array([f"patient {place // 2}" for place in range(60)]) for data_set in plan.data_sets}
    for model, data_set in product(plan.evaluated_models, plan.data_sets):
        images = images_of(data_set.name)
        catalog[f"test-{data_set.name}"] = replace(images, columns={"patient": whose[data_set.name]})
        name, version = f"logits-{model.cell}-{data_set.name}", Version(None, "2026-01-02T03.04.05.678Z")
        catalog[name] = LogitsDataset(filepath=f"{folder}/{name}.npz", version=version)
        values = rng.normal(size=(len(data_set.conditions), 60, len(images.class_names))).astype(np.float32)
        logits = Logits(
            model=model.name,
            attributes={**model.attributes, "weights": f"hash of {model.cell}"},
            data_set=data_set.name,
            modality="microscopy",
            class_names=images.class_names,
            conditions=data_set.conditions,
            logits=values,
            labels=images.labels,
            sample_ids=images.sample_ids,
        )
        catalog.save(name, logits)
        if model.amount:
            catalog[model.few_shots] = pd.DataFrame({"role": ["training"] * 5 + ["validation"] * 3})
        runs.append(logits)
    scores = score_benchmark(runs, plan.baseline, patients=whose, metrics=plan.metrics, resamples=10)
    catalog["metrics"], catalog["seed_metrics"] = scores.metrics, scores.seed_metrics
    temperatures = [(run, Temperature(2 + (run.attributes["seed"] or 0), 20, run.data_set)) for run in runs]
    catalog["recalibration"] = recalibration(temperatures, whose, resamples=10)
    return catalog


def test_the_description_of_a_run_of_many_models_is_as_long_as_mlflow_lets_it_be():
    row = {"model": "phantom_resnet + unguarded_robust_lora (10 %)", "labelled images": 608}
    row |= {f"error {place}, % (n = 500)": "60.6 [56.4, 64.9]" for place in range(6)}
    said = [description(["One sentence." * 10] * 4, pd.DataFrame([row] * models)) for models in (3, 68)]
    assert all(len(text) < 8000 for text in said)
    assert [text.count("phantom_resnet") for text in said] == [3, 20]
    assert "more" not in said[0] and said[1].endswith("And 48 more, in leaderboard.csv among the artifacts.")


def children_of(
    catalog: DataCatalog, plan: Plan, experiment: str, work: WorkTimes | None = None
) -> dict[str, mlflow.entities.Run]:
    """The child runs that are logged, by the full name of their model and seed."""
    with mlflow.start_run() as parent:
        log_models(catalog, plan, "this run", {"recalibration"}, WorkTimes() if work is None else work)
    query = f"tags.`mlflow.parentRunId` = '{parent.info.run_id}'"
    found = mlflow.search_runs(experiment_names=[experiment], filter_string=query, output_format="list")
    return {run.data.tags["cell"]: run for run in found}


def test_a_child_run_leads_back_to_the_bytes_behind_it(tmp_path, experiment):
    models = {name: entry | {"origin": {"licence": "MIT"}} for name, entry in PARAMETERS["models"].items()}
    plan = read_plan({**PARAMETERS, "adaptations": {}, "models": models})
    (child,) = children_of(scored(tmp_path, plan), plan, experiment).values()
    assert child.info.status == "FINISHED" and child.info.run_name == "zero-shot · vit"
    assert child.data.tags["kedro_run_id"] == "this run" and child.data.tags["weights"] == "hash of vit"
    versions = json.loads(child.data.tags["versions"])
    assert versions == {f"logits-vit-{name}": "2026-01-02T03.04.05.678Z" for name in ("cells", "rods")}
    shown = {"model": "vit", "method": "zero-shot", "fraction": "none", "licence": "MIT"}
    shown |= {"test_images": "120", "test_patients": "60"}
    assert child.data.params.items() >= shown.items()
    bounded = ("mce", "clean_error", "corrupted_error")
    bounds = {f"{name}_{end}" for name in bounded for end in ("low", "high")}
    assert child.data.metrics["mce"] == 100
    assert child.data.metrics.keys() == {*bounded, *bounds, "points_lost", "error_by_severity"}
    table = mlflow.artifacts.load_text(f"{child.info.artifact_uri}/metrics.csv")
    assert set(pd.read_csv(io.StringIO(table))["data_set"]) == {"cells", "rods", "all"}


def test_a_child_run_has_curves_and_a_figure(tmp_path, experiment):
    plan = read_plan({**PARAMETERS, "seeds": [0]})
    catalog = scored(tmp_path, plan)
    history = pd.DataFrame({"epoch": [0, 1], "loss": [2.0, 1.0], "validation_loss": [np.nan, 1.5]})
    catalog["history-vit_lora_k10_s0"] = MemoryDataset(history)
    child = children_of(catalog, plan, experiment)["vit_lora_k10_s0"]
    curves = {
        name: [(point.step, point.value) for point in MlflowClient().get_metric_history(child.info.run_id, name)]
        for name in ("loss", "validation_loss", "error_by_severity")
    }
    assert curves["loss"] == [(0, 2.0), (1, 1.0)] and curves["validation_loss"] == [(1, 1.5)]
    steps, errors = zip(*curves["error_by_severity"], strict=True)
    assert steps == (0, 1, 2, 3, 4, 5) and errors[0] == child.data.metrics["clean_error"]
    assert np.mean(errors[1:]) == pytest.approx(child.data.metrics["corrupted_error"])
    *_, figure = MlflowClient().list_artifacts(child.info.run_id)
    with Image.open(mlflow.artifacts.download_artifacts(f"{child.info.artifact_uri}/{figure.path}")) as picture:
        assert figure.path == "summary.png" and np.ptp(np.asarray(picture)) > 0


def test_each_of_several_seeds_has_figures_of_its_own(tmp_path, experiment):
    plan = read_plan({**PARAMETERS, "seeds": [0, 1]})
    catalog = scored(tmp_path, plan)
    children, metrics = children_of(catalog, plan, experiment), catalog.load("metrics")
    assert len(children) == 8
    for seed in (0, 1):
        own = metrics[(metrics["model"] == "vit_lora_k10") & (metrics["seed"] == seed)]
        clean = own[own["metric"] == "clean_error"].set_index("data_set")["value"]
        logged = children[f"vit_lora_k10_s{seed}"].data.metrics
        assert logged["clean_error"] == pytest.approx(clean.mean())
        rows = catalog.load("recalibration")
        rows = rows[(rows["model"] == "vit_lora_k10") & (rows["seed"] == seed)]
        table = mlflow.artifacts.load_text(f"{children[f'vit_lora_k10_s{seed}'].info.artifact_uri}/recalibration.csv")
        scaled = pd.read_csv(io.StringIO(table))["scaled"]
        assert scaled.to_numpy() == pytest.approx(rows["scaled"].to_numpy(), rel=1e-4, nan_ok=True)


def test_a_tuned_model_says_what_labels_it_has_seen_and_how_sure_its_figures_are(tmp_path, experiment):
    plan = read_plan({**PARAMETERS, "adaptations": {"lora": PARAMETERS["adaptations"]["lora"] | {"fractions": [0.1]}}})
    catalog = scored(tmp_path, plan)
    child = children_of(catalog, plan, experiment)["vit_lora_k10_s0"]
    shown = {"training_images": "5", "validation_images": "3", "labelled_images": "8", "fraction": "0.1"}
    assert child.data.params.items() >= shown.items()
    rows = overall(catalog.load("metrics").query("model == 'vit_lora_k10' and metric == 'mce'"))
    (mce,) = rows.itertuples()
    logged = child.data.metrics
    intervals = [logged["mce_low"], logged["mce_high"]]
    assert [logged["mce"], *intervals] == pytest.approx([mce.value, mce.low, mce.high])
    errors = ("clean_error", "corrupted_error")
    assert all(f"{name}_{end}" in logged for name in errors for end in ("low", "high"))
    assert len(logged) == 12


def test_a_metric_of_a_user_is_logged_beside_the_dozen(tmp_path, experiment):
    plan = read_plan({**PARAMETERS, "adaptations": {}})
    plan = replace(plan, metrics=(*plan.metrics, replace(AUROC, name="ranks", leaderboard=("clean", "corrupted"))))
    (child,) = children_of(scored(tmp_path, plan), plan, experiment).values()
    assert {"clean_ranks", "corrupted_ranks"} <= child.data.metrics.keys()
    assert not any(name.endswith("auroc") for name in child.data.metrics)


def test_of_several_seeds_intervals_are_those_of_their_average(tmp_path, experiment):
    plan = read_plan({**PARAMETERS, "adaptations": {"lora": PARAMETERS["adaptations"]["lora"]}, "seeds": [0, 1]})
    children = children_of(scored(tmp_path, plan), plan, experiment)
    first, second = (children[f"vit_lora_k10_s{seed}"].data.metrics for seed in (0, 1))
    name = "corrupted_error"
    assert first[name] != second[name] and f"{name}_low" not in first
    assert first[f"over_seeds_{name}"] == pytest.approx((first[name] + second[name]) / 2)
    low, average, high = (first[f"over_seeds_{name}{end}"] for end in ("_low", "", "_high"))
    assert low <= average <= high and len(first) == 12


def test_names_of_child_runs_begin_with_what_tells_them_apart():
    shots = {"few": {"method": "lora", "models": "all", "shots": [4]}}
    plan = read_plan({**PARAMETERS, "adaptations": PARAMETERS["adaptations"] | shots})
    assert {run_name(model) for model in plan.evaluated_models} == {
        "zero-shot · vit",
        "lora 10 % · vit · seed 0",
        "lora 50 % · vit · seed 0",
        "probe 10 % · vit · seed 0",
        "ensemble · vit",
        "few 4-shot · vit · seed 0",
    }


def test_a_child_run_lasts_as_long_as_its_own_nodes_ran(tmp_path, experiment, monkeypatch):
    plan = read_plan({**PARAMETERS, "adaptations": {"ensemble": PARAMETERS["adaptations"]["ensemble"]}})
    catalog, work = scored(tmp_path, plan), WorkTimes()
    for data_set, start, end in (("cells", 1000, 1010), ("rods", 1500, 1530)):
        node = Node(lambda: 0, None, f"logits-vit-{data_set}", name="score", namespace=f"evaluation.vit.{data_set}")
        monkeypatch.setattr("robustmedclip.run.work_times.time.time", lambda start=start: start)
        work.begin(node)
        monkeypatch.setattr("robustmedclip.run.work_times.time.time", lambda end=end: end)
        work.end(node)
    monkeypatch.undo()
    mlflow.set_tracking_uri(mlflow.get_tracking_uri())
    children = children_of(catalog, plan, experiment, work)
    worked, stored = children["vit"].info, children["vit_ensemble"].info
    assert (worked.start_time, worked.end_time) == (1_000_000, 1_040_000)
    assert stored.start_time == stored.end_time


def test_nodes_that_run_at_once_count_once():
    assert covered([]) == 0
    assert covered([(5, 6), (0, 2), (1, 3), (1.5, 2)]) == 4


class Best(NamedTuple):
    """A logged model: its files, the logits that it has to give, and what it was made of."""

    files: str
    logits: dict[str, Logits]
    adapter: Adapter
    load: Callable[[str], VisionLanguageModel]
    base: str
    logged: mlflow.entities.LoggedModel


@pytest.fixture(scope="module", params=["open_clip", "clip", "siglip"])
def best(request, address, tmp_path_factory) -> Best:
    """The best adapter on a model of open_clip or of transformers, as it is logged."""
    base, load = str(VIT), lambda folder: load_open_clip(f"local-dir:{folder}")
    if request.param != "open_clip":
        base, load = str(tmp_path_factory.mktemp("hub") / request.param), load_transformers
        write_transformers(Path(base), request.param)
        # CLIP reads a text at its highest token: that has to be the name of the class.
        train_tokenizer(["round long odd", "thin thick"], 300, 24).save_pretrained(base)
    plan, model, logits = read_plan(PARAMETERS), load(base), {}
    adapter = random_adapter(load(base))
    catalog = DataCatalog()
    ranks = ["vit_probe_k10", "vit_ensemble", "vit", "vit_lora_k50", "vit_lora_k10"]
    catalog["leaderboard"] = pd.DataFrame({"model": ranks, "mce": range(80, 85)})
    catalog["model-vit"] = model
    catalog["adapter-vit_lora_k50_s0"] = adapter
    for data_set in plan.data_sets:
        how = {"suite": "medimeta-c", "dataset": None, "grey": "native", "storage": "on_the_fly"}
        corrupted = corrupt_test_set(images_of(data_set.name), {"seed": 0}, conditions=(CLEAN,), **how)
        catalog[f"corrupted-{data_set.name}"] = corrupted
        logits[data_set.name] = encode_and_score(
            model,
            corrupted,
            adapter,
            {"precision": "float32"},
            method=Lora(),
            name="tuned",
            attributes={},
            templates=data_set.templates,
            synonyms=data_set.synonyms,
        )
    mlflow.set_tracking_uri(address)
    experiment = f"best {request.param}"
    mlflow.create_experiment(experiment, artifact_location=str(tmp_path_factory.mktemp("artifacts")))
    active = mlflow.set_experiment(experiment)
    work = WorkTimes()
    with mlflow.start_run() as parent:
        with child_run(parent, evaluated("vit_lora_k50_s0"), work):
            mlflow.log_param("model", "vit_lora_k50")
            mlflow.log_metric("mce", 83)
            for epoch, loss in enumerate((2.0, 1.0)):
                mlflow.log_metric("validation_loss", loss, epoch)
        log_best_adapter(catalog, plan, work)
    assert mlflow.get_run(parent.info.run_id).data.metrics == {}
    (logged,) = mlflow.search_logged_models([active.experiment_id], output_format="list")
    files = mlflow.artifacts.download_artifacts(logged.model_uri)
    return Best(files, logits, adapter, load, base, logged)


def test_an_encoder_that_is_scored_as_the_study_does_is_not_logged():
    """What is served would have its own logit scale, and other probabilities."""
    plan = replace(read_plan(PARAMETERS), switches={"vit": ("no_logit_scale",)})
    board = pd.DataFrame({"model": ["vit_lora_k10", "vit"], "mce": [80, 81]})
    log_best_adapter(DataCatalog({"leaderboard": MemoryDataset(board)}), plan, WorkTimes())


def test_the_best_adapter_is_a_model_that_gives_the_probabilities_of_its_logits(best):
    served, logits = mlflow.pyfunc.load_model(best.files), best.logits
    assert served.metadata.metadata["model"] == "vit_lora_k50_s0"
    for name, expected in logits.items():
        made = served.predict(np.array(images_of(name).images), params={"data_set": name})
        assert made.columns.tolist() == list(expected.class_names) == served.metadata.metadata["classes"][name]
        np.testing.assert_allclose(made, softmax(expected.logits[0]), atol=1e-5)
        assert np.ptp(made.to_numpy()) > 0.01
    default = served.predict(np.array(images_of("cells").images))
    np.testing.assert_allclose(default, softmax(logits["cells"].logits[0]), atol=1e-5)


def test_the_adapter_is_in_the_model(best):
    plain, merged = best.load(best.base), merge_adapter(best.load(best.base), best.adapter)
    exported = best.load(str(next(Path(best.files).glob("artifacts/*"))))
    assert exported.content_hash() == merged.content_hash() == best.logits["cells"].attributes["weights"]
    assert exported.content_hash() != plain.content_hash()
    assert exported.preprocess == plain.preprocess


def test_the_model_has_a_signature_an_example_and_no_pickle(best):
    model = mlflow.models.Model.load(best.files)
    assert [spec.shape for spec in model.signature.inputs] == [(-1, -1, -1, -1)]
    assert [(spec.name, spec.default) for spec in model.signature.params] == [("data_set", "cells")]
    outputs = [(spec.name, spec.type.name, spec.required) for spec in model.signature.outputs]
    assert outputs == [(name, "double", False) for name in ("round", "long", "odd", "thin", "thick")]
    example = json.loads((Path(best.files) / "serving_input_example.json").read_text())
    assert np.shape(example["inputs"])[0] == 1 and example["params"] == {"data_set": "cells"}
    assert not [file for file in Path(best.files).rglob("*") if file.suffix in (".pkl", ".pickle", ".pt", ".bin")]


def test_the_model_says_what_is_wrong_with_its_input(best):
    served = mlflow.pyfunc.load_model(best.files)
    with pytest.raises(MlflowException, match="Unknown data set 'oct'; the model knows cells, rods"):
        served.predict(np.zeros((1, 8, 8, 1), np.uint8), params={"data_set": "oct"})
    with pytest.raises(MlflowException, match=r"must be uint8 .*not uint8 \(1, 8, 8, 4\)"):
        served.predict(np.zeros((1, 8, 8, 4), np.uint8))


def test_a_logged_adapter_is_of_its_child_run_and_says_which_model_it_is(best):
    child = mlflow.get_run(best.logged.source_run_id)
    assert child.data.tags["cell"] == best.logged.tags["cell"] == "vit_lora_k50_s0"
    assert best.logged.params["model"] == "vit_lora_k50"
    assert child.data.metrics == {"mce": 83, "validation_loss": 1}
    assert sorted((metric.key, metric.value) for metric in best.logged.metrics) == [*child.data.metrics.items()]
    history = MlflowClient().get_metric_history(child.info.run_id, "validation_loss")
    assert [(point.step, point.value) for point in history] == [(0, 2), (1, 1)]
    assert best.logged.tags["mlflow.note.content"].startswith("vit_lora_k50_s0: of 2 tuned encoders the one with")
