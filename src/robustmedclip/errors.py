"""The error for what a user can mend, and how messages name many things."""

from collections.abc import Iterable

import click

SHOWN = 10


class InputError(click.ClickException, ValueError):
    """Something is wrong with the plan, the data, the weights or the disk.

    The message says what, where, and what to do next. The command line shows the message alone, without
    a traceback.
    """


def first_ten(items: Iterable[str], separator: str = ", ") -> str:
    """The first ten items, and how many more there are."""
    items = list(items)
    more = f" and {len(items) - SHOWN} more" if len(items) > SHOWN else ""
    return separator.join(items[:SHOWN]) + more
