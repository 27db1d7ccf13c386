"""Checks before a run: configuration, sources, models, room on the disk."""

import logging
from pathlib import Path
from typing import Any, cast

from kedro.framework.context import KedroContext
from kedro.framework.hooks import hook_impl
from kedro.pipeline import Pipeline

from robustmedclip.errors import InputError
from robustmedclip.io.external import is_external
from robustmedclip.io.sources.source import source_problem
from robustmedclip.parallel import return_freed_memory
from robustmedclip.plan import names
from robustmedclip.plan.names import spoken
from robustmedclip.run.catalog import FingerprintedCatalog
from robustmedclip.run.class_names import class_problems
from robustmedclip.run.config import BenchmarkConfigLoader, tracking_settings
from robustmedclip.run.costs import disk_problems, model_problems, outputs_of, shape_problems
from robustmedclip.run.selection import nodes_to_run
from robustmedclip.run.staleness import maker_of, stale_problems
from robustmedclip.run.unreadable import unreadable_images
from robustmedclip.run.writable import entry_places, place_problems, store_problems, tracking_places

logger = logging.getLogger(__name__)


class PreflightError(InputError):
    """Something is wrong with the sources of a run or the places of its results; the message lists every problem."""


class PreflightHook:
    """Checks every source of a run, and every place that it writes to, before any work is spent.

    It comes before kedro-mlflow, which makes its database as soon as there is a context, and a run of it before a
    pipeline runs; and after :class:`~robustmedclip.run.fingerprint_hook.FingerprintHook`, by which the catalog knows
    what exists.
    """

    @hook_impl(tryfirst=True)
    def after_context_created(self, context: KedroContext) -> None:
        """Take the configuration and the folder of the session that begins, and check where MLflow writes."""
        self._config, self._project = cast(BenchmarkConfigLoader, context.config_loader), context.project_path
        _refuse(place_problems(tracking_places(tracking_settings(self._config), self._project)))

    @hook_impl(tryfirst=True)
    def before_pipeline_run(
        self, run_params: dict[str, Any], pipeline: Pipeline, catalog: FingerprintedCatalog
    ) -> None:
        """Check what the run reads, where it writes, and whether its models can be used.

        Raises
        ------
        PreflightError
            Listing every problem.
        """
        plan, project = self._config.plan, self._project
        _refuse(store_problems(pipeline.all_outputs(), catalog))
        nodes = nodes_to_run(run_params, pipeline, catalog)
        places = entry_places(outputs_of(nodes), catalog)
        _refuse(place_problems(places) + input_problems(run_params, pipeline, catalog, project))
        _refuse(unreadable_images(nodes, catalog))
        _refuse([*class_problems(nodes, catalog, plan), *shape_problems(nodes, catalog, plan)])
        evaluation = self._config["parameters"]["evaluation"]
        _refuse(disk_problems(nodes, catalog, plan, project) or model_problems(nodes, catalog, plan, evaluation))
        return_freed_memory()  # of models that were tried
        if plan.vision_only:
            left_out = f", and no part in {', '.join(plan.text_adaptations)}" if plan.text_adaptations else ""
            logger.info("No text encoder, and so no zero-shot row%s: %s", left_out, ", ".join(plan.vision_only))
        if plan.seen_corruptions:
            logger.warning(
                "The tuning trains on corruptions that are scored (%s): there, the tuned models' figures do not say "
                "how they do on corruptions new to them. To mend it, take them out of 'corruptions' of the method",
                ", ".join(plan.seen_corruptions),
            )


def _refuse(problems: list[str]) -> None:
    if problems:
        raise PreflightError("Nothing was run:\n" + "\n".join(f"  - {problem}" for problem in problems))


def input_problems(
    run_params: dict[str, Any], pipeline: Pipeline, catalog: FingerprintedCatalog, project: Path
) -> list[str]:
    """Problems with the inputs of a pipeline: sources, and outputs of other pipelines."""
    problems, stored = [], set()
    for name in sorted(pipeline.inputs()):
        dataset = catalog.get(name)
        if name == names.raw(names.parts(name)[1]) and (problem := source_problem(dataset)):
            problems.append(f"{spoken(name)}: {problem}")
        elif is_external(dataset):
            problems += [f"{spoken(name)}: {problem}" for problem in dataset.problems()]
        elif not catalog.exists(name):
            problems.append(f"{spoken(name)} does not exist; the pipeline '{maker_of(name)}' makes it")
        elif name not in (run_params.get("load_versions") or ()):
            stored.add(name)
    return problems + stale_problems(stored, catalog, project)
