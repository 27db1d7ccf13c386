"""The command line beyond ``kedro run``: commands of a project that ``kedro --help`` lists."""

import click
from kedro.framework.cli.utils import LazyGroup


@click.group(
    name="robustmedclip",
    cls=LazyGroup,
    lazy_subcommands={
        "check": "robustmedclip.commands.check.check",
        "import-model": "robustmedclip.commands.import_model.import_model_command",
    },
)
def commands() -> None:
    """Check data before a run, and import models."""
