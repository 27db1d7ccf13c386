"""Things that are plugged in by name: a short name of one that ships, or the dotted path of any other."""

import difflib
from collections.abc import Mapping
from importlib import import_module
from typing import Any

from robustmedclip.errors import InputError


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
    path = known.get(name, name)
    module, _, attribute = path.rpartition(".")
    if not module:
        close = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"known are {', '.join(known)}"
        raise InputError(f"unknown {what} {name!r}; {hint} (another one is named by its dotted path)")
    try:
        return getattr(import_module(module), attribute)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise
        raise InputError(f"there is no {what} {name!r}: no module {error.name!r} can be imported") from error
    except AttributeError as error:
        raise InputError(f"there is no {what} {name!r}: the module {module!r} has no {attribute!r}") from error
