"""A benchmark of findings, from a CSV with a column for each to the report."""

import io
import re

import mlflow
import numpy as np
import pandas as pd
import pytest
from PIL import Image
from projects import Project, without_figures
from scipy.special import expit
from sklearn.metrics import roc_auc_score

from robustmedclip.io import ImageSetDataset, LogitsDataset

pytestmark = pytest.mark.slow

FINDINGS = ["bright spot", "dark spot", "stripes"]
PLAN = {
    "mce_on": "auroc",
    "templates": ["{class_name}"],
    "data_sets": {
        "drawings": {
            "modality": "drawing",
            "task": "findings",
            "classes": FINDINGS,
            "source": {"type": "folder", "filepath": "drawings"},
        }
    },
    "corruptions": {"suite": "medimeta-c", "names": ["pixelate"]},
    "models": {"phantom_vit": {"source": {"type": "open_clip", "path": "package:models/phantom_vit"}}},
    "adaptations": {
        "probe": {"method": "linear-probe", "models": "all", "fractions": [0.3]},
        "lora": {"method": "robust-lora", "models": "all", "fractions": [0.3], "rank": 4, "epochs": 1},
    },
}


def draw(folder, count: int = 120, side: int = 40) -> None:
    """Images with each of three findings at random, four of a patient; some are uncertain or not mentioned."""
    rng = np.random.default_rng(0)
    present = rng.integers(0, 2, (count, 3))
    folder.mkdir()
    for index, (bright, dark, stripes) in enumerate(present):
        pixels = rng.normal(128, 8, (side, side))
        pixels[4:16, 4:16] += 90 * bright
        pixels[24:36, 24:36] -= 90 * dark
        pixels[::4, 20:] += 40 * stripes
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / f"{index:03d}.png")
    table = pd.DataFrame(present.astype(str), columns=FINDINGS)
    table.loc[::9, "stripes"], table.loc[1::9, "stripes"] = "-1", ""
    table["file"], table["patient"] = [f"{index:03d}.png" for index in range(count)], np.arange(count) // 4
    table.to_csv(folder / "labels.csv", index=False)


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    project = Project(tmp_path_factory.mktemp("findings"))
    draw(project.folder / "drawings")
    project.configure(PLAN)
    with without_figures():
        project.run_here("benchmark")
    return project


def test_images_are_corrupted_and_encoded_once_for_all_findings(project):
    assert len([*project.folder.glob("data/04_feature/features/phantom_vit/*.npz")]) == 1
    assert [path.name for path in project.folder.glob("data/03_primary/corrupted/*")] == ["drawings"]


def test_each_finding_is_scored_on_the_images_where_it_is_known(project):
    path = project.newest("data/07_model_output/logits/phantom_vit/drawings.npz/*/drawings.npz")
    run = LogitsDataset(filepath=str(path)).load()
    assert run.logits.shape == (6, len(run.labels), 3)
    table = pd.read_csv(project.newest("data/08_reporting/findings.csv/*/findings.csv"))
    rows = table[(table["model"] == "phantom_vit") & (table["corruption"] == "clean") & (table["metric"] == "auroc")]
    values = rows.set_index("finding")
    known = run.labels[:, 2] >= 0
    expected = roc_auc_score(run.labels[known, 2], run.logits[0][known, 2])
    assert values.loc["stripes", "value"] == pytest.approx(expected, rel=1e-5)
    assert values.loc["stripes", "n"] == known.sum() < values.loc["all", "n"] == len(run.labels)
    assert values.loc["all", "value"] == pytest.approx(values.drop(index="all")["value"].mean(), rel=1e-5)
    assert values.loc["all", "patients"] == len(run.labels) / 4


def test_a_probe_learns_each_finding_and_a_tuned_encoder_is_scored_too(project):
    table = pd.read_csv(project.newest("data/08_reporting/findings.csv/*/findings.csv"))
    clean = table[(table["corruption"] == "clean") & (table["metric"] == "auroc")]
    probed = clean[clean["model"] == "phantom_vit_probe_k30"].set_index("finding")["value"]
    assert probed["all"] > 0.85 and probed.min() > 0.7
    assert clean[clean["model"] == "phantom_vit_lora_k30"]["value"].notna().all()


def test_the_report_has_findings_by_corruption_and_says_what_mce_is_made_of(project):
    report = project.newest("data/08_reporting/report.md/*/report.md").read_text()
    assert "mCE is made of:** 1 - AUROC" in report
    assert "AUROC, of findings by corruption" in report and "Balanced error, %, of findings by corruption" in report
    assert "mean over findings (n = " in report and "drawings against prompts of 'no <finding>'" in report
    tables = project.newest("data/08_reporting/tables/*/tables")
    numbers = pd.read_csv(tables / "findings_auroc.csv")
    assert {*FINDINGS, "all"} == set(numbers["finding"])
    page = project.newest("data/08_reporting/report.html/*/report.html").read_text()
    assert "AUROC, of findings" in page and "In mCE (of 1 - AUROC), " in page


def test_the_terminal_says_what_mce_is_made_of_too(project):
    with without_figures():
        done = project.run("--pipelines", "reporting", "--params", "tracking.log_best_adapter=false")
    assert re.search("model +labelled images +clean +corrupted +lost +mCE \\(of 1 - AUROC\\)", done.stdout)


def test_mlflow_has_auroc_over_findings_and_the_rest_of_them_in_a_table(project):
    mlflow.set_tracking_uri(f"sqlite:///{project.folder}/mlflow.db")
    runs = mlflow.search_runs(search_all_experiments=True)
    child = runs[runs["tags.cell"] == "phantom_vit"].iloc[0]
    table = pd.read_csv(project.newest("data/08_reporting/findings.csv/*/findings.csv"))
    rows = table[(table["model"] == "phantom_vit") & (table["finding"] == "all") & (table["corruption"] == "all")]
    by_metric = rows.set_index("metric")["value"]
    assert child["metrics.findings_corrupted_auroc"] == pytest.approx(by_metric["auroc"], rel=1e-4)
    logged = pd.read_csv(io.StringIO(mlflow.artifacts.load_text(f"{child['artifact_uri']}/metrics.csv")))
    logged = logged[(logged["data_set"] == "drawings") & (logged["corruption"] == "all") & logged["severity"].isna()]
    balanced = logged.set_index("metric")["value"]["balanced_accuracy"]
    assert 100 - balanced == pytest.approx(by_metric["balanced_error"], rel=1e-4)


def test_the_best_tuned_encoder_is_served_with_the_probability_of_each_finding(project):
    mlflow.set_tracking_uri(f"sqlite:///{project.folder}/mlflow.db")
    experiments = [experiment.experiment_id for experiment in mlflow.search_experiments()]
    (logged,) = mlflow.search_logged_models(experiments, output_format="list")
    served = mlflow.pyfunc.load_model(mlflow.artifacts.download_artifacts(logged.model_uri))
    path = project.newest("data/02_intermediate/test/drawings.npz/*/drawings.npz")
    made = served.predict(np.array(ImageSetDataset(filepath=str(path)).load().images))
    path = project.newest("data/07_model_output/logits/phantom_vit_lora_k30_s0/drawings.npz/*/drawings.npz")
    assert made.columns.tolist() == FINDINGS
    np.testing.assert_allclose(made, expit(LogitsDataset(filepath=str(path)).load().logits[0]), atol=1e-4)
