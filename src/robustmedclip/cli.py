"""Kedro's command line in the project: ``kedro run`` has a runner of ours, and names one that there is not."""

import atexit
import gc
from inspect import signature
from typing import Any

import click
from kedro.framework.cli import project
from kedro.runner import AbstractRunner

from robustmedclip.errors import InputError
from robustmedclip.plugins import plugged_in

#: Names of runners to their dotted paths.
RUNNERS = {
    "SequentialRunner": "kedro.runner.SequentialRunner",
    "ThreadRunner": "kedro.runner.ThreadRunner",
    "ParallelRunner": "kedro.runner.ParallelRunner",
    "DaskRunner": "robustmedclip.run.DaskRunner",
    "TwoNodesRunner": "robustmedclip.run.two_nodes_runner.TwoNodesRunner",
}


@click.group(name="robustmedclip")
def cli() -> None:
    """Commands in the place of Kedro's."""


@cli.command(params=project.run.params, help=project.run.help)
@click.pass_context
def run(context: click.Context, /, **options: Any) -> Any:
    """As Kedro's, where there is such a runner."""
    name = options["runner"] or "TwoNodesRunner"
    runner = plugged_in(name, RUNNERS, "runner")
    if not (isinstance(runner, type) and issubclass(runner, AbstractRunner)):
        raise InputError(f"{name} is no runner")
    try:
        signature(runner).bind(**options["runner_params"])
    except TypeError as error:
        raise InputError(f"--runner-params: {error}, of the runner {name}") from error
    atexit.register(gc.freeze)  # or Python looks for garbage at length, in what the end of the process frees anyway
    return context.invoke(project.run, **options | {"runner": RUNNERS.get(name, name)})
