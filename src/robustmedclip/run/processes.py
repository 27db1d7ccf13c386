"""Processes of this machine that run nodes, beside the one that the run was started in."""

import logging
import multiprocessing
import os
import queue
import signal
import threading
import traceback
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, suppress
from logging.handlers import QueueHandler
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, TypeVar, cast

from kedro.framework.hooks import hook_impl
from kedro.framework.hooks.manager import _create_hook_manager
from kedro.framework.project import configure_project
from kedro.framework.startup import bootstrap_project
from kedro.pipeline.node import Node
from pluggy import PluginManager

from robustmedclip.errors import InputError
from robustmedclip.io.checkpoint import TrainingCheckpoint
from robustmedclip.parallel import return_freed_memory
from robustmedclip.run.catalog import FingerprintedCatalog
from robustmedclip.run.distributed.worker import run_node
from robustmedclip.run.selection import stage_of

#: How long a process may take to end that waits for a node.
_SECONDS_TO_END = 2
_METHOD = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"

R = TypeVar("R")


class _Prepared:
    """Whether :func:`prepare_processes` was called: of the whole Python process, as what it starts."""

    is_so = False


def prepare_processes() -> None:
    """Import what nodes need, in a process of its own, from which :class:`Processes` start without waiting for it."""
    if _METHOD == "forkserver":
        forkserver.set_forkserver_preload(["robustmedclip.run.preloaded"])
        forkserver.ensure_running()
        _Prepared.is_so = True


def elsewhere(function: Callable[..., R], *args: Any) -> R:
    """What a function returns that needs torch: from a process that then ends, if :func:`prepare_processes` was called.

    So torch and models take no memory here. Where nothing is prepared, nodes run in this process, and so does the
    function. Its log is told here; errors are raised as they are.

    Raises
    ------
    InputError
        If the process dies.
    """
    if not _Prepared.is_so:
        return function(*args)
    context = multiprocessing.get_context(_METHOD)
    with ProcessPoolExecutor(1, context, signal.signal, (signal.SIGINT, signal.SIG_IGN)) as pool:
        try:
            result, records = pool.submit(_with_records, function, *args).result()
        except BrokenProcessPool as error:
            raise InputError(f"A process that ran {function.__name__} died: is there too little memory?") from error
    for record in records:
        if (logger := logging.getLogger(record.name)).isEnabledFor(record.levelno):
            logger.handle(record)
    return result


def _with_records(function: Callable[..., R], *args: Any) -> tuple[R, list[logging.LogRecord]]:
    """What a function returns, and the records that it logs."""
    records = queue.SimpleQueue[logging.LogRecord]()
    logging.getLogger().handlers = [QueueHandler(records)]
    logging.getLogger().setLevel(logging.INFO)
    result = function(*args)
    return result, [records.get() for _ in range(records.qsize())]


class Processes:
    """Processes that run nodes, which end with the context.

    Each takes a node, its part of the catalog and the id of the run, by its connection. It sends records of the log and
    rows of the curves of a training, and at last the error that the node has failed by, or None.

    Parameters
    ----------
    count : int
        How many.
    project : Path
        Folder of the project that they are to know.
    threads : int
        Cores that each uses.
    """

    def __init__(self, count: int, project: Path, threads: int):
        self._count, self._project, self._threads = count, project, threads
        self._processes: dict[Connection, BaseProcess] = {}
        self._ending: list[BaseProcess] = []

    def __enter__(self) -> list[Connection]:
        """Start them; their connections. If one can't be started, those before it end."""
        with ExitStack() as started:
            started.push(self.__exit__)
            connections = [self._started() for _ in range(self._count)]
            started.pop_all()
        return connections

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        """End them: by themselves after the last node, at once after an error."""
        for connection in list(self._processes):
            self._dismiss(connection)
        for process in self._ending:
            process.join(0 if error else _SECONDS_TO_END)
            process.kill()
            process.join()

    def renewed(self, connection: Connection) -> Connection:
        """The connection to a new process in place of one that runs no node, which ends and gives its memory back."""
        self._dismiss(connection)
        return self._started()

    def _started(self) -> Connection:
        context: Any = multiprocessing.get_context(_METHOD)
        here, there = context.Pipe()
        process = context.Process(target=_work, args=(there, self._project, self._threads), daemon=True)
        process.start()
        there.close()
        self._processes[here] = process
        return cast(Connection, here)

    def _dismiss(self, connection: Connection) -> None:
        """Let a process end that waits for a node."""
        connection.close()
        self._ending.append(self._processes.pop(connection))


def _work(connection: Connection, project: Path, threads: int) -> None:
    """Run nodes until there are no more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the run ends its processes itself
    threading.Thread(target=_end_with_run, daemon=True).start()
    os.environ["OMP_NUM_THREADS"] = str(threads)
    configure_project(bootstrap_project(project).package_name)
    logging.getLogger().handlers = [_LogToRun(connection)]
    import torch
    from threadpoolctl import threadpool_limits

    torch.set_num_threads(threads)
    hooks = _create_hook_manager()
    hooks.register(_RowsToRun(connection))
    verified: set[str] = set()
    with threadpool_limits(threads), suppress(EOFError, BrokenPipeError):
        while True:
            node, catalog, run_id = connection.recv()
            catalog.verified = verified
            connection.send(_error(node, catalog, run_id, hooks))


def _end_with_run() -> None:
    run = multiprocessing.parent_process()
    assert run is not None
    run.join()
    os._exit(1)


class _LogToRun(QueueHandler):
    """Sends records of the log to the process that the run was started in."""

    def __init__(self, connection: Connection):
        super().__init__(queue.SimpleQueue())  # where a QueueHandler would put them
        self._connection = connection

    def enqueue(self, record: logging.LogRecord) -> None:
        """Send a record."""
        self._connection.send(record)


class _RowsToRun:
    """Sends rows of the curves of a training to the process that the run was started in."""

    def __init__(self, connection: Connection):
        self._connection = connection

    @hook_impl
    def before_node_run(self, inputs: dict[str, Any]) -> None:
        """Listen to a training that begins."""
        for checkpoint in inputs.values():
            if isinstance(checkpoint, TrainingCheckpoint):
                checkpoint.listeners.append(self._connection.send)


def _error(node: Node, catalog: FingerprintedCatalog, run_id: str | None, hooks: PluginManager) -> Exception | None:
    """What a node has failed by, None if it didn't."""
    try:
        mendable = run_node(node, catalog, run_id, hooks)
    except Exception as error:
        return RuntimeError(f"{node.name} has failed:\n{''.join(traceback.format_exception(error))}")
    finally:
        if stage_of(node) != "evaluation":  # whose nodes need again what the last has freed
            return_freed_memory()
    return None if mendable is None else InputError(mendable)
