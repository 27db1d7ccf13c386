"""What a reader has to know to understand a report."""

from collections.abc import Mapping, Sequence

import pandas as pd

from robustmedclip.metrics.runs import ALL
from robustmedclip.reporting.findings import finding_notes, mce_notes
from robustmedclip.reporting.levels import level_notes
from robustmedclip.reporting.missing import spoken_cells
from robustmedclip.reporting.note import Note
from robustmedclip.reporting.patients import patient_notes
from robustmedclip.reporting.precisions import precision_notes
from robustmedclip.reporting.recalibration import recalibration_notes
from robustmedclip.reporting.results import Results, Setting
from robustmedclip.reporting.site_shift import shift_notes
from robustmedclip.reporting.subgroups import subgroup_notes


def report_notes(results: Results, setting: Setting) -> list[Note]:
    """All notes of a report, warnings first."""
    of_data_sets = results.metrics[results.metrics["data_set"] != ALL]
    synthetic = [name for name, card in results.cards.items() if card["synthetic"]]
    return [
        *_missing(results.missing_cells),
        *_warnings(synthetic, setting),
        *_introduction(results.leaderboard, of_data_sets["data_set"].nunique(), setting, results.precision),
        *(precision_notes(results.precisions) if results.precisions is not None and len(results.precisions) else ()),
        *mce_notes(results.findings, setting),
        *(finding_notes(setting) if results.findings is not None else ()),
        *patient_notes(of_data_sets),
        *recalibration_notes(results.recalibration, results.leaderboard["model"].tolist()),
        *(level_notes(results.levels) if results.levels is not None else ()),
        *(subgroup_notes(results.subgroups) if results.subgroups is not None else ()),
        *(shift_notes(results.shifts) if results.shifts is not None and len(results.shifts) else ()),
    ]


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
                "Not labels alone:",
                "trained on corrupted images, too, of the families of scored corruptions: "
                f"{_related(setting.related)}. What is won back there may be more than under corruptions that are new.",
                warning=True,
            )
        )
    return notes


def _related(related: Mapping[str, Sequence[str]]) -> str:
    """Which adaptations see relatives of which corruptions, in words."""
    by_adaptations: dict[tuple[str, ...], list[str]] = {}
    for corruption, adaptations in related.items():
        by_adaptations.setdefault(tuple(adaptations), []).append(corruption.replace("_", " "))
    return "; ".join(f"{', '.join(seeing)} ({', '.join(names)})" for seeing, names in by_adaptations.items())


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
