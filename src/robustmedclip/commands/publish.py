"""``robustmedclip publish``: finished runs as a static site."""

import shutil
import tempfile
from collections import Counter
from pathlib import Path

import click

from robustmedclip.errors import InputError
from robustmedclip.reporting.finished_runs import finished_run, require_comparable

_PATH = click.Path(path_type=Path)


@click.command()
@click.argument("runs", type=_PATH, nargs=-1, required=True)
@click.argument("site", type=_PATH)
@click.option("--title", default="Robustness leaderboard", show_default=True, help="Title of the page.")
def publish(runs: tuple[Path, ...], site: Path, title: str) -> None:
    """Make a static site of the newest results of RUNS, projects or their data, in the folder SITE.

    A run that was not its project's last is <project>@<version>. Runs of other images, corruptions, protocols or
    baselines are refused. A site that is there is replaced.
    """
    from robustmedclip.reporting.site import site as files_of_site

    finished = [finished_run(folder) for folder in runs]
    if twice := [name for name, count in Counter(run.name for run in finished).items() if count > 1]:
        raise InputError(f"Two runs are called {twice[0]}: rename the folder of one")
    require_comparable(finished)
    _write(site.absolute(), files_of_site(finished, title))
    click.echo(f"{site / 'index.html'}: {len(finished)} run{'s' * (len(finished) > 1)}")


def _write(folder: Path, contents: dict[str, bytes]) -> None:
    if folder.exists() and not (folder / "provenance.json").exists() and any(folder.iterdir()):
        raise InputError(f"{folder} is no site of an earlier call: choose a folder that is empty or not there yet")
    folder.parent.mkdir(parents=True, exist_ok=True)
    staged = Path(tempfile.mkdtemp(prefix=f".{folder.name}.partial-", dir=folder.parent))
    try:
        for place, content in contents.items():
            (staged / place).parent.mkdir(parents=True, exist_ok=True)
            (staged / place).write_bytes(content)
        staged.chmod(0o755)
        if folder.exists():
            shutil.rmtree(folder)
        staged.rename(folder)
    except BaseException:
        shutil.rmtree(staged, ignore_errors=True)
        raise
