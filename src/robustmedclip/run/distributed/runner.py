"""The runner: each node runs on a worker of a Dask cluster."""

import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import CancelledError
from pickle import PicklingError
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

from kedro.config import MissingConfigException
from kedro.framework.context import KedroContext
from kedro.io import CatalogProtocol, MemoryDataset
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node
from kedro.runner import AbstractRunner
from omegaconf import OmegaConf

from robustmedclip.errors import first_ten
from robustmedclip.io.versioned import is_versioned
from robustmedclip.progress import duration
from robustmedclip.run.catalog import FingerprintedCatalog
from robustmedclip.run.distributed.schedule import Schedule
from robustmedclip.run.distributed.settings import Distributed, DistributedError, read_distributed
from robustmedclip.run.distributed.worker import Outcome, run_node
from robustmedclip.run.estimates import Durations, time_left, usual_seconds
from robustmedclip.run.progress_hook import node_title
from robustmedclip.run.selection import stage_of
from robustmedclip.run.writable import tracking_store

if TYPE_CHECKING:
    from distributed import Client, Future
    from pluggy import PluginManager

logger = logging.getLogger(__name__)

_SECONDS_BETWEEN_LOOKS = 10


class DaskRunner(AbstractRunner):
    """Runs each node on a worker of a Dask cluster, as soon as its inputs are there.

    ``distributed.yml`` says which cluster; without it, one is started on this machine. Hooks are called in this process
    alone: ``before_node_run`` with the parameters among a node's inputs, ``after_node_run`` without outputs.

    Parameters
    ----------
    is_async : bool, optional
        Of Kedro's runners; has no meaning here.
    **settings
        What to replace in ``distributed.yml``: ``--runner-params=cluster.workers=2``.
    """

    def __init__(self, is_async: bool = False, **settings: Any):
        super().__init__(is_async=False)
        self._replaced = settings
        self._settings = Distributed()

    def prepare(self, context: KedroContext) -> None:
        """Take the settings and the folder of the session that begins.

        Raises
        ------
        DistributedError
            If they are wrong, or MLflow's store can't serve other machines.
        """
        try:
            values: Mapping[str, Any] = context.config_loader["distributed"]
        except MissingConfigException:
            values = {}
        merged: Any = OmegaConf.to_container(OmegaConf.merge(values, self._replaced))
        self._settings, self._project = read_distributed(merged), context.project_path
        if not self._settings.cluster.is_local:
            _require_server(context)

    def _get_executor(self, max_workers: int) -> None:
        """Kedro's runners have one of their own; here it is Dask's client."""

    def _run(
        self,
        pipeline: Pipeline,
        catalog: CatalogProtocol[Any, Any],
        hook_manager: "PluginManager | None" = None,
        run_id: str | None = None,
    ) -> None:
        assert isinstance(catalog, FingerprintedCatalog) and hook_manager is not None
        if not pipeline.nodes:
            return
        _require_stored(pipeline, catalog)
        schedule = Schedule(pipeline, usual_seconds, self._settings.allowed_failures)
        with self._settings.cluster.client(self._project) as client:
            _Run(client, schedule, catalog, hook_manager, run_id, self._settings).all(pipeline.nodes)
        _report(schedule)


class _Run:
    """The nodes of a run that are on their way."""

    def __init__(
        self,
        client: "Client",
        schedule: Schedule,
        catalog: FingerprintedCatalog,
        hook_manager: "PluginManager",
        run_id: str | None,
        settings: Distributed,
    ):
        self._client, self._schedule, self._catalog, self._hooks = client, schedule, catalog, hook_manager.hook
        self._run_id, self._settings, self._offered = run_id, settings, _offered_resources(client)
        self._futures: dict[Node, Future] = {}
        self._ended: SimpleQueue[Node] = SimpleQueue()

    def all(self, nodes: Sequence[Node]) -> None:
        """Run all nodes, or as many as can be."""
        started, durations = time.monotonic(), Durations(nodes)
        while self._submit_ready():
            node = self._next_ended()
            if (outcome := self._outcome(node)).problem is None:
                self._finish(node)
            else:
                self._fail(node, outcome.problem)
            durations.add(node, outcome.seconds)
            logger.info(
                "[%d/%d] %s: %s%s",
                durations.count,
                len(nodes),
                node_title(node),
                duration(outcome.seconds) if outcome.problem is None else "failed",
                time_left(durations.rest(time.monotonic() - started)),
            )

    def _submit_ready(self) -> bool:
        """Submit what can run now; whether anything is on its way."""
        for node in self._schedule.ready():
            self._futures[node] = self._submit(node)
            self._futures[node].add_done_callback(lambda _, node=node: self._ended.put(node))
        return bool(self._futures)

    def _submit(self, node: Node) -> "Future":
        parameters = {name: self._catalog.load(name) for name in node.inputs if _is_parameter(name)}
        self._hooks.before_node_run(
            node=node, catalog=self._catalog, inputs=parameters, is_async=False, run_id=self._run_id
        )
        try:
            return self._client.submit(
                run_node,
                node,
                self._part_for(node),
                self._run_id,
                key=node.name,
                pure=False,
                priority=round(10 * self._schedule.priorities[node]),
                resources=self._settings.resources_of(stage_of(node), self._offered),
                retries=self._settings.retries,
            )
        except (TypeError, AttributeError, PicklingError) as error:
            raise DistributedError(f"The node {node.name} can't be sent to a worker: {error}") from error

    def _part_for(self, node: Node) -> FingerprintedCatalog:
        """The entries of a node, as a worker is to find them: without what this process believes of their versions."""
        self._forget_versions([*node.inputs, *node.outputs])
        part = self._catalog.part([*node.inputs, *node.outputs])
        part.fingerprints = {
            name: f"{fingerprint}-incomplete" if name in self._schedule.incomplete else fingerprint
            for name, fingerprint in part.fingerprints.items()
        }
        for name in self._schedule.lacks(node):
            part[name] = MemoryDataset(None)
        return part

    def _forget_versions(self, entries: Iterable[str]) -> None:
        for name in entries:
            if is_versioned(self._catalog.get(name)):
                self._catalog.release(name)

    def _next_ended(self) -> Node:
        while True:
            try:
                return self._ended.get(timeout=_SECONDS_BETWEEN_LOOKS)
            except Empty:
                self._settings.cluster.heal(self._client)

    def _outcome(self, node: Node) -> Outcome:
        from distributed import KilledWorker

        future = self._futures.pop(node)
        try:
            outcome: Outcome = future.result()
        except CancelledError as error:
            raise DistributedError(
                "The scheduler is gone, and with it what was running. What was finished is kept: go on with "
                "--only-missing-outputs"
            ) from error
        except KilledWorker:
            return Outcome(0, "the workers that ran it died: is their memory too small for it?")
        except Exception as error:
            return Outcome(0, f"{type(error).__name__}: {error}")
        return outcome

    def _finish(self, node: Node) -> None:
        self._forget_versions(node.outputs)
        self._schedule.finished(node)
        parameters = {name: self._catalog.load(name) for name in node.inputs if _is_parameter(name)}
        self._hooks.after_node_run(
            node=node, catalog=self._catalog, inputs=parameters, outputs={}, is_async=False, run_id=self._run_id
        )

    def _fail(self, node: Node, problem: str) -> None:
        logger.error("%s has failed: %s", node.name, problem)
        self._schedule.failed(node, problem)
        self._hooks.on_node_error(
            error=DistributedError(problem),
            node=node,
            catalog=self._catalog,
            inputs={},
            is_async=False,
            run_id=self._run_id,
        )


def _is_parameter(name: str) -> bool:
    return name == "parameters" or name.startswith("params:")


def _offered_resources(client: "Client") -> frozenset[str]:
    """What workers offer, once there is one."""
    if not client.scheduler_info(n_workers=-1)["workers"]:
        logger.info("Waiting for a worker of %s", client.scheduler.address)
        client.wait_for_workers(1)
    workers = client.scheduler_info(n_workers=-1)["workers"].values()
    return frozenset(name for worker in workers for name in worker["resources"])


def _require_stored(pipeline: Pipeline, catalog: FingerprintedCatalog) -> None:
    """Refuse what one node makes and others read, if it lies in memory alone."""
    outputs = pipeline.all_outputs()
    if in_memory := sorted(name for name in outputs if isinstance(catalog.get(name), MemoryDataset)):
        raise DistributedError(
            f"{first_ten(in_memory)}: these lie in the memory of one process, and nodes run in many. Give them an "
            "entry in the catalog, or leave '--runner' out"
        )


def _require_server(context: KedroContext) -> None:
    """Refuse a store of MLflow that lies in files, where workers are on other machines."""
    try:
        settings = context.config_loader["mlflow"]
    except MissingConfigException:
        settings = {}
    if (store := tracking_store(settings, context.project_path)) is not None:
        raise DistributedError(
            f"MLflow keeps its runs in {store}, and the cluster is not on this machine: files on disks that machines "
            "share are no place for a database. Start a server, such as 'mlflow server --backend-store-uri "
            f"sqlite:///{store.name} --host 0.0.0.0', and set 'mlflow_tracking_uri: http://<its host>:5000' in "
            "conf/local/mlflow.yml"
        )


def _report(schedule: Schedule) -> None:
    """Say what has failed, and what could not run for it; raise, unless so much may fail."""
    if not schedule.failures:
        return
    lines = [f"  - {node.name}: {problem}" for node, problem in schedule.failures.items()]
    if schedule.given_up:
        lines.append(f"  - not run, for they need it: {first_ten(node.name for node in schedule.given_up)}")
    message = f"{len(schedule.failures)} nodes have failed, all others are done:\n" + "\n".join(lines)
    if not schedule.may_pass:
        raise DistributedError(f"{message}\nMend it, and go on with --only-missing-outputs")
    logger.warning("%s", message)
