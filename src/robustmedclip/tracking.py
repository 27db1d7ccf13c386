"""What a finished benchmark leaves in the active MLflow run."""

import tempfile
from collections.abc import Collection
from pathlib import Path

import mlflow
import pandas as pd
from kedro.io import DataCatalog

from robustmedclip.metrics import metrics_table
from robustmedclip.metrics.table import ALL, SCORES, overall
from robustmedclip.plan import EvaluatedModel, Plan
from robustmedclip.types import CLEAN

FIGURES = ("severity_curves", "corruption_heat_map", "few_shot_curves", "corruption_montage")


def log_report(catalog: DataCatalog, made: Collection[str]) -> None:
    """Log the leaderboard, the report and the figures as artifacts of the active run."""
    with tempfile.TemporaryDirectory() as folder:
        catalog.load("leaderboard").to_csv(Path(folder) / "leaderboard.csv", index=False)
        (Path(folder) / "report.md").write_text(catalog.load("report"))
        (Path(folder) / "report.html").write_text(catalog.load("report_page"))
        for name, content in catalog.load("tables").items():
            (Path(folder) / "tables").mkdir(exist_ok=True)
            (Path(folder) / "tables" / name).write_bytes(content)
        mlflow.log_artifacts(folder)
    for name in FIGURES:
        if name in made:
            mlflow.log_artifact(str(catalog[name]._get_load_path()), "figures")


def log_models(catalog: DataCatalog, plan: Plan, run_id: str) -> None:
    """Log a child run per evaluated model and seed: parameters, metrics, training curves."""
    baseline = [catalog.load(f"logits-{plan.baseline}-{data_set.name}") for data_set in plan.data_sets]
    for model in plan.evaluated_models:
        logits = [catalog.load(f"logits-{model.cell}-{data_set.name}") for data_set in plan.data_sets]
        runs = logits if model.name == plan.baseline else logits + baseline
        table = metrics_table(runs, plan.baseline, resamples=0)
        with mlflow.start_run(run_name=model.cell, nested=True):
            mlflow.set_tags({"kedro_run_id": run_id, "logits": f"logits-{model.cell}-*"})
            mlflow.log_params({"model": model.name, "backbone": model.base, **_known(model)})
            mlflow.log_metrics(flat_metrics(table[table["model"] == model.name]))
            if model.adaptation:
                mlflow.set_tag("adapter", f"adapter-{model.cell}")
                for row in catalog.load(f"history-{model.cell}").to_dict("records"):
                    step = int(row.pop("epoch"))
                    mlflow.log_metrics({k: v for k, v in row.items() if pd.notna(v)}, step=step)


def flat_metrics(table: pd.DataFrame) -> dict[str, float]:
    """The summary of one model as MLflow metrics.

    Names are ``mce``, ``clean_error`` and so on for the average over all data sets,
    ``<metric>.<data set>`` for one data set, and ``ce.<corruption>``; scores on clean images alone have
    the prefix ``clean_``, and the means over all corruptions ``corrupted_``.
    """
    averages = overall(table).assign(suffix="")
    of_data_sets = table[table["data_set"] != ALL].assign(suffix=lambda rows: "." + rows["data_set"])
    summary = pd.concat([averages, of_data_sets])
    summary = summary[summary["seed"].isna() & summary["severity"].isna() & summary["value"].notna()]
    flat = {}
    for row in summary.itertuples():
        name = row.metric
        if name in SCORES:
            name = ("corrupted_" if row.corruption == ALL else "clean_") + name
        elif row.corruption not in (ALL, CLEAN.corruption):
            name += f".{row.corruption}"
        flat[name + row.suffix] = row.value
    return flat


def _known(model: EvaluatedModel) -> dict[str, object]:
    return {name: "none" if value is None else value for name, value in model.attributes.items() if name != "base"}
