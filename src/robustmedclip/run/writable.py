"""Whether what a run writes can be written where it is to lie."""

import os
import posixpath
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlparse
from urllib.request import url2pathname
from uuid import uuid4

from fsspec import AbstractFileSystem
from kedro.io import DataCatalog

from robustmedclip.errors import first_ten
from robustmedclip.io.versioned import entry_path, filesystem_of, is_local, is_versioned
from robustmedclip.plan import names

#: Characters that stand for others in the patterns by which Kedro finds versions.
_PATTERN = re.compile(r"[*?\[]")
_SQLITE = "sqlite:///"


def place_problems(places: Mapping[str, Path]) -> list[str]:
    """Problems with the places that a run writes to.

    Parameters
    ----------
    places : mapping
        What is written, as messages name it, to its file or folder, which need not exist.

    Returns
    -------
    list of str
        A problem per folder that is there and can't be written to, or that Kedro could not find again.
    """
    problems: dict[str, list[str]] = {}
    for name, path in places.items():
        if problem := _problem_with(path):
            problems.setdefault(problem, []).append(name)
    return [f"{first_ten(affected)}: {problem}" for problem, affected in problems.items()]


def name_problem(path: Path) -> str | None:
    """Why Kedro, which looks for files by patterns, could not find those in a folder, if its name is a pattern."""
    for folder in reversed((path, *path.parents)):
        if character := _PATTERN.search(folder.name):
            return (
                f"the name of the folder {folder} has the character {character[0]!r}, by which files in it could not "
                "be found: rename the folder"
            )
    return None


def _problem_with(path: Path) -> str | None:
    if problem := name_problem(path):
        return problem
    existing = path
    while not existing.exists() and existing != existing.parent:
        existing = existing.parent
    if existing.is_dir() and not os.access(existing, os.W_OK | os.X_OK):
        return f"the folder {existing} can't be written to: work in a copy of the project that you may write to"
    if existing.is_file() and not os.access(existing, os.W_OK):
        return f"the file {existing} can't be written to: work in a copy of the project that you may write to"
    return None


def store_problems(entries: Collection[str], catalog: DataCatalog) -> list[str]:
    """What keeps versioned entries that lie elsewhere than on this machine from being written: tried with an object.

    Returns
    -------
    list of str
        A problem per filesystem that can't be written to.
    """
    places: dict[AbstractFileSystem, list[str]] = {}
    for dataset in map(catalog.get, entries):
        if is_versioned(dataset) and not is_local(dataset):
            places.setdefault(filesystem_of(dataset), []).append(entry_path(dataset))
    tried = (_problem_with_store(filesystem, posixpath.commonpath(paths)) for filesystem, paths in places.items())
    return [problem for problem in tried if problem]


def _problem_with_store(filesystem: AbstractFileSystem, folder: str) -> str | None:
    probe = f"{folder}/.writable-{uuid4().hex}"
    try:
        filesystem.pipe_file(probe, b"")
        filesystem.rm_file(probe)
    except Exception as error:  # of whatever library the filesystem uses
        reason = " ".join(str(error).split()) or type(error).__name__
        return (
            f"{filesystem.unstrip_protocol(folder)} can't be written to ({reason}): check 'data' in globals.yml, the "
            "credentials in the environment, and the network"
        )
    return None


def tracking_places(settings: Mapping[str, Any], project: Path) -> dict[str, Path]:
    """Where MLflow writes, by ``mlflow.yml``: its database and its artifacts, as far as they lie on this machine."""
    experiment = (settings.get("tracking") or {}).get("experiment") or {}
    artifacts = (experiment.get("create_experiment_kwargs") or {}).get("artifact_location") or ""
    paths = (tracking_store(settings, project), _local_path(artifacts, project) if artifacts else None)
    return {f"{path.name} of MLflow": path for path in paths if path is not None}


def tracking_store(settings: Mapping[str, Any], project: Path) -> Path | None:
    """The file or folder in which MLflow keeps its runs, by ``mlflow.yml``; None if that is a server's business."""
    uri = (settings.get("server") or {}).get("mlflow_tracking_uri") or ""
    return _local_path(uri, project) if uri else None


def database_file(settings: Mapping[str, Any], project: Path) -> Path | None:
    """The file that MLflow's database lies in, by ``mlflow.yml``; None where it is no file of SQLite."""
    uri = (settings.get("server") or {}).get("mlflow_tracking_uri") or ""
    return _local_path(uri, project) if uri.startswith(_SQLITE) else None


def _local_path(address: str, project: Path) -> Path | None:
    """The local file or folder that an address stands for, if it does."""
    if address.startswith(_SQLITE):
        return project / address.removeprefix(_SQLITE)
    parsed = urlparse(address)
    if parsed.scheme == "file":
        return Path(url2pathname(parsed.path))
    return project / address if not parsed.scheme else None


def entry_places(entries: Collection[str], catalog: DataCatalog) -> dict[str, Path]:
    """Where the versioned entries that lie on this machine are written, by their kind."""
    datasets = {names.parts(entry)[0]: catalog[entry] for entry in sorted(entries)}
    return {
        kind: Path(entry_path(dataset))
        for kind, dataset in datasets.items()
        if is_versioned(dataset) and is_local(dataset)
    }
