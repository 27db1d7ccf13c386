"""What the report says, whatever it is written in: notes and tables, once for Markdown and HTML."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from robustmedclip.metrics import Metric
from robustmedclip.metrics.runs import ALL
from robustmedclip.metrics.table import PATIENTS
from robustmedclip.reporting.further_tables import further_tables
from robustmedclip.reporting.headline import headline
from robustmedclip.reporting.levels import level_notes, level_table
from robustmedclip.reporting.note import Note
from robustmedclip.reporting.patients import patient_notes
from robustmedclip.reporting.site_shift import shift_notes
from robustmedclip.reporting.table import Table, text_table
from robustmedclip.reporting.tables import comparison_table, metric_definitions, report_tables, spoken_cells


@dataclass(frozen=True)
class Setting:
    """What was run.

    Attributes
    ----------
    baseline : str
        The model that counts as 100.
    metrics : tuple of Metric
        What models were scored by.
    suites : tuple of str
        The corruption suites.
    seen : tuple of str
        Scored corruptions that tuning saw.
    related : mapping
        Scored corruption to the adaptations that saw one of its family in tuning.
    adaptations : tuple of mapping
        What each adaptation does: title to text.
    protocol : str
        The protocol, and what of the study's code is in use.
    tolerated_points : float
        By how many percentage points the error may rise before a model no longer holds.
    on_the_fly : bool
        Whether some corrupted images are not stored, but made beside the model.
    vision_only : tuple of str
        Models without a text encoder.
    text_adaptations : tuple of str
        Adaptations that need one.
    licences : mapping
        Base model to the licence of its weights, as far as it is stated.
    """

    baseline: str
    metrics: tuple[Metric, ...]
    suites: tuple[str, ...]
    seen: tuple[str, ...]
    protocol: str
    related: Mapping[str, Sequence[str]] = field(default_factory=dict)
    adaptations: tuple[Mapping[str, str], ...] = ()
    tolerated_points: float = 5.0
    on_the_fly: bool = False
    vision_only: tuple[str, ...] = ()
    text_adaptations: tuple[str, ...] = ()
    licences: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Results:
    """The tables that the report is made of.

    Attributes
    ----------
    metrics, leaderboard, comparisons : DataFrame
        As of :func:`robustmedclip.metrics.score_benchmark`, :func:`robustmedclip.reporting.leaderboard.leaderboard` and
        :func:`robustmedclip.metrics.compare_models`.
    duplicates : DataFrame
        Images of training pools that are also in a test split: ``pool_set``, ``test_set``, ``kind``, ...
    missing_cells : DataFrame
        ``model`` and ``data_set`` of logits that could not be made.
    few_shots : mapping
        Few-shot fraction, for people, to its images: ``data_set``, ``role``.
    cards : mapping
        Data set to its card, see :func:`robustmedclip.reporting.card.data_card`.
    precision : str
        That images are encoded in: ``float32``, or ``auto``; ``unknown`` where others encoded them.
    published : mapping, optional
        Figures of others: ``source``, ``baseline``, and ``models``, a mapping of name to its figures.
    levels : DataFrame, optional
        As of :func:`robustmedclip.calibration.levels.judged_levels`, where some suite says which are realistic.
    shifts : DataFrame, optional
        As of :func:`robustmedclip.metrics.site_shift.site_shifts`, where some data set comes from another site.
    subgroups : DataFrame, optional
        As of :func:`robustmedclip.metrics.subgroups.subgroup_errors`, where some data set has subgroups.
    """

    metrics: pd.DataFrame
    leaderboard: pd.DataFrame
    comparisons: pd.DataFrame
    duplicates: pd.DataFrame
    missing_cells: pd.DataFrame
    few_shots: Mapping[str, pd.DataFrame]
    cards: Mapping[str, Mapping[str, Any]]
    precision: str = "float32"
    published: Mapping[str, Any] | None = None
    levels: pd.DataFrame | None = None
    shifts: pd.DataFrame | None = None
    subgroups: pd.DataFrame | None = None


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
    """Put into words and tables what came out of a run."""
    metrics, board = results.metrics, results.leaderboard
    of_data_sets = metrics[metrics["data_set"] != ALL]
    counts = [name for name in ("n", PATIENTS) if name in of_data_sets]
    sizes = of_data_sets.groupby(["data_set", "modality"])[counts].max().reset_index()
    sizes = sizes.astype(dict.fromkeys(counts, "Int64")).rename(columns={"data_set": "data set", "n": "test images"})
    synthetic = [name for name, card in results.cards.items() if card["synthetic"]]
    tables = report_tables(
        metrics,
        board,
        results.comparisons,
        setting.baseline,
        setting.metrics,
        setting.tolerated_points,
        results.missing_cells,
        setting.related.keys(),
    )
    tables |= further_tables(board["model"].tolist(), results.shifts, results.subgroups)
    return Content(
        headline=headline(metrics, board),
        notes=[
            *_missing(results.missing_cells),
            *_warnings(synthetic, setting),
            *_introduction(board, len(sizes), setting, results.precision),
            *patient_notes(of_data_sets),
            *(level_notes(results.levels) if results.levels is not None else ()),
            *(shift_notes(results.shifts) if results.shifts is not None else ()),
        ],
        tables=tables,
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
        tables["comparisons"] = comparison_table(tables["comparisons"].numbers, of=first)
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


def _missing(cells: pd.DataFrame) -> list[Note]:
    """What the report lacks, if anything."""
    if cells.empty:
        return []
    text = (
        f"nodes of the run have failed, so that there is no result of {', '.join(spoken_cells(cells))}. A model, or a "
        "seed of it, that lacks a data set is left out of every table and figure, and a data set that the baseline "
        "lacks for all models: averages are over the same data sets for all that are shown."
    )
    return [Note("Incomplete:", text, warning=True)]


def _warnings(synthetic: Sequence[str], setting: Setting) -> list[Note]:
    notes = []
    if synthetic:
        notes.append(
            Note(
                "Synthetic phantoms, not patients.",
                f"The images of {', '.join(synthetic)} are drawn by a program. Figures on them show how the benchmark "
                "works; they are not clinical findings.",
                warning=True,
            )
        )
    if setting.seen:
        notes.append(
            Note(
                "Seen in tuning:",
                f"{', '.join(setting.seen)}. Figures of tuned models under these corruptions, and their means, do not "
                "say how the models do on corruptions that are new to them; the table of mCE seen and held out does.",
                warning=True,
            )
        )
    if setting.related:
        notes.append(
            Note(
                "Relatives of what is scored are seen in tuning:",
                f"{_related(setting.related)}. Another corruption of the same family, such as another blur, says less "
                "of how a model does on what is new to it.",
                warning=True,
            )
        )
    return notes


def _related(related: Mapping[str, Sequence[str]]) -> str:
    """Which adaptations see relatives of which corruptions, in words."""
    by_adaptations: dict[tuple[str, ...], list[str]] = {}
    for corruption, adaptations in related.items():
        by_adaptations.setdefault(tuple(adaptations), []).append(corruption)
    return "; ".join(f"{', '.join(seeing)}: of {', '.join(names)}" for seeing, names in by_adaptations.items())


#: Precisions, as sentences.
_PRECISIONS = {
    "float32": "Images were encoded in float32.",
    "auto": "Images were encoded in bfloat16 where the hardware is faster with it, else in float32; "
    "the page says in which.",
    "unknown": "The models were run outside of robustmedclip.",
}
#: What a GPU changes of images that are not stored.
_ON_THE_FLY = " Corrupted images are made beside the models: a GPU changes some of their grey levels by one."


def _introduction(board: pd.DataFrame, data_sets: int, setting: Setting, precision: str) -> list[Note]:
    return [
        Note("Protocol:", f"{setting.protocol}. {_PRECISIONS[precision]}{_ON_THE_FLY if setting.on_the_fly else ''}"),
        Note(
            "",
            f"Models: {len(board)}; data sets: {data_sets}. Errors are of clean images and under the corruptions of "
            f"{', '.join(setting.suites)} at severities 1 to 5; lower is better. In ratios, CE and mCE the baseline "
            f"{setting.baseline} is 100. Averages over data sets weigh each data set alike.",
        ),
        *_without_text(setting),
        *_licences(setting.licences, sorted(set(board["base"]))),
        Note(
            "",
            "In brackets and error bars: 95 % bootstrap interval, over n test images with all conditions of an image "
            f"kept together{_seeds(board)}. It is unbounded where the baseline's part of a ratio vanishes in too many "
            "resamples, and a value is undefined where that part is below 0.01.",
        ),
    ]


def _without_text(setting: Setting) -> list[Note]:
    """Which models are image encoders alone, and what they have no part in."""
    if not setting.vision_only:
        return []
    left_out = f", and no part in {', '.join(setting.text_adaptations)}" if setting.text_adaptations else ""
    text = (
        f"{', '.join(setting.vision_only)}: there is no zero-shot row of them{left_out}. What they are scored with is "
        f"fitted to labelled images; 100 is the zero-shot model {setting.baseline} for them, too."
    )
    return [Note("Image encoders without text:", text)]


def _licences(licences: Mapping[str, str], bases: Sequence[str]) -> list[Note]:
    """The licences of the weights, if any is stated, and the models of which none is."""
    if not licences:
        return []
    stated = [f"{name}: {licences[name]}" for name in bases if name in licences]
    unstated = [name for name in bases if name not in licences]
    return [Note("Licences of the weights:", "; ".join([*stated, *(f"{name}: not stated" for name in unstated)]) + ".")]


def _seeds(board: pd.DataFrame) -> str:
    """What intervals say of the spread over trainings."""
    tuned = board[board["seeds"] > 0]
    several, single = (tuned["seeds"] > 1).any(), (tuned["seeds"] == 1).any()
    return (" and over the seeds of the models trained with several" if several else "") + (
        "; it does not contain the spread over trainings of models with one seed" if single else ""
    )


def _leakage(duplicates: pd.DataFrame) -> Table:
    """How many images of each training pool were left out because they are in a test split, by pair of data sets."""
    if duplicates.empty:
        return text_table("No image of a training pool is also in a test split", pd.DataFrame())
    names = {"pool_set": "training pool of", "test_set": "test split of", "kind": "match", "size": "images"}
    counts = duplicates.groupby(["pool_set", "test_set", "kind"], as_index=False).size().rename(columns=names)
    return text_table("Images of the training pools that are also in a test split, and are not trained on", counts)
