"""The child runs in MLflow: one per evaluated model and seed, some of which show a training while it runs."""

import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial

import mlflow
import pandas as pd
from mlflow import MlflowClient
from mlflow.entities import Metric, Run
from mlflow.tracking.context.registry import resolve_tags
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

from robustmedclip.plan.plan import EvaluatedModel
from robustmedclip.run.work_times import WorkTimes

#: The tag of a child run that has the full name of its model and seed.
CELL = "cell"

_SECONDS_BETWEEN_ROWS = 5


def run_name(model: EvaluatedModel) -> str:
    """A model and seed, what differs most first: ``robust_lora 3 % · phantom_resnet · seed 0``."""
    adapted = str(model.attributes["adaptation"])
    if model.fraction is not None:
        adapted += f" {100 * model.fraction:g} %"
    if model.shots is not None:
        adapted += f" {model.shots}-shot"
    return " · ".join([adapted, model.base, *([] if model.seed is None else [f"seed {model.seed}"])])


@contextmanager
def child_run(parent: Run, model: EvaluatedModel, work: WorkTimes) -> Iterator[str]:
    """Make the child run of a model the active one, a new one if there is none; it lasts as long as the work did."""
    run_id = open_child(parent, model, work)
    with mlflow.start_run(run_id, nested=True):
        yield run_id
    close_child(run_id, work.seconds(model.cell), "FINISHED")


def open_child(parent: Run, model: EvaluatedModel, work: WorkTimes) -> str:
    """The child run of a model: its id, a new one if there is none."""
    client, experiment, parent_id = MlflowClient(), parent.info.experiment_id, parent.info.run_id
    where = f"tags.{MLFLOW_PARENT_RUN_ID} = '{parent_id}' and tags.{CELL} = '{model.cell}'"
    if children := client.search_runs([experiment], where):
        return str(children[0].info.run_id)
    start = work.start(model.cell)
    tags = resolve_tags({MLFLOW_PARENT_RUN_ID: parent_id, CELL: model.cell})
    run = client.create_run(experiment, None if start is None else int(1000 * start), tags, run_name(model))
    return str(run.info.run_id)


def close_child(run_id: str, seconds: float, status: str) -> None:
    """End a child run, as if it had lasted so long."""
    start = MlflowClient().get_run(run_id).info.start_time
    MlflowClient().set_terminated(run_id, status, start + int(1000 * seconds))


class LiveCurves:
    """Shows the curves of trainings while they run, each in the child run of its model.

    Child runs are opened by the first epoch that is late enough to be worth it; rows are collected, and sent at most
    every few seconds. :func:`child_run` goes on with these runs; those that it does not see are to be closed.

    Parameters
    ----------
    parent : mlflow.entities.Run
        The run of which the child runs are.
    work : WorkTimes
        When the models are worked on.
    """

    def __init__(self, parent: Run, work: WorkTimes):
        self._parent, self._work = parent, work
        self._children: dict[str, str] = {}
        self._rows: dict[str, list[Mapping[str, float]]] = {}
        self._sent: dict[str, float] = {}

    def listener(self, model: EvaluatedModel) -> Callable[[Mapping[str, float]], None]:
        """What the checkpoint of a model's training tells its rows to."""
        self._sent[model.cell] = time.monotonic()
        return partial(self._add, model)

    def close(self, status: str) -> None:
        """Close the child runs that are open."""
        for cell, run_id in self._children.items():
            if MlflowClient().get_run(run_id).info.status == "RUNNING":
                close_child(run_id, self._work.seconds(cell), status)

    def _add(self, model: EvaluatedModel, row: Mapping[str, float]) -> None:
        cell = model.cell
        self._rows.setdefault(cell, []).append(row)
        if time.monotonic() - self._sent[cell] < _SECONDS_BETWEEN_ROWS:
            return
        if cell not in self._children:
            self._children[cell] = open_child(self._parent, model, self._work)
        log_curves(self._children[cell], self._rows.pop(cell))
        self._sent[cell] = time.monotonic()


def log_curves(run_id: str, rows: Iterable[Mapping[str, float]]) -> None:
    """Log rows of training curves by epoch, without the points that the run has."""
    client, now, rows = MlflowClient(), int(1000 * time.time()), list(rows)
    metrics = []
    for name in dict.fromkeys(name for row in rows for name in row if name != "epoch"):
        known = {point.step for point in client.get_metric_history(run_id, name)}
        new = [row for row in rows if pd.notna(row[name]) and row["epoch"] not in known]
        metrics += [Metric(name, float(row[name]), now, int(row["epoch"])) for row in new]
    client.log_batch(run_id, metrics)


def quieten_mlflow() -> None:
    """No bars for files that are copied on this machine, and no news of what goes well."""
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    logging.getLogger("mlflow").setLevel(logging.WARNING)  # importing MLflow has set another
