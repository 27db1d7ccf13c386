"""What a run ends with: its result in a few lines, and the report where it can be found again."""

import logging
import shutil
from pathlib import Path, PurePosixPath
from typing import Any

from fsspec import AbstractFileSystem
from fsspec.implementations.local import LocalFileSystem
from kedro.framework.hooks import hook_impl
from kedro.io import DataCatalog
from kedro.pipeline import Pipeline

from robustmedclip.io.disk import staged
from robustmedclip.io.versioned import address, entry_path, filesystem_of, load_path

logger = logging.getLogger(__name__)

#: Entries of the reporting, and where the newest version of each is copied to, beside its versions.
_COPIES = {"report_page": "latest.html", "tables": "latest/tables", "figures": "latest/figures"}
_ROWS = 5


class ReportHook:
    """Ends a run that has made a report with its result, and copies the report to a place without a version."""

    @hook_impl(trylast=True)
    def after_pipeline_run(self, pipeline: Pipeline, catalog: DataCatalog) -> None:
        """Copy the newest report, and log its headline, the first rows of the leaderboard and the place."""
        if not _COPIES.keys() <= pipeline.all_outputs():
            return
        from robustmedclip.reporting.headline import headline
        from robustmedclip.reporting.leaderboard import FIRST

        metrics, leaderboard = catalog.load("metrics"), catalog.load("leaderboard")
        for sentence in headline(metrics, leaderboard):
            logger.info(sentence)
        shown = leaderboard[["model", *FIRST]].head(_ROWS)
        logger.info("The leaderboard:\n%s", shown.to_string(index=False, float_format="%.1f"))
        places = {name: copy_newest(catalog[name], place) for name, place in _COPIES.items()}
        logger.info("The report: %s", places["report_page"])


def copy_newest(dataset: Any, place: str) -> str:
    """Copy the newest version of an entry, a file or a folder of files, to a place beside its versions.

    Files are replaced one by one, each as a whole; those that the newest version doesn't have go.

    Returns
    -------
    str
        The copy's path, or its URL where it is not on this machine.
    """
    filesystem, source = filesystem_of(dataset), load_path(dataset)
    target = str(PurePosixPath(entry_path(dataset)).parent / place)
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


def _replace(filesystem: AbstractFileSystem, source: str, target: str) -> None:
    if isinstance(filesystem, LocalFileSystem):
        with staged(Path(target)) as partial:
            shutil.copyfile(source, partial)
    else:  # where an object appears as a whole
        filesystem.cp_file(source, target)
