"""Things that are plugged in by name: a short name of one that ships, or the dotted path of any other."""

from collections.abc import Iterable, Mapping
from importlib import import_module
from types import ModuleType
from typing import Any

from robustmedclip.errors import InputError, closest, suggestion


def name_problem(name: str, known: Mapping[str, str], what: str) -> str | None:
    """What is wrong with a name that is neither known nor a dotted path, with the name that was probably meant."""
    if name in known or "." in name.strip("."):
        return None
    return f"unknown {what} {name!r}; {suggestion(name, known)} (another one is named by its dotted path)"


def plugged_in(name: str, known: Mapping[str, str], what: str) -> Any:
    """The object that a name stands for.

    Parameters
    ----------
    name : str
        A key of `known`, or a dotted path such as ``my_package.my_module.MyMethod``.
    known : mapping
        Short names to dotted paths.
    what : str
        What it is, for messages: ``corruption suite``.

    Raises
    ------
    InputError
        If it is neither, or the module can't be imported; with the name that was probably meant.
    """
    if problem := name_problem(name, known, what):
        raise InputError(problem)
    module, _, attribute = known.get(name, name).rpartition(".")
    try:
        return getattr(import_module(module), attribute)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise
        problem = f"there is no {what} {name!r}: no module {error.name!r} can be imported"
        raise InputError(problem + _meant(name, known.values())) from error
    except AttributeError as error:
        problem = f"there is no {what} {name!r}: the module {module!r} has no {attribute!r}"
        raise InputError(problem + _meant(attribute, public_names(import_module(module)), f"{module}.")) from error


def public_names(module: ModuleType) -> list[str]:
    """The names that a module offers."""
    return [name for name in getattr(module, "__all__", dir(module)) if not name.startswith("_")]


def _meant(name: str, known: Iterable[str], prefix: str = "") -> str:
    meant = closest(name, known)
    return f"; did you mean '{prefix}{meant}'?" if meant else ""
