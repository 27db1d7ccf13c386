"""What happens around a run: checks before it, fingerprints, progress, and tracking in MLflow."""

import atexit
import logging
import os
import platform
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from itertools import product
from math import prod
from pathlib import Path
from typing import Any

import click
import psutil
from kedro.framework.hooks import hook_impl
from kedro.framework.project import pipelines
from kedro.io import DataCatalog, DatasetError
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node

from robustmedclip.errors import InputError, first_ten
from robustmedclip.io.checkpoint import TrainingCheckpoint
from robustmedclip.plan.entries import catalog_entries
from robustmedclip.progress import duration, volume
from robustmedclip.run.config import current_config, project_root
from robustmedclip.run.fingerprints import UNKNOWN, expected_fingerprints, signature_fingerprint

logger = logging.getLogger(__name__)


class PreflightError(InputError):
    """Something is wrong with the sources of a run; the message lists every problem found."""


class PreflightHook:
    """Checks every source of a run before any work is spent; with ``--params check_only=true``, reads all and does nothing else."""

    @hook_impl(tryfirst=True)
    def before_pipeline_run(self, run_params: dict[str, Any], pipeline: Pipeline, catalog: DataCatalog) -> None:
        if current_config()["parameters"].get("check_only"):
            self._check(catalog)
        problems, made = [], set()
        for name in sorted(pipeline.inputs()):
            dataset = catalog.get(name)
            if hasattr(dataset, "problems"):
                problems += [f"{_spelled(name)}: {problem}" for problem in dataset.problems()]
            elif not catalog.exists(name):
                problems.append(f"{_spelled(name)} does not exist; the pipeline '{_maker(name)}' makes it")
            elif name not in (run_params.get("load_versions") or ()):
                made.add(name)
        problems += _stale_problems(made, catalog)
        if not problems:
            nodes = _missing_nodes(run_params, pipeline, catalog)
            problems = _disk_problems(nodes, catalog) or _model_problems(nodes, catalog)
        if problems:
            raise PreflightError("Nothing was run:\n" + "\n".join(f"  - {problem}" for problem in problems))
        if seen := current_config().plan.seen_corruptions:
            logger.warning(
                "The tuning trains on corruptions that are scored (%s): there, the tuned models' figures do not say how "
                "they do on corruptions new to them. To mend it, take them out of 'corruptions' of the method",
                ", ".join(seen),
            )

    @staticmethod
    def _check(catalog: DataCatalog) -> None:
        """Check every source of the plan, say what was found, and end the run: successfully if nothing is wrong."""
        from robustmedclip.commands.check import as_text, check_entries

        checked = check_entries(catalog_entries(current_config().plan), catalog.get)
        click.echo(as_text(checked))
        raise click.exceptions.Exit(any(status != "present" for _, status, _ in checked))


def _spelled(name: str) -> str:
    """An entry as messages name it: ``corrupted phantom_oct``."""
    return name.replace("-", " ", 1)


def _maker(name: str) -> str:
    """The pipeline that makes an entry."""
    return next(stage for stage, pipeline in pipelines.items() if name in pipeline.all_outputs())


def _stale_problems(names: set[str], catalog: DataCatalog) -> list[str]:
    """Which of the entries that a run reads are not what the benchmark would make now; of those that it makes."""
    benchmark = pipelines.get("benchmark", Pipeline([]))
    others = {node for pipeline in pipelines.values() for node in pipeline.nodes} - set(benchmark.nodes)
    own = {name for node in others for name in node.outputs}
    judged = {name for name in names & (benchmark.all_outputs() - own) if catalog.is_fingerprinted(name)}
    if not judged:
        return []
    making = [node for node in benchmark.to_outputs(*judged).nodes if not own.intersection(node.outputs)]
    gone = []

    def input_fingerprint(name: str) -> Any:
        if hasattr(dataset := catalog.get(name), "missing") and dataset.missing():
            gone.append(name)
            return UNKNOWN
        return _input_fingerprint(name, catalog)

    expected = expected_fingerprints(Pipeline(making), input_fingerprint, catalog.stored_fingerprint, catalog.writer_of)
    if gone:
        logger.warning(
            "There is no %s: what was made of it is taken as it is stored", first_ten(map(_spelled, sorted(gone)))
        )
    if not (stale := sorted(name for name in judged if catalog.stored_fingerprint(name) != expected[name])):
        return []
    upstream = benchmark.to_outputs(*stale).all_outputs() & expected.keys()
    makers = {_maker(name) for name in upstream if catalog.stored_fingerprint(name) != expected[name]}
    return [
        f"{first_ten(map(_spelled, stale))}: of another plan, source or code than the present one, or never finished. To make "
        f"{'them' if len(stale) > 1 else 'it'} anew: kedro run --pipelines {','.join(filter(makers.__contains__, pipelines))}; "
        "or, for all that is stale: kedro run --pipeline benchmark --only-missing-outputs, with the same --env and --params"
    ]


def _input_fingerprint(name: str, catalog: DataCatalog) -> Any:
    """What an input of a pipeline is, and changes with."""
    if name == "parameters" or name.startswith("params:"):
        return catalog.load(name)
    dataset = catalog.get(name)
    if hasattr(dataset, "signature"):
        return signature_fingerprint(dataset, _from_root(dataset.signature()))
    return catalog.stored_fingerprint(name)


def _from_root(signature: Any) -> Any:
    """A signature in which paths in the project are relative: moved with its data, the project is the same."""
    if isinstance(signature, Mapping):
        return {key: _from_root(value) for key, value in signature.items()}
    if isinstance(signature, list | tuple):
        return [_from_root(value) for value in signature]
    return signature.removeprefix(f"{project_root()}/") if isinstance(signature, str) else signature


def _missing_nodes(run_params: dict[str, Any], pipeline: Pipeline, catalog: DataCatalog) -> list[Node]:
    """The nodes that a run executes."""
    if not run_params["only_missing_outputs"]:
        return pipeline.nodes
    return [node for node in pipeline.nodes if not all(map(catalog.exists, node.outputs))]


def _disk_problems(nodes: list[Node], catalog: DataCatalog) -> list[str]:
    """What corrupting all test sets takes, if that is more than there is."""
    made = {name for node in nodes for name in node.outputs}
    needed, folder = 0, Path(project_root())
    for data_set in current_config().plan.data_sets:
        target = catalog.get(entry := f"corrupted-{data_set.name}")
        if entry in made and target._protocol == "file" and (shape := _test_shape(data_set.name, made, catalog)):
            stored = 1 if data_set.storage == "on_the_fly" else len(data_set.conditions)
            needed += max(0, prod(shape) * stored - target.partial_bytes())
            folder = Path(target._filepath)
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if needed <= free:
        return []
    return [
        f"the corrupted test sets take {volume(needed)}, and {volume(free)} are free under {folder}: "
        "free some space, choose fewer corruptions, set 'storage: on_the_fly' in benchmark.yml, or point "
        "'corrupted-{data_set}' of the catalog at another disk"
    ]


def _model_problems(nodes: list[Node], catalog: DataCatalog) -> list[str]:
    """Load each model that the nodes use once, and say what is wrong with it or its adaptations; else log what encoding costs."""
    from robustmedclip.pipelines.evaluation.nodes import images_per_second

    made = {name for node in nodes for name in node.outputs}
    adaptations = {(one.base, one.adaptation) for one in current_config().plan.tuned_models if one.artefact in made}
    cells = [cell for node in nodes for cell in product(_inputs(node, "model"), _inputs(node, "corrupted"))]
    counts = {
        one.name: shape[0] * len(one.conditions)
        for one in current_config().plan.data_sets
        if one.name in {data_set for _, data_set in cells} and (shape := _test_shape(one.name, made, catalog))
    }
    problems, seconds, speeds = [], 0.0, []
    for model in sorted({model for node in nodes for model in _inputs(node, "model")}):
        try:
            loaded = catalog.load(f"model-{model}")
        except DatasetError as error:
            problems.append(f"model {model}: {getattr(error, 'message', error)}")
            continue
        for adaptation in sorted((one for base, one in adaptations if base == model), key=lambda one: one.name):
            problems += [f"adaptation {adaptation.name}: {problem}" for problem in adaptation.method.check(loaded)]
        if images := sum(counts.get(data_set, 0) for name, data_set in cells if name == model):
            per_second = images_per_second(loaded, current_config()["parameters"]["evaluation"])
            seconds += images / per_second
            speeds.append(f"{model} {per_second:.3g} images/s")
        del loaded
    if not problems and seconds >= 60:
        unknown = sorted({data_set for _, data_set in cells} - set(counts))
        logger.info(
            "The evaluation encodes %s images, in about %s on this machine (%s)%s",
            f"{sum(counts.get(data_set, 0) for _, data_set in cells):,}",
            duration(seconds),
            ", ".join(speeds),
            f"; not counted: {', '.join(unknown)}, whose size is not known" if unknown else "",
        )
    return problems


def _inputs(node: Node, kind: str) -> list[str]:
    """What comes after ``<kind>-`` in the names of a node's inputs."""
    return [name.removeprefix(f"{kind}-") for name in node.inputs if name.startswith(f"{kind}-")]


def _test_shape(data_set: str, made: set[str], catalog: DataCatalog) -> tuple[int, ...] | None:
    """Shape of a data set's test images: of those that are stored, unless the run makes them anew; else what the source tells."""
    with suppress(DatasetError, InputError, OSError):
        if (entry := f"test-{data_set}") not in made and catalog.exists(entry):
            return catalog.load(entry).images.shape
        if hasattr(source := catalog.get(f"raw-{data_set}"), "test_shape"):
            return source.test_shape()
    return None


class FingerprintHook:
    """Tells the catalog what each entry would be made of in this run."""

    @hook_impl(tryfirst=True)
    def before_pipeline_run(self, pipeline: Pipeline, catalog: DataCatalog) -> None:
        catalog.fingerprints = expected_fingerprints(
            pipeline, lambda name: _input_fingerprint(name, catalog), dataset_class=catalog.writer_of
        )


class ProgressHook:
    """One line per finished node: how many there are, and how long the rest will take."""

    def __init__(self) -> None:
        self._started: dict[str, float] = {}
        self._unsaved: dict[str, set[str]] = {}
        self._remaining: Counter[str] = Counter()
        self._seconds: dict[str, list[float]] = {}
        self._total = self._done = 0

    @hook_impl
    def before_pipeline_run(self, run_params: dict[str, Any], pipeline: Pipeline, catalog: DataCatalog) -> None:
        self.__init__()
        nodes = _missing_nodes(run_params, pipeline, catalog)
        self._remaining, self._total = Counter(map(_stage, nodes)), len(nodes)

    @hook_impl
    def before_dataset_loaded(self, node: Node) -> None:
        self._started.setdefault(node.name, time.monotonic())

    @hook_impl
    def after_node_run(self, node: Node) -> None:
        self._unsaved[node.name] = set(node.outputs)

    @hook_impl
    def after_dataset_saved(self, dataset_name: str, node: Node) -> None:
        self._unsaved[node.name].discard(dataset_name)
        if self._unsaved[node.name]:
            return
        seconds, stage = time.monotonic() - self._started.pop(node.name), _stage(node)
        self._seconds.setdefault(stage, []).append(seconds)
        self._remaining[stage] -= 1
        self._done += 1
        logger.info(
            "[%d/%d] %s: %s%s",
            self._done,
            max(self._total, self._done),
            _title(node),
            duration(seconds) if seconds >= 1 else f"{1000 * seconds:.0f} ms",
            self._rest(),
        )

    @hook_impl
    def after_pipeline_run(self, pipeline: Pipeline, catalog: DataCatalog) -> None:
        if not self._done:
            logger.info("Everything is up to date: nothing was run")
        if "report_page" in pipeline.all_outputs():
            logger.info("The report: %s", catalog.get("report_page")._get_load_path())

    def _rest(self) -> str:
        """How long the stage's remaining nodes take, at its mean so far; stages not begun are not guessed."""
        rest = sum(
            count * sum(self._seconds[stage]) / len(self._seconds[stage])
            for stage, count in self._remaining.items()
            if count > 0 and stage in self._seconds
        )
        return f", {duration(rest)} left of this stage" if rest >= 1 else ""


class TrackingHook:
    """Adds to the MLflow run of kedro-mlflow: what was run, the tables and figures, a child run per model."""

    def __init__(self) -> None:
        self._run_params: dict[str, Any] = {}
        self._curves: Any = None
        self._has_run = False

    @hook_impl(trylast=True)
    def before_pipeline_run(self, run_params: dict[str, Any]) -> None:
        import mlflow

        self._run_params, self._curves, self._has_run = run_params, None, False
        if mlflow.active_run() is None:
            return
        atexit.register(self._close_runs, "KILLED")
        _close_abandoned_runs(mlflow.active_run().info.experiment_id)
        parameters = current_config()["parameters"]
        mlflow.set_tags(
            {
                "process": _process(),
                "kedro_run_id": run_params["run_id"],
                "kedro_env": run_params["env"] or "local",
                "git_commit": _git_commit(),
                "baseline": parameters["baseline"],
            }
        )
        mlflow.log_dict(parameters, "parameters.yml")
        from robustmedclip.run.tracking import LiveCurves

        self._curves = LiveCurves(mlflow.active_run())

    @hook_impl
    def before_node_run(self, node: Node, inputs: dict[str, Any]) -> None:
        self._has_run = True
        for checkpoint in inputs.values():
            if self._curves and isinstance(checkpoint, TrainingCheckpoint):
                checkpoint.listeners.append(self._curves.listener(node.namespace.partition(".")[2]))

    @hook_impl(tryfirst=True)
    def on_pipeline_error(self) -> None:
        self._close_curves("FAILED")

    def _close_curves(self, status: str) -> None:
        if self._curves:
            self._curves.close(status)
            self._curves = None

    @hook_impl(tryfirst=True)
    def after_pipeline_run(self, pipeline: Pipeline, catalog: DataCatalog) -> None:
        import mlflow

        if mlflow.active_run() is None:
            return
        made, config = pipeline.all_outputs() if self._has_run else set(), current_config()
        try:
            from robustmedclip.run.tracking import log_best_adapter, log_models, log_report

            log_report(catalog, made)
            if "metrics" in made:
                log_models(catalog, config.plan, self._run_params["run_id"])
            if "leaderboard" in made and config["parameters"]["tracking"]["log_best_adapter"]:
                log_best_adapter(catalog, config.plan)
            self._close_curves("FINISHED")
        except BaseException:
            self._close_runs("FAILED")
            raise
        finally:
            atexit.unregister(self._close_runs)

    def _close_runs(self, status: str) -> None:
        """Close all runs that are open; without this, MLflow closes those of an interrupted process as finished."""
        import mlflow

        while mlflow.active_run() is not None:
            mlflow.end_run(status)
        self._close_curves(status)


def _process() -> str:
    """Host, number and start of this process: numbers are given again to later ones."""
    return f"{platform.node()}:{os.getpid()}:{psutil.Process().create_time():.0f}"


def _is_gone(process: str) -> bool:
    """Whether a :func:`_process` of this host has ended; of those of other hosts nothing is known."""
    host, number, started = process.rsplit(":", 2)
    try:
        # Setting the clock moves the time at which a process seems to have started.
        return host == platform.node() and abs(psutil.Process(int(number)).create_time() - float(started)) > 60
    except psutil.NoSuchProcess:
        return True
    except psutil.AccessDenied:
        return False


def _close_abandoned_runs(experiment: str) -> None:
    """Close runs whose process is gone, with their children: a process that was killed could not do so itself."""
    import mlflow

    query = "attributes.status = 'RUNNING'"
    running = mlflow.search_runs([experiment], filter_string=query, output_format="list")
    gone = [run for run in running if "process" in run.data.tags and _is_gone(run.data.tags["process"])]
    parents = {run.info.run_id for run in gone}
    for run in running:
        if run in gone or run.data.tags.get("mlflow.parentRunId") in parents:
            mlflow.MlflowClient().set_terminated(run.info.run_id, "KILLED")
            logger.warning("The run '%s' was killed while it ran; MLflow now says so", run.info.run_name)


def _title(node: Node) -> str:
    """The cell of the matrix, or the node where the stage has no cells: ``evaluation · clip · oct``."""
    parts = node.name.split(".")
    return " · ".join(parts[:-1] if len(parts) > 2 else parts)


def _stage(node: Node) -> str:
    return (node.namespace or node.name).partition(".")[0]


def _git_commit() -> str:
    command = ["git", "-C", project_root(), "describe", "--always", "--dirty", "--abbrev=40"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
