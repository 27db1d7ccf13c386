"""What a run ends with: its result in a few lines, and the report where it can be found again."""

import logging
import shutil
import time
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any, cast

from fsspec import AbstractFileSystem
from fsspec.implementations.local import LocalFileSystem
from kedro.framework.context import KedroContext
from kedro.framework.hooks import hook_impl
from kedro.io import DataCatalog
from kedro.pipeline import Pipeline

from robustmedclip.io.disk import staged
from robustmedclip.io.versioned import address, entry_path, filesystem_of, is_versioned, load_path
from robustmedclip.plan import names
from robustmedclip.progress import duration
from robustmedclip.run.config import BenchmarkConfigLoader
from robustmedclip.run.machine import git_commit, hardware

logger = logging.getLogger(__name__)

#: Entries of the reporting, and where the newest version of each is copied to, beside its versions.
_COPIES = {"tables": "latest/tables", "figures": "latest/figures", "metrics": "latest/metrics.csv"}
_PAGE = "latest.html"
_ROWS = 5


class ReportHook:
    """Ends a run that has made a report with its result, and copies the report to a place without a version."""

    @hook_impl
    def after_context_created(self, context: KedroContext) -> None:
        """Take the configuration and the project's folder."""
        self._config, self._project = cast(BenchmarkConfigLoader, context.config_loader), context.project_path

    @hook_impl
    def before_pipeline_run(self, run_params: dict[str, Any]) -> None:
        """Take the time, and what the run is called."""
        self._run_id, self._started = run_params["run_id"], time.monotonic()

    @hook_impl(trylast=True)
    def after_pipeline_run(self, pipeline: Pipeline, catalog: DataCatalog) -> None:
        """Copy the newest report, and log its headline, the first rows of the leaderboard and the place."""
        if not {"report_page", *_COPIES} <= pipeline.all_outputs():
            return
        from robustmedclip.reporting.facts import facts_of_run
        from robustmedclip.reporting.headline import headline
        from robustmedclip.reporting.leaderboard import first_rows
        from robustmedclip.reporting.model_names import model_names, renamed

        metrics, leaderboard = catalog.load("metrics"), catalog.load("leaderboard")
        names = model_names(metrics)
        metrics, leaderboard = renamed(metrics, names), renamed(leaderboard, names)
        for sentence in headline(metrics, leaderboard):
            logger.info(sentence)
        logger.info("%s", first_rows(leaderboard, _ROWS, self._config.plan.mce_on))
        for entry, place in _COPIES.items():
            copy_newest(catalog[entry], place)
        took = duration(time.monotonic() - self._started)
        how = f"commit {git_commit(self._project)}, on {hardware()}, in {took}"
        facts = facts_of_run(self._run_id, how, _newest_logits(pipeline, catalog))
        logger.info("The report, after %s: %s", took, _write_page(catalog["report_page"], facts))


def _newest_logits(pipeline: Pipeline, catalog: DataCatalog) -> str | None:
    """The run that made the newest logits that a report is of; None if logits keep no versions."""
    datasets = [catalog[name] for name in pipeline.datasets() if names.parts(name)[0] == "logits"]
    return max((str(of.resolve_load_version()) for of in datasets if is_versioned(of) and of.exists()), default=None)


def _write_page(page: Any, facts: Mapping[str, str]) -> str:
    """Write the newest page with the facts of its run; its path, or its URL where it is not on this machine."""
    from robustmedclip.reporting.facts import with_facts

    filesystem, target = filesystem_of(page), _beside(page, _PAGE)
    tables = [table for table in sorted(filesystem.find(_beside(page, "latest"))) if table.endswith(".csv")]
    folder = str(PurePosixPath(target).parent)
    links = [str(PurePosixPath(table).relative_to(folder)) for table in tables]
    text = filesystem.read_text(load_path(page), encoding="utf-8")
    _write(filesystem, with_facts(text, facts, links).encode(), target)
    return address(page, target)


def copy_newest(dataset: Any, place: str) -> str:
    """Copy the newest version of an entry, a file or a folder of files, to a place beside its versions.

    Files are replaced one by one, each as a whole; those that the newest version doesn't have go.

    Returns
    -------
    str
        The copy's path, or its URL where it is not on this machine.
    """
    filesystem, source = filesystem_of(dataset), load_path(dataset)
    target = _beside(dataset, place)
    if filesystem.isfile(source):
        _replace(filesystem, source, target)
        return address(dataset, target)
    files = {PurePosixPath(file).name: file for file in filesystem.find(source)}
    for name, file in files.items():
        _replace(filesystem, file, f"{target}/{name}")
    for file in filesystem.find(target):
        if PurePosixPath(file).name not in files:
            filesystem.rm_file(file)
    return address(dataset, target)


def _beside(dataset: Any, place: str) -> str:
    return str(PurePosixPath(entry_path(dataset)).parent / place)


def _replace(filesystem: AbstractFileSystem, source: str, target: str) -> None:
    if isinstance(filesystem, LocalFileSystem):
        with staged(Path(target)) as partial:
            shutil.copyfile(source, partial)
    else:  # where an object appears as a whole
        filesystem.cp_file(source, target)


def _write(filesystem: AbstractFileSystem, content: bytes, target: str) -> None:
    if isinstance(filesystem, LocalFileSystem):
        with staged(Path(target)) as partial:
            partial.write_bytes(content)
    else:
        filesystem.pipe_file(target, content)
