"""The command line beyond ``kedro run``: commands of a project that ``kedro --help`` lists, and ``robustmedclip``."""

import click
from kedro.framework.cli.utils import LazyGroup

_OF_PROJECTS = {
    "check": "robustmedclip.commands.check.check",
    "import-model": "robustmedclip.commands.import_model.import_model_command",
}


@click.group(name="robustmedclip", cls=LazyGroup, lazy_subcommands=_OF_PROJECTS)
def commands() -> None:
    """Check data before a run, and import models."""


# Kedro has a command `new` of its own.
@click.group(
    name="robustmedclip", cls=LazyGroup, lazy_subcommands={"new": "robustmedclip.commands.new.new", **_OF_PROJECTS}
)
@click.version_option(package_name="robustmedclip")
def command_line() -> None:
    """Lay out a project, check its data, and import models."""
