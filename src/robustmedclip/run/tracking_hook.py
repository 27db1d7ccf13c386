"""Tracking of a run in MLflow."""

import atexit
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlencode

from kedro.framework.context import KedroContext
from kedro.framework.hooks import hook_impl
from kedro.io import DataCatalog
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node

from robustmedclip.io.checkpoint import TrainingCheckpoint
from robustmedclip.plan import names
from robustmedclip.run.abandoned import close_abandoned_runs, this_process
from robustmedclip.run.config import BenchmarkConfigLoader, tracking_settings
from robustmedclip.run.machine import git_commit
from robustmedclip.run.runner_hook import runner_name
from robustmedclip.run.selection import chosen_part, command, nodes_to_run
from robustmedclip.run.tracking_database import create_database
from robustmedclip.run.work_times import WorkTimes
from robustmedclip.run.writable import database_file

if TYPE_CHECKING:
    from robustmedclip.run.parameter_batch import ParameterBatch
    from robustmedclip.run.tracking_children import LiveCurves


logger = logging.getLogger(__name__)

#: What the child runs and the headline are made of.
_RESULTS = {"metrics", "seed_metrics", "leaderboard", "recalibration", "precisions"}

#: Characters of the name of a run that all databases of MLflow take.
_LONGEST_NAME = 250


class TrackingHook:
    """Adds to the MLflow run of kedro-mlflow: what was run, the tables and figures, a child run per model.

    kedro-mlflow opens the run before a pipeline runs, and closes it after: this hook comes after it in the first place,
    and before it in the second.
    """

    def __init__(self) -> None:
        self._run_params: dict[str, Any] = {}
        self._curves: LiveCurves | None = None
        self._parameters: ParameterBatch | None = None
        self._work = WorkTimes()
        self._has_run = self._has_logged_models = False
        self._outputs: set[str] = set()
        self._awaited: set[str] = set()

    @hook_impl(tryfirst=True)
    def after_context_created(self, context: KedroContext) -> None:
        """Take the configuration and the project's folder of the session that begins; create MLflow's database."""
        self._config, self._project = cast(BenchmarkConfigLoader, context.config_loader), context.project_path
        self._context: Any = context  # to which kedro-mlflow adds its settings
        if (database := database_file(tracking_settings(self._config), self._project)) is not None:
            create_database(database)

    @hook_impl(specname="before_pipeline_run", tryfirst=True)
    def leave_out_empty_run(self, run_params: dict[str, Any], pipeline: Pipeline, catalog: DataCatalog) -> None:
        """Let kedro-mlflow open no run where nothing is to do."""
        if hasattr(self._context, "mlflow") and not nodes_to_run(run_params, pipeline, catalog):
            self._context.mlflow.tracking.disable_tracking.pipelines.extend(run_params["pipeline_names"])

    @hook_impl(trylast=True)
    def before_pipeline_run(self, run_params: dict[str, Any], pipeline: Pipeline) -> None:
        """Tag the run, and close the runs of processes that were killed."""
        import mlflow
        from mlflow.utils.mlflow_tags import MLFLOW_RUN_NAME

        self._run_params, self._work = run_params, WorkTimes()
        self._has_run = self._has_logged_models = False
        self._awaited = set()
        self._curves = self._parameters = None
        if (active := mlflow.active_run()) is None:
            return
        from kedro_mlflow.framework.hooks.mlflow_hook import mlflow_hook

        from robustmedclip.run.parameter_batch import ParameterBatch
        from robustmedclip.run.tracking_children import LiveCurves, quieten_mlflow

        self._outputs = pipeline.all_outputs()
        self._awaited = self._outputs & _RESULTS
        quieten_mlflow()
        atexit.register(self._close_runs, "KILLED")
        close_abandoned_runs(active.info.experiment_id)
        parameters = self._config["parameters"]
        mlflow.set_tags(
            {
                "process": this_process(),
                "kedro_run_id": run_params["run_id"],
                "kedro_env": run_params["env"] or "local",
                "kedro_command": command(run_params),
                "runner": runner_name(run_params),
                MLFLOW_RUN_NAME: _name(active.info.run_name, run_params),
                "git_commit": git_commit(self._project),
                "baseline": parameters["baseline"],
            }
        )
        mlflow.log_dict(parameters, "parameters.yml")
        self._parameters = ParameterBatch(mlflow_hook)
        self._curves = LiveCurves(active, self._work)

    @hook_impl
    def before_dataset_loaded(self, node: Node) -> None:
        """Take the time at which a node loads its first input."""
        self._work.begin(node)

    @hook_impl(trylast=True)
    def before_node_run(self, node: Node, inputs: dict[str, Any]) -> None:
        """Take the time at which a node starts, log its parameters, and listen to a training that begins."""
        self._has_run = True
        self._work.begin(node)
        if self._parameters:
            self._parameters.log()
        for name, checkpoint in inputs.items():
            if self._curves and isinstance(checkpoint, TrainingCheckpoint):
                (model,) = (m for m in self._config.plan.tuned_models if names.checkpoint(m.cell) == name)
                checkpoint.listeners.append(self._curves.listener(model))

    @hook_impl
    def after_node_run(self, node: Node, outputs: dict[str, Any], catalog: DataCatalog) -> None:
        """Take the time at which a node has ended; log results as soon as there are all, if nodes run elsewhere."""
        self._work.end(node)
        if outputs or not self._awaited.intersection(node.outputs):
            return
        self._awaited -= set(node.outputs)
        if not self._awaited:
            self._log_models(self._outputs, catalog)

    @hook_impl
    def after_dataset_saved(self, node: Node) -> None:
        """Take the time at which a node has saved its last output."""
        self._work.end(node)

    @hook_impl
    def on_node_error(self, node: Node) -> None:
        """Take the time at which a node has failed."""
        self._work.end(node)

    @hook_impl(tryfirst=True)
    def on_pipeline_error(self) -> None:
        """Close the runs of trainings that have failed."""
        self._close_curves("FAILED")

    @hook_impl(tryfirst=True)
    def after_pipeline_run(self, pipeline: Pipeline, catalog: DataCatalog) -> None:
        """Log what the run has made."""
        import mlflow

        if mlflow.active_run() is None:
            return
        try:
            self._log_results(pipeline.all_outputs() if self._has_run else set(), catalog)
            self._close_curves("FINISHED")
        except BaseException:
            self._close_runs("FAILED")
            raise
        finally:
            atexit.unregister(self._close_runs)

    def _log_results(self, outputs: set[str], catalog: DataCatalog) -> None:
        from robustmedclip.run.tracking import log_best_adapter, log_report

        log_report(catalog, outputs)
        if not self._has_logged_models:
            self._log_models(outputs, catalog)
        if "leaderboard" in outputs and self._config["parameters"]["tracking"]["log_best_adapter"]:
            log_best_adapter(catalog, self._config.plan, self._work)

    def _log_models(self, outputs: set[str], catalog: DataCatalog) -> None:
        """Log the models and the headline, if the run makes what they are known by."""
        from robustmedclip.run.tracking import log_headline, log_models

        self._has_logged_models = True
        if "metrics" in outputs:
            log_models(catalog, self._config.plan, self._run_params["run_id"], outputs, self._work)
        if "leaderboard" in outputs:
            log_headline(catalog, self._config.plan)
            logger.info("To compare models: kedro mlflow ui, then %s", self._address())

    def _address(self) -> str:
        """Where the user interface shows the models of this run as charts, the lowest mCE first."""
        import mlflow

        active, where = mlflow.active_run(), tracking_settings(self._config).get("ui", {})
        assert active is not None
        host, port = where.get("host", "127.0.0.1"), where.get("port", 5000)
        view = {
            "workflowType": "machine_learning",
            "compareRunsMode": "CHART",
            "orderByKey": "metrics.`mce`",
            "orderByAsc": "true",
            "searchFilter": f"tags.mlflow.parentRunId='{active.info.run_id}'",
        }
        return f"http://{host}:{port}/#/experiments/{active.info.experiment_id}/runs?{urlencode(view)}"

    def _close_curves(self, status: str) -> None:
        if self._curves:
            self._curves.close(status)
            self._curves = None

    def _close_runs(self, status: str) -> None:
        """Close all runs that are open; without this, MLflow closes those of an interrupted process as finished."""
        import mlflow

        while mlflow.active_run() is not None:
            mlflow.end_run(status)
        self._close_curves(status)


def _name(given: str, run_params: Mapping[str, Any]) -> str:
    """The name of a run, which also says what part of the pipelines it is."""
    part = (f"{option.removeprefix('--')} {value}" for option, value in chosen_part(run_params).items())
    return " · ".join([given, *part])[:_LONGEST_NAME]
