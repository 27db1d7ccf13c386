"""Progress of a run: a line per finished node."""

import logging
import time
from collections import Counter
from typing import Any

from kedro.framework.hooks import hook_impl
from kedro.io import DataCatalog
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node

from robustmedclip.progress import duration
from robustmedclip.run.log import show_log
from robustmedclip.run.selection import nodes_to_run, stage_of

logger = logging.getLogger(__name__)


class ProgressHook:
    """One line per finished node: how many there are, and how long the rest will take."""

    def __init__(self) -> None:
        self._begin([])

    @hook_impl(tryfirst=True)
    def after_context_created(self) -> None:
        """Show the log as it can be read where it goes."""
        show_log()

    def _begin(self, nodes: list[Node]) -> None:
        """Forget the run before, and count the nodes of this one."""
        self._started: dict[str, float] = {}
        self._unsaved: dict[str, set[str]] = {}
        self._seconds: dict[str, list[float]] = {}
        self._remaining = Counter(map(stage_of, nodes))
        self._total, self._done = len(nodes), 0

    @hook_impl
    def before_pipeline_run(self, run_params: dict[str, Any], pipeline: Pipeline, catalog: DataCatalog) -> None:
        """Count the nodes that the run executes."""
        self._begin(nodes_to_run(run_params, pipeline, catalog))

    @hook_impl
    def before_dataset_loaded(self, node: Node) -> None:
        """Take the time at which a node loads its first input."""
        self._started.setdefault(node.name, time.monotonic())

    @hook_impl
    def after_node_run(self, node: Node) -> None:
        """Wait for the outputs of a node to be saved."""
        self._unsaved[node.name] = set(node.outputs)

    @hook_impl
    def after_dataset_saved(self, dataset_name: str, node: Node) -> None:
        """Log a line once all outputs of a node are saved."""
        self._unsaved[node.name].discard(dataset_name)
        if self._unsaved[node.name]:
            return
        seconds, stage = time.monotonic() - self._started.pop(node.name), stage_of(node)
        self._seconds.setdefault(stage, []).append(seconds)
        self._remaining[stage] -= 1
        self._done += 1
        logger.info(
            "[%d/%d] %s: %s%s",
            self._done,
            max(self._total, self._done),
            node_title(node),
            duration(seconds) if seconds >= 1 else f"{1000 * seconds:.0f} ms",
            self._time_left(),
        )

    @hook_impl
    def after_pipeline_run(self) -> None:
        """Say that nothing was to do."""
        if not self._total:
            logger.info("Everything is up to date: nothing was run")

    def _time_left(self) -> str:
        """How long the stage's remaining nodes take, at its mean so far; stages not begun are not guessed."""
        rest = sum(
            count * sum(self._seconds[stage]) / len(self._seconds[stage])
            for stage, count in self._remaining.items()
            if count > 0 and stage in self._seconds
        )
        return f", {duration(rest)} left of this stage" if rest >= 1 else ""


def node_title(node: Node) -> str:
    """The cell of the matrix, or the node where the stage has no cells: ``evaluation · clip · oct``."""
    parts = node.name.split(".")
    return " · ".join(parts[:-1] if len(parts) > 2 else parts)
