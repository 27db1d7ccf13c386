"""Progress of a run: a bar on a terminal, in a log a line per stage, or per model where a stage has models."""

import logging
import time
from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import Any, cast

from kedro.framework.context import KedroContext
from kedro.framework.hooks import hook_impl
from kedro.io import DataCatalog
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node

from robustmedclip.progress import duration
from robustmedclip.run.config import BenchmarkConfigLoader
from robustmedclip.run.estimates import Durations, estimated_seconds
from robustmedclip.run.live_bar import LiveBar
from robustmedclip.run.log import on_terminal, show_log
from robustmedclip.run.selection import nodes_to_run

logger = logging.getLogger(__name__)


class ProgressHook:
    """Says how far a run is, and how long the rest of it takes.

    Of a runner in this process, a node has ended when its outputs are saved. One that runs nodes elsewhere calls
    ``after_node_run`` without outputs, when they are saved.
    """

    def __init__(self) -> None:
        self._begin({})

    @hook_impl(tryfirst=True)
    def after_context_created(self, context: KedroContext) -> None:
        """Show the log as it can be read where it goes, and take the names of the models."""
        from robustmedclip.reporting.model_names import name_for_people

        show_log()
        plan = cast(BenchmarkConfigLoader, context.config_loader).plan
        self._models = {
            model.namespace: name_for_people(model.name, model.attributes) for model in plan.evaluated_models
        }

    def _begin(self, estimated: Mapping[Node, float]) -> None:
        """Forget the run before, and count what this one does."""
        self._durations, self._began = Durations(estimated), time.monotonic()
        self._left = Counter(self._part_of(node) for node in estimated)
        self._parts, self._spent = len(self._left), defaultdict[str, float](float)
        self._failed: set[str] = set()
        self._started: dict[str, float] = {}
        self._unsaved: dict[str, set[str]] = {}
        self._bar: LiveBar | None = None

    @hook_impl
    def before_pipeline_run(self, run_params: dict[str, Any], pipeline: Pipeline, catalog: DataCatalog) -> None:
        """Estimate how long the nodes take that the run executes."""
        self._begin(estimated_seconds(nodes_to_run(run_params, pipeline, catalog), catalog))
        if self._parts and on_terminal():
            self._bar = LiveBar()
            self._bar.start()

    @hook_impl
    def before_dataset_loaded(self, node: Node) -> None:
        """Take the time at which a node loads its first input."""
        self._start(node)

    @hook_impl
    def before_node_run(self, node: Node) -> None:
        """Take the time at which a node starts that is loaded elsewhere, or loads nothing."""
        self._start(node)

    def _start(self, node: Node) -> None:
        if node.name not in self._started:
            self._started[node.name] = time.monotonic()
            if self._bar:
                self._bar.show(self._part_of(node))

    @hook_impl
    def after_node_run(self, node: Node, outputs: dict[str, Any]) -> None:
        """Wait for the outputs of a node to be saved, if they are here."""
        self._unsaved[node.name] = set(outputs)
        self._end_if_saved(node)

    @hook_impl
    def after_dataset_saved(self, dataset_name: str, node: Node) -> None:
        """Count a node once all of its outputs are saved."""
        self._unsaved[node.name].discard(dataset_name)
        self._end_if_saved(node)

    @hook_impl
    def on_node_error(self, node: Node) -> None:
        """Count a node that a runner may go on without."""
        self._failed.add(self._part_of(node))
        self._end(node)

    def _end_if_saved(self, node: Node) -> None:
        if not self._unsaved[node.name]:
            self._end(node)

    def _end(self, node: Node) -> None:
        now, part = time.monotonic(), self._part_of(node)
        seconds = now - self._started.pop(node.name, now)
        self._durations.add(node, seconds)
        self._left[part] -= 1
        self._spent[part] += seconds
        elapsed = now - self._began
        rest = self._durations.rest(elapsed)
        if self._bar:
            self._bar.advance(0.0 if rest is None else elapsed / (elapsed + rest), rest)
        elif not self._left[part]:
            done = sum(not count for count in self._left.values())
            took = duration(self._spent[part]) + (", with failures" if part in self._failed else "")
            left = f", about {duration(rest)} left" if rest and rest >= 1 else ""
            logger.info("[%d/%d] %s: %s%s", done, self._parts, part, took, left)

    @hook_impl
    def after_pipeline_run(self) -> None:
        """Take the bar away, and say if nothing was to do."""
        self._remove_bar()
        if not self._parts:
            logger.info("Everything is up to date: nothing was run")

    @hook_impl(tryfirst=True)
    def on_pipeline_error(self) -> None:
        """Take the bar away before the error is told."""
        self._remove_bar()

    def _remove_bar(self) -> None:
        if self._bar:
            self._bar.stop()
            self._bar = None

    def _part_of(self, node: Node) -> str:
        """The stage of a node, and the model that it is about: ``evaluation · clip + lora (10 %)``."""
        stage, *cell = (node.namespace or node.name).split(".")
        model = self._models.get(".".join(cell[:2]))
        return f"{stage} · {model}" if model else stage
