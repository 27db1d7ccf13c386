"""Finished runs, as they lie on a disk, and what several of them say side by side."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from robustmedclip.errors import InputError
from robustmedclip.metrics import compare_models, places
from robustmedclip.reporting.leaderboard import ranked
from robustmedclip.reporting.provenance import obstacles

#: The files that a run is read from.
_NAMES = ("leaderboard.csv", "mce_resamples.csv", "provenance.json", "report.html")


@dataclass(frozen=True)
class FinishedRun:
    """What is known of a run.

    Attributes
    ----------
    name : str
        Of its folder, with the version if that was named.
    version : str
        When it was started, as Kedro names versions; empty for what has none.
    leaderboard, mce_resamples : DataFrame
        As the catalog has them.
    provenance : dict
        As of :func:`robustmedclip.reporting.provenance.provenance`.
    page : Path
        Its report.
    """

    name: str
    version: str
    leaderboard: pd.DataFrame
    mce_resamples: pd.DataFrame
    provenance: dict[str, Any]
    page: Path


def finished_run(place: str | Path) -> FinishedRun:
    """The results of a run.

    Parameters
    ----------
    place : str or Path
        A project, where its ``data`` lie, or what :meth:`robustmedclip.benchmark.Benchmark.save` wrote, for the newest
        results; ``<project>@<version>`` for those of a run that was not the last.

    Raises
    ------
    InputError
        If there are none.
    """
    folder, version = _folder_and_version(Path(place))
    inside = [folder / name for name in ("data/08_reporting", "08_reporting", "")]
    found = next((at for at in inside if (at / _NAMES[0]).exists()), folder)
    paths = {name: path for name in _NAMES if (path := _newest(found / name, version))}
    if absent := [name for name in _NAMES if name not in paths]:
        raise InputError(
            f"{place} holds no finished run: there is no {', '.join(absent)}. Name a project in which 'kedro run "
            "--pipeline reporting' has ended"
        )
    tables = {
        name: pd.read_csv(paths[f"{name}.csv"], keep_default_na=False, na_values=[""])
        for name in ("leaderboard", "mce_resamples")
    }
    started = "" if paths[_NAMES[0]].parent == found else paths[_NAMES[0]].parent.name
    return FinishedRun(
        name=folder.resolve().name + (f"@{version}" if version else ""),
        version=started,
        provenance=json.loads(paths["provenance.json"].read_text(encoding="utf-8")),
        page=paths["report.html"],
        **tables,
    )


def _folder_and_version(place: Path) -> tuple[Path, str]:
    name, _, version = place.name.rpartition("@")
    return (place.with_name(name), version) if name and not place.exists() else (place, "")


def _newest(entry: Path, version: str) -> Path | None:
    """The file of an entry that was the newest when a version was made, or is now."""
    if entry.is_file():
        return entry
    paths = sorted(path for path in entry.glob(f"*/{entry.name}") if path.is_file())
    return next((path for path in reversed(paths) if not version or path.parent.name <= version), None)


def require_comparable(runs: Sequence[FinishedRun]) -> None:
    """Refuse runs that can't stand in one table.

    Raises
    ------
    InputError
        Which run differs from the first, and in what.
    """
    for run in runs[1:]:
        if lines := obstacles(runs[0].provenance, run.provenance):
            listed = "\n".join(f"  - {line}" for line in lines)
            raise InputError(
                f"{runs[0].name} and {run.name} can't stand in one table:\n{listed}\nPublish them apart, or run one of "
                "them again with the plan of the other"
            )


def common_leaderboard(runs: Sequence[FinishedRun]) -> pd.DataFrame:
    """One leaderboard of comparable runs, with the places among all models of all runs.

    The resamples of a data set depend on its name and size alone, so that models of different runs are compared on the
    same ones. A model that is in several runs with the same weights and figures has one row; one of the same name that
    differs is called ``<model> (<run>)``.

    Parameters
    ----------
    runs : sequence of FinishedRun
        Comparable, see :func:`require_comparable`.

    Returns
    -------
    DataFrame
        The columns of the leaderboard, and ``run``, ``version`` and ``weights``, :func:`ranked`.
    """
    boards: list[dict[str, Any]] = []
    samples: dict[str, pd.Series[float]] = {}
    for run in runs:
        for _, row in run.leaderboard.iterrows():
            values, name = run.mce_resamples[row["model"]], row["model"]
            if name in samples:
                if samples[name].equals(values):
                    continue
                name = f"{name} ({run.name})"
            samples[name] = values
            weights = ", ".join(run.provenance["weights"][row["model"]])
            boards.append({**row, "model": name, "run": run.name, "version": run.version, "weights": weights})
    resamples = pd.DataFrame(samples)
    anew = places(resamples, compare_models(resamples))
    board = pd.DataFrame(boards).drop(columns=[name for name in anew if name != "model"], errors="ignore")
    return ranked(board.merge(anew, on="model"))
