"""The error for what a user can mend, and how messages name many things."""

import os
import traceback
from collections.abc import Iterable
from typing import IO, Any

import click

SHOWN = 10


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
    items = list(items)
    more = f" and {len(items) - SHOWN} more" if len(items) > SHOWN else ""
    return separator.join(items[:SHOWN]) + more
