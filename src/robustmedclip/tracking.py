"""What a finished benchmark leaves in the active MLflow run."""

import json
import tempfile
from collections.abc import Collection
from importlib.metadata import version
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
from kedro.io import DataCatalog
from kedro.io.core import get_filepath_str
from mlflow.models import ModelSignature
from mlflow.types import ParamSchema, ParamSpec, Schema, TensorSpec

from robustmedclip.metrics import metrics_table
from robustmedclip.metrics.table import ALL, SCORES, overall
from robustmedclip.plan import EvaluatedModel, Plan
from robustmedclip.types import CLEAN

#: Entry of the catalog to its folder among the artifacts.
ARTIFACTS = {
    "leaderboard": "",
    "report": "",
    "report_page": "",
    "tables": "",
    "figures": "",
    "severity_curves": "figures",
    "corruption_heat_map": "figures",
    "few_shot_curves": "figures",
    "corruption_montage": "figures",
}


def log_report(catalog: DataCatalog, made: Collection[str]) -> None:
    """Log what was made of the tables, the reports and the figures as artifacts of the active run."""
    with tempfile.TemporaryDirectory() as artifacts:
        for name, folder in ARTIFACTS.items():
            if name in made:
                dataset, target = catalog[name], Path(artifacts) / folder
                source = get_filepath_str(dataset._get_load_path(), dataset._protocol)
                target.mkdir(exist_ok=True)
                dataset._fs.get(source, str(target / Path(source).name), recursive=True)
        mlflow.log_artifacts(artifacts)


def log_models(catalog: DataCatalog, plan: Plan, run_id: str) -> None:
    """Log a child run per evaluated model and seed: parameters, metrics, training curves."""
    baseline = [catalog.load(f"logits-{plan.baseline}-{data_set.name}") for data_set in plan.data_sets]
    for model in plan.evaluated_models:
        names = [f"logits-{model.cell}-{data_set.name}" for data_set in plan.data_sets]
        logits = [catalog.load(name) for name in names]
        runs = logits if model.name == plan.baseline else logits + baseline
        table = metrics_table(runs, plan.baseline, resamples=0)
        with mlflow.start_run(run_name=model.cell, nested=True):
            versions = {name: catalog[name].resolve_load_version() for name in names}
            mlflow.set_tags({"kedro_run_id": run_id, "versions": json.dumps(versions)})
            if weights := logits[0].attributes.get("weights"):
                mlflow.set_tag("weights", weights)
            mlflow.log_params({"model": model.name, "backbone": model.base, **_known(model)})
            mlflow.log_metrics(flat_metrics(table[table["model"] == model.name]))
            if model.adaptation:
                mlflow.set_tag("adapter", f"adapter-{model.cell}")
            if model.adaptation and catalog.exists(f"history-{model.cell}"):
                for row in catalog.load(f"history-{model.cell}").to_dict("records"):
                    step = int(row.pop("epoch"))
                    mlflow.log_metrics({k: v for k, v in row.items() if pd.notna(v)}, step=step)


def log_best_adapter(catalog: DataCatalog, plan: Plan) -> None:
    """Log the tuned model with the lowest mCE, with its adapter merged, as an MLflow model of the active run.

    Of several seeds it is the first of the plan. Without any adaptation, nothing is logged.
    """
    from robustmedclip.adaptation import merge_adapter
    from robustmedclip.models import save_model

    place = {name: place for place, name in enumerate(catalog.load("leaderboard")["model"])}
    if not plan.tuned_models:
        return
    best = min(plan.tuned_models, key=lambda model: place[model.name])
    model = merge_adapter(catalog.load(f"model-{best.base}"), catalog.load(f"adapter-{best.cell}"))
    tests = {data_set.name: catalog.load(f"corrupted-{data_set.name}").clean for data_set in plan.data_sets}
    prompts = {
        data_set.name: {
            "class_names": list(tests[data_set.name].class_names),
            "templates": list(data_set.templates),
            "modality": data_set.modality,
            "data_set": data_set.name,
            "synonyms": data_set.synonyms,
        }
        for data_set in plan.data_sets
    }
    first = plan.data_sets[0].name
    signature = ModelSignature(
        inputs=Schema([TensorSpec(np.dtype(np.uint8), (-1, -1, -1, -1))]),
        params=ParamSchema([ParamSpec("data_set", "string", first)]),
    )
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent) / "model"
        folder.mkdir()
        save_model(folder, model, dict(plan.models[best.base]), licence=None)
        (folder / "README.md").unlink()  # the card of a model that nothing was merged into
        (folder / "prompts.json").write_text(json.dumps(prompts, indent=2))
        mlflow.pyfunc.log_model(
            name="best_adapter",
            python_model=str(Path(__file__).with_name("served_model.py")),
            artifacts={"model": str(folder)},
            signature=signature,
            input_example=(np.array(tests[first].images[:1]), {"data_set": first}),
            pip_requirements=[f"robustmedclip=={version('robustmedclip')}"],
            metadata={"model": best.cell, "classes": {name: one["class_names"] for name, one in prompts.items()}},
        )


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
