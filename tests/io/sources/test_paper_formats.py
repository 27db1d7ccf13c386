"""All twelve data sets of the study, written in their released formats, through the whole benchmark."""

import json
import re
import subprocess

import numpy as np
import pandas as pd
import pytest
import yaml
from medmnist import INFO
from projects import ROOT, Project, without_figures
from released_collections import medmnist_arrays, write_medimeta

pytestmark = pytest.mark.slow

# Task, classes in the order of the label ids, target and channels, as info.yaml of each has them.
BINARY, MULTICLASS = "BINARY_CLASSIFICATION", "MULTICLASS_CLASSIFICATION"
AML = [
    "BAS Basophil",
    "EBO Erythroblast",
    "EOS Eosinophil",
    "KSC Smudge cell",
    "LYA Lymphocyte (atypical)",
    "LYT Lymphocyte (typical)",
    "MMZ Metamyelocyte",
    "MOB Monoblast",
    "MON Monocyte",
    "MYB Myelocyte",
    "MYO Myeloblast",
    "NGB Neutrophil (band)",
    "NGS Neutrophil (segmented)",
    "PMB Promyelocyte (bilobled)",
    "PMO Promyelocyte",
]
PBC = [
    "neutrophil",
    "eosinophil",
    "basophil",
    "lymphocyte",
    "monocyte",
    "immature granulocyte",
    "erythroblast",
    "platelet",
]
MEDIMETA = {
    "aml": ("morphological class", AML, MULTICLASS, 3),
    "fundus": ("disease presence", ["normal", "abnormal"], BINARY, 3),
    "mammo_calc": ("pathology", ["benign", "malignant"], BINARY, 1),
    "mammo_mass": ("pathology", ["benign", "malignant"], BINARY, 1),
    "oct": ("disease class", ["CNV", "DME", "DRUSEN", "NORMAL"], MULTICLASS, 1),
    "pbc": ("cell class", PBC, MULTICLASS, 3),
    "pneumonia": ("disease class", ["NORMAL", "BACTERIA", "VIRUS"], MULTICLASS, 1),
}
MEDMNIST = ["bloodmnist", "breastmnist", "octmnist", "pneumoniamnist", "retinamnist"]


def medmnist_classes(flag: str, plan: dict) -> list[str]:
    names = [INFO[flag]["label"][str(label)] for label in range(len(INFO[flag]["label"]))]
    return plan["data_sets"][flag].get("classes", names)


@pytest.fixture(scope="module")
def plan() -> dict:
    """The study's data sets as they are in its plan, at 28 px where there is a choice, and little of the rest."""
    plan = yaml.safe_load((ROOT / "conf/paper/benchmark.yml").read_text())
    base = yaml.safe_load((ROOT / "conf/base/benchmark.yml").read_text())
    data_sets = plan["data_sets"]
    for flag in MEDMNIST:
        data_sets[flag]["source"]["size"] = 28
        data_sets[flag]["corruptions"]["names"] = ["pixelate"]
    lora = {"method": "robust-lora", "models": "all", "fractions": [0.1], "rank": 4, "epochs": 1}
    return {
        "data_sets": data_sets,
        "corruptions": {"suite": "medimeta-c", "names": ["pixelate"]},
        "templates": plan["templates"],
        "models": {"phantom_vit": base["models"]["phantom_vit"]},
        "adaptations": {"lora": lora},
        "seeds": [0],
        "baseline": "phantom_vit",
    }


@pytest.fixture(scope="module")
def project(tmp_path_factory, plan) -> Project:
    project = Project(tmp_path_factory.mktemp("paper"))
    raw = project.folder / "data/01_raw"
    for seed, (name, (task, classes, target, channels)) in enumerate(MEDIMETA.items()):
        hdf5 = name != "fundus"
        write_medimeta(raw / "medimeta", name, task, classes, hdf5=hdf5, channels=channels, target=target, seed=seed)
    (raw / "medmnist").mkdir()
    for seed, flag in enumerate(MEDMNIST, len(MEDIMETA)):
        arrays = medmnist_arrays(flag, seed=seed)
        if flag == "octmnist":
            arrays["train_images"][5] = arrays["test_images"][3]
        np.savez_compressed(raw / f"medmnist/{flag}.npz", **arrays)
    (project.folder / "conf/paper/benchmark.yml").write_text(yaml.safe_dump(plan))
    return project


@pytest.fixture(scope="module")
def result(project) -> subprocess.CompletedProcess:
    with without_figures():
        result = project.run("--env", "paper", "--pipeline", "benchmark")
    assert result.returncode == 0, result.stdout[-5000:] + result.stderr[-5000:]
    return result


def test_the_dry_run_reads_everything_and_writes_nothing(project):
    """The tests' files of MedMNIST have not the checksums of the released ones."""
    before = sorted(project.folder.glob("data/**/*"))
    found = project.check("--env", "paper")
    entries = (re.split(" {2,}", line) for line in found.stdout.splitlines() if line.startswith(("raw ", "model ")))
    statuses = {name: status for name, status, *_ in entries}
    assert found.returncode == 1, found.stderr
    assert statuses == {"model phantom_vit": "there, not loaded"} | {
        f"raw {name}": status for names, status in ((MEDIMETA, "present"), (MEDMNIST, "damaged")) for name in names
    }
    assert found.stdout.count("is not the released file") == len(MEDMNIST)
    assert sorted(project.folder.glob("data/**/*")) == before


def test_every_data_set_is_scored_with_its_own_classes_in_the_order_of_its_labels(project, plan, result):
    metrics = pd.read_csv(project.newest("data/08_reporting/metrics.csv/*/metrics.csv"), keep_default_na=False)
    assert set(metrics["data_set"]) >= {*MEDIMETA, *MEDMNIST}
    for name in (*MEDIMETA, *MEDMNIST):
        classes = MEDIMETA[name][1] if name in MEDIMETA else medmnist_classes(name, plan)
        with np.load(project.newest(f"data/07_model_output/logits/phantom_vit/{name}.npz/*/*.npz")) as logits:
            assert logits["class_names"].tolist() == classes
            assert logits["logits"].shape == (6, 20, len(classes))
            assert logits["labels"].max() == len(classes) - 1
    assert "severe non-proliferative diabetic retinopathy" in medmnist_classes("retinamnist", plan)


def test_cards_and_report_say_where_images_come_from_and_which_leaked(project, result):
    for name in (*MEDIMETA, *MEDMNIST):
        card = json.loads(project.newest(f"data/02_intermediate/cards/{name}.json/*/{name}.json").read_text())
        assert set(card["origin"]) == {"url", "size", "licence", "citation"}
        assert sum(card["counts"]["test"].values()) == 20
    duplicates = pd.read_csv(project.newest("data/05_model_input/duplicates.csv/*/duplicates.csv"), dtype=str)
    (row,) = duplicates.itertuples(index=False)
    assert tuple(row) == ("octmnist", "train/000005", "octmnist", "test/000003", "exact", "0")
    few_shots = pd.read_csv(project.newest("data/05_model_input/few_shots/*/*/*.csv"), dtype=str)
    assert not ((few_shots["data_set"] == "octmnist") & (few_shots["sample_id"] == "train/000005")).any()
    report = project.newest("data/08_reporting/report.md/*/report.md").read_text()
    assert "| octmnist" in report.split("are not trained on")[1]
    page = project.newest("data/08_reporting/report.html/*/report.html").read_text()
    assert "CC BY-SA 4.0" in page and "zenodo.7884735" in page
