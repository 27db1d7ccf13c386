"""The pipelines of a session are those of its plan."""

from kedro.framework.context import KedroContext
from kedro.framework.hooks import hook_impl
from kedro.framework.project import pipelines

from robustmedclip.pipeline_registry import pipelines_of
from robustmedclip.run.config import BenchmarkConfigLoader


class PlanHook:
    """Gives Kedro the pipelines of the plan of the session that begins.

    Kedro holds one set of pipelines per process. It makes a session's context right before it runs one of them, so that
    each session, of several in a notebook or a service, gets those of its own plan; sessions that run at the same time,
    in threads, need processes of their own. It is tried first, for the hooks of plug-ins ask Kedro for the pipelines.
    """

    @hook_impl(tryfirst=True)
    def after_context_created(self, context: KedroContext) -> None:
        """Replace the pipelines of another session, or of no session."""
        config = context.config_loader
        assert isinstance(config, BenchmarkConfigLoader)
        pipelines.configure()
        pipelines.update(pipelines_of(config.plan, config["parameters"]["pretraining"]["models"]))
