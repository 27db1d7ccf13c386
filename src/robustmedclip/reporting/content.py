"""What the report says, whatever it is written in: notes and tables, once for Markdown and HTML."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from robustmedclip.metrics.runs import ALL
from robustmedclip.metrics.table import PATIENTS
from robustmedclip.reporting.headline import headline
from robustmedclip.reporting.levels import level_table
from robustmedclip.reporting.model_names import with_names_for_people
from robustmedclip.reporting.note import Note
from robustmedclip.reporting.notes import report_notes
from robustmedclip.reporting.results import Results, Setting
from robustmedclip.reporting.table import Table, text_table
from robustmedclip.reporting.tables import comparison_table, metric_definitions, report_tables


@dataclass(frozen=True)
class Content:
    """What the report says.

    Attributes
    ----------
    headline : list of str
        What came out, in sentences.
    notes : list of Note
        What a reader has to know to understand it.
    tables : dict of str to Table
        By name, the leaderboard first.
    published, few_shots, levels : Table or None
        Figures of others; how many images tuning sees; which levels are realistic, and who says so.
    leakage : Table
        Images of training pools that are also in a test split; empty if there is none.
    published_note, undefined_note : Note
        What `published` is and is not; what becomes of what is `undefined`.
    undefined : list of str
        Which metrics are undefined where.
    sizes, definitions, adaptations : Table
        The data sets with their test images; what the metrics are, and what the adaptations do.
    """

    headline: list[str]
    notes: list[Note]
    tables: dict[str, Table]
    published: Table | None
    published_note: Note
    undefined: list[str]
    undefined_note: Note
    sizes: Table
    leakage: Table
    few_shots: Table | None
    levels: Table | None
    definitions: Table
    adaptations: Table


def content(results: Results, setting: Setting) -> Content:
    """Put into words and tables what came out of a run; models have names for people."""
    results = with_names_for_people(results)
    metrics, board = results.metrics, results.leaderboard
    of_data_sets = metrics[metrics["data_set"] != ALL]
    counts = [name for name in ("n", PATIENTS) if name in of_data_sets]
    sizes = of_data_sets.groupby(["data_set", "modality"])[counts].max().reset_index()
    sizes = sizes.astype(dict.fromkeys(counts, "Int64")).rename(columns={"data_set": "data set", "n": "test images"})
    return Content(
        headline=headline(metrics, board),
        notes=report_notes(results, setting),
        tables=report_tables(results, setting),
        published=published_table(results.published) if results.published else None,
        published_note=Note(
            "Not measurements of this run.", "A study published these figures for its own models and data.", True
        ),
        undefined=undefined(metrics, setting.baseline),
        undefined_note=Note(
            "",
            "Left out of all averages, for every model: a ratio is undefined where the baseline's part of it is below "
            "0.01, and a relative one also where it is not certain that corruption adds to the baseline's error, or "
            "for a mean over data sets if fewer than half of them have it.",
        ),
        sizes=text_table("Data sets", sizes),
        leakage=_leakage(results.duplicates),
        few_shots=few_shot_counts(results.few_shots) if results.few_shots else None,
        levels=None if results.levels is None else level_table(results.levels),
        definitions=text_table("Metrics", metric_definitions(setting.metrics)),
        adaptations=text_table(
            "Adaptations, with the settings that differ from their method's defaults",
            pd.DataFrame(list(setting.adaptations)),
        ),
    )


def shown_tables(told: Content) -> dict[str, Table]:
    """The tables as a text shows them: of the comparisons those with the first model alone."""
    tables = dict(told.tables)
    if "comparisons" in tables:
        first = tables["leaderboard"].numbers["model"].iloc[0]
        tables["comparisons"] = comparison_table(tables["comparisons"].numbers, of=first).with_common_n()
    return tables


def published_table(published: Mapping[str, Any]) -> Table:
    """Figures that others published: ``source``, ``baseline``, and ``models``, a mapping of name to its figures."""
    rows = [{"model": name, **figures} for name, figures in published["models"].items()]
    caption = f"Published, not measured here: {published['source']}; its {published['baseline']} is 100"
    return text_table(caption, pd.DataFrame(rows))


def undefined(metrics: pd.DataFrame, baseline: str) -> list[str]:
    """A line for each metric that is undefined on some data set, with where."""
    rows = metrics[(metrics["model"] == baseline) & (metrics["data_set"] != ALL) & metrics["seed"].isna()]
    rows = rows[rows["value"].isna() & (rows["corruption"] != ALL)]
    lines = []
    for metric, of_metric in rows.groupby("metric"):
        places = [
            f"{data_set} ({', '.join(dict.fromkeys(group['corruption']))})"
            for data_set, group in of_metric.groupby("data_set")
        ]
        lines.append(f"{metric}: {'; '.join(places)}")
    return lines


def few_shot_counts(few_shots: Mapping[str, pd.DataFrame]) -> Table:
    """Training images of each data set and in total, a row per entry of `few_shots`."""
    counts = [
        shots[shots["role"] == "training"].groupby("data_set").size().rename(cell) for cell, shots in few_shots.items()
    ]
    wide = pd.concat(counts, axis=1).T
    wide.insert(0, "total", wide.sum(axis=1))
    caption = "Labelled images that tuning sees; up to as many more are for validation"
    return text_table(caption, wide.rename_axis("labels").reset_index())


def _leakage(duplicates: pd.DataFrame) -> Table:
    """How many images of each training pool were left out because they are in a test split, by pair of data sets."""
    if duplicates.empty:
        return text_table("No image of a training pool is also in a test split", pd.DataFrame())
    names = {"pool_set": "training pool of", "test_set": "test split of", "kind": "match", "size": "images"}
    counts = duplicates.groupby(["pool_set", "test_set", "kind"], as_index=False).size().rename(columns=names)
    return text_table("Images of the training pools that are also in a test split, and are not trained on", counts)
