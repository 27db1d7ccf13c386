"""The command line beyond ``kedro run``: commands of a project that ``kedro --help`` lists, and ``robustmedclip``."""

import click
from kedro.framework.cli.utils import LazyGroup

_OF_PROJECTS = {
    "check": "robustmedclip.commands.check.check",
    "compare": "robustmedclip.commands.compare.compare",
    "import-model": "robustmedclip.commands.import_model.import_model_command",
    "publish": "robustmedclip.commands.publish.publish",
}


@click.group(name="robustmedclip", cls=LazyGroup, lazy_subcommands=_OF_PROJECTS)
def commands() -> None:
    """Check data before a run, import models, and compare and publish results."""


# Kedro has a command `new` of its own.
@click.group(
    name="robustmedclip", cls=LazyGroup, lazy_subcommands={"new": "robustmedclip.commands.new.new", **_OF_PROJECTS}
)
@click.version_option(package_name="robustmedclip")
def command_line() -> None:
    """Lay out a project, check its data, import models, and compare and publish results."""
