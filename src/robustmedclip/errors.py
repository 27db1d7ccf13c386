"""The error for what a user can mend, and how messages name many things, and the one that was probably meant."""

import os
import traceback
import unicodedata
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import IO, Any

import click

SHOWN = 10
_KNOWN_SHOWN = 30


class InputError(click.ClickException, ValueError):
    """Something is wrong with the plan, the data, the weights or the disk.

    The message says what, where, and what to do next. The command line shows the message alone; with the environment
    variable ``ROBUSTMEDCLIP_TRACEBACK=1``, after a traceback.
    """

    def show(self, file: IO[Any] | None = None) -> None:
        """Print the message, to standard error if no file is given."""
        if os.environ.get("ROBUSTMEDCLIP_TRACEBACK") == "1":
            click.echo("".join(traceback.format_exception(self)), file=file, err=file is None)
        super().show(file)


def first_ten(items: Iterable[str], separator: str = ", ") -> str:
    """The first ten items, and how many more there are."""
    return _first(list(items), SHOWN, separator)


def suggestion(name: Any, known: Iterable[Any]) -> str:
    """How a message about an unknown name ends: with the known one that was probably meant, else with those known."""
    names = [str(other) for other in known]
    if meant := closest(str(name), names):
        if unicodedata.normalize("NFKC", meant) == unicodedata.normalize("NFKC", str(name)):
            return f"{meant!a} looks the same, but is written with other characters: {str(name)!a}"
        return f"did you mean {meant!r}?"
    return f"known are {_first(names, _KNOWN_SHOWN, ', ')}"


def closest(name: str, known: Iterable[str]) -> str | None:
    """The known name that is most like another, whatever its case; None if none is like it."""
    by_form = {_folded(other): other for other in known}
    close = get_close_matches(_folded(name), by_form, n=1)
    return by_form[close[0]] if close else None


def _folded(name: str) -> str:
    return unicodedata.normalize("NFKC", name).casefold()


def _first(items: Sequence[str], count: int, separator: str) -> str:
    more = f" and {len(items) - count} more" if len(items) > count else ""
    return separator.join(items[:count]) + more
