"""Configuration: which environment is in use, and the catalog entries that the plan itself declares."""

from pathlib import Path
from typing import Any, ClassVar

from kedro.config import OmegaConfigLoader
from omegaconf import OmegaConf

from robustmedclip.plan import Plan


def project_root() -> str:
    """Absolute path of the project, for addresses that must not depend on the working directory."""
    return Path(__file__).parents[2].as_posix()


class BenchmarkConfigLoader(OmegaConfigLoader):
    """OmegaConfigLoader that knows the plan.

    ``benchmark.yml`` is read together with the parameters, so that environments and ``--params``
    override it and its entries are ``params:`` of the nodes. The ``source`` of each data set and
    model in it is a catalog entry, which this loader adds to the catalog as ``raw-<data set>`` and
    ``model-<model>``. Pipelines are built from the plan of the loader made last: Kedro makes one per
    session, for the session's environment, before it asks for the pipelines.
    """

    latest: ClassVar["BenchmarkConfigLoader | None"] = None

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        BenchmarkConfigLoader.latest = self

    def __getitem__(self, key: str) -> dict[str, Any]:
        if key == "parameters":
            return self._parameters()
        config = super().__getitem__(key)
        if key == "catalog":
            config = config | self.plan().sources()
        return config

    def _parameters(self) -> dict[str, Any]:
        """The parameters with those of ``--params``, of which each replaces its own value alone.

        Kedro would let ``--params methods.lora.epochs=1`` replace all methods, where the environment in use has none.
        """
        given, self.runtime_params = self.runtime_params, {}
        try:
            parameters = super().__getitem__("parameters")
        finally:
            self.runtime_params = given
        return OmegaConf.to_container(OmegaConf.merge(parameters, given or {}))

    def plan(self) -> Plan:
        """The validated plan of this loader's environment."""
        return Plan.from_parameters(self["parameters"])


def current_config() -> BenchmarkConfigLoader:
    """The loader of the current session; without a session, as in ``kedro registry list``, of the base."""
    if BenchmarkConfigLoader.latest is None:
        from kedro.framework.project import settings

        return BenchmarkConfigLoader(f"{project_root()}/{settings.CONF_SOURCE}", **settings.CONFIG_LOADER_ARGS)
    return BenchmarkConfigLoader.latest
