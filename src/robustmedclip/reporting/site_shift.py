"""What the report says of another site."""

from collections.abc import Sequence

import pandas as pd

from robustmedclip.metrics.table import PATIENTS
from robustmedclip.reporting.missing import without
from robustmedclip.reporting.note import Note
from robustmedclip.reporting.table import Table, with_interval, with_n

_TITLES = {
    "clean_error": "clean error at home, %",
    "severity_3": "severity 3 adds",
    "corruption": "all severities add",
    "site": "the other site adds",
    "both": "both add",
}


def shift_notes(shifts: pd.DataFrame) -> list[Note]:
    """Which data sets nothing was tuned on, and what was tuned on in their place."""
    pairs = shifts[["away", "home"]].drop_duplicates().itertuples(index=False)
    replaced = ", ".join(f"{away} ({home} was)" for away, home in pairs)
    return [Note("Other sites:", f"not tuned on: {replaced}. They count in averages as all other data sets do.")]


def shift_table(shifts: pd.DataFrame, missing_cells: pd.DataFrame, models: Sequence[str]) -> Table:
    """A row per model and other site, as of :func:`robustmedclip.metrics.site_shift.site_shifts`.

    Rows are by `models`. The caption names the `missing_cells` of these sites.
    """
    shifts = shifts.sort_values(
        "model",
        key=lambda names: names.map({name: place for place, name in enumerate(models)}),
        kind="stable",
        ignore_index=True,
    )
    lacking = missing_cells[missing_cells["data_set"].isin({*shifts["home"], *shifts["away"]})]
    sites = {"at home": _sites(shifts, "home"), "other site": _sites(shifts, "away")}
    figures = {
        title: [
            with_interval(value, low, high, 1)
            for value, low, high in zip(shifts[name], shifts[f"{name}_low"], shifts[f"{name}_high"], strict=True)
        ]
        for name, title in _TITLES.items()
    }
    caption = (
        "Corruption beside another site: points added to the error on clean images at home, where models are tuned"
    )
    if len(pairs := set(zip(*sites.values(), strict=True))) == 1:
        caption += "; {} is at home, {} the other site".format(*pairs.pop())
        sites = {}
    return Table(f"{caption}{without(lacking)}", shifts, pd.DataFrame({"model": shifts["model"], **sites, **figures}))


def _sites(shifts: pd.DataFrame, which: str) -> list[str]:
    """Data sets with their numbers of test images, and of patients where they are known."""
    sizes = shifts[[f"n_{which}", f"patients_{which}"]].set_axis(["n", PATIENTS], axis=1)
    return [with_n(name, sizes.iloc[[row]]) for row, name in enumerate(shifts[which])]
