"""``robustmedclip``, or ``python -m robustmedclip``: the commands of the package, in a project or outside of one."""

from pathlib import Path

from kedro.framework.startup import bootstrap_project
from kedro.utils import find_kedro_project

from robustmedclip.commands import command_line


def main() -> None:
    """Run a command, in the project of the working directory if there is one."""
    if project := find_kedro_project(Path.cwd()):
        bootstrap_project(Path(project))
    command_line()


if __name__ == "__main__":
    main()
