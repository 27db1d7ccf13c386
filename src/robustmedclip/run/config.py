"""Configuration: which environment is in use, and the catalog entries that the plan itself declares."""

import os
import re
from collections.abc import Iterator, Mapping
from copy import copy, deepcopy
from functools import cached_property
from pathlib import Path
from typing import Any

import fsspec
from kedro.config import MissingConfigException, OmegaConfigLoader
from kedro.utils import find_kedro_project
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import MarkedYAMLError, YAMLError

from robustmedclip.errors import InputError, suggestion
from robustmedclip.plan.entries import catalog_entries
from robustmedclip.plan.plan import Plan
from robustmedclip.plan.problems import unknown
from robustmedclip.plan.reading import read_plan
from robustmedclip.progress import volume
from robustmedclip.run.writable import name_problem


class ConfigError(InputError):
    """A file of the configuration can't be read; the message says which, where, and why."""


#: Longest file of the configuration that is read, in bytes.
_LONGEST_FILE = 2**20


#: A reference to a key of ``globals.yml``.
_GLOBAL = re.compile(r"\$\{\s*globals:\s*(\w+)")
_HALF_A_URL = re.compile(r"[a-z][a-z0-9]+:(?!//[^ ])")


def data_place(value: Any) -> str:
    """Where everything lies that is made of the sources, by ``data`` of ``globals.yml``: a folder, or a URL.

    Raises
    ------
    ConfigError
        If it is neither, or no library is there that can write to it.
    """
    if not isinstance(value, str) or not value.strip("/ ") or _HALF_A_URL.match(value.strip()):
        raise ConfigError(f"globals.yml: data: expected a folder or a URL such as s3://bucket/prefix, found {value!r}")
    place = os.path.expanduser(value.strip().rstrip("/"))
    if problem := name_problem(Path(place)):
        raise ConfigError(f"globals.yml: data: {problem}")
    if protocol := fsspec.core.split_protocol(place)[0]:
        extra = ": install it by pip install 'robustmedclip[s3]'" if protocol in ("s3", "s3a") else ""
        try:
            fsspec.get_filesystem_class(protocol)
        except (ImportError, ValueError) as error:
            raise ConfigError(f"globals.yml: data: {value} can't be used ({error}){extra}") from error
    return place


def project_folder(conf_source: str | Path) -> Path:
    """The project that a folder of configuration belongs to: that around it, else around the working directory."""
    around = find_kedro_project(Path(conf_source).absolute()) or find_kedro_project(Path.cwd())
    return Path(around) if around else Path(conf_source).absolute().parent


class BenchmarkConfigLoader(OmegaConfigLoader):
    """OmegaConfigLoader that knows the plan.

    ``benchmark.yml`` is read together with the parameters, so that environments and ``--params``
    override it and its entries are ``params:`` of the nodes. The ``source`` of each data set and
    model in it is a catalog entry, which this loader adds to the catalog as ``raw-<data set>`` and
    ``model-<model>``. Kedro makes one loader per session, for the session's environment; whoever needs
    the plan gets it from there, by the hook ``after_context_created``.

    Attributes
    ----------
    project : Path
        The project's folder. In the configuration, ``${project_root:}`` is its path, ``${project_uri:}`` its address,
        in which ``#``, ``%`` and blanks are encoded.
    """

    def __init__(self, conf_source: str, *args: Any, **kwargs: Any):
        """As Kedro's; a project without the environment that is used where none is chosen has that of base alone.

        Raises
        ------
        ConfigError
            If there is no such environment, a file is too long, or the project's name keeps files from being found.
        """
        self.project = project_folder(conf_source)
        if problem := name_problem(self.project):
            raise ConfigError(problem)
        conf = Path(conf_source)
        if conf.is_dir() and not (conf / kwargs["default_run_env"]).is_dir():
            kwargs["default_run_env"] = kwargs["base_env"]
        super().__init__(conf_source, *args, **kwargs)
        if self.env and conf.is_dir() and not (conf / self.env).is_dir():
            known = sorted(folder.name for folder in conf.iterdir() if folder.is_dir())
            raise ConfigError(f"There is no environment '{self.env}' in {conf}; {suggestion(self.env, known)}")
        for file in (*self._files(self.base_env), *self._files(self.env or self.default_run_env)):
            if file.stat().st_size > _LONGEST_FILE:
                raise ConfigError(f"{file} has {volume(file.stat().st_size)}: no file of the configuration is so long")

    def __getitem__(self, key: str) -> dict[str, Any]:
        """As Kedro's.

        Raises
        ------
        ConfigError
            If a file can't be read: which, where, and why.
        """
        # Of OmegaConf's resolvers there is one set per process, and of projects there may be several.
        OmegaConf.register_new_resolver("project_root", self.project.as_posix, replace=True)
        OmegaConf.register_new_resolver("project_uri", self.project.as_uri, replace=True)
        self._register_globals_resolver()
        try:
            if key == "parameters":
                return deepcopy(self._parameters)
            config = super().__getitem__(key)
        except (YAMLError, OmegaConfBaseException, ValueError, OSError, RecursionError) as error:
            raise ConfigError(self._unreadable() or " ".join(str(error).split())) from error
        except AttributeError as error:  # Kedro's, of a file that holds no keys; any other is a bug
            if problem := self._unreadable():
                raise ConfigError(problem) from error
            raise
        if key == "globals" and "data" in config:
            config["data"] = data_place(config["data"])
        if key == "catalog":
            config = config | catalog_entries(self.plan, self.project.as_posix())
        return config

    @cached_property
    def _parameters(self) -> dict[str, Any]:
        """The parameters, with the methods of base and those of ``--params``; each replaces its own value alone.

        Kedro would let the ``methods`` of an environment replace all methods, and so would
        ``--params methods.lora.epochs=1``, where the environment in use has none.
        """
        files = copy(self)
        files.runtime_params = {}
        parameters = OmegaConfigLoader.__getitem__(files, "parameters")
        files.env = self.base_env
        shipped, changed = OmegaConfigLoader.__getitem__(files, "parameters").get("methods"), parameters.get("methods")
        if isinstance(shipped, dict) and isinstance(changed, dict):
            parameters["methods"] = shipped | {name: _changed(shipped.get(name), new) for name, new in changed.items()}
        merged: Any = OmegaConf.to_container(OmegaConf.merge(parameters, self.runtime_params or {}))
        return dict(merged)

    def _unreadable(self) -> str | None:
        """The first file that can't be read, where, and why."""
        for environment in dict.fromkeys((self.base_env, self.env or self.default_run_env)):
            for file in self._files(environment):
                try:
                    if not OmegaConf.is_dict(OmegaConf.load(file)):
                        return f"{file}: expected keys with values, as in the files of {self.base_env}"
                except MarkedYAMLError as error:
                    line, column = error.problem_mark.line, error.problem_mark.column
                    there = file.read_text().splitlines()[line : line + 1]
                    hint = "; indent by spaces, not by tabs" if "\t" in "".join(there) else ""
                    return f"{file}, line {line + 1}, column {column + 1}: {error.problem}{hint}"
                except RecursionError:
                    return f"{file}: its settings are nested too deeply"
                except (YAMLError, ValueError, OSError) as error:
                    return f"{file}: {' '.join(str(error).split())}"
        return None

    def _files(self, environment: str) -> list[Path]:
        """The files of the configuration of an environment."""
        files = sorted(Path(self.conf_source, environment).rglob("*"))
        return [file for file in files if file.suffix in (".yml", ".yaml", ".json")]

    @cached_property
    def plan(self) -> Plan:
        """The validated plan of this loader's environment, made once."""
        parameters = self["parameters"]
        if problems := list(self._unread_globals()):
            raise ConfigError("; ".join(problems))
        return read_plan(parameters)

    def _unread_globals(self) -> Iterator[str]:
        """A line for each key of ``globals.yml`` that no file refers to; an archive of the files is not looked into."""
        files = [*self._files(self.base_env), *self._files(self.env or self.default_run_env)]
        text = "\n".join(file.read_text("utf-8", errors="replace") for file in files)
        named = dict.fromkeys(_GLOBAL.findall(text))
        own = set(re.findall(r"\$\{\s*(\w+)\s*[.[}]", text))  # of which other keys of the file are made
        return unknown("globals.yml", [key for key in self._globals if key not in own], named) if files else iter(())


def _changed(settings: Any, new: Any) -> Any:
    """Settings with those that are new; whatever is no settings is taken as it is."""
    return {**settings, **new} if isinstance(settings, Mapping) and isinstance(new, Mapping) else new


def tracking_settings(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The settings of ``mlflow.yml``; empty if there is no such file."""
    try:
        settings: Mapping[str, Any] = config["mlflow"]
    except (MissingConfigException, KeyError):
        return {}
    return settings
