"""Which nodes a run is asked for, and which of them it executes."""

import shlex
from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import accumulate
from typing import Any

from kedro.io import DataCatalog
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node

from robustmedclip.errors import suggestion
from robustmedclip.pipelines.overview import NOT_TO_RUN

#: What a part of the pipelines is chosen by: arguments of ``KedroSession.run`` to options of the command line.
_OPTIONS = {
    "tags": "--tags",
    "node_names": "--nodes",
    "from_nodes": "--from-nodes",
    "to_nodes": "--to-nodes",
    "namespaces": "--namespaces",
    "from_inputs": "--from-inputs",
    "to_outputs": "--to-outputs",
}


def nodes_to_run(run_params: Mapping[str, Any], pipeline: Pipeline, catalog: DataCatalog) -> list[Node]:
    """The nodes that a run executes: all of a pipeline, or those of which an output does not exist."""
    if not run_params["only_missing_outputs"]:
        return pipeline.nodes
    return [node for node in pipeline.nodes if not all(map(catalog.exists, node.outputs))]


def stage_of(node: Node) -> str:
    """The stage of a node: the first part of its namespace."""
    return (node.namespace or node.name).partition(".")[0]


def selection_problems(options: Mapping[str, Any], pipelines: Mapping[str, Pipeline]) -> list[str]:
    """Problems with the choice of nodes of a run.

    Parameters
    ----------
    options : mapping
        Arguments of ``KedroSession.run``, by name.
    pipelines : mapping
        The pipelines of the session, by name.

    Returns
    -------
    list of str
        A line for each name that is not known, with the names that were probably meant; or a line that says why no node
        is left.
    """
    names = chosen_pipelines(options)
    if problems := list(_unknown("--pipelines", names, pipelines.keys())):
        return problems
    if "overview" in names:
        return [NOT_TO_RUN]
    pipeline = sum((pipelines[name] for name in names), Pipeline([]))
    if not pipeline.nodes:
        return [
            f"{', '.join(names)}: nothing is to do under this plan, for no adaptation in it is trained. Add one to "
            "'adaptations' in benchmark.yml, or choose another environment by --env"
        ]
    if problems := [
        problem
        for argument, known in _known(pipeline).items()
        for problem in _unknown(_OPTIONS[argument], options.get(argument) or (), known)
    ]:
        return problems
    return _empty_intersection(options, pipeline)


def chosen_pipelines(options: Mapping[str, Any]) -> list[str]:
    """The pipelines that arguments of ``KedroSession.run`` ask for: the benchmark, where none is named."""
    names = [options["pipeline_name"]] if options.get("pipeline_name") else options.get("pipeline_names")
    return list(names or ["benchmark"])


def chosen_part(options: Mapping[str, Any]) -> dict[str, str]:
    """The options of the command line that choose a part of the pipelines, with their values."""
    return {option: ",".join(options[argument]) for argument, option in _OPTIONS.items() if options.get(argument)}


def command(options: Mapping[str, Any]) -> str:
    """The command that asks for the same results as arguments of ``KedroSession.run``, whatever the runner."""
    given = {
        "--env": options.get("env"),
        "--pipelines": ",".join(chosen_pipelines(options)),
        **chosen_part(options),
        "--load-versions": ",".join(
            f"{entry}:{version}" for entry, version in (options.get("load_versions") or {}).items()
        ),
        "--params": ",".join(_dotted(options.get("runtime_params") or {})),
    }
    words = [word for option, value in given.items() if value for word in (option, value)]
    return shlex.join(["kedro", "run", *words, *["--only-missing-outputs"] * bool(options.get("only_missing_outputs"))])


def _dotted(parameters: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for name, value in parameters.items():
        if isinstance(value, Mapping):
            yield from _dotted(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}={value}"


def _known(pipeline: Pipeline) -> dict[str, Collection[str]]:
    """The names that may be chosen, by argument of the session."""
    nodes, entries = [node.name for node in pipeline.nodes], pipeline.datasets()
    namespaces = {
        prefix
        for node in pipeline.nodes
        if node.namespace
        for prefix in accumulate(node.namespace.split("."), "{}.{}".format)
    }
    return {
        "tags": {tag for node in pipeline.nodes for tag in node.tags},
        "node_names": nodes,
        "from_nodes": nodes,
        "to_nodes": nodes,
        "namespaces": namespaces,
        "from_inputs": entries,
        "to_outputs": entries,
    }


def _unknown(option: str, names: Iterable[str], known: Collection[str]) -> Iterator[str]:
    for name in names:
        if name not in known:
            yield f"{option}: unknown {name!r}; {_hint(name, known)}"


def _hint(name: str, known: Collection[str]) -> str:
    """The names that were probably meant: those that end alike, else one that looks alike."""
    ordered = sorted(known)
    if not ordered:
        return "there are none: choose by --pipelines, --namespaces or --nodes"
    if alike := [other for other in ordered if other.endswith(f".{name}")]:
        return f"did you mean {alike[0]!r}?" + (f" ({len(alike)} names end in this)" if len(alike) > 1 else "")
    return suggestion(name, ordered)


def _empty_intersection(options: Mapping[str, Any], pipeline: Pipeline) -> list[str]:
    """That no node meets all options, if it is so; each alone is met."""
    given = {argument: options.get(argument) for argument in _OPTIONS if options.get(argument)}
    namespaces = given.pop("namespaces", None)
    try:
        pipeline.filter(**given, node_namespaces=namespaces)
    except ValueError:
        return [f"{', '.join(chosen_part(options))}: no node meets all of them; leave one out"]
    return []
