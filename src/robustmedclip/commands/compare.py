"""``robustmedclip compare``: how two finished runs differ."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import pandas as pd
from tabulate import tabulate

from robustmedclip.metrics import compare_models
from robustmedclip.reporting.finished_runs import FinishedRun, finished_run
from robustmedclip.reporting.leaderboard import FIRST
from robustmedclip.reporting.provenance import differences, obstacles
from robustmedclip.reporting.table import with_interval

_PATH = click.Path(path_type=Path)
_LONGEST = 50


@click.command()
@click.argument("first", type=_PATH)
@click.argument("second", type=_PATH)
def compare(first: Path, second: Path) -> None:
    """Say how the newest results of two projects differ: settings, versions, images, weights and figures.

    A run that was not its project's last is <project>@<version>.
    """
    runs = {str(place): finished_run(place) for place in (first, second)}
    if len({run.name for run in runs.values()}) < len(runs):
        runs = {place: replace(run, name=place) for place, run in runs.items()}
    click.echo("\n".join(comparison(runs[str(first)], runs[str(second)])))


def comparison(first: FinishedRun, second: FinishedRun) -> Iterator[str]:
    """Lines that say how two runs differ."""
    yield f"{first.name} ({first.version}) and {second.name} ({second.version})"
    reasons = obstacles(first.provenance, second.provenance)
    yield "Their figures can't stand in one table:" if reasons else "Their figures can stand in one table."
    yield from (f"  - {reason}" for reason in reasons)
    rows = [
        (place, _short(one), _short(other)) for place, one, other in differences(first.provenance, second.provenance)
    ]
    yield "\nSettings, versions and hashes that differ:" if rows else "\nNo setting, version or hash differs."
    if rows:
        yield tabulate(rows, ["what", first.name, second.name], tablefmt="plain")
    yield "\nFigures, with 95 % intervals; differences on the same resamples where the images are the same:"
    yield tabulate(_figures(first, second, paired=not reasons), "keys", tablefmt="plain", showindex=False)
    for one, other in ((first, second), (second, first)):
        if alone := sorted(set(one.leaderboard["model"]) - set(other.leaderboard["model"])):
            yield f"In {one.name} alone: {', '.join(alone)}"


def _figures(first: FinishedRun, second: FinishedRun, paired: bool) -> pd.DataFrame:
    """A row per model that both have, and figure."""
    boards, rows = [run.leaderboard.set_index("model") for run in (first, second)], []
    for model in first.leaderboard["model"]:
        if model not in boards[1].index:
            continue
        for metric in FIRST:
            columns = [metric, f"{metric}_low", f"{metric}_high"]
            cells = [(run, board.loc[model, columns]) for run, board in zip((first, second), boards, strict=True)]
            row = {"model": model, "figure": metric}
            row |= {run.name: with_interval(value, low, high, 1) for run, (value, low, high) in cells}
            rows.append(row | {"difference": _difference(first, second, model) if paired and metric == "mce" else ""})
    return pd.DataFrame(rows)


def _difference(first: FinishedRun, second: FinishedRun, model: str) -> str:
    samples = pd.DataFrame({"first": first.mce_resamples[model], "second": second.mce_resamples[model]})
    (row,) = compare_models(samples).itertuples()
    return with_interval(row.difference, row.low, row.high, 1)


def _short(value: Any) -> str:
    text = "" if value is None else str(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
