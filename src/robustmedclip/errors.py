"""The error for what a user can mend."""

import click


class InputError(click.ClickException, ValueError):
    """Something is wrong with the plan, the data, the weights or the disk.

    The message says what, where, and what to do next. The command line shows the message alone, without
    a traceback.
    """
