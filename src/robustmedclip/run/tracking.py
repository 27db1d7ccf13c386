"""Logs a finished benchmark to the active MLflow run."""

import json
import logging
import tempfile
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import mlflow
import numpy as np
import pandas as pd
from kedro.io import DataCatalog
from mlflow import MlflowClient
from mlflow.entities import Metric
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, ParamSchema, ParamSpec, Schema, TensorSpec
from mlflow.utils.mlflow_tags import MLFLOW_RUN_NOTE
from mlflow.utils.validation import MAX_METRICS_PER_BATCH

from robustmedclip import serving
from robustmedclip.adaptation.artefacts import Adapter
from robustmedclip.io.versioned import filesystem_of, is_versioned, load_path
from robustmedclip.metrics import (
    auroc_of_findings,
    derived,
    error_by_severity,
    metrics_named,
    model_rows,
    overall,
    summary,
)
from robustmedclip.metrics.classification import ERROR
from robustmedclip.metrics.table import PATIENTS
from robustmedclip.models.formats import format_name
from robustmedclip.plan import names
from robustmedclip.plan.few_shots import validation_shots
from robustmedclip.plan.plan import DataSet, EvaluatedModel, Plan
from robustmedclip.reporting.figures import model_summary
from robustmedclip.reporting.headline import headline
from robustmedclip.reporting.leaderboard import FIRST, FIRST_COLUMNS, RANKED_BY, ranked_by, readable_leaderboard
from robustmedclip.reporting.table import to_markdown
from robustmedclip.run.processes import elsewhere
from robustmedclip.run.tracking_children import CELL, child_run, close_child, log_curves, open_child, quieten_mlflow
from robustmedclip.run.work_times import WorkTimes

logger = logging.getLogger(__name__)

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

#: Models in the description of a run, which MLflow cuts after 8,000 characters.
_DESCRIBED = 20

#: What is counted to its column in the table of metrics.
_COUNTS = {"images": "n", "patients": PATIENTS}


class Value(NamedTuple):
    """One value of an MLflow metric."""

    name: str
    value: float
    step: int = 0


def log_report(catalog: DataCatalog, outputs: Collection[str]) -> None:
    """Log the tables, the reports and the figures among the outputs of a run as artifacts of the active run."""
    with tempfile.TemporaryDirectory() as artifacts:
        for name, folder in ARTIFACTS.items():
            if name in outputs:
                dataset: Any = catalog[name]
                source, target = load_path(dataset), Path(artifacts) / folder
                target.mkdir(exist_ok=True)
                filesystem_of(dataset).get(source, str(target / Path(source).name), recursive=True)
        mlflow.log_artifacts(artifacts)


def log_models(catalog: DataCatalog, plan: Plan, run_id: str, outputs: Collection[str], work: WorkTimes) -> None:
    """Log a child run per evaluated model and seed: parameters, a dozen metrics, curves, a figure, and tables.

    The dozen are the :func:`~robustmedclip.metrics.summary` and the error by severity. Metrics that don't ship, and
    AUROC where images may have several findings, come beside them; the tables have all. What the run has not made, of
    the entries `outputs`, may be of another plan and is left out.
    """
    parent, scores = mlflow.active_run(), (catalog.load("metrics"), catalog.load("seed_metrics"))
    assert parent is not None
    patients = {data_set.name: catalog.load(names.test(data_set.name)).patients for data_set in plan.data_sets}
    further = [metric for metric in plan.metrics if metric not in metrics_named()]
    for model in plan.evaluated_models:
        rows = model_rows(*scores, model.name, model.seed)
        if rows.empty:  # a cell of it is missing
            continue
        entries = [names.logits(model.cell, data_set.name) for data_set in plan.data_sets]
        entries = [entry for entry in entries if catalog.exists(entry)]
        logits = [catalog.load(entry) for entry in entries]
        with child_run(parent, model, work) as child:
            versions = {entry: _load_version(catalog, entry) for entry in entries}
            mlflow.set_tags({"kedro_run_id": run_id, "versions": json.dumps(versions)})
            if weights := logits[0].attributes.get("weights"):
                mlflow.set_tag("weights", weights)
            if model.artefact:
                mlflow.set_tag("adapter", model.artefact)
            settings = {} if model.method is None else model.method.model_dump()
            mlflow.log_params({"model": model.name, "backbone": model.base, **settings, **_known(model)})
            mlflow.log_params(_sizes(overall(rows)))
            if model.amount:
                mlflow.log_params(_labelled(catalog.load(model.few_shots)["role"], model))
            if licence := plan.licences.get(model.base):
                mlflow.log_param("licence", licence)
            steps = [Value("error_by_severity", error, step) for step, error in error_by_severity(rows).items()]
            if "recalibration" in outputs and validation_shots(plan, model):
                _log_table(_of_model(catalog.load("recalibration"), model), "recalibration.csv")
            if "precisions" in outputs:
                steps += _changed_decisions(_of_model(catalog.load("precisions"), model))
            values = summary(rows, further) | _over_seeds(*scores, model)
            values |= auroc_of_findings(rows, plan.with_findings)
            log_values(child, [*(Value(name, value) for name, value in values.items()), *steps])
            mlflow.log_figure(model_summary(rows, logits, patients), "summary.png")
            _log_table(rows, "metrics.csv")
            if model.method and model.method.has_training_curves and catalog.exists(names.history(model.cell)):
                log_curves(child, catalog.load(names.history(model.cell)).to_dict("records"))


def _labelled(roles: pd.Series, model: EvaluatedModel) -> dict[str, int]:
    """How many labelled images a tuned model has seen, from the roles of its few-shot images, and what for."""
    assert model.method is not None
    counts = {name: int(roles.isin(seen).sum()) for name, seen in model.method.labelled_roles.items()}
    return {**counts, "labelled_images": sum(counts.values())}


def _over_seeds(metrics: pd.DataFrame, seed_metrics: pd.DataFrame, model: EvaluatedModel) -> dict[str, float]:
    """Intervals of a tuned model, which are of its average over the seeds, and this average if there are several.

    One seed is its own average. Of several each has values of its own, which may lie outside of the interval of the
    average: its mCE and error on corrupted images, and their bounds, have the prefix ``over_seeds_``.
    """
    if model.seed is None:
        return {}
    average = summary(model_rows(metrics, seed_metrics, model.name), ())
    if seed_metrics.loc[seed_metrics["model"] == model.name, "seed"].nunique() == 1:
        return {name: value for name, value in average.items() if name.endswith(("_low", "_high"))}
    shown = (derived.MCE, f"corrupted_{ERROR.name}")
    return {f"over_seeds_{name}": value for name, value in average.items() if name.startswith(shown)}


def _sizes(rows: pd.DataFrame) -> dict[str, int]:
    """How many test images the averages of a model are of, and of how many patients, if that is known."""
    sizes = {f"test_{name}": rows[column].max() for name, column in _COUNTS.items() if column in rows}
    return {name: int(count) for name, count in sizes.items() if pd.notna(count)}


def _changed_decisions(precisions: pd.DataFrame) -> list[Value]:
    """The largest percentage of decisions that float32 would change, over data sets; none if images are in float32."""
    return [] if precisions.empty else [Value("changed_by_precision_percent", precisions["changed_percent"].max())]


def _of_model(table: pd.DataFrame, model: EvaluatedModel) -> pd.DataFrame:
    """The rows of a model, or of one of its seeds."""
    rows = table[table["model"] == model.name]
    return rows[rows["seed"].isna() if model.seed is None else rows["seed"] == model.seed]


def _log_table(table: pd.DataFrame, name: str) -> None:
    mlflow.log_text(table.to_csv(index=False, float_format="%.6g"), name)


def log_headline(catalog: DataCatalog, plan: Plan) -> None:
    """Let the active run say what came out: the first model of the leaderboard, which is its description."""
    metrics, board = catalog.load("metrics"), catalog.load("leaderboard")
    best = board.iloc[0]
    shown = [*FIRST, derived.POINTS_WON_BACK]
    mlflow.log_metrics({f"best_{name}": float(best[name]) for name in shown if pd.notna(best[name])})
    mlflow.set_tag("best_model", best["model"])
    table = readable_leaderboard(board, plan.metrics).iloc[:, :FIRST_COLUMNS]
    mlflow.set_tag(MLFLOW_RUN_NOTE, description(headline(metrics, board), table))


def description(sentences: Iterable[str], table: pd.DataFrame) -> str:
    """What stands over a run in MLflow: sentences, and the first rows of a table, in Markdown."""
    lines = [*sentences, to_markdown(table.head(_DESCRIBED))]
    if (further := len(table) - _DESCRIBED) > 0:
        lines.append(f"And {further} more, in leaderboard.csv among the artifacts.")
    return "\n\n".join(lines)


def log_best_adapter(catalog: DataCatalog, plan: Plan, work: WorkTimes) -> None:
    """Log the first tuned encoder of the leaderboard, with its adapter merged, as an MLflow model of its child run.

    The model has the parameters and metrics that :func:`log_models` has given this run: of curves, the last point.

    Of several seeds it is the first of the plan. Without any tuned encoder, or if its format can't be saved, nothing is
    logged. Encoders that are scored as the study's code scores them are left out: what is stored of a model is scored
    as models are.
    """
    board = catalog.load("leaderboard")
    place = {name: place for place, name in enumerate(board["model"])}
    tuned = [m for m in plan.tuned_models if m.method and m.method.can_be_served and m.name in place]
    tuned = [model for model in tuned if model.base not in plan.vision_only]  # what is served scores prompts
    tuned = [model for model in tuned if not plan.switches.get(model.base)]
    if not tuned:
        return
    best = min(tuned, key=lambda model: place[model.name])
    adapter = catalog.load(str(best.artefact))
    tests = {data_set.name: catalog.load(names.corrupted(data_set.name)).clean for data_set in plan.training_sets}
    classes = {name: list(images.class_names) for name, images in tests.items()}
    prompts = {data_set.name: _prompts(data_set, classes[data_set.name]) for data_set in plan.training_sets}
    first, run = plan.training_sets[0].name, mlflow.active_run()
    assert run is not None
    child = open_child(run, best, work)
    points = _last_points(child)
    lowest = RANKED_BY[ranked_by(board)]
    description = f"{best.cell}: of {len(tuned)} tuned encoders the one with the lowest {lowest}, its adapter merged"
    facts = {
        "step": 1 + max((p.step for p in points), default=0),  # without points, for MLflow adds those of this step
        "tags": {CELL: best.cell, MLFLOW_RUN_NOTE: description},
        "signature": _signature(chain(*classes.values()), first),
        "input_example": (np.array(tests[first].images[:1]), {"data_set": first}),
        "metadata": {"model": best.cell, "classes": classes},
    }
    entry, files = catalog[names.model(best.base)], {"prompts": prompts, "guards": adapter.metadata.get("guards") or {}}
    if logged := elsewhere(_log_merged, mlflow.get_tracking_uri(), child, entry, adapter, files, facts):
        last = [Metric(p.key, p.value, p.timestamp, p.step, model_id=logged) for p in points]
        MlflowClient().log_batch(child, last)
    close_child(child, work.seconds(best.cell), "FINISHED")


def _log_merged(
    uri: str, run_id: str, entry: Any, adapter: Adapter, files: Mapping[str, Any], facts: Mapping[str, Any]
) -> str | None:
    """Log the model of an entry, with an adapter merged, as one of a run: its id, if its format can be saved.

    MLflow tries it, which needs torch.
    """
    from robustmedclip.adaptation.tuning import merge_adapter

    quieten_mlflow()
    mlflow.set_tracking_uri(uri)
    model = merge_adapter(entry.load(), adapter)
    if not model.format.can_be_saved():
        logger.warning("'%s' is not logged: %s has no 'save'", facts["tags"][CELL], format_name(model.format))
        return None
    with tempfile.TemporaryDirectory() as parent, mlflow.start_run(run_id, nested=True):
        folder = Path(parent) / "model"
        folder.mkdir()
        model.format.save(folder, model)
        for name, content in files.items():
            (folder / f"{name}.json").write_text(json.dumps(content, indent=2))
        logged = mlflow.pyfunc.log_model(
            name="best_adapter",
            python_model=str(Path(serving.__file__).with_name("served_model.py")),
            artifacts={"model": str(folder)},
            model_config={"format": format_name(model.format)},
            pip_requirements=[f"robustmedclip=={version('robustmedclip')}"],
            **facts,
        )
    return str(logged.model_id)


def _prompts(data_set: DataSet, class_names: Iterable[str]) -> dict[str, object]:
    """What a served model asks of the images of a data set."""
    return {
        "class_names": list(class_names),
        "templates": list(data_set.templates),
        "modality": data_set.modality,
        "data_set": data_set.name,
        "synonyms": data_set.synonyms,
        **({"scoring": data_set.scoring} if data_set.scoring else {}),
    }


def _last_points(run_id: str) -> list[Metric]:
    """The last point of every metric of a run."""
    client = MlflowClient()
    histories = [client.get_metric_history(run_id, name) for name in client.get_run(run_id).data.metrics]
    return [max(history, key=lambda point: point.step) for history in histories]


def _signature(class_names: Iterable[str], data_set: str) -> ModelSignature:
    """Images in, probabilities by class out; those of the classes of the data set that is asked for are there."""
    return ModelSignature(
        inputs=Schema([TensorSpec(np.dtype(np.uint8), (-1, -1, -1, -1))]),
        outputs=Schema([ColSpec("double", name, required=False) for name in dict.fromkeys(class_names)]),
        params=ParamSchema([ParamSpec("data_set", "string", data_set)]),
    )


def log_values(run_id: str, values: Sequence[Value]) -> None:
    """Log metrics with as few calls as MLflow allows: each is a transaction of its database."""
    now = int(1000 * time.time())
    metrics = [Metric(name, float(value), now, step) for name, value, step in values]
    for start in range(0, len(metrics), MAX_METRICS_PER_BATCH):
        MlflowClient().log_batch(run_id, metrics=metrics[start : start + MAX_METRICS_PER_BATCH])


def _load_version(catalog: DataCatalog, entry: str) -> str | None:
    """The version of an entry that would be loaded; None if it keeps none."""
    dataset = catalog[entry]
    return dataset.resolve_load_version() if is_versioned(dataset) else None


def _known(model: EvaluatedModel) -> dict[str, object]:
    return {name: "none" if value is None else value for name, value in model.attributes.items() if name != "base"}
