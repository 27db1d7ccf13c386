"""A session that says what is wrong with the choice of nodes, in place of a traceback."""

from inspect import signature
from typing import Any

from kedro.framework.context import KedroContext
from kedro.framework.project import pipelines
from kedro.framework.session import KedroSession

from robustmedclip.errors import InputError
from robustmedclip.parallel import without_garbage_collection
from robustmedclip.run.selection import chosen_pipelines, selection_problems


class SelectionError(InputError):
    """No node can be chosen by the options of a run; the message says by which, and what was probably meant."""


class BenchmarkSession(KedroSession):
    """Kedro's session, which compares the options of a run with the pipelines of the plan before Kedro filters them.

    A runner may have hooks, and a method ``prepare``, which is given the context before anything else happens.
    """

    _options: dict[str, Any] | None = None

    def run(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """As Kedro's; the benchmark, if no pipeline is named.

        Raises
        ------
        SelectionError
            If there is no such pipeline, node, namespace, tag or entry, or nothing is left to run.
        """
        self._options = signature(super().run).bind(*args, **kwargs).arguments
        self._options["pipeline_names"] = chosen_pipelines(self._options)
        if runner := self._options.get("runner"):
            self._hook_manager.register(runner)
        return super().run(**self._options)

    def load_context(self) -> KedroContext:
        """As Kedro's; raises as :meth:`run`, since here the pipelines are known and nothing has begun."""
        with without_garbage_collection():  # plug-ins import what they need
            context = super().load_context()
        if self._options is not None and (problems := selection_problems(self._options, pipelines)):
            raise SelectionError("Nothing was run:\n" + "\n".join(f"  - {problem}" for problem in problems))
        if prepare := getattr((self._options or {}).get("runner"), "prepare", None):
            prepare(context)
        return context
