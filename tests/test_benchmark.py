"""The real ``kedro run --pipeline benchmark`` on tiny data, in a copy of the project."""

import io
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from projects import ROOT, Project, without_figures
from small_benchmark import PLAN, new_project

from robustmedclip.benchmark import benchmark
from robustmedclip.images.sets import ImageSet
from robustmedclip.io import ImageSetDataset
from robustmedclip.models.formats import load_model
from robustmedclip.models.inference import image_logits
from robustmedclip.models.interface import zero_shot_classifier

pytestmark = pytest.mark.slow

CONTROLS = ["phantom_vit_probe_k10_s0", "phantom_vit_cache_k10_s0", "phantom_vit_ensemble"]
CELLS = [
    f"phantom_{base}{cell}" for base in ("vit", "resnet") for cell in ("", "_lora_k5_s0", "_lora_k10_s0")
] + CONTROLS


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Project:
    project = new_project(tmp_path_factory.mktemp("project"))
    (project.folder / "mlflow.db").unlink()
    return project


@pytest.fixture(scope="module")
def first_run(project) -> subprocess.CompletedProcess:
    result = project.run_apart("--pipeline", "benchmark")
    assert result.returncode == 0, result.stdout + result.stderr
    return result


@pytest.fixture
def again(project, first_run, tmp_path) -> Iterator[Project]:
    """The project after its first run, which has drawn all figures, in a copy of the test's own."""
    with without_figures():
        yield project.copy(tmp_path / "again")


def results_of(project: Project) -> dict[str, bytes]:
    leaderboard = project.newest("data/08_reporting/leaderboard.csv/*/leaderboard.csv")
    adapters = {
        f"{folder.name}/{file.name}": file.read_bytes()
        for folder in project.folder.glob("data/06_models/adapters/*")
        for file in project.newest(f"{folder.relative_to(project.folder)}/*/{folder.name}").iterdir()
    }
    provenance = project.newest("data/08_reporting/provenance.json/*/provenance.json")
    tables = {"leaderboard": leaderboard.read_bytes(), "provenance": provenance.read_bytes()}
    return tables | adapters | logits_of(project)


def logits_of(project: Project) -> dict[str, bytes]:
    return {
        f"{cell}/{data_set}": project.newest(f"data/07_model_output/logits/{cell}/{data_set}.npz/*/*.npz").read_bytes()
        for cell in CELLS
        for data_set in PLAN["data_sets"]
    }


def test_the_leaderboard_ranks_every_model(project, first_run):
    table = pd.read_csv(project.newest("data/08_reporting/leaderboard.csv/*/leaderboard.csv"))
    assert set(table["model"]) == {cell.removesuffix("_s0") for cell in CELLS}
    baseline = table.set_index("model").loc["phantom_vit"]
    assert baseline["mce"] == baseline["clean_error_ratio"] == 100
    assert (table["mce"].diff().dropna() >= 0).all()
    assert (table["mce_low"] <= table["mce"]).all()
    assert (table["n"] == 24 + 18).all()


def test_progress_is_shown(first_run):
    lines = re.findall(r"\[(\d+)/(\d+)\] (.*?): \d", first_run.stdout + first_run.stderr)
    parts = [part for *_, part in lines]
    assert [int(number) for number, *_ in lines] == list(range(1, 1 + int(lines[0][1])))
    assert len(parts) == len(set(parts)) and {"ingestion", "evaluation · phantom_vit"} <= set(parts)


def test_the_run_ends_with_its_result_and_the_place_of_the_report(project, first_run):
    page = project.folder / "data/08_reporting/latest.html"
    assert "to validate" in page.read_text() and ".0 to validate" not in page.read_text()
    version = project.newest("data/08_reporting/report.html/*/report.html")
    shown, facts = page.read_text(), version.parent.name
    before, after = version.read_text().split("<!-- facts of the run -->")
    assert shown.startswith(before) and shown.endswith(after) and f"Run {facts}, commit" in shown
    assert 'href="latest/tables/leaderboard.csv"' in shown
    tables = project.newest("data/08_reporting/tables/*/tables/leaderboard.csv").parent
    latest = project.folder / "data/08_reporting/latest"
    assert {file.name for file in (latest / "tables").iterdir()} == {file.name for file in tables.iterdir()}
    assert (latest / "figures/corruption_heat_map_240pt.svg").is_file()
    log = " ".join((first_run.stdout + first_run.stderr).split())
    assert re.search(r"without tuning, (phantom_\w+ breaks most|no model (surely )?breaks): ", log)
    assert "latest.html" in log and ".0 labelled images" not in log
    assert "labelled images clean corrupted lost mCE" in log


def test_tables_figures_and_report_are_written(project, first_run):
    report = project.newest("data/08_reporting/report.md/*/report.md").read_text()
    assert "phantom_oct" in report and "not patients" in report
    assert "squares" not in report.split("Figures on")[0]
    for name in ("severity_curves", "corruption_heat_map", "few_shot_curves", "corruption_montage"):
        with Image.open(project.newest(f"data/08_reporting/{name}.png/*/{name}.png")) as figure:
            assert min(figure.size) > 200


def test_a_call_without_a_project_gives_the_same_numbers(project, first_run):
    (file,) = project.folder.glob("data/02_intermediate/test/squares.npz/*/squares.npz")
    test = ImageSetDataset(filepath=str(file)).load()
    models = {name: zero_shot(name, test) for name in ("phantom_vit", "phantom_resnet")}
    result = benchmark(
        models,
        test.images,
        test.labels,
        test.class_names,
        name="squares",
        modality=test.modality,
        sample_ids=test.sample_ids,
        corruptions=PLAN["corruptions"]["names"],
    )
    keys, numbers = ["model", "data_set", "corruption", "severity", "metric"], ["value", "low", "high", "n"]
    of_run = pd.read_csv(project.newest("data/08_reporting/metrics.csv/*/metrics.csv"), keep_default_na=False)
    of_run = of_run[(of_run["data_set"] == "squares") & of_run["model"].isin(models)].set_index(keys)[numbers]
    text = result.metrics.to_csv(index=False, float_format="%.6g")
    of_call = pd.read_csv(io.StringIO(text), keep_default_na=False)
    of_call = of_call[of_call["data_set"] == "squares"].set_index(keys)[numbers]
    assert len(of_call) > 100
    pd.testing.assert_frame_equal(of_call, of_run.loc[of_call.index])


def zero_shot(name: str, test: ImageSet) -> Callable[[np.ndarray], np.ndarray]:
    model = load_model(ROOT / "src/robustmedclip/models" / name)
    classifier = zero_shot_classifier(
        model, test.class_names, ["a {modality} image showing {class_name}"], test.modality
    )
    return lambda images: np.concatenate(list(image_logits(model, classifier, [images])))


def test_corrupted_sets_have_the_layout_of_medimeta_c(project, first_run):
    clean = project.newest("data/03_primary/corrupted/squares/*/squares/test/clean.npz")
    names = {file.name for file in clean.parent.iterdir()}
    assert names == {
        "clean.npz",
        *(f"{c}_severity_{s}.npz" for c in ("gaussian_noise", "pixelate") for s in range(1, 6)),
    }


def test_mlflow_has_a_child_run_per_evaluated_model(project, first_run):
    import mlflow

    client = mlflow.MlflowClient(f"sqlite:///{project.folder}/mlflow.db")
    experiment = client.get_experiment_by_name("robustmedclip")
    runs = client.search_runs([experiment.experiment_id])
    children = {run.data.tags["cell"]: run for run in runs if "mlflow.parentRunId" in run.data.tags}
    assert set(children) == set(CELLS)
    child = children["phantom_vit_lora_k10_s0"]
    assert child.data.params["fraction"] == "0.1" and child.data.params["rank"] == "4"
    assert child.info.run_name == "lora 10 % · phantom_vit · seed 0" and int(child.data.params["labelled_images"]) > 0
    assert all(run.info.end_time > run.info.start_time for run in children.values())
    assert all("clean_error_low" in run.data.metrics for run in (child, children["phantom_vit"]))
    for metric in ("mce", "clean_error", "corrupted_error", "points_lost", "points_won_back"):
        assert metric in child.data.metrics
    rows = mlflow.artifacts.load_text(f"{child.info.artifact_uri}/metrics.csv")
    assert "pixelate,,ce," in rows and "squares" in rows and "all,clean,,auroc," in rows
    assert [point.step for point in client.get_metric_history(child.info.run_id, "training_loss")] == [1, 2]
    points = client.get_metric_history(child.info.run_id, "error_by_severity")
    assert [point.step for point in points] == [0, 1, 2, 3, 4, 5]
    rows = pd.read_csv(io.StringIO(mlflow.artifacts.load_text(f"{child.info.artifact_uri}/recalibration.csv")))
    assert {*rows["metric"]} == {"ece", "overconfidence"} and {*rows["severity"]} == {0, 1, 2, 3, 4, 5}
    (parent,) = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    table = pd.read_csv(project.newest("data/08_reporting/leaderboard.csv/*/leaderboard.csv"))
    assert parent.data.tags["best_model"] == table["model"][0]
    assert parent.data.metrics["best_mce"] == pytest.approx(table["mce"][0])
    note = parent.data.tags["mlflow.note.content"]
    assert "Zero-shot, " in note and all(model in note for model in table["model"])
    assert parent.data.tags["kedro_run_id"] == project.newest("data/08_reporting/metrics.csv/*/*").parent.name
    artifacts = {artifact.path for artifact in client.list_artifacts(parent.info.run_id)}
    assert {"leaderboard.csv", "report.md", "report.html", "tables", "figures", "parameters.yml"} <= artifacts


def test_controls_are_scored_on_the_features_of_their_base(project, first_run):
    kept = {path.name for path in project.folder.glob("data/04_feature/features/*")}
    assert kept == {"phantom_vit", "phantom_resnet"}
    assert {path.name for path in project.folder.glob("data/06_models/heads/*")} == set(CONTROLS[:2])
    table = pd.read_csv(project.newest("data/08_reporting/leaderboard.csv/*/leaderboard.csv")).set_index("model")
    assert table.loc["phantom_vit_probe_k10", ["method", "fraction", "seeds"]].tolist() == ["linear-probe", 0.1, 1]
    ensemble = table.loc["phantom_vit_ensemble"]
    assert ensemble["method"] == "prompt-ensemble" and ensemble["seeds"] == 0
    assert ensemble[["fraction", "rank"]].isna().all()


def test_nothing_is_made_again_if_nothing_is_missing(again):
    before = again.versions()
    assert again.run("--pipeline", "benchmark", "--only-missing-outputs").returncode == 0
    assert again.versions() == before


def test_a_killed_run_is_continued(again):
    expected, before = logits_of(again), again.versions()
    killed = again.newest("data/07_model_output/logits/phantom_vit_lora_k10_s0/squares.npz/*/squares.npz")
    (killed.parent / ".fingerprint").unlink()
    assert again.run("--pipeline", "benchmark", "--only-missing-outputs").returncode == 0
    made = {path.split("/")[1] for path in again.versions() - before}
    assert made == {"07_model_output"}
    assert logits_of(again) == expected


def test_a_changed_parameter_makes_stale_what_depends_on_it(again):
    before = again.versions()
    result = again.run(
        "--pipeline", "benchmark", "--only-missing-outputs", "--params", "methods.robust-lora.weight_decay=0.01"
    )
    assert result.returncode == 0, result.stdout
    made = {"/".join(path.split("/")[1:3]) for path in again.versions() - before}
    assert made >= {"06_models/adapters", "07_model_output/logits", "08_reporting/leaderboard.csv"}
    assert not {path for path in made if path.startswith(("02", "03", "05"))}


def test_two_runs_in_two_processes_give_the_same_bytes(again):
    first = results_of(again)
    assert again.run("--pipelines", "benchmark").returncode == 0
    assert results_of(again) == first


def test_one_stage_and_one_cell_run_alone(again):
    before = again.versions()
    assert again.run("--namespaces", "evaluation.phantom_vit.zero-shot.squares").returncode == 0
    made = {path.split("/202")[0] for path in again.versions() - before}
    assert made == {
        "data/04_feature/features/phantom_vit/squares.npz",
        "data/07_model_output/logits/phantom_vit/squares.npz",
    }
    assert again.run("--pipelines", "ingestion").returncode == 0


def test_corrupting_on_the_fly_gives_the_same_logits(again):
    expected = logits_of(again)
    again.configure({**PLAN, "corruptions": {**PLAN["corruptions"], "storage": "on_the_fly"}})
    result = again.run("--namespaces", "corruption.squares,evaluation.phantom_vit.zero-shot.squares")
    assert result.returncode == 0, result.stdout + result.stderr
    stored = again.newest("data/03_primary/corrupted/squares/*/squares")
    assert [file.name for file in stored.rglob("*.npz")] == ["clean.npz"]
    assert logits_of(again).items() <= expected.items()


def test_the_tour_runs_top_to_bottom(again):
    cells = json.loads((ROOT / "notebooks/tour.ipynb").read_text())["cells"]
    code = "".join(f"{''.join(cell['source'])}\n" for cell in cells if cell["cell_type"] == "code")
    code = code.replace("%matplotlib inline", "")
    result = subprocess.run([sys.executable, "-c", code], cwd=again.folder, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
