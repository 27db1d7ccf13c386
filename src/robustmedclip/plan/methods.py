"""Methods as YAML has them: their ``type``, and the settings that differ from its defaults."""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from robustmedclip.adaptation.methods import METHODS, Method
from robustmedclip.errors import InputError
from robustmedclip.plan.problems import lines, shown
from robustmedclip.plugins import plugged_in


def under_protocol(method: Mapping[str, Any], protocol: str) -> dict[str, Any]:
    """Settings of a method under a protocol: ``authors`` in it are what the study's code does otherwise."""
    settings = {name: value for name, value in method.items() if name != "authors"}
    return settings | method.get("authors", {}) if protocol == "authors" else settings


def method_of(place: str, values: Any, problems: list[str]) -> Method | None:
    """The method that settings are of; None, after the problems were added, if they are not valid.

    Parameters
    ----------
    place : str
        Where the settings stand.
    values : object
        ``type``, the short name or the dotted path of a method, and settings of it.
    problems : list of str
        Lines are added to it.
    """
    if not isinstance(values, Mapping):
        problems.append(f"{place}: expected settings, found {shown(values)}")
        return None
    if not isinstance(values.get("type"), str):
        known = f"{', '.join(METHODS)}, or a dotted path"
        problems.append(f"{place}.type: expected one of {known}, found {shown(values.get('type'))}")
        return None
    try:
        method_class = plugged_in(values["type"], METHODS, "method")
    except InputError as error:
        problems.append(f"{place}.type: {error.message}")
        return None
    if not (isinstance(method_class, type) and issubclass(method_class, Method)):
        problems.append(f"{place}.type: {values['type']!r} is no class that derives from {Method.__name__}")
        return None
    try:
        return method_class(**{str(name): value for name, value in values.items() if name != "type"})
    except ValidationError as error:
        problems += lines(method_class, place, error.errors())
        return None
