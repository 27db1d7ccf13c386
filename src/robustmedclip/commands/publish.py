"""``robustmedclip publish``: finished runs as a static site."""

from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

import click

from robustmedclip.errors import InputError, first_ten
from robustmedclip.reporting.finished_runs import finished_run, require_comparable

_PATH = click.Path(path_type=Path)
#: All that lies in a site. The results of a run have neither an index.html nor runs.
_OF_A_SITE = {"index.html", "leaderboard.csv", "provenance.json", "runs"}


@click.command()
@click.argument("runs", type=_PATH, nargs=-1, required=True)
@click.argument("site", type=_PATH)
@click.option("--title", default="Robustness leaderboard", show_default=True, help="Title of the page.")
def publish(runs: tuple[Path, ...], site: Path, title: str) -> None:
    """Make a static site of the newest results of RUNS, projects or their data, in the folder SITE.

    A run that was not its project's last is <project>@<version>. Runs of other images, corruptions, protocols or
    baselines are refused. A site that is there is replaced, and no other folder.
    """
    from robustmedclip.reporting.site import site as files_of_site

    _require_replaceable(site)
    finished = [finished_run(folder) for folder in runs]
    if twice := [name for name, count in Counter(run.name for run in finished).items() if count > 1]:
        raise InputError(f"Two runs are called {twice[0]}: rename the folder of one")
    require_comparable(finished)
    _write(site.resolve(), files_of_site(finished, title))
    click.echo(f"{site / 'index.html'}: {len(finished)} run{'s' * (len(finished) > 1)}")


def _require_replaceable(folder: Path) -> None:
    """Refuse what is there already, unless it is empty or a site and nothing else."""
    names = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    if folder.is_file():
        what = "a file"
    elif names in (set(), _OF_A_SITE):
        return
    elif any((folder / place).exists() for place in ("data/08_reporting", "08_reporting", "report.html")):
        what = "a project or the results of one"
    else:
        what = f"a folder with {first_ten(sorted(names - _OF_A_SITE or names))}"
    raise InputError(
        f"{folder} is no site of an earlier call, but {what}, and stays as it is. The last argument is where the site "
        "is made: name a folder that is empty or not there yet"
    )


def _write(folder: Path, contents: dict[str, bytes]) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=f".{folder.name}.partial-", dir=folder.parent) as beside:
        made, before = Path(beside, "made"), Path(beside, "before")
        for place, content in contents.items():
            (made / place).parent.mkdir(parents=True, exist_ok=True)
            (made / place).write_bytes(content)
        try:
            if folder.exists():
                folder.rename(before)
            made.rename(folder)
        except BaseException:
            if before.exists() and not folder.exists():
                before.rename(folder)
            raise
