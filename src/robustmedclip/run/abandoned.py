"""Runs in MLflow whose process was killed before it could close them."""

import logging
import os
import platform

import psutil

logger = logging.getLogger(__name__)


def this_process() -> str:
    """Host, number and start of this process: numbers are given again to later ones."""
    return f"{platform.node()}:{os.getpid()}:{psutil.Process().create_time():.0f}"


def has_ended(process: str) -> bool:
    """Whether a :func:`this_process` of this host has ended; of those of other hosts nothing is known."""
    host, number, started = process.rsplit(":", 2)
    try:
        # Setting the clock moves the time at which a process seems to have started.
        return host == platform.node() and abs(psutil.Process(int(number)).create_time() - float(started)) > 60
    except psutil.NoSuchProcess:
        return True
    except psutil.AccessDenied:
        return False


def close_abandoned_runs(experiment: str) -> None:
    """Close runs of an experiment whose process has ended, with their children."""
    import mlflow

    query = "attributes.status = 'RUNNING'"
    running = mlflow.search_runs([experiment], filter_string=query, output_format="list")
    abandoned = [run for run in running if "process" in run.data.tags and has_ended(run.data.tags["process"])]
    parents = {run.info.run_id for run in abandoned}
    for run in running:
        if run in abandoned or run.data.tags.get("mlflow.parentRunId") in parents:
            mlflow.MlflowClient().set_terminated(run.info.run_id, "KILLED")
            logger.warning("The run '%s' was killed while it ran; MLflow now says so", run.info.run_name)
