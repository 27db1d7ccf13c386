"""The runner: each node runs on a worker of a Dask cluster."""

import logging
import math
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager, suppress
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
from robustmedclip.run.catalog import FingerprintedCatalog
from robustmedclip.run.distributed.clusters import PRELOAD
from robustmedclip.run.distributed.schedule import Schedule
from robustmedclip.run.distributed.settings import Distributed, DistributedError, read_distributed
from robustmedclip.run.distributed.worker import NODE, run_node
from robustmedclip.run.estimates import estimated_seconds
from robustmedclip.run.writable import tracking_store

if TYPE_CHECKING:
    from distributed import Client, Future
    from pluggy import PluginManager

logger = logging.getLogger(__name__)

#: How often workers are counted, and those that are gone for good replaced.
_SECONDS_BETWEEN_LOOKS = 2
_SCHEDULER_GONE = (
    "The scheduler is gone, and with it what was running. What was finished is kept: go on with --only-missing-outputs"
)


class DaskRunner(AbstractRunner):
    """Runs each node on a worker of a Dask cluster, as soon as its inputs are there.

    ``distributed.yml`` says which cluster; without it, one is started on this machine. Hooks are called in this process
    alone: ``before_node_run`` with the parameters among a node's inputs, ``after_node_run`` without outputs.

    Parameters
    ----------
    is_async : bool, optional
        As of Kedro's runners; ignored.
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
        seconds = estimated_seconds(pipeline.nodes, catalog)
        schedule = Schedule(pipeline, seconds, self._settings.allowed_failures)
        with self._settings.cluster.client(self._project) as client:
            _allow_deaths(client, self._settings.retries)
            _Run(client, schedule, catalog, hook_manager, run_id, self._settings).all()
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
        self._run_id, self._settings, self._offered = run_id, settings, _offered_resources(client, settings)
        self._offers, self._looked = Counter[str](), -math.inf
        self._waiting: list[Node] = []
        self._futures: dict[Node, Future] = {}
        self._ended: SimpleQueue[Node] = SimpleQueue()

    def all(self) -> None:
        """Run all nodes, or as many as can be."""
        while self._submit_ready():
            for node, problem in self._problems(self._ended_nodes()).items():
                if problem is None:
                    self._finish(node)
                else:
                    self._fail(node, problem)

    def _submit_ready(self) -> bool:
        """Submit the most urgent nodes that can run now and that workers have room for; whether any is on its way.

        What is submitted, Dask binds to a worker: it is not until there is room that it is known which will be free.
        """
        self._waiting += self._schedule.ready()
        self._waiting.sort(key=lambda node: -self._schedule.priorities[node])
        room = self._room()
        for node in list(self._waiting):
            needs = self._needs(node)
            if self._futures and any(room[name] < amount for name, amount in needs.items()):
                continue
            room.subtract(needs)
            self._waiting.remove(node)
            self._futures[node] = self._submit(node)
            self._futures[node].add_done_callback(lambda _, node=node: self._ended.put(node))
        return bool(self._futures)

    def _room(self) -> Counter[str]:
        """What workers offer, less what is taken by nodes that are on their way."""
        if time.monotonic() - self._looked > _SECONDS_BETWEEN_LOOKS:
            with _scheduler_present():
                self._settings.cluster.heal(self._client)
                workers = self._client.scheduler_info(n_workers=-1)["workers"].values()
            self._offers, self._looked = Counter(), time.monotonic()
            for worker in workers:
                self._offers.update(worker["resources"])
        room = self._offers.copy()
        for node in self._futures:
            room.subtract(self._needs(node))
        return room

    def _needs(self, node: Node) -> dict[str, float]:
        return {NODE: 1, **self._settings.resources_of(node, self._offered)}

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
                resources=self._needs(node),
                retries=self._settings.retries,
            )
        except (TypeError, AttributeError, PicklingError) as error:
            raise DistributedError(f"The node {node.name} can't be sent to a worker: {error}") from error

    def _part_for(self, node: Node) -> FingerprintedCatalog:
        """The entries of a node, as a worker is to find them."""
        part = self._catalog.part([*node.inputs, *node.outputs])
        part.fingerprints = {
            name: f"{fingerprint}-incomplete" if name in self._schedule.incomplete else fingerprint
            for name, fingerprint in part.fingerprints.items()
        }
        for name in self._schedule.lacks(node):
            part[name] = MemoryDataset(None)
        return part

    def _ended_nodes(self) -> list[Node]:
        """The nodes that have ended since the last time, none if none does for a while."""
        ended: list[Node] = []
        with suppress(Empty):
            ended.append(self._ended.get(timeout=_SECONDS_BETWEEN_LOOKS))
            while True:
                ended.append(self._ended.get_nowait())
        return ended

    def _problems(self, nodes: Sequence[Node]) -> dict[Node, str | None]:
        """What nodes have failed by, None if by nothing; those that are done are asked for in one request."""
        futures = {node: self._futures.pop(node) for node in nodes}
        done = [node for node, future in futures.items() if future.status == "finished"]
        with _scheduler_present():
            problems = dict(zip(done, self._client.gather([futures[node] for node in done]), strict=True))
            return problems | {node: _failure(future) for node, future in futures.items() if node not in problems}

    def _finish(self, node: Node) -> None:
        self._catalog.forget_versions(node.outputs)
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


@contextmanager
def _scheduler_present() -> Iterator[None]:
    """Say that the scheduler is gone where it does not answer."""
    try:
        yield
    except (OSError, CancelledError) as error:  # Dask's errors of connections are of the first kind
        raise DistributedError(_SCHEDULER_GONE) from error


def _failure(future: "Future") -> str:
    """What another try could not mend.

    Raises
    ------
    DistributedError
        If it was not the node that failed, but the scheduler.
    """
    from distributed import KilledWorker

    if future.status != "error":
        raise DistributedError(_SCHEDULER_GONE)
    error = future.exception()
    if isinstance(error, KilledWorker):
        return "the workers that ran it died: is their memory too small for it?"
    return f"{type(error).__name__}: {error}"


def _allow_deaths(client: "Client", deaths: int) -> None:
    """Let the scheduler, which counts them for itself, try a node again after so many deaths of its workers."""
    client.run_on_scheduler(lambda dask_scheduler: setattr(dask_scheduler, "allowed_failures", deaths))


def _is_parameter(name: str) -> bool:
    return name == "parameters" or name.startswith("params:")


def _offered_resources(client: "Client", settings: Distributed) -> frozenset[str]:
    """What workers offer, once there is one.

    Raises
    ------
    DistributedError
        If they lack what nodes are to take.
    """
    if not client.scheduler_info(n_workers=-1)["workers"]:
        logger.info("Waiting for a worker of %s", client.scheduler.address)
        client.wait_for_workers(1)
    workers = client.scheduler_info(n_workers=-1)["workers"].values()
    offered = frozenset(name for worker in workers for name in worker["resources"])
    if NODE not in offered:
        raise DistributedError(
            f"The workers of {client.scheduler.address} do not know the project: start them in its folder, by "
            f"'dask worker {client.scheduler.address} --nthreads 1 --preload {PRELOAD}'"
        )
    if lacking := {name for stage in (settings.resources or {}).values() for name in stage} - offered:
        raise DistributedError(
            f"resources of distributed.yml: no worker offers {', '.join(sorted(lacking))}; offered are "
            f"{', '.join(sorted(offered))}. Workers are given them by 'dask worker --resources'"
        )
    return offered


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
    message = f"Failed: {len(schedule.failures)} nodes, all others are done:\n" + "\n".join(lines)
    if not schedule.may_pass:
        raise DistributedError(f"{message}\nMend it, and go on with --only-missing-outputs")
    logger.warning("%s", message)
