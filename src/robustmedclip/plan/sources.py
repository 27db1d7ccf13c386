"""Sources of images and models in the plan: what they are, and settings that their class doesn't take, or lacks."""

from collections.abc import Collection, Iterator, Mapping
from inspect import Parameter, signature
from typing import Any

from robustmedclip.errors import InputError
from robustmedclip.io.sources import SOURCES
from robustmedclip.models.formats import format_class
from robustmedclip.plan.problems import unknown
from robustmedclip.plugins import name_problem, plugged_in

#: What the plan fills in of a source, and where it is said.
_FILLED_IN = {
    "name": "the data set's name is its key: leave it out",
    "modality": "it is said beside 'source': leave it out there",
    "class_names": "they are 'classes', beside 'source'",
    "origin": "it is said beside 'source': move it there",
    "subgroup": "it is said beside 'source': move it there",
    "findings": "they are said by 'task: findings', beside 'source'",
}
#: What is filled in of every dataset, and what Kedro reads itself.
_OF_KEDRO = ("metadata", "version", "versioned", "validator")
_VARIABLE = (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)


def source_problems(place: str, source: Mapping[str, Any]) -> Iterator[str]:
    """Lines on the source of a data set; of a type that can't be imported, the catalog says what was meant."""
    if problem := name_problem(source["type"], SOURCES, "source"):
        yield f"{place}.type: {problem}"
    yield from (f"{place}.{key}: {instead}" for key, instead in _FILLED_IN.items() if key in source)
    try:
        kind = plugged_in(source["type"], SOURCES, "source")
    except (InputError, ImportError):
        return
    yield from _setting_problems(place, source, kind, (*_FILLED_IN, *_OF_KEDRO))


def format_problems(place: str, source: Mapping[str, Any]) -> Iterator[str]:
    """Lines on the source of a model."""
    try:
        kind = format_class(source["type"])
    except InputError as error:
        yield f"{place}.type: {error.message}"
        return
    yield from _setting_problems(place, source, kind, ("root", "origin"))


def _setting_problems(place: str, source: Mapping[str, Any], kind: Any, filled_in: Collection[str]) -> Iterator[str]:
    """Lines on settings that a class lacks and on those that it doesn't take, but for what is filled in."""
    if not isinstance(kind, type):
        return
    required = [argument.name for argument in _arguments(kind) if _is_required(argument)]
    if missing := [name for name in required if name not in (*source, *filled_in)]:
        yield f"{place}: missing {', '.join(missing)}"
    if taken := _taken(kind):
        given = [name for name in source if name not in ("type", *filled_in)]
        yield from unknown(place, given, [name for name in taken if name not in filled_in])


def _taken(kind: type) -> list[str]:
    """Names of the arguments of a class, and of those classes to which ``**`` hands on others; none if it takes any."""
    names: list[str] = []
    for base in kind.__mro__:
        if "__init__" in vars(base):
            arguments = _arguments(base)
            names += [argument.name for argument in arguments if argument.kind not in _VARIABLE]
            if not any(argument.kind is Parameter.VAR_KEYWORD for argument in arguments):
                return names
    return []


def _arguments(kind: Any) -> list[Parameter]:
    return list(signature(kind.__init__).parameters.values())[1:]


def _is_required(argument: Parameter) -> bool:
    return argument.default is Parameter.empty and argument.kind not in _VARIABLE
