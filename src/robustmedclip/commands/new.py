"""``robustmedclip new``: a folder in which ``kedro run`` works."""

import re
import shlex
import shutil
import tempfile
from importlib.util import find_spec
from pathlib import Path

import click
from kedro import __version__ as kedro_version

from robustmedclip.errors import InputError
from robustmedclip.template import shipped

_SETTINGS = """\
# The benchmark is the package robustmedclip; code of your own, in src/{package}, is named in the plan by dotted paths.
[tool.kedro]
package_name = "robustmedclip"
project_name = "{name}"
kedro_init_version = "{kedro}"
source_dir = "src"
"""
#: What a clone's user has in its configuration, and is not shipped.
_USERS_OWN = shutil.ignore_patterns("local", "credentials*")


def lay_out_project(folder: Path) -> None:
    """Make a project: configuration, empty layers of data, a plan to change, and a package for code of one's own.

    Parameters
    ----------
    folder : Path
        Must not exist yet, or be empty; its name is the project's.

    Raises
    ------
    InputError
        If there is something in the folder, its name can't be a project's, or it can't be written.
    """
    folder = folder.absolute()
    if (package := package_name(folder.name)) in ("", "robustmedclip"):
        raise InputError(f"A project can't be called {folder.name!r}: choose a name that begins with a letter")
    if (spec := find_spec(package)) is not None and spec.loader is not None:
        raise InputError(f"A project can't be called {folder.name!r}, a package of Python: choose another name")
    try:
        if folder.exists() and any(folder.iterdir()):
            raise InputError(f"There are files in {folder} already: choose a folder that is empty or not there yet")
        folder.parent.mkdir(parents=True, exist_ok=True)
        staged = Path(tempfile.mkdtemp(prefix=f".{folder.name}.partial-", dir=folder.parent))
        try:
            _write(staged, folder.name, package)
            staged.chmod(0o755)
            if folder.exists():
                folder.rmdir()
            staged.rename(folder)
        except BaseException:
            shutil.rmtree(staged, ignore_errors=True)
            raise
    except OSError as error:
        raise InputError(f"{folder} can't be written ({error}): choose another place for the project") from error


def package_name(name: str) -> str:
    """The name of a Python package that is closest to a project's: letters, digits and underscores; or nothing."""
    words = re.sub("[^a-z0-9]+", "_", name.lower()).strip("_")
    return words if words[:1].isalpha() else ""


def _write(project: Path, name: str, package: str) -> None:
    shutil.copytree(shipped("conf"), project / "conf", ignore=_USERS_OWN)
    for layer in sorted(shipped("data").glob("[0-9]*")):
        (project / "data" / layer.name).mkdir(parents=True)
        (project / "data" / layer.name / ".gitkeep").touch()
    (project / "conf/local").mkdir()
    shutil.copy(shipped("benchmark.yml"), project / "conf/local")
    shutil.copy(shipped("gitignore"), project / ".gitignore")
    (project / "src" / package).mkdir(parents=True)
    (project / "src" / package / "__init__.py").write_text(f'"""Code of the study {name}."""\n', encoding="utf-8")
    settings = _SETTINGS.format(name=name, package=package, kedro=kedro_version)
    (project / "pyproject.toml").write_text(settings, encoding="utf-8")
    (project / ".telemetry").write_text("consent: false\n", encoding="utf-8")


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
def new(folder: Path) -> None:
    """Lay out a project in FOLDER, ready for kedro run."""
    lay_out_project(folder)
    click.echo(
        f"{folder} is ready: what it compares is in {folder}/conf/local/benchmark.yml. Begin with\n"
        f"  cd {shlex.quote(str(folder))} && kedro run --pipeline benchmark"
    )
