"""What a worker does: it gets to know the project when it starts, and runs one node at a time.

``dask worker --preload robustmedclip.run.distributed.worker [PROJECT] [--threads N]``
"""

import ctypes
import logging
import os
import sys
from pathlib import Path
from typing import Any

import click
from kedro.framework.hooks.manager import _NullPluginManager
from kedro.framework.project import configure_project
from kedro.framework.startup import bootstrap_project
from kedro.pipeline.node import Node
from kedro.runner.task import Task
from kedro.utils import find_kedro_project
from pluggy import PluginManager

from robustmedclip.errors import InputError
from robustmedclip.parallel import cores
from robustmedclip.run.catalog import FingerprintedCatalog

#: Options of glibc's ``mallopt`` (malloc.h), and the most that its dynamic thresholds reach, in bytes (mallopt(3)).
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_LARGEST_MMAP_THRESHOLD = 32 * 2**20

#: The resource of which every node takes one, and every worker has one.
NODE = "NODE"


@click.command()
@click.argument("project", required=False, type=click.Path(path_type=Path))
@click.option("--threads", type=click.IntRange(min=1))
def dask_setup(worker: Any, project: Path | None, threads: int | None) -> None:
    """Make a worker know a project, by default that around its working directory; Dask calls it when a worker starts.

    It offers one :data:`NODE`, so that however many threads it has, it runs one node at a time: trainings in threads
    would share torch's random numbers.

    Raises
    ------
    InputError
        If there is no project.
    """
    for resources in (worker.state.total_resources, worker.state.available_resources):
        resources[NODE] = 1
    folder = project or find_kedro_project(Path.cwd())
    if folder is None:
        raise InputError(f"No project is around {Path.cwd()}: start the worker in the project's folder")
    for library in ("OMP", "MKL", "OPENBLAS"):  # torch and NumPy read it when they are imported, by the first node
        os.environ[f"{library}_NUM_THREADS"] = str(threads or cores())
    _keep_freed_memory()
    configure_project(bootstrap_project(Path(folder)).package_name)
    for name in ("", "kedro", "robustmedclip", "distributed"):
        logging.getLogger(name).setLevel(logging.WARNING)


def _keep_freed_memory() -> None:
    """Let glibc keep what is freed for the next tensor, as it does in a process that Dask has not started.

    Dask sets ``MALLOC_TRIM_THRESHOLD_`` for its workers. Freed tensors then go back to the system at once, and getting
    them anew, zeroed page by page, takes up to half of a worker's time.
    """
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "mallopt"):
        libc.mallopt(_M_MMAP_THRESHOLD, _LARGEST_MMAP_THRESHOLD)
        libc.mallopt(_M_TRIM_THRESHOLD, 2 * _LARGEST_MMAP_THRESHOLD)


def run_node(
    node: Node, catalog: FingerprintedCatalog, run_id: str | None, hooks: PluginManager | None = None
) -> str | None:
    """Load the inputs of a node, run it, and save its outputs; no hook but those given is called, nothing is tracked.

    What a worker has saved that died right after is not made again.

    Returns
    -------
    str or None
        What a user has to mend if it failed by that, which another try won't; None if it didn't.
    """
    from kedro.framework.project import PACKAGE_NAME

    if PACKAGE_NAME is None:
        return f"The worker does not know the project: start it with --preload {__name__}"
    if all(map(catalog.is_saved, node.outputs)):
        return None
    try:
        Task(node, catalog, is_async=False, hook_manager=hooks or _NullPluginManager(), run_id=run_id).execute()
    except InputError as error:
        return error.message
    return None
