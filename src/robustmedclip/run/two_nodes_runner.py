"""The runner of ``kedro run``: of a long run on several cores, two nodes at a time."""

import pickle
from collections.abc import Mapping, Sequence
from logging import LogRecord, getLogger
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kedro.framework.context import KedroContext
from kedro.framework.hooks import hook_impl
from kedro.io import CatalogProtocol, DataCatalog, MemoryDataset
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node
from kedro.runner import SequentialRunner

from robustmedclip.errors import InputError
from robustmedclip.io.checkpoint import TrainingCheckpoint
from robustmedclip.parallel import cores
from robustmedclip.plan import names
from robustmedclip.run.catalog import FingerprintedCatalog
from robustmedclip.run.distributed.schedule import Schedule
from robustmedclip.run.estimates import estimated_seconds
from robustmedclip.run.processes import Processes, elsewhere, prepare_processes
from robustmedclip.run.selection import stage_of

if TYPE_CHECKING:
    from pluggy import PluginManager

#: Processes that run nodes: a training uses one core, and the encoding of images hardly more than two well.
_PROCESSES = 2
#: Estimated seconds of processor time from which on a run is worth their start.
_LONG = 90
_DIED = (
    "A process that ran {node} died: is there too little memory for two nodes at a time? Go on with "
    "--only-missing-outputs and --runner SequentialRunner, which runs one at a time"
)


class TwoNodesRunner(SequentialRunner):
    """Runs two nodes at a time, each in a process, where a run is long, has several cores, and there is no GPU.

    Otherwise it is Kedro's ``SequentialRunner``. Hooks are called in this process alone: ``before_node_run`` with the
    parameters and the checkpoint among a node's inputs, ``after_node_run`` without outputs, when they are saved.
    """

    def __repr__(self) -> str:
        """As Kedro's: Kedro-Viz shows the run if hooks are called as of a SequentialRunner, and looks for its name."""
        return f"<{SequentialRunner.__module__}.{SequentialRunner.__name__} object at {id(self):#x}>"

    def prepare(self, context: KedroContext) -> None:
        """Take the folder of the session that begins."""
        self._project: Path = context.project_path

    @hook_impl(tryfirst=True)
    def before_pipeline_run(self, run_params: dict[str, Any], pipeline: Pipeline, catalog: DataCatalog) -> None:
        """Let the processes of a long run start while it is checked."""
        is_long = sum(estimated_seconds(pipeline.nodes, catalog).values()) >= _LONG
        if is_long and cores() >= _PROCESSES and not run_params["only_missing_outputs"]:
            prepare_processes()

    def _run(
        self,
        pipeline: Pipeline,
        catalog: CatalogProtocol[Any, Any],
        hook_manager: "PluginManager | None" = None,
        run_id: str | None = None,
    ) -> None:
        assert isinstance(catalog, FingerprintedCatalog) and hook_manager is not None
        seconds = estimated_seconds(pipeline.nodes, catalog)
        if sum(seconds.values()) < _LONG or not _can_run_apart(pipeline, catalog):
            super()._run(pipeline, catalog, hook_manager, run_id)
            return
        processes = Processes(_PROCESSES, self._project, cores() // _PROCESSES)
        with processes as idle:
            self._run_apart(Schedule(pipeline, seconds), processes, idle, catalog, hook_manager.hook, run_id)

    def _run_apart(
        self,
        schedule: Schedule,
        processes: Processes,
        idle: list[Connection],
        catalog: FingerprintedCatalog,
        hook: Any,
        run_id: str | None,
    ) -> None:
        """Run the nodes of a schedule in processes, whose connections are `idle`, the most urgent first."""
        waiting: list[Node] = []
        running: dict[Connection, tuple[Node, dict[str, Any]]] = {}
        last: dict[Connection, Node] = {}
        ended: list[dict[str, Any]] = []
        while True:
            waiting = sorted([*waiting, *schedule.ready()], key=lambda node: -schedule.priorities[node])
            while waiting and idle:
                connection = idle.pop()
                before = last.pop(connection, None)
                node = _next(waiting, schedule.priorities, before)
                waiting.remove(node)
                if before and _begins_afresh(before, node):
                    connection = processes.renewed(connection)
                last[connection] = node
                facts: dict[str, Any] = {"node": node, "catalog": catalog, "is_async": False, "run_id": run_id}
                facts["inputs"] = {name: catalog.load(name) for name in node.inputs if _is_for_hooks(name)}
                hook.before_node_run(**facts)
                connection.send((node, catalog.part([*node.inputs, *node.outputs]), run_id))
                running[connection] = node, facts
            while ended:  # after the next nodes have begun, for what hooks do takes time
                hook.after_node_run(outputs={}, **ended.pop(0))
            if not running:
                return
            ready: list[Any] = wait(list(running))
            for connection in ready:
                node, facts = running[connection]
                message = _message(connection, node)
                if isinstance(message, LogRecord):
                    getLogger(message.name).handle(message)
                    continue
                if isinstance(message, Mapping):
                    _tell_listeners(message, facts["inputs"])
                    continue
                if message is not None:
                    hook.on_node_error(error=message, **facts)
                    raise message
                del running[connection]
                catalog.forget_versions(node.outputs)
                schedule.finished(node)
                ended.append(facts)
                idle.append(connection)


def _next(waiting: Sequence[Node], priorities: Mapping[Node, float], last: Node | None) -> Node:
    """Of the most urgent nodes the one with most in common with the last of a process, which has read its model."""
    urgent = [node for node in waiting if priorities[node] == priorities[waiting[0]]]
    known = {*last.inputs, *last.outputs} if last else set()
    return max(urgent, key=lambda node: len(known.intersection(node.inputs)))


def _begins_afresh(last: Node, node: Node) -> bool:
    """Whether a process that has run a node is not to run another one: it holds memory that the other has no use for.

    A training leaves the code of the matrix products of its batches, 100 KB each, which oneDNN keeps; an evaluation,
    models and what was freed of its batches.
    """
    has_trained = any(map(_is_checkpoint, last.inputs))
    return has_trained or (stage_of(last) == "evaluation" and stage_of(node) == "reporting")


def _can_run_apart(pipeline: Pipeline, catalog: FingerprintedCatalog) -> bool:
    """Whether this machine has cores for two nodes, and no GPU, and nodes and what they make can leave this process."""
    if cores() < _PROCESSES or elsewhere(_has_gpu):
        return False
    if any(isinstance(catalog.get(name), MemoryDataset) for name in pipeline.all_outputs()):
        return False
    try:
        pickle.dumps(pipeline.nodes)
    except Exception:  # of whatever a node's function holds
        return False
    return True


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


def _is_for_hooks(name: str) -> bool:
    """Whether an input is a parameter, or a checkpoint, to which hooks listen."""
    return name == "parameters" or name.startswith("params:") or _is_checkpoint(name)


def _is_checkpoint(name: str) -> bool:
    return names.parts(name)[0] == "checkpoint"


def _tell_listeners(row: Mapping[str, float], inputs: Mapping[str, Any]) -> None:
    """Tell those who listen to a training of a row of its curves."""
    for checkpoint in inputs.values():
        if isinstance(checkpoint, TrainingCheckpoint):
            checkpoint.record(row)


def _message(connection: Connection, node: Node) -> LogRecord | Mapping[str, float] | Exception | None:
    """What the process that runs a node says next."""
    try:
        message: LogRecord | Mapping[str, float] | Exception | None = connection.recv()
    except EOFError:
        return InputError(_DIED.format(node=node.name))
    return message
