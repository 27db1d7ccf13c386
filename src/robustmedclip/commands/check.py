"""``kedro check``: are all images whole that the plan needs, and are the models there?"""

from collections.abc import Callable, Iterable
from contextlib import chdir
from pathlib import Path
from typing import Any

import click
from kedro.config import MissingConfigException
from kedro.framework.project import settings
from kedro.utils import find_kedro_project
from omegaconf import OmegaConf
from tabulate import tabulate

from robustmedclip.errors import InputError
from robustmedclip.images.corrupted import ReleasedSet
from robustmedclip.images.pixels import batches
from robustmedclip.images.sets import ImageSet
from robustmedclip.io.external import is_external
from robustmedclip.pipelines.ingestion.nodes import ingest
from robustmedclip.plan import names
from robustmedclip.plan.entries import catalog_entries
from robustmedclip.progress import track
from robustmedclip.run.catalog import FingerprintedCatalog
from robustmedclip.run.config import BenchmarkConfigLoader
from robustmedclip.run.contents import Contents

_BATCH = 64


@click.command()
@click.option("--env", "-e", envvar="KEDRO_ENV", help="Environment of the configuration; without it, local.")
@click.option("--params", default="", help="Parameters that replace those of the files, as in kedro run: key=value,...")
def check(env: str | None, params: str) -> None:
    """Read all images of the plan once, and say which are whole, and which models are there.

    Pixels and checksums are read; models are not loaded, and only asked what they say of themselves. Nothing is
    written, in MLflow neither. The exit status is 1 if anything is missing or damaged.
    """
    if (project := find_kedro_project(Path.cwd())) is None:
        raise InputError(f"There is no project in {Path.cwd()} or around it: change to the folder of one")
    config = BenchmarkConfigLoader(
        str(project / settings.CONF_SOURCE),
        env=env,
        runtime_params=OmegaConf.to_container(OmegaConf.from_dotlist(params.split(","))) if params else None,
        **settings.CONFIG_LOADER_ARGS,
    )
    entries = catalog_entries(config.plan, config.project.as_posix())
    with chdir(project):
        catalog = FingerprintedCatalog.from_config(entries, _credentials(config))
        checked = check_entries(entries, catalog.get, Contents(config.project))
    click.echo(as_text(checked))
    raise click.exceptions.Exit(any(status in ("missing", "damaged") for _, status, _ in checked))


def _credentials(config: BenchmarkConfigLoader) -> dict[str, Any] | None:
    try:
        return config["credentials"]
    except MissingConfigException:
        return None


def check_entries(
    entries: Iterable[str], entry: Callable[[str], Any], contents: Contents
) -> list[tuple[str, str, str]]:
    """Read everything in some entries of the catalog once, pixels and checksums included; nothing is written.

    Parameters
    ----------
    entries : iterable of str
        Sources of images, released corrupted sets and models; of models only what they say of themselves is asked.
    entry : callable
        Name to dataset.
    contents : Contents
        What was recorded of the files when they were first taken.

    Returns
    -------
    list of (str, str, str)
        Name, status (``present``, for models ``there, not loaded``; ``missing`` or ``damaged``) and what was found, an
        entry each.
    """
    return [
        (name, *_checked(name, entry(name), contents, pixels=name != names.model(names.parts(name)[1])))
        for name in entries
    ]


def as_text(checked: Iterable[tuple[str, str, str]]) -> str:
    """The result of :func:`check_entries` for people: a line per entry."""
    rows = [(names.spoken(name), *rest) for name, *rest in checked]
    return str(tabulate(rows, ["entry", "status", "found"], tablefmt="plain"))


def _checked(name: str, dataset: Any, contents: Contents, pixels: bool) -> tuple[str, str]:
    external = is_external(dataset)
    try:
        if external and (absent := dataset.missing()):
            return "missing", absent
        if external and (problems := dataset.problems()):
            return ("missing" if problems[0].startswith("there is no ") else "damaged"), "; ".join(problems)
        if external and (damage := contents.damage(name, dataset.paths())):
            return "damaged", damage
        if not pixels:
            return "there, not loaded", ""
        return "present", _read(dataset.verified() if external else dataset.load())
    except (InputError, OSError) as error:
        return "damaged", getattr(error, "message", str(error))


def _read(splits: ReleasedSet | dict[str, ImageSet]) -> str:
    """Summary of a source after reading all its pixels."""
    if isinstance(splits, ReleasedSet):
        return f"{len(splits.shapes)} conditions"
    for image_set in ingest(splits):
        count = -(-len(image_set) // _BATCH)
        for _ in zip(
            track(range(count), f"Reading {image_set.name}, batches"), batches(image_set.images, _BATCH), strict=True
        ):
            pass
    counts = ", ".join(f"{split} {len(part)}" for split, part in splits.items())
    height, width, channels = splits["test"].images.shape[1:]
    names, has_findings = splits["test"].class_names, splits["test"].has_findings
    what = ("findings" if len(names) > 1 else "finding") if has_findings else "classes"
    return f"{counts}; {height} x {width} x {channels}; {len(names)} {what}"
