"""A leaderboard of finished runs as a static site: files that any host serves."""

import json
from collections.abc import Sequence
from importlib.resources import files

import yaml
from jinja2 import Environment, StrictUndefined

from robustmedclip.reporting.finished_runs import FinishedRun, common_leaderboard
from robustmedclip.reporting.leaderboard import readable_leaderboard
from robustmedclip.reporting.provenance import MCE_OF


def site(runs: Sequence[FinishedRun], title: str) -> dict[str, bytes]:
    """The files of the site, by their place.

    Parameters
    ----------
    runs : sequence of FinishedRun
        Comparable, of different names.
    title : str
        Of the page.

    Returns
    -------
    dict of str to bytes
        ``index.html``, ``leaderboard.csv``, ``provenance.json``, and ``runs/<run>/report.html`` of each; every name is
        escaped, and nothing refers to the network.
    """
    board, first = common_leaderboard(runs), runs[0].provenance
    shown = readable_leaderboard(board, ())
    rows = zip(shown.astype(str).to_numpy(object).tolist(), board["weights"], board["run"], strict=True)
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(files("robustmedclip.reporting").joinpath("site.html.jinja").read_text("utf-8"))
    page = template.render(
        title=title,
        board=(list(shown.columns), list(rows)),
        images=first["images"],
        baseline=first["baseline"],
        mce_of=first.get("mce_of", MCE_OF),
        protocol=first["protocol"],
        runs=runs,
        settings={run.name: yaml.safe_dump(run.provenance["parameters"], width=100) for run in runs},
    )
    provenance = {run.name: {"version": run.version, **run.provenance} for run in runs}
    return {
        "index.html": page.encode(),
        "leaderboard.csv": board.to_csv(index=False, float_format="%.6g").encode(),
        "provenance.json": json.dumps(provenance, indent=1, sort_keys=True).encode(),
        **{f"runs/{run.name}/report.html": run.page.read_bytes() for run in runs},
    }
