"""The pipelines as a whole: what is registered, and that nothing is lost in memory."""

import base64
import os
import re
import subprocess
import sys
from dataclasses import replace
from graphlib import TopologicalSorter
from pathlib import Path

import pandas as pd
import pytest
from kedro.config import OmegaConfigLoader
from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project
from kedro.pipeline import Node, Pipeline
from matplotlib.figure import Figure
from model_sources import open_clip_dataset

from robustmedclip.images.conditions import CLEAN, Condition
from robustmedclip.io import FigureDataset, MarkdownDataset, TableDataset
from robustmedclip.pipeline_registry import pipelines_of
from robustmedclip.pipelines import evaluation
from robustmedclip.run.catalog import FingerprintedCatalog
from robustmedclip.run.fingerprints import expected_fingerprints
from robustmedclip.run.preflight import input_problems

ROOT = Path(__file__).parents[2]
STAGES = ["ingestion", "corruption", "few_shot", "tuning", "evaluation", "reporting"]


@pytest.fixture(scope="module")
def context():
    bootstrap_project(ROOT)
    with KedroSession.create(ROOT, env="base") as session:
        yield session.load_context()


@pytest.fixture(scope="module")
def pipelines(context):
    from kedro.framework.project import pipelines

    return dict(pipelines)


def test_the_six_stages_and_what_is_made_of_them(pipelines):
    assert set(pipelines) == {*STAGES, "calibration", "benchmark", "overview", "pretraining"}
    assert next(iter(pipelines)) == "overview", "Kedro-Viz opens on the first, where there is no __default__"
    assert set(pipelines["benchmark"].nodes) == {node for stage in STAGES for node in pipelines[stage].nodes}


def test_the_calibration_begins_with_the_sources_and_is_part_of_a_benchmark_whose_suite_has_bands(context, pipelines):
    plan = context.config_loader.plan
    conditions = (CLEAN, Condition("jpeg2000", 1))
    judged = replace(
        plan,
        data_sets=tuple(replace(each, suite="acquisition-c", conditions=conditions) for each in plan.data_sets),
    )
    assert {node.namespace.split(".")[0] for node in pipelines["calibration"].nodes} == {"ingestion", "calibration"}
    assert pipelines["calibration"].inputs() >= {"ratings", "raw-phantom_oct", "model-phantom_vit"}
    with_bands = pipelines_of(judged, [])["benchmark"]
    assert {"levels", "rating_sheets"} <= with_bands.all_outputs()
    (scoring,) = (node for node in with_bands.nodes if node.short_name == "compute_metrics")
    assert "levels" in scoring.inputs
    assert "levels" not in pipelines["benchmark"].all_outputs()


def test_each_stage_is_one_namespace(pipelines):
    assert {node.namespace.split(".")[0] for node in pipelines["benchmark"].nodes} == set(STAGES)


def test_nodes_are_found_by_the_tags_of_their_stage_data_set_and_base_model(pipelines):
    benchmark = pipelines["benchmark"]
    of_cell = benchmark.only_nodes_with_tags("phantom_vit").only_nodes_with_tags("phantom_oct")
    names = {node.namespace for node in of_cell.nodes}
    assert names >= {f"evaluation.phantom_vit.{how}.phantom_oct" for how in ("zero-shot", "robust_lora_k10_s0")}
    assert not any("resnet" in name for name in names)
    assert len(benchmark.only_nodes_with_tags("tuning").nodes) == 8
    assert len(benchmark.only_nodes_with_tags("ingestion").only_nodes_with_tags("phantom_oct").nodes) == 2


def test_a_node_that_works_for_several_models_is_found_by_the_tag_of_each(context):
    together = replace(context.config_loader.plan, read_together=True)
    nodes = pipelines_of(together, [])["evaluation"].only_nodes_with_namespaces(["evaluation.all"]).nodes
    assert nodes and all(node.tags >= {"phantom_vit", "phantom_resnet"} for node in nodes)


def test_whatever_belongs_to_a_model_is_in_its_namespace_of_the_stage(pipelines):
    for stage in ("tuning", "evaluation"):
        for model in ("phantom_vit", "phantom_resnet"):
            tagged = pipelines[stage].only_nodes_with_tags(model).nodes
            assert set(tagged) == set(pipelines[stage].only_nodes_with_namespaces([f"{stage}.{model}"]).nodes)
    parts = {tuple(node.namespace.split(".")[2:]) for node in pipelines["tuning"].nodes}
    assert parts == {(f"robust_lora_k{percent}_s0",) for percent in (1, 3, 7, 10)}


def test_the_overview_comes_first_and_has_a_node_per_stage(pipelines):
    assert next(iter(pipelines)) == "overview"
    assert {node.name: set(node.tags) for node in pipelines["overview"].nodes} == {stage: {stage} for stage in STAGES}


def test_kedro_viz_shows_the_mce_first_and_the_report_as_it_reads(context, tmp_path):
    first = context.catalog.get("leaderboard").metadata["kedro-viz"]["preview_args"]["first"]
    board = TableDataset(filepath=str(tmp_path / "board.csv"), save_args={"index": False})
    board.save(pd.DataFrame({"place": [1, 2], "model": ["a", "b"], "clean_error": [3, 4], "mce": [50, 60]}))
    assert board.preview(nrows=1, first=first) == {
        "index": [0],
        "columns": ["model", "mce", "clean_error", "place"],
        "data": [["a", 50, 3, 1]],
    }
    report = context.catalog.get("report")
    assert isinstance(report, MarkdownDataset)
    text = MarkdownDataset(filepath=str(tmp_path / "report.md"))
    text.save("# Report\n\nof phantom_vit and phantom_resnet\n\n| model |\n| --- |\n| <b> |\n")
    html = text.preview()
    assert "<h1>Report</h1>" in html and "<td>&lt;b&gt;</td>" in html and "\n" not in html
    assert not re.search("_[^\u2028]*_", html)  # which Kedro-Viz would show in italics


def test_kedro_viz_shows_figures_as_pictures(context, tmp_path):
    assert isinstance(context.catalog.get("severity_curves"), FigureDataset)
    figure = FigureDataset(filepath=str(tmp_path / "figure.png"))
    figure.save(Figure())
    assert figure.load().startswith(b"\x89PNG")
    assert base64.b64decode(figure.preview()) == figure.load()


@pytest.mark.slow
@pytest.mark.parametrize("env", ["base", "clinical", "imbalanced", "methods", "paper"])
def test_layers_have_an_order_or_kedro_viz_would_show_none(env, pipelines):
    with KedroSession.create(ROOT, env=env) as session:
        context = session.load_context()
    plan, catalog = replace(context.config_loader.plan, seeds=(0,)), context.catalog
    benchmark = pipelines_of(plan, [])["benchmark"]
    layers = {
        name: catalog.get(name).metadata["kedro-viz"]["layer"]
        for name in benchmark.datasets()
        if not name.startswith("param")
    }
    before = {layer: set() for layer in layers.values()}
    for node in benchmark.nodes:
        of_inputs = {layers[name] for name in node.inputs if name in layers}
        for name in node.outputs:
            before[layers[name]] |= of_inputs - {layers[name]}
    order = list(TopologicalSorter(before).static_order())
    assert (order[0], order[-1]) == ("raw", "reporting")
    assert any(name.startswith("head-") for name in layers) == (env == "methods")


def test_the_default_benchmark_has_one_node_per_cell_and_two_where_features_are_kept(pipelines):
    stages = [node.namespace.split(".")[0] for node in pipelines["benchmark"].nodes]
    counts = {stage: stages.count(stage) for stage in STAGES}
    assert counts == {"ingestion": 10, "corruption": 5, "few_shot": 10, "tuning": 8, "evaluation": 70, "reporting": 10}


def test_whether_models_read_together_makes_nothing_of_the_tuned_ones_stale(context):
    plan = context.config_loader.plan
    apart, together = (
        expected_fingerprints(evaluation.create_pipeline(replace(plan, read_together=value)), str)
        for value in (False, True)
    )
    assert apart.keys() == together.keys()
    tuned = {f"logits-{model.cell}-{one.name}" for model in plan.tuned_models for one in plan.data_sets}
    temperatures = {f"temperatures-{model.cell}" for model in plan.evaluated_models}
    assert {name for name, fingerprint in apart.items() if fingerprint == together[name]} == tuned | temperatures


def test_corrupted_sets_are_made_from_the_sources(pipelines):
    assert all(name.startswith(("raw-", "params:")) for name in pipelines["corruption"].inputs())


def test_every_intermediate_is_persisted_and_versioned(context, pipelines):
    catalog = context.catalog  # made anew each time it is asked for
    for name in pipelines["benchmark"].all_outputs() | pipelines["pretraining"].all_outputs():
        assert name in catalog, name
        assert catalog.get(name)._version is not None, name


def test_one_key_moves_whatever_is_made():
    """The data of the user, such as ratings, stay where they are."""
    for file in (ROOT / "conf/base/catalog").iterdir():
        places = re.findall(r"filepath: (\S+)", file.read_text())
        assert places and all(place.startswith(("${globals:data}/", "data/01_raw/")) for place in places), file


def test_a_report_is_written_and_read_where_the_system_encodes_text_in_another_way_as_windows_does(context, tmp_path):
    file = {"filepath": str(tmp_path / "report.html"), "versioned": False}
    settings = context.config_loader["catalog"]["report_page"] | file
    code = f"""
from kedro.io import AbstractDataset
dataset = AbstractDataset.from_config("report", {settings!r})
dataset.save(chr(0xFFFD))
assert dataset.load() == chr(0xFFFD)
"""
    ascii_alone = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = subprocess.run([sys.executable, "-c", code], env=ascii_alone, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "report.html").read_text(encoding="utf-8") == "\ufffd"


@pytest.mark.slow
def test_the_paper_environment_has_a_graph_of_its_own(pipelines):
    with KedroSession.create(ROOT, env="paper") as session:
        config = session.load_context().config_loader
    plan = config.plan
    assert [adaptation.method.rank for adaptation in plan.adaptations] == [8, 16]
    assert len(plan.tuned_models) == 2 * 2 * 4 * 3
    assert config["parameters"]["published"]["models"]["RMedCLIP"] == {"clean error ratio": 62.8, "mCE": 81.0}
    study = {"clip", "biomedclip", "medclip", "unimedclip", "robustmedclip"}
    assert plan.models.keys() - study == {"medclip_resnet"}
    assert plan.baseline == "clip"


def test_published_figures_are_those_of_the_paper_environment_alone():
    with KedroSession.create(ROOT, env="base") as session:
        assert "published" not in session.load_context().config_loader["parameters"]


def test_the_paper_environment_has_the_data_sets_of_the_study_and_says_where_they_come_from():
    with KedroSession.create(ROOT, env="paper") as session:
        context = session.load_context()
    plan, catalog = context.config_loader.plan, context.catalog
    collections = {}
    for one in plan.data_sets:
        collections.setdefault(one.collection, set()).add(one.name)
        origin = catalog.get(f"raw-{one.name}").origin()
        assert set(origin) == {"url", "size", "licence", "citation"}, one.name
        assert one.suite == ("medmnist-c" if one.collection == "medmnist" else "medimeta-c")
    assert collections == {
        "medimeta": {"aml", "fundus", "mammo_calc", "mammo_mass", "oct", "pbc", "pneumonia"},
        "medmnist": {"bloodmnist", "breastmnist", "octmnist", "pneumoniamnist", "retinamnist"},
    }


def test_missing_models_of_the_paper_are_named_all_at_once_and_where_they_are_from(tmp_path):
    config = OmegaConfigLoader(str(ROOT / "conf"), base_env="base", default_run_env="paper")
    config.config_patterns["benchmark"] = ["benchmark*"]
    models = config["benchmark"]["models"]
    catalog = FingerprintedCatalog(
        {
            f"model-{name}": open_clip_dataset(path=str(tmp_path / name), origin=model["origin"])
            for name, model in models.items()
        }
    )
    run = Pipeline([Node(lambda *_: None, list(catalog), "result", name="run")])
    lines = input_problems({}, run, catalog, tmp_path)
    assert len(lines) == len(models) == 6
    for name, model in models.items():
        (line,) = [line for line in lines if f"model {name}:" in line]
        assert f"there is no {tmp_path / name}: import it from {model['origin']['url']}" in line


@pytest.mark.slow
def test_pipelines_and_catalog_are_made_without_what_nodes_alone_need():
    code = (
        "import sys; from kedro.framework.project import pipelines; from kedro.framework.session import KedroSession;"
        "from kedro.framework.startup import bootstrap_project;"
        f"bootstrap_project({str(ROOT)!r}); session = KedroSession.create({str(ROOT)!r}, env='base');"
        "list(session.load_context().catalog.items()); dict(pipelines);"
        "print(*{'torch', 'matplotlib', 'scipy.optimize', 'sklearn'} & set(sys.modules))"
    )
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True)
    assert not run.stdout.split()
