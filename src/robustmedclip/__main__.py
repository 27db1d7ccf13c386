"""``robustmedclip``, or ``python -m robustmedclip``: the commands of the package, in a project or outside of one."""

import os
from pathlib import Path

from kedro.utils import find_kedro_project

from robustmedclip.template import shipped


def main() -> None:
    """Run a command, in the project of the working directory if there is one."""
    project = find_kedro_project(Path.cwd())
    if not project:  # where Kedro would say at length which logging it uses
        os.environ.setdefault("KEDRO_LOGGING_CONFIG", str(shipped("conf/logging.yml")))
    from kedro.framework.startup import bootstrap_project

    from robustmedclip.commands import command_line

    if project:
        bootstrap_project(Path(project))
    command_line()


if __name__ == "__main__":
    main()
