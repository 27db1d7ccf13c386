"""Configuration: which environment is in use, and the catalog entries that the plan itself declares."""

from collections.abc import Mapping
from copy import copy
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from kedro.config import OmegaConfigLoader
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import MarkedYAMLError, YAMLError

from robustmedclip.errors import InputError
from robustmedclip.plan.entries import catalog_entries
from robustmedclip.plan.plan import Plan
from robustmedclip.plan.reading import read_plan


class ConfigError(InputError):
    """A file of the configuration can't be read; the message says which, where, and why."""


def project_root() -> str:
    """Absolute path of the project, for addresses that must not depend on the working directory."""
    return Path(__file__).parents[3].as_posix()


def project_uri() -> str:
    """The same as an address, in which ``#``, ``%`` and spaces are encoded."""
    return Path(project_root()).as_uri()


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
        """As Kedro's.

        Raises
        ------
        ConfigError
            If there is no such environment.
        """
        super().__init__(*args, **kwargs)
        conf = Path(self.conf_source)
        if self.env and conf.is_dir() and not (conf / self.env).is_dir():
            known = sorted(folder.name for folder in conf.iterdir() if folder.is_dir())
            raise ConfigError(f"There is no environment '{self.env}' in {conf}: there are {', '.join(known)}")
        BenchmarkConfigLoader.latest = self

    def __getitem__(self, key: str) -> dict[str, Any]:
        """As Kedro's.

        Raises
        ------
        ConfigError
            If a file can't be read: which, where, and why.
        """
        try:
            if key == "parameters":
                return self._parameters()
            config = super().__getitem__(key)
        except (YAMLError, OmegaConfBaseException, ValueError, OSError, RecursionError) as error:
            raise ConfigError(self._unreadable() or " ".join(str(error).split())) from error
        except AttributeError as error:  # Kedro's, of a file that holds no keys; any other is a bug
            if problem := self._unreadable():
                raise ConfigError(problem) from error
            raise
        if key == "catalog":
            config = config | catalog_entries(self.plan)
        return config

    def _parameters(self) -> dict[str, Any]:
        """The parameters, with the methods of base and those of ``--params``, of which each replaces its own value alone.

        Kedro would let the ``methods`` of an environment replace all methods, and so would ``--params methods.lora.epochs=1``,
        where the environment in use has none.
        """
        files = copy(self)
        files.runtime_params = {}
        parameters = OmegaConfigLoader.__getitem__(files, "parameters")
        files.env = self.base_env
        shipped, own = OmegaConfigLoader.__getitem__(files, "parameters").get("methods"), parameters.get("methods")
        if isinstance(shipped, dict) and isinstance(own, dict):
            parameters["methods"] = shipped | {name: _changed(shipped.get(name), new) for name, new in own.items()}
        return OmegaConf.to_container(OmegaConf.merge(parameters, self.runtime_params or {}))

    def _unreadable(self) -> str | None:
        """The first file that can't be read, where, and why."""
        for environment in dict.fromkeys((self.base_env, self.env or self.default_run_env)):
            for file in sorted(Path(self.conf_source, environment).rglob("*")):
                if file.suffix not in (".yml", ".yaml", ".json"):
                    continue
                try:
                    if not OmegaConf.is_dict(OmegaConf.load(file)):
                        return f"{file}: expected keys with values, as in the files of {self.base_env}"
                except MarkedYAMLError as error:
                    line, column = error.problem_mark.line, error.problem_mark.column
                    there = file.read_text().splitlines()[line : line + 1]
                    hint = "; indent by spaces, not by tabs" if "\t" in "".join(there) else ""
                    return f"{file}, line {line + 1}, column {column + 1}: {error.problem}{hint}"
                except (YAMLError, ValueError, OSError) as error:
                    return f"{file}: {' '.join(str(error).split())}"
        return None

    @cached_property
    def plan(self) -> Plan:
        """The validated plan of this loader's environment, made once."""
        return read_plan(self["parameters"])


def _changed(settings: Any, new: Any) -> Any:
    """Settings with those that are new; whatever is no settings is taken as it is."""
    return {**settings, **new} if isinstance(settings, Mapping) and isinstance(new, Mapping) else new


def current_config() -> BenchmarkConfigLoader:
    """The loader of the current session; without a session, as in ``kedro registry list``, of the base."""
    if BenchmarkConfigLoader.latest is None:
        from kedro.framework.project import settings

        return BenchmarkConfigLoader(f"{project_root()}/{settings.CONF_SOURCE}", **settings.CONFIG_LOADER_ARGS)
    return BenchmarkConfigLoader.latest
