"""Methods as YAML has them: their ``type``, and the settings that differ from its defaults."""

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from robustmedclip.adaptation.methods import METHODS, Method
from robustmedclip.errors import InputError
from robustmedclip.plan.checks import unknown
from robustmedclip.plugins import plugged_in


def method_of(values: Mapping[str, Any]) -> Method:
    """The method that settings are of.

    Raises
    ------
    InputError
        If there is no such type.
    ValidationError
        If a value is not valid.
    """
    settings = {name: value for name, value in values.items() if name != "type"}
    return plugged_in(values["type"], METHODS, "method")(**settings)


def method_problems(place: str, values: Any) -> Iterator[str]:
    """What is wrong with the settings of a method, a line per problem; `place` says where they are."""
    if not isinstance(values, Mapping):
        yield f"{place}: expected settings, found {values!r}"
        return
    if not isinstance(values.get("type"), str):
        yield f"{place}.type: expected one of {', '.join(METHODS)}, or a dotted path, found {values.get('type')!r}"
        return
    try:
        known = plugged_in(values["type"], METHODS, "method").model_fields
    except InputError as error:
        yield f"{place}.type: {error.message}"
        return
    yield from unknown(place, [name for name in values if name != "type"], known)
    try:
        method_of({name: value for name, value in values.items() if name in (*known, "type")})
    except ValidationError as error:
        yield from (_line(place, problem) for problem in error.errors())


def _line(place: str, problem: Mapping[str, Any]) -> str:
    *outside, name = place, *map(str, problem["loc"])
    if problem["type"] == "missing":
        return f"{'.'.join(outside)}: missing {name}"
    where = ".".join((*outside, name))
    if problem["type"] == "literal_error":
        expected = f"expected {problem['ctx']['expected'].replace(chr(39), '')}"
    else:
        expected = problem["msg"].removeprefix("Value error, ")
    return f"{where}: {expected}, found {problem['input']!r}"
