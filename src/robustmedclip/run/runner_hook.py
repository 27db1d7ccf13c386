"""Refuses runners that would lose fingerprints."""

import re
from collections.abc import Mapping
from typing import Any

from kedro.framework.hooks import hook_impl
from kedro.io import DataCatalog

from robustmedclip.errors import InputError
from robustmedclip.run.catalog import FingerprintedCatalog

#: Runners that are refused, and why.
_REFUSED = {
    "ParallelRunner": "it replaces the project's catalog, so that fingerprints and checksums would be lost",
    "ThreadRunner": "trainings in threads share torch's random numbers, so that results would depend on their order",
}


def runner_name(run_params: Mapping[str, Any]) -> str:
    """The class of the runner of a run, of which Kedro says what Python shows of it."""
    shown = str(run_params.get("runner"))
    match = re.search(r"(\w+) object at ", shown)
    return match[1] if match else shown


class RunnerHook:
    """Refuses runners under which results would not be what they say, before anything else happens."""

    @hook_impl(tryfirst=True)
    def before_pipeline_run(self, run_params: dict[str, Any], catalog: DataCatalog) -> None:
        """Raise an ``InputError`` that names the runner and the one to use."""
        name = runner_name(run_params)
        reason = _REFUSED.get(name)
        if reason is None and not isinstance(catalog, FingerprintedCatalog):
            reason = f"it has a catalog of its own, {type(catalog).__name__}, which keeps no fingerprints and checksums"
        if reason is not None:
            raise InputError(
                f"The runner {name} can't be used: {reason}. Use SequentialRunner, or leave '--runner' out"
            )
